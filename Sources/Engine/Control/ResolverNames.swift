// Names in `server` lines, followed for as long as they are configured: resolved at start, again
// when their TTL has passed, and with growing pauses when DNS doesn't answer. The last good answer
// holds until there is a better one. Runs on the control thread.
//
//   waiting ──(timer)──► asking ──(answer)──► waiting, for the TTL
//                          └────(failure)───► waiting, 1 s, 2 s, 4 s … 30 s, or `valid=`
//
// A service (`service=`) is asked for twice: its SRV records, then the hosts that they name.

/// The names of all upstreams.
final class ResolverNames {
  private static let emptyPause: Milliseconds = 1_000

  private struct Key: Hashable {
    let upstream: String
    let host: UpstreamServerSettings.Host
    let resolver: ResolverSettings?
  }

  private struct Watch {
    let key: Key
    let name: String
    let port: UInt16
    var displayName: String
    /// Whether an answer without addresses counts (`resolve`).
    var mayBecomeEmpty: Bool
    /// The hosts of a service, while they are being asked for.
    var service: ServiceLookup?
    let timer: TimerWheel.ID
    var pause = LookupPause()
    var isAsking = false
    /// Whether it was resolved once, or failed to be.
    var isAnswered = false
    var hasFailed = false
  }

  private let loop: ControlCore
  private let resolver: Resolver
  private let registry: PeerRegistry
  private let sink: any ControlSink
  private var watches: [Int: Watch] = [:]
  private var numbers: [Key: Int] = [:]
  private var next = 1
  private var unansweredCount = 0

  init(
    _ loop: ControlCore, _ resolver: Resolver, _ registry: PeerRegistry, _ sink: any ControlSink
  ) {
    self.loop = loop
    self.resolver = resolver
    self.registry = registry
    self.sink = sink
  }

  /// Whether each name has been resolved, or has failed to be, at least once.
  var areAnswered: Bool { unansweredCount == 0 }

  /// Follows the names of `upstreams` and no others. Names that were followed go on as they were.
  func configure(_ upstreams: [UpstreamSettings]) {
    var wanted: Set<Key> = []
    for upstream in upstreams {
      for server in upstream.servers {
        let (name, port): (String, UInt16)
        switch server.host {
        case .address: continue
        case .name(let host, let number): (name, port) = (host, number)
        case .service(let service): (name, port) = (service, 0)
        }
        let key = Key(upstream: upstream.name, host: server.host, resolver: upstream.resolver)
        guard wanted.insert(key).inserted else { continue }
        if let number = numbers[key] {
          watches[number]?.displayName = upstream.displayName
          watches[number]?.mayBecomeEmpty = server.isResolved
          continue
        }
        watches[next] = Watch(
          key: key, name: name, port: port, displayName: upstream.displayName,
          mayBecomeEmpty: server.isResolved, timer: loop.wheel.makeEntry())
        numbers[key] = next
        unansweredCount += 1
        ask(next)
        next += 1
      }
    }
    for (key, number) in numbers where !wanted.contains(key) {
      numbers[key] = nil
      guard let watch = watches.removeValue(forKey: number) else { continue }
      loop.wheel.removeEntry(watch.timer)
      if !watch.isAnswered { unansweredCount -= 1 }
    }
  }

  /// The timer of watch `number` fired.
  func onTimer(_ number: Int) { ask(number) }

  /// Takes the answer for watch `number`. Returns the upstream whose servers changed, if they did.
  func onAnswer(_ number: Int, _ result: LookupResult) -> String? {
    guard let watch = watches[number], watch.isAsking else { return nil }
    switch result {
    case .services(let records, let timeToLive):
      let service = ServiceLookup(records, timeToLive: timeToLive)
      watches[number]?.service = service
      for target in service.targets {
        resolver.ask(target, watch.key.resolver, for: .watchTarget(number, target))
      }
      return nil
    case .addresses(let found, let timeToLive):
      let members = found.map { address in
        var address = address
        address.port = watch.port
        return NamedAddress(address: address)
      }
      return settle(number, .success((members, timeToLive)))
    case .failed(.empty) where watch.mayBecomeEmpty:
      let pause = watch.key.resolver?.validity ?? Self.emptyPause
      return settle(number, .success(([], max(1, pause))))
    case .failed(let failure): return settle(number, .failure(failure))
    }
  }

  /// Takes the answer for one of the hosts of a service that watch `number` asked for.
  func onAnswer(_ number: Int, _ result: LookupResult, for target: String) -> String? {
    watches[number]?.service?.take(result, for: target)
    guard let service = watches[number]?.service, service.isComplete else { return nil }
    watches[number]?.service = nil
    if let failure = service.failure { return settle(number, .failure(failure)) }
    return settle(number, .success((service.members, service.timeToLive)))
  }

  /// Ends a round of asking, and begins to wait for the next.
  private func settle(
    _ number: Int, _ result: Result<([NamedAddress], timeToLive: Milliseconds), LookupFailure>
  ) -> String? {
    guard var watch = watches[number] else { return nil }
    watch.isAsking = false
    if !watch.isAnswered { unansweredCount -= 1 }
    watch.isAnswered = true
    var changed: String?
    switch result {
    case .success((let found, let timeToLive)):
      watch.pause = LookupPause()
      if accept(found, watch) { changed = watch.key.upstream }
      watch.hasFailed = false
      arm(watch, number, after: timeToLive)
    case .failure(let failure):
      if !watch.hasFailed { logFailure(failure, watch) }
      watch.hasFailed = true
      arm(watch, number, after: watch.pause.next(validity: watch.key.resolver?.validity))
    }
    watches[number] = watch
    return changed
  }

  private func ask(_ number: Int) {
    guard let watch = watches[number], !watch.isAsking else { return }
    watches[number]?.isAsking = true
    if case .service = watch.key.host {
      resolver.askService(watch.name, watch.key.resolver, for: .watch(number))
    } else {
      resolver.ask(watch.name, watch.key.resolver, for: .watch(number))
    }
  }

  private func arm(_ watch: Watch, _ number: Int, after pause: Milliseconds) {
    // Slot 0 of the kind is the loop's own.
    loop.wheel.set(watch.timer, at: loop.now + pause, for: Handle(.control, slot: number))
  }

  /// Records the addresses that an answer gave. True if they are not those that were known.
  private func accept(_ found: [NamedAddress], _ watch: Watch) -> Bool {
    let known = registry.addresses(of: watch.key.host, in: watch.key.upstream)
    // DNS servers rotate their answers. Servers that stay keep their place, so that the order of
    // round robin holds; at first, IPv4 comes first.
    var arriving = found
    let staying = (known ?? []).filter { member in
      // Records of a service may be equal: each stands for one server.
      guard let index = arriving.firstIndex(of: member) else { return false }
      arriving.remove(at: index)
      return true
    }
    let addresses =
      staying + arriving.filter { $0.address.addressBytes.count == 4 }
      + arriving.filter { $0.address.addressBytes.count != 4 }
    if !registry.record(addresses, of: watch.key.host, in: watch.key.upstream) {
      if watch.hasFailed {
        sink.log(.notice, "\(subject(watch)) is resolved again, to the same addresses")
      }
      return false
    }
    if known != nil || watch.hasFailed {
      let before = known.map { ", was \(list($0, watch))" } ?? ""
      sink.log(.notice, "\(subject(watch)) is at \(list(addresses, watch))\(before)")
    }
    return true
  }

  private func list(_ members: [NamedAddress], _ watch: Watch) -> String {
    if members.isEmpty { return "no address" }
    let isService = watch.port == 0
    return members.map { isService ? $0.address.description : $0.address.host }
      .joined(separator: ", ")
  }

  private func logFailure(_ failure: LookupFailure, _ watch: Watch) {
    let consequence =
      registry.addresses(of: watch.key.host, in: watch.key.upstream) == nil
      ? "it has no servers until it can be" : "its last addresses are kept"
    sink.log(.warn, "\(subject(watch)) could not be resolved: \(failure.text); \(consequence)")
  }

  private func subject(_ watch: Watch) -> String {
    let name = watch.port == 0 ? watch.name : "\(watch.name):\(watch.port)"
    return "\"\(name)\" in upstream \"\(watch.displayName)\""
  }
}

/// How long to wait before a name that could not be resolved is asked for again.
struct LookupPause {
  private var pause = shortest

  private static let shortest: Milliseconds = 1_000
  private static let longest: Milliseconds = 30_000

  /// The next pause: longer each time, but no longer than an answer counts (`valid=`), if that is
  /// known.
  mutating func next(validity: Milliseconds?) -> Milliseconds {
    defer { pause = min(pause * 2, Self.longest) }
    return max(Self.shortest, min(pause, validity ?? Self.longest))
  }
}
