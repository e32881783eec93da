// A DNS server inside the test: answers A queries from a table, over UDP on a port of 127.0.0.1 that
// the kernel chose. AAAA queries have no answer.

import Foundation
import Synchronization

/// A name server on loopback.
final class NameServer: Sendable {
  private struct Zone {
    var addresses: [String: [UInt8]] = [:]
    var queryCount = 0
  }

  let port: UInt16
  /// The TTL of all answers, in seconds.
  private let timeToLive: UInt8
  private let zone = Mutex(Zone())
  private let descriptor: Int32

  init(timeToLive: UInt8) {
    self.timeToLive = timeToLive
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
  func set(_ name: String, _ host: UInt8) {
    zone.withLock { $0.addresses[name] = [127, 0, 0, host] }
  }

  /// From here on, names don't exist.
  func fail() { zone.withLock { $0.addresses = [:] } }

  /// How many A queries came.
  var queryCount: Int { zone.withLock { $0.queryCount } }

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
    let found = zone.withLock { zone in
      zone.queryCount += isA ? 1 : 0
      return zone.addresses[labels.joined(separator: ".").lowercased()]
    }
    // A response, recursion available; NXDOMAIN for a name that isn't there.
    var reply = query[0..<2] + [0x81, found == nil ? 0x83 : 0x80, 0, 1]
    reply += [0, isA && found != nil ? 1 : 0, 0, 0, 0, 0] + query[12..<(at + 5)]
    if isA, let found { reply += [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, timeToLive, 0, 4] + found }
    var from = from
    _ = withUnsafePointer(to: &from) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        sendto(
          descriptor, Array(reply), reply.count, 0, $0,
          socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
  }
}
