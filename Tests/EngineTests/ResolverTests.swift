// Names: a DNS server on loopback answers, the control thread follows what it says.

import CLinux
import Synchronization
import TestSupport
import Testing

@testable import Engine

/// Collects what the control thread tells.
final class SinkLog: ControlSink {
  func wake(_ waiter: CacheWaiter) {}
  struct Contents {
    var peers: [(String, [String])] = []
    var answers: [(UInt64, LookupResult)] = []
    var lines: [String] = []
  }

  let contents = Mutex(Contents())

  func peers(upstream: String, servers: [ResolvedServer]) {
    contents.withLock { $0.peers.append((upstream, servers.map(\.address.description))) }
  }
  func resolved(_ request: ResolveRequest, _ result: LookupResult) {
    contents.withLock { $0.answers.append((request.token, result)) }
  }
  func passwordChecked(_ job: PasswordJob, isRight: Bool) {}
  func judged(_ request: StatusRequest, _ verdict: CertificateVerdict) {}
  func stapled(_ question: OCSPQuestion, _ outcome: StapleOutcome) {}
  func log(_ level: LogLevel, _ text: String) {
    contents.withLock { $0.lines.append("[\(level.name)] \(text)") }
  }

  var lines: [String] { contents.withLock { $0.lines } }
  var lastPeers: [String]? { contents.withLock { $0.peers.last?.1 } }
  func answer(_ token: UInt64) -> LookupResult? {
    contents.withLock { $0.answers.last { $0.0 == token }?.1 }
  }
  func hasLine(_ part: String) -> Bool { lines.contains { $0.contains(part) } }
}

/// Waits until `condition` holds, at most `timeout`: generous, as everything may run at once on one
/// core.
func eventually(_ timeout: Milliseconds = 40_000, _ condition: () -> Bool) -> Bool {
  let deadline = Clock.monotonic + timeout
  while !condition() {
    if Clock.monotonic > deadline { return false }
    usleep(5_000)
  }
  return true
}

/// A control thread with its sink; ends with the test.
final class ControlBench {
  let sink = SinkLog()
  let registry = PeerRegistry()
  let control: ControlThread

  init() throws { control = try ControlThread(registry: registry, sink: sink) }
  deinit { control.stop() }
}

struct ResolverTests {
  private func address(of dns: NameServer) -> SocketAddress {
    SocketAddress(literal: "127.0.0.1", port: dns.port)!
  }

  private func upstream(_ dns: NameServer, validity: Milliseconds? = nil) -> UpstreamSettings {
    var settings = UpstreamSettings(
      name: "u", servers: [UpstreamServerSettings(.name("app.test", port: 8080))])
    settings.resolver = ResolverSettings(servers: [address(of: dns)])
    settings.resolver?.validity = validity
    return settings
  }

  @Test func resolvesNamesBeforeTheStart() throws {
    let dns = NameServer()
    dns.set("app.test", ["10.1.0.1", "10.1.0.2"])
    let bench = try ControlBench()
    let settings = upstream(dns)
    bench.control.configure(ControlPlan(upstreams: [settings]))
    #expect(bench.control.waitUntilResolved(timeout: 30_000))
    #expect(
      bench.registry.servers(of: settings).map(\.address.description)
        == ["10.1.0.1:8080", "10.1.0.2:8080"])
    #expect(bench.sink.lastPeers == ["10.1.0.1:8080", "10.1.0.2:8080"])
  }

  @Test func asksAgainNoLaterThanAnAnswerCounts() {
    func pauses(_ validity: Milliseconds?) -> [Milliseconds] {
      var pause = LookupPause()
      return (0..<7).map { _ in pause.next(validity: validity) }
    }
    #expect(pauses(nil) == [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000])
    #expect(pauses(3_000) == [1_000, 2_000, 3_000, 3_000, 3_000, 3_000, 3_000])
    #expect(pauses(0) == Array(repeating: 1_000, count: 7))
    #expect(pauses(3_600_000).last == 30_000)
  }

  @Test func followsAChangeWhenTheTimeToLiveHasPassed() throws {
    let dns = NameServer(timeToLive: 1)
    dns.set("app.test", ["10.1.0.1", "10.1.0.2"])
    let bench = try ControlBench()
    let settings = upstream(dns)
    bench.control.configure(ControlPlan(upstreams: [settings]))
    #expect(bench.control.waitUntilResolved(timeout: 30_000))
    let state = bench.registry.servers(of: settings)[1].state
    dns.set("app.test", ["10.1.0.3", "10.1.0.2"])
    #expect(eventually { bench.sink.lastPeers == ["10.1.0.2:8080", "10.1.0.3:8080"] })
    #expect(bench.registry.servers(of: settings)[0].state == state)
    #expect(bench.sink.hasLine("is at 10.1.0.2, 10.1.0.3, was 10.1.0.1, 10.1.0.2"))
  }

  @Test func keepsTheLastAnswerWhenDNSFails() throws {
    let dns = NameServer()
    dns.set("app.test", ["10.1.0.1"])
    let bench = try ControlBench()
    let settings = upstream(dns, validity: 100)
    bench.control.configure(ControlPlan(upstreams: [settings]))
    #expect(bench.control.waitUntilResolved(timeout: 30_000))
    dns.set("app.test", nil)
    #expect(eventually { bench.sink.hasLine("host not found; its last addresses are kept") })
    #expect(bench.registry.servers(of: settings).count == 1)
    dns.set("app.test", ["10.1.0.9"])
    #expect(eventually { bench.sink.lastPeers == ["10.1.0.9:8080"] })
  }

  @Test func startsWithoutANameThatDoesNotResolve() throws {
    let dns = NameServer()
    let bench = try ControlBench()
    let settings = upstream(dns)
    bench.control.configure(ControlPlan(upstreams: [settings]))
    #expect(bench.control.waitUntilResolved(timeout: 30_000))
    #expect(bench.registry.servers(of: settings).isEmpty)
    #expect(bench.sink.lines.count { $0.contains("it has no servers until it can be") } == 1)
    dns.set("app.test", ["10.1.0.1"])
    #expect(eventually { bench.sink.lastPeers == ["10.1.0.1:8080"] })
  }

  @Test func doesNotWaitForDNSForEver() throws {
    let dns = NameServer()
    dns.fallSilent()
    let bench = try ControlBench()
    bench.control.configure(ControlPlan(upstreams: [upstream(dns)]))
    #expect(!bench.control.waitUntilResolved(timeout: 100))
  }

  @Test func resolvesForRequestsAndKeepsAnswers() throws {
    let dns = NameServer()
    dns.set("run.test", ["10.2.0.1"])
    let bench = try ControlBench()
    let resolver = ResolverSettings(servers: [address(of: dns)])
    func ask(_ name: String, _ token: UInt64) -> LookupResult? {
      bench.control.post(
        .resolve(ResolveRequest(name: name, resolver: resolver, token: token, worker: 3)))
      _ = eventually { bench.sink.answer(token) != nil }
      return bench.sink.answer(token)
    }
    let expected = [SocketAddress(literal: "10.2.0.1", port: 0)!]
    for token in 1...3 {
      guard case .addresses(let found, _) = ask("run.test", UInt64(token)) else {
        Issue.record("no answer")
        return
      }
      #expect(found == expected)
    }
    #expect(dns.queryCount == 1)
    #expect(ask("none.test", 10) == .failed(.notFound))
    guard case .addresses(let literal, _) = ask("::1", 11) else {
      Issue.record("a literal is its own answer")
      return
    }
    #expect(literal.map(\.host) == ["::1"])
  }

  /// A name whose answer needs TCP, which the server doesn't speak, fails alone.
  @Test func aNameThatFailsTakesNoOthersAlong() throws {
    let dns = NameServer()
    dns.set("slow.test", ["10.2.0.1"])
    dns.hold("slow.test")
    dns.truncate("bad.test")
    let bench = try ControlBench()
    let resolver = ResolverSettings(servers: [address(of: dns)])
    func ask(_ name: String, _ token: UInt64) {
      bench.control.post(
        .resolve(ResolveRequest(name: name, resolver: resolver, token: token, worker: 0)))
    }
    ask("slow.test", 1)
    #expect(eventually { dns.holdsQuestion })
    ask("bad.test", 2)
    #expect(eventually { bench.sink.answer(2) != nil })
    #expect(bench.sink.answer(2) == .failed(.unreachable))
    #expect(bench.sink.answer(1) == nil)
    dns.letGo()
    #expect(eventually { bench.sink.answer(1) != nil })
    guard case .addresses = bench.sink.answer(1) else {
      Issue.record("\(String(describing: bench.sink.answer(1)))")
      return
    }
  }

  /// A lookup that fails when a reload has given its channel up, and is asked once more.
  @Test func aLookupOutlivesAReloadAndFails() throws {
    let dns = NameServer()
    dns.hold("bad.test")
    dns.truncate("bad.test")
    let bench = try ControlBench()
    bench.control.configure(ControlPlan(upstreams: []))
    let resolver = ResolverSettings(servers: [address(of: dns)])
    bench.control.post(
      .resolve(ResolveRequest(name: "bad.test", resolver: resolver, token: 1, worker: 0)))
    #expect(eventually { dns.holdsQuestion })
    bench.control.configure(ControlPlan(upstreams: []))
    #expect(bench.control.waitUntilResolved(timeout: 30_000))
    dns.letGo()
    #expect(eventually { bench.sink.answer(1) == .failed(.unreachable) })
  }

  @Test func tellsARequestWhenItsTimeIsUp() throws {
    let dns = NameServer()
    dns.fallSilent()
    let bench = try ControlBench()
    var resolver = ResolverSettings(servers: [address(of: dns)])
    resolver.timeout = 100
    bench.control.post(
      .resolve(ResolveRequest(name: "slow.test", resolver: resolver, token: 1, worker: 0)))
    #expect(eventually { bench.sink.answer(1) == .failed(.timedOut) })
  }

  @Test func readsTheHostsFileWithoutAResolver() throws {
    let bench = try ControlBench()
    let settings = UpstreamSettings(
      name: "u", servers: [UpstreamServerSettings(.name("localhost", port: 80))])
    bench.control.configure(ControlPlan(upstreams: [settings]))
    #expect(bench.control.waitUntilResolved(timeout: 30_000))
    let hosts = bench.registry.servers(of: settings).map(\.address.host)
    #expect(hosts.contains("127.0.0.1") || hosts.contains("::1"))
  }

  @Test func forgetsNamesThatLeftTheConfiguration() throws {
    let dns = NameServer(timeToLive: 1)
    dns.set("app.test", ["10.1.0.1"])
    let bench = try NamesBench()
    bench.names.configure([upstream(dns)])
    try bench.waitForAnswers()
    // It would be asked for again,
    #expect(bench.timers(within: 2_000) == 1)
    bench.names.configure([upstream(dns)])
    bench.askAgain()
    try bench.waitForAnswers()
    #expect(dns.queryCount == 2)
    // and isn't, however long it is waited.
    bench.names.configure([])
    #expect(bench.timers(within: 3_600_000) == 0)
    #expect(dns.queryCount == 2)
  }
}

/// The names of upstreams on a loop whose clock is set by hand.
private final class NamesBench {
  let names: ResolverNames
  private let core: ControlCore
  private let resolver: Resolver
  private var fired: [Handle] = []

  init() throws {
    core = try ControlCore()
    resolver = Resolver(core)
    names = ResolverNames(core, resolver, PeerRegistry(), SinkLog())
  }

  deinit { resolver.close() }

  /// Handles what DNS says until nobody waits for it.
  func waitForAnswers() throws {
    // Bound: each turn waits for an event.
    for _ in 0..<1_000 {
      for case (.watch(let number), let result) in resolver.takeAnswers() {
        _ = names.onAnswer(number, result)
        answered += 1
      }
      if answered == asked { return }
      core.poller.wait(1_000) { handle, readiness in
        resolver.onEvent(socket: Int32(handle.slot), channel: Int(handle.generation), readiness)
      } woken: {
      }
    }
    Issue.record("no answer from DNS")
  }

  private var answered = 0
  private var asked = 1

  /// Sets the clock forward; how many names are due.
  func timers(within time: Milliseconds) -> Int {
    core.now += time
    fired.removeAll()
    core.wheel.advance(now: core.now, &fired)
    fired.removeAll { $0.kind != .control }
    return fired.count
  }

  /// Lets the names that are due be asked for.
  func askAgain() {
    for handle in fired { names.onTimer(handle.slot) }
    asked += fired.count
  }
}
