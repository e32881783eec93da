// Names in `server` lines, followed for as long as they are configured: resolved at start, again
// when their TTL has passed, and with growing pauses when DNS doesn't answer. The last good answer
// holds until there is a better one. Runs on the control thread.
//
//   waiting ──(timer)──► asking ──(answer)──► waiting, for the TTL
//                          └────(failure)───► waiting, 1 s, 2 s, 4 s … 30 s

/// The names of all upstreams.
final class ResolverNames {
  private static let firstPause: Milliseconds = 1_000
  private static let longestPause: Milliseconds = 30_000

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
    let timer: TimerWheel.ID
    var pause = ResolverNames.firstPause
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
        guard case .name(let name, let port) = server.host else { continue }
        let key = Key(upstream: upstream.name, host: server.host, resolver: upstream.resolver)
        guard wanted.insert(key).inserted else { continue }
        if let number = numbers[key] {
          watches[number]?.displayName = upstream.displayName
          continue
        }
        watches[next] = Watch(
          key: key, name: name, port: port, displayName: upstream.displayName,
          timer: loop.wheel.makeEntry())
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
    guard var watch = watches[number], watch.isAsking else { return nil }
    watch.isAsking = false
    if !watch.isAnswered { unansweredCount -= 1 }
    watch.isAnswered = true
    var changed: String?
    switch result {
    case .addresses(let found, let timeToLive):
      watch.pause = Self.firstPause
      if accept(found, watch) { changed = watch.key.upstream }
      watch.hasFailed = false
      arm(watch, number, after: timeToLive)
    case .failed(let failure):
      if !watch.hasFailed { logFailure(failure, watch) }
      watch.hasFailed = true
      arm(watch, number, after: watch.pause)
      watch.pause = min(watch.pause * 2, Self.longestPause)
    }
    watches[number] = watch
    return changed
  }

  private func ask(_ number: Int) {
    guard let watch = watches[number], !watch.isAsking else { return }
    watches[number]?.isAsking = true
    resolver.ask(watch.name, watch.key.resolver, for: .watch(number))
  }

  private func arm(_ watch: Watch, _ number: Int, after pause: Milliseconds) {
    // Slot 0 of the kind is the loop's own.
    loop.wheel.set(watch.timer, at: loop.now + pause, for: Handle(.control, slot: number))
  }

  /// Records the addresses that an answer gave. True if they are not those that were known.
  private func accept(_ found: [SocketAddress], _ watch: Watch) -> Bool {
    let found = found.map { address in
      var address = address
      address.port = watch.port
      return address
    }
    let known = registry.addresses(of: watch.key.host, in: watch.key.upstream)
    // DNS servers rotate their answers. Servers that stay keep their place, so that the order of
    // round robin holds; at first, IPv4 comes first.
    let staying = (known ?? []).filter(found.contains)
    let arriving = found.filter { !staying.contains($0) }
    let addresses =
      staying + arriving.filter { $0.addressBytes.count == 4 }
      + arriving.filter { $0.addressBytes.count != 4 }
    if !registry.record(addresses, of: watch.key.host, in: watch.key.upstream) {
      if watch.hasFailed {
        sink.log(.notice, "\(subject(watch)) is resolved again, to the same addresses")
      }
      return false
    }
    let list = addresses.map(\.host).joined(separator: ", ")
    if known != nil || watch.hasFailed {
      let before = known.map { ", was \($0.map(\.host).joined(separator: ", "))" } ?? ""
      sink.log(.notice, "\(subject(watch)) is at \(list)\(before)")
    }
    return true
  }

  private func logFailure(_ failure: LookupFailure, _ watch: Watch) {
    let consequence =
      registry.addresses(of: watch.key.host, in: watch.key.upstream) == nil
      ? "it has no servers until it can be" : "its last addresses are kept"
    sink.log(.warn, "\(subject(watch)) could not be resolved: \(failure.text); \(consequence)")
  }

  private func subject(_ watch: Watch) -> String {
    "\"\(watch.name):\(watch.port)\" in upstream \"\(watch.displayName)\""
  }
}
