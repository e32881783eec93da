// A DNS server inside the test: answers A and SRV queries from tables, over UDP on a port of
// 127.0.0.1 that the kernel chose. AAAA queries have no answer.

import Foundation
import Synchronization

/// A name server on loopback.
public final class NameServer: Sendable {
  private struct Zone {
    var addresses: [String: [[UInt8]]] = [:]
    var timeToLive: UInt32
    var isSilent = false
    var services: [String: [Service]] = [:]
    var aliases: [String: String] = [:]
    /// Names whose A questions fail, and whether an AAAA question for them was left unanswered.
    var broken: [String: Bool] = [:]
    /// Names whose answers are to be asked for by TCP, which nobody serves here.
    var truncated: Set<String> = []
    /// The name whose answers wait, and what was asked for it.
    var held: (name: String, queries: [(query: [UInt8], from: sockaddr_in)])?
    var queryCount = 0
  }

  /// An SRV record.
  public struct Service: Sendable {
    let priority: UInt8
    let weight: UInt8
    let port: UInt16
    let target: String

    public init(priority: UInt8 = 1, weight: UInt8 = 1, port: UInt16, target: String) {
      (self.priority, self.weight, self.port, self.target) = (priority, weight, port, target)
    }
  }

  public let port: UInt16
  private let zone: Mutex<Zone>
  private let descriptor: Int32

  /// - Parameter timeToLive: the TTL of all answers, in seconds.
  public init(timeToLive: UInt32 = 60) {
    zone = Mutex(Zone(timeToLive: timeToLive))
    descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | O_CLOEXEC, 0)
    port = bindLoopback(descriptor)
    var limit = timeval(tv_sec: 0, tv_usec: 200_000)
    setsockopt(
      descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    // The thread that receives is the one that closes, soon after this object went.
    let thread = Thread { [weak self, descriptor] in
      defer { close(descriptor) }
      while true {
        let packet = Self.receive(descriptor)
        guard let self else { return }
        if let packet { self.answer(packet.query, packet.from) }
      }
    }
    thread.start()
  }

  /// Gives `name` the one address 127.0.0.`host`.
  public func set(_ name: String, _ host: UInt8) { set(name, ["127.0.0.\(host)"]) }

  /// Gives `name` these IPv4 addresses; nil: it doesn't exist.
  public func set(_ name: String, _ addresses: [String]?) {
    let bytes = addresses?.map { $0.split(separator: ".").compactMap { UInt8($0) } }
    zone.withLock { $0.addresses[name] = bytes }
  }

  /// Questions are read and not answered from here on.
  public func fallSilent() { zone.withLock { $0.isSilent = true } }

  /// Gives `name` these SRV records, perhaps none.
  public func set(_ name: String, _ services: [Service]) {
    zone.withLock { $0.services[name] = services }
  }

  /// Makes `name` an alias. Its answers name the other and say nothing more of it.
  public func set(_ name: String, alias: String) { zone.withLock { $0.aliases[name] = alias } }

  /// From here on, questions for the IPv4 addresses of `name` are answered with SERVFAIL, those for
  /// anything else by nothing. AAAA is answered when it is asked for again, so that this answer
  /// comes last.
  public func breakAddresses(of name: String) { zone.withLock { $0.broken[name] = false } }

  /// From here on, answers for `name` say that they don't fit into a datagram.
  public func truncate(_ name: String) { zone.withLock { _ = $0.truncated.insert(name) } }

  /// Holds answers for `name` back.
  public func hold(_ name: String) { zone.withLock { $0.held = (name, []) } }

  /// Whether a question waits for its answer.
  public var holdsQuestion: Bool { zone.withLock { $0.held?.queries.isEmpty == false } }

  /// Gives the answers that were held back, and all others at once again.
  public func letGo() {
    let held = zone.withLock { zone in
      defer { zone.held = nil }
      return zone.held?.queries ?? []
    }
    for (query, from) in held { answer(query, from) }
  }

  /// From here on, names don't exist.
  public func fail() {
    zone.withLock {
      $0.addresses = [:]
      $0.services = [:]
    }
  }

  /// How many A queries came.
  public var queryCount: Int { zone.withLock { $0.queryCount } }

  private static func receive(
    _ descriptor: Int32
  ) -> (query: [UInt8], from: sockaddr_in)? {
    var buffer = [UInt8](repeating: 0, count: 1_500)
    var from = sockaddr_in()
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let count = withUnsafeMutablePointer(to: &from) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        recvfrom(descriptor, &buffer, buffer.count, 0, $0, &length)
      }
    }
    return count > 12 ? (Array(buffer[..<count]), from) : nil
  }

  private func answer(_ query: [UInt8], _ from: sockaddr_in) {
    var labels: [String] = []
    var at = 12
    while query[at] != 0 {
      let end = at + 1 + Int(query[at])
      labels.append(String(decoding: query[(at + 1)..<end], as: UTF8.self))
      at = end
    }
    let isA = query[at + 2] == 1
    let name = labels.joined(separator: ".").lowercased()
    let (found, services, alias) = zone.withLock { zone in
      zone.queryCount += isA ? 1 : 0
      return (zone.addresses[name], zone.services[name], zone.aliases[name])
    }
    if zone.withLock({ $0.isSilent }) { return }
    if zone.withLock({ zone in
      guard zone.held?.name == name else { return false }
      zone.held?.queries.append((query, from))
      return true
    }) {
      return
    }
    if zone.withLock({ $0.truncated.contains(name) }) {
      let head = query[0..<2] + [0x83, 0x80, 0, 1, 0, 0, 0, 0, 0, 0]
      return send(Array(head + query[12..<(at + 5)]), from)
    }
    if isA && zone.withLock({ $0.broken[name] != nil }) {
      let head = query[0..<2] + [0x81, 0x82, 0, 1, 0, 0, 0, 0, 0, 0]
      return send(Array(head + query[12..<(at + 5)]), from)
    }
    if query[at + 2] == 28 && isHeldBack(name) { return }
    if let alias {
      let target = Self.encoded(alias)
      var reply = query[0..<2] + [0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0] + query[12..<(at + 5)]
      reply += [0xc0, 12, 0, 5, 0, 1] + timeToLive + [0, UInt8(target.count)] + target
      return send(Array(reply), from)
    }
    if let services { return answer(services, query, questionEnd: at + 5, from) }
    // A response, recursion available; NXDOMAIN for a name that isn't there.
    var reply = query[0..<2] + [0x81, found == nil ? 0x83 : 0x80, 0, 1]
    let addresses = isA ? found ?? [] : []
    reply += [0, UInt8(addresses.count), 0, 0, 0, 0] + query[12..<(at + 5)]
    for address in addresses { reply += [0xc0, 12, 0, 1, 0, 1] + timeToLive + [0, 4] + address }
    send(Array(reply), from)
  }

  private func isHeldBack(_ name: String) -> Bool {
    zone.withLock { zone in
      guard let wasHeldBack = zone.broken[name] else { return false }
      zone.broken[name] = !wasHeldBack
      return !wasHeldBack
    }
  }

  private func answer(
    _ services: [Service], _ query: [UInt8], questionEnd: Int, _ from: sockaddr_in
  ) {
    var reply = query[0..<2] + [0x81, 0x80, 0, 1, 0, UInt8(services.count), 0, 0, 0, 0]
    reply += query[12..<questionEnd]
    for service in services {
      let target = Self.encoded(service.target)
      reply += [0xc0, 12, 0, 33, 0, 1] + timeToLive + [0, UInt8(6 + target.count)]
      reply += [0, service.priority, 0, service.weight]
      reply += [UInt8(service.port >> 8), UInt8(service.port & 255)] + target
    }
    send(Array(reply), from)
  }

  /// The TTL as records have it.
  private var timeToLive: [UInt8] {
    let seconds = zone.withLock { $0.timeToLive }
    return [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: seconds >> UInt32($0)) }
  }

  private static func encoded(_ name: String) -> [UInt8] {
    var bytes: [UInt8] = []
    for label in name.split(separator: ".") {
      bytes += [UInt8(label.utf8.count)] + Array(label.utf8)
    }
    return bytes + [0]
  }

  private func send(_ reply: [UInt8], _ from: sockaddr_in) {
    var from = from
    _ = withUnsafePointer(to: &from) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        sendto(
          descriptor, reply, reply.count, 0, $0,
          socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
  }
}
