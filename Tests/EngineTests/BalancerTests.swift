// The order in which servers are asked: nginx's, to the request, and what is ours on top of it.

import Testing

@testable import Engine

/// A group of servers a, b, c … at 10.0.0.1, 10.0.0.2 …, and a clock.
final class BalancerBench {
  let group: UpstreamGroup
  var now: Milliseconds = 1_000_000

  typealias Change = (inout UpstreamServerSettings) -> Void

  init(_ changes: [Change], _ method: UpstreamSettings.Method = .roundRobin) {
    var settings = UpstreamSettings(name: "u")
    settings.method = method
    settings.isSticky = true
    for (index, change) in changes.enumerated() {
      let address = SocketAddress(literal: "10.0.0.\(index + 1)", port: 80)!
      var server = UpstreamServerSettings(.address(address))
      change(&server)
      settings.servers.append(server)
    }
    group = UpstreamGroup(settings, servers: PeerRegistry().servers(of: settings))
  }

  convenience init(weights: [Int], _ method: UpstreamSettings.Method = .roundRobin) {
    self.init(weights.map { weight -> Change in { $0.weight = weight } }, method)
  }

  /// The letter of a server.
  func letter(_ peer: Peer?) -> String {
    guard let peer else { return "-" }
    return String(UnicodeScalar(UInt8(ascii: "a") + peer.address.addressBytes[3] - 1))
  }

  /// One request that tries servers until one succeeds; `broken` ones fail. The letters tried.
  func request(broken: String = "") -> String {
    var tried = TriedSet()
    var letters = ""
    while let peer = group.choose(&tried, now: now) {
      letters += letter(peer)
      let isBroken = broken.contains(letter(peer))
      group.release(peer, isBroken ? .failure : .success, now: now)
      if !isBroken { return letters }
    }
    return letters + "-"
  }

  func requests(_ count: Int, broken: String = "") -> String {
    (0..<count).map { _ in request(broken: broken) }.joined(separator: " ")
  }

  /// A request that stays in flight.
  func open() -> Peer? {
    var tried = TriedSet()
    return group.choose(&tried, now: now)
  }
}

struct BalancerTests {
  @Test(arguments: [
    ([1, 1, 1], "a b c a b c a"),
    ([5, 1, 1], "a a b a c a a a a b a c a a"),
    ([3, 2, 1], "a b a c b a a b a c b a"),
    ([2, 1], "a b a a b a"),
    ([1, 4], "b b a b b b b a b b"),
  ])
  func takesTurnsByWeight(weights: [Int], expected: String) {
    let bench = BalancerBench(weights: weights)
    #expect(bench.requests(expected.split(separator: " ").count) == expected)
  }

  @Test func triesTheNextServerAndKeepsTheFailedOneOutUntilItsTime() {
    let bench = BalancerBench(weights: [1, 1, 1])
    #expect(bench.requests(4, broken: "b") == "a bc c a")
    bench.now += 10_000
    #expect(bench.requests(2, broken: "b") == "c a")
    bench.now += 1
    // Its turn comes late, because it weighs nothing at first.
    #expect(bench.requests(4, broken: "b") == "c a c ba")
    #expect(!bench.requests(6, broken: "b").contains("b"))
  }

  @Test func givesOneTrialAfterFailTimeoutAndForgivesASuccess() {
    let bench = BalancerBench(weights: [1, 1])
    _ = bench.requests(2, broken: "b")
    bench.now += 10_001
    // The trial is in flight: nobody else may try.
    var trial: Peer?
    for _ in 0..<4 {
      let peer = bench.open()!
      if bench.letter(peer) == "b" {
        #expect(trial == nil)
        trial = peer
      } else {
        bench.group.release(peer, .success, now: bench.now)
      }
    }
    #expect(trial != nil)
    #expect(bench.requests(3) == "a a a")
    bench.group.release(trial!, .success, now: bench.now)
    #expect(trial!.state.fails == 0)
    #expect(bench.requests(6).filter { $0 == "b" }.count == 3)
  }

  @Test func countsFailuresUpToMaxFails() {
    let bench = BalancerBench([{ _ in }, { $0.maxFails = 3 }])
    var failed = 0
    for _ in 0..<20 { failed += bench.request(broken: "b").contains("b") ? 1 : 0 }
    #expect(failed == 3)
  }

  @Test func neverTakesAServerOutWithoutMaxFails() {
    let bench = BalancerBench([{ _ in }, { $0.maxFails = 0 }])
    var failed = 0
    for _ in 0..<20 { failed += bench.request(broken: "b").contains("b") ? 1 : 0 }
    #expect(failed == 10)
  }

  @Test func lowersTheWeightOfAServerThatFailedAndLetsItRecover() {
    let heavy: BalancerBench.Change = {
      $0.weight = 4
      $0.maxFails = 2
    }
    let bench = BalancerBench([{ $0.weight = 1 }, heavy])
    #expect(bench.requests(1, broken: "b") == "ba")
    #expect(bench.group.primary.seats[1].effectiveWeight == 2)
    _ = bench.requests(2)
    #expect(bench.group.primary.seats[1].effectiveWeight == 4)
  }

  @Test func whoIsBoundGoesToItsServerWithoutTakingATurn() {
    let bench = BalancerBench([{ _ in }, { $0.route = "b" }, { $0.isBackup = true }])
    func bound(_ route: String, broken: String = "") -> String {
      var (tried, letters) = (TriedSet(), "")
      let route = route.withBytes { Route($0) }
      while let peer = bench.group.choose(&tried, now: bench.now, route: route) {
        letters += bench.letter(peer)
        let isBroken = broken.contains(bench.letter(peer))
        bench.group.release(peer, isBroken ? .failure : .success, now: bench.now)
        if !isBroken { break }
      }
      return letters
    }
    #expect(bench.requests(1) == "a")
    for _ in 0..<5 { #expect(bound("b") == "b") }
    #expect(bench.requests(3) == "b a b")
    // The digest of 10.0.0.1:80, by md5sum.
    #expect(bench.group.peers[0].route.string == "1484b8b3753313249a03bcfd7b96938d")
    #expect(bound(bench.group.peers[0].route.string) == "a")
    // A backup is reached when its tier is: not by whoever knows its name.
    let backup = bench.group.peers[2].route.string
    #expect(bound(backup) != "c")
    #expect(bound("b", broken: "b") == "ba")
    #expect(bound("b") == "a")
    #expect(bound("nobody") == "a" && bound("") == "a")
  }

  @Test func asksBackupsOnlyWhenNoPrimaryServerIsLeft() {
    let bench = BalancerBench([{ _ in }, { _ in }, { $0.isBackup = true }])
    #expect(bench.requests(4) == "a b a b")
    #expect(bench.requests(3, broken: "ab") == "abc c c")
    #expect(bench.group.peers.map { bench.letter($0) } == ["a", "b", "c"])
  }

  @Test func neverAsksAServerThatIsDown() {
    let bench = BalancerBench([{ $0.isDown = true }, { _ in }])
    #expect(bench.requests(2) == "b b")
    #expect(bench.group.tryCount == 1)
    // Not even when nobody else is left.
    #expect(bench.requests(2, broken: "b") == "b- b-")
    #expect(BalancerBench([{ $0.isDown = true }]).request() == "-")
  }

  @Test func neverTakesTheOnlyServerOut() {
    let bench = BalancerBench(weights: [1])
    #expect(bench.requests(3, broken: "a") == "a- a- a-")
    #expect(bench.request() == "a")
  }

  @Test func triesTheServerThatMayBeSoonestWhenAllAreOut() {
    let bench = BalancerBench(weights: [1, 1, 1])
    for (index, peer) in bench.group.peers.enumerated() {
      _ = peer.state.recordFailure(now: bench.now + [100, 0, 200][index])
    }
    bench.now += 300
    // b failed first, so it is back first; its success ends its exile.
    #expect(bench.request(broken: "b") == "ba")
    #expect(bench.requests(3) == "a a a")
  }

  @Test func triesEachServerOnceWhenAllAreOutAndFail() {
    let bench = BalancerBench(weights: [1, 1])
    #expect(bench.request(broken: "ab") == "ab-")
    bench.now += 20
    #expect(bench.request(broken: "ab").count == 3)
  }

  @Test func respectsMaxConnections() {
    let bench = BalancerBench([{ $0.maxConnections = 2 }, { $0.maxConnections = 1 }])
    let open = (0..<3).map { _ in bench.open() }
    #expect(open.map { bench.letter($0) } == ["a", "b", "a"])
    #expect(bench.open() == nil)
    bench.group.release(open[1]!, .neutral, now: bench.now)
    #expect(bench.letter(bench.open()) == "b")
    let only = BalancerBench([{ $0.maxConnections = 1 }])
    let first = only.open()
    #expect(first != nil && only.open() == nil)
  }

  @Test func avoidsServersWhoseChecksFailAndUsesThemLast() {
    let bench = BalancerBench(weights: [1, 1, 1])
    let states = bench.group.peers.map(\.state)
    states[0].health = .unhealthy
    states[1].health = .unchecked
    #expect(bench.requests(2) == "c c")
    #expect(bench.request(broken: "c") == "ca")
    states[0].health = .healthy
    states[1].health = .healthy
    #expect(bench.requests(4).contains("b"))
  }

  @Test func choosesTheLeastBusyServerForItsWeight() {
    let bench = BalancerBench(weights: [1, 2], .leastConnections)
    // Ties go by weighted turns; else the one with fewer requests for its weight.
    let letters = (0..<6).map { _ in bench.letter(bench.open()) }
    #expect(letters.joined() == "bababb")
    let states = bench.group.peers.map(\.state)
    #expect(states[0].active == 2 && states[1].active == 4)
  }

  @Test func takesTurnsAmongServersThatAreEquallyBusy() {
    let bench = BalancerBench(weights: [1, 1, 1], .leastConnections)
    #expect(bench.requests(6) == "a b c a b c")
    let weighted = BalancerBench(weights: [2, 1], .leastConnections)
    #expect(weighted.requests(6) == "a b a a b a")
  }

  @Test func leastBusySkipsFailedServersAndUsesBackups() {
    let bench = BalancerBench(
      [{ _ in }, { _ in }, { $0.isBackup = true }], .leastConnections)
    #expect(bench.request(broken: "ab") == "abc")
    #expect(bench.requests(2) == "c c")
  }

  @Test func remembersManyTriedServers() {
    var tried = TriedSet()
    for slot in [0, 63, 64, 200] {
      #expect(!tried.contains(slot))
      tried.insert(slot)
      #expect(tried.contains(slot))
    }
    tried.remove(200)
    tried.remove(0)
    #expect(!tried.contains(200) && !tried.contains(0) && tried.contains(63))
    tried.removeAll()
    #expect(tried.isEmpty)
  }

  @Test func triesEachOfAHundredServersOnce() {
    let bench = BalancerBench(weights: Array(repeating: 1, count: 100))
    var tried = TriedSet()
    var slots: Set<Int> = []
    while let peer = bench.group.choose(&tried, now: bench.now) {
      slots.insert(peer.slot)
      bench.group.release(peer, .failure, now: bench.now)
    }
    #expect(slots.count == 100)
  }
}
