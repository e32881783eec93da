// One set of DNS servers, asked through c-ares. The library makes its own sockets and says which
// events it wants; the control loop polls them and hands the events back. Used by Resolver only;
// all of the library's unsafe interface is in this file.

import CCares
import CLinux
import HTTP

/// What a lookup gave.
enum LookupResult: Sendable, Equatable {
  /// Addresses, with port 0, and for how long they hold.
  case addresses([SocketAddress], timeToLive: Milliseconds)
  /// SRV records, and for how long they hold.
  case services([ServiceRecord], timeToLive: Milliseconds)
  case failed(LookupFailure)
}

/// Why a name has no addresses.
enum LookupFailure: Error, Sendable, Equatable {
  /// The name doesn't exist.
  case notFound
  /// The name exists, but without what was asked for.
  case empty
  /// No server answered in time.
  case timedOut
  /// No server could be talked to.
  case unreachable
  /// Servers answered that they can't, or nonsense; the library's words.
  case serverFailure(String)

  /// For log lines.
  var text: String {
    switch self {
    case .notFound: "host not found"
    case .empty: "DNS has no such records"
    case .timedOut: "no answer from DNS in time"
    case .unreachable: "could not contact DNS servers"
    case .serverFailure(let text): text
    }
  }
}

/// A channel of c-ares. Lives on the control thread.
@safe
final class ResolverChannel {
  // Bound: addresses taken of one answer.
  private static let addressLimit = 512
  // A lost packet costs a second; 1 + 2 + 4 + 8 seconds in all before a name counts as failed.
  static let firstTimeout: Milliseconds = 1_000
  private static let tryCount: Int32 = 4

  private var channel: ares_channel?
  private var isOpen: Bool { unsafe channel != nil }
  private let poller: Poller
  private let number: Int
  /// Whether servers of the configuration are asked, rather than those of the system.
  private let asksOwnServers: Bool
  private var watched: Set<Int32> = []
  /// Lookups that are under way.
  private(set) var pendingCount = 0
  private var finished: [(lookup: Int, result: LookupResult)] = []

  /// A channel that asks `settings.servers`, or as the system does if nil. Events of its sockets
  /// come as handles of kind `.resolver` whose generation is `number`.
  init?(_ settings: ResolverSettings?, poller: Poller, number: Int) {
    self.poller = poller
    self.number = number
    asksOwnServers = settings != nil
    _ = Self.library
    let status = unsafe cares_open(
      &channel, settings == nil ? 0 : 1, Int32(Self.firstTimeout), Self.tryCount,
      { argument, socket, wantsRead, wantsWrite in
        guard let argument = unsafe argument else { return }
        // Safety: the channel is closed before its owner lets go of this object.
        let channel = unsafe Unmanaged<ResolverChannel>.fromOpaque(argument).takeUnretainedValue()
        channel.watch(socket, read: wantsRead != 0, write: wantsWrite != 0)
      }, Unmanaged.passUnretained(self).toOpaque())
    guard status == cares_success else { return nil }
    if let settings {
      let list = settings.servers.map(\.description).joined(separator: ",")
      guard unsafe ares_set_servers_ports_csv(channel, list) == cares_success else {
        close()
        return nil
      }
    }
  }

  /// Must come before the object goes; lookups under way end as failed.
  func close() {
    guard let channel = unsafe channel else { return }
    unsafe self.channel = nil
    unsafe ares_destroy(channel)
    for socket in watched { poller.remove(socket) }
    watched = []
  }

  /// Starts to look `name` up; the result comes with `takeFinished`, perhaps at once.
  func lookUp(_ name: String, family: Int32, lookup number: Int) {
    lookUpAddresses(Lookup(channel: self, number: number, name: name, family: family))
  }

  private func lookUpAddresses(_ lookup: Lookup) {
    pendingCount += 1
    let box = unsafe Unmanaged.passRetained(lookup)
    unsafe cares_look_up(
      channel, lookup.name, lookup.confirmedFamily ?? lookup.family ?? AF_UNSPEC,
      { argument, status, _, answer in
        guard let argument = unsafe argument else { return }
        let lookup = unsafe Unmanaged<Lookup>.fromOpaque(argument).takeRetainedValue()
        let result = unsafe ResolverChannel.read(status, answer)
        if let answer = unsafe answer { unsafe ares_freeaddrinfo(answer) }
        lookup.channel.pendingCount -= 1
        lookup.channel.finish(lookup, result)
      }, box.toOpaque())
  }

  private func finish(_ lookup: Lookup, _ result: LookupResult) {
    switch result {
    case .failed(.empty) where lookup.confirmedFamily != nil: confirmEmpty(lookup)
    case .failed(.empty) where asksOwnServers && isOpen && lookup.mayFollow:
      // The library takes an alias that comes without addresses for an empty answer. Servers that
      // resolve for others send both; those that don't are asked again.
      ask(lookup, Self.aliasType)
    case .failed(.empty): confirmEmpty(lookup)
    case .addresses(let addresses, let timeToLive):
      let time = min(timeToLive, lookup.seconds * 1_000)
      finished.append((lookup.number, .addresses(addresses, timeToLive: time)))
    default: finished.append((lookup.number, result))
    }
  }

  /// Believes that a name has no addresses, unless only one of the two answers says so: of both
  /// families the library gives the status that came last, and would hide that A failed behind an
  /// AAAA without records. Each family is asked for by itself first.
  private func confirmEmpty(_ lookup: Lookup) {
    guard isOpen, let family = lookup.unconfirmed.popLast() else {
      finished.append((lookup.number, .failed(.empty)))
      return
    }
    lookup.confirmedFamily = family
    lookUpAddresses(lookup)
  }

  /// Starts to look the SRV records of `name` up. Aliases are followed across answers, since not
  /// every server does it.
  func lookUpServices(_ name: String, lookup number: Int) {
    ask(Lookup(channel: self, number: number, name: name), Self.serviceType)
  }

  private static let serviceType: Int32 = 33
  private static let aliasType: Int32 = 5

  private func ask(_ lookup: Lookup, _ type: Int32) {
    pendingCount += 1
    let box = unsafe Unmanaged.passRetained(lookup)
    unsafe cares_ask(
      channel, lookup.name, type,
      { argument, status, _, message, count in
        guard let argument = unsafe argument else { return }
        let lookup = unsafe Unmanaged<Lookup>.fromOpaque(argument).takeRetainedValue()
        let bytes = unsafe Array(UnsafeBufferPointer(start: message, count: Int(max(0, count))))
        lookup.channel.pendingCount -= 1
        lookup.channel.finish(lookup, status, bytes)
      }, box.toOpaque())
  }

  private func finish(_ lookup: Lookup, _ status: Int32, _ message: [UInt8]) {
    guard status == cares_success else {
      let failure = Self.failure(status)
      // There is no alias: it is the addresses that were asked for.
      if failure == .empty && !lookup.isOfService { return confirmEmpty(lookup) }
      finished.append((lookup.number, .failed(failure)))
      return
    }
    guard let answer = DNSAnswer(message, name: lookup.name) else {
      finished.append((lookup.number, .failed(.serverFailure("invalid answer"))))
      return
    }
    lookup.seconds = min(lookup.seconds, answer.timeToLive)
    if answer.services.isEmpty, let alias = answer.alias, isOpen, lookup.mayFollow {
      lookup.name = alias
      lookup.depth += 1
      return lookup.isOfService ? ask(lookup, Self.serviceType) : lookUpAddresses(lookup)
    }
    if answer.services.isEmpty && !lookup.isOfService { return confirmEmpty(lookup) }
    let result =
      answer.services.isEmpty
      ? LookupResult.failed(.empty)
      : .services(answer.services, timeToLive: lookup.seconds * 1_000)
    finished.append((lookup.number, result))
  }

  /// The results since the last call.
  func takeFinished() -> [(lookup: Int, result: LookupResult)] {
    let taken = finished
    finished = []
    return taken
  }

  /// Hands an event of one of its sockets to the library.
  func onEvent(_ socket: Int32, _ readiness: Readiness) {
    let isReadable = !readiness.isDisjoint(with: [.readable, .broken])
    let isWritable = !readiness.isDisjoint(with: [.writable, .broken])
    unsafe ares_process_fd(channel, isReadable ? socket : -1, isWritable ? socket : -1)
  }

  /// Lets the library repeat or give up what took too long.
  func onTimeout() { unsafe ares_process_fd(channel, -1, -1) }

  /// Milliseconds until `onTimeout` is due; nil if nothing is under way.
  var timeout: Milliseconds? {
    guard pendingCount > 0, isOpen else { return nil }
    let timeout = unsafe cares_timeout_ms(channel)
    return timeout < 0 ? nil : Int(timeout)
  }

  private func watch(_ socket: Int32, read: Bool, write: Bool) {
    if !read && !write {
      if watched.remove(socket) != nil { poller.remove(socket) }
      return
    }
    let isNew = watched.insert(socket).inserted
    let handle = Handle(.resolver, slot: Int(socket), generation: UInt32(number))
    poller.set(socket, handle, read: read, write: write, isNew: isNew)
  }

  private static func read(
    _ status: Int32, _ answer: UnsafeMutablePointer<ares_addrinfo>?
  ) -> LookupResult {
    guard status == cares_success, let answer = unsafe answer else {
      return .failed(failure(status))
    }
    var addresses: [SocketAddress] = []
    var seconds = Int32.max
    var alias = unsafe answer.pointee.cnames
    while let entry = unsafe alias {
      seconds = unsafe min(seconds, entry.pointee.ttl)
      unsafe alias = entry.pointee.next
    }
    var node = unsafe answer.pointee.nodes
    while let entry = unsafe node, addresses.count < addressLimit {
      seconds = unsafe min(seconds, entry.pointee.ai_ttl)
      if let address = unsafe address(entry.pointee), !addresses.contains(address) {
        addresses.append(address)
      }
      unsafe node = entry.pointee.ai_next
    }
    if addresses.isEmpty { return .failed(.empty) }
    return .addresses(addresses, timeToLive: Int(max(0, seconds)) * 1_000)
  }

  private static func address(_ node: ares_addrinfo_node) -> SocketAddress? {
    guard let sockaddr = unsafe UnsafeRawPointer(node.ai_addr) else { return nil }
    // sockaddr_in holds its address at byte 4, sockaddr_in6 at byte 8.
    let (offset, count) =
      switch unsafe node.ai_family {
      case AF_INET: (4, 4)
      case AF_INET6: (8, 16)
      default: (0, 0)
      }
    guard count > 0, unsafe Int(node.ai_addrlen) >= offset + count else { return nil }
    let bytes = unsafe UnsafeRawBufferPointer(start: sockaddr + offset, count: count)
    return unsafe SocketAddress(bytes: Array(bytes), port: 0)
  }

  private static func failure(_ status: Int32) -> LookupFailure {
    switch status {
    case cares_not_found, cares_bad_name: .notFound
    case cares_no_data: .empty
    case cares_timed_out: .timedOut
    case cares_unreachable: .unreachable
    default: .serverFailure(unsafe String(cString: ares_strerror(status)).lowercased())
    }
  }

  private static let library = ares_library_init(ARES_LIB_INIT_ALL)

  /// What the library carries from a lookup to its answer.
  private final class Lookup {
    let channel: ResolverChannel
    let number: Int
    /// The name that is asked for at the moment: the first, or an alias.
    var name: String
    /// Of addresses; nil: SRV records are asked for.
    let family: Int32?
    /// Families that are asked for alone before it counts that there are no addresses, the last
    /// first; and the one that is being asked for.
    var unconfirmed: [Int32]
    var confirmedFamily: Int32?
    /// How many aliases were followed so far, and how long they hold.
    var depth = 0
    var seconds = Int(Int32.max)

    // Bound: aliases may form a circle.
    var mayFollow: Bool { depth < DNSAnswer.aliasLimit }
    var isOfService: Bool { family == nil }

    init(channel: ResolverChannel, number: Int, name: String, family: Int32? = nil) {
      self.channel = channel
      self.number = number
      self.name = name
      self.family = family
      unconfirmed = family == AF_UNSPEC ? [AF_INET6, AF_INET] : []
    }
  }
}
