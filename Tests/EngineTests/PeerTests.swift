// Servers that come and go: states survive, turns are kept, slots are never shared.

import Testing

@testable import Engine

struct PeerTests {
  private let name = UpstreamServerSettings.Host.name("app.test", port: 80)

  private func addresses(_ numbers: Int...) -> [SocketAddress] {
    numbers.map { SocketAddress(literal: "10.0.0.\($0)", port: 80)! }
  }

  private func members(_ numbers: Int...) -> [NamedAddress] {
    numbers.map { NamedAddress(address: addresses($0)[0]) }
  }

  private func upstream() -> UpstreamSettings {
    UpstreamSettings(name: "u", servers: [UpstreamServerSettings(name)])
  }

  @Test func findsTheSameStateAgain() {
    let registry = PeerRegistry()
    let address = addresses(1)[0]
    let state = registry.state(upstream: "u", address: address)
    #expect(registry.state(upstream: "u", address: address) == state)
    #expect(registry.state(upstream: "v", address: address) != state)
    #expect(registry.state(upstream: "u", address: address, occurrence: 1) != state)
  }

  @Test func givesEqualServersOfOneUpstreamStatesOfTheirOwn() {
    let address = addresses(1)[0]
    let settings = UpstreamSettings(
      name: "u", servers: Array(repeating: UpstreamServerSettings(.address(address)), count: 2))
    let registry = PeerRegistry()
    let servers = registry.servers(of: settings)
    #expect(servers.count == 2 && servers[0].state != servers[1].state)
    #expect(registry.servers(of: settings).map(\.state) == servers.map(\.state))
  }

  @Test func recyclesStatesThatNobodyUses() {
    let registry = PeerRegistry()
    var settings = UpstreamSettings(name: "u")
    settings.servers = addresses(1, 2).map { UpstreamServerSettings(.address($0)) }
    let states = registry.servers(of: settings).map(\.state)
    settings.servers.removeLast()
    #expect(states[1].enter(limit: 0))
    states[1].recordLatency(microseconds: 800, now: 1)
    registry.recycle(keeping: [settings], now: 0)
    registry.recycle(keeping: [settings], now: 61_000)
    #expect(registry.count == 2)
    states[1].leave()
    registry.recycle(keeping: [settings], now: 61_000)
    #expect(registry.count == 1)
    // The block serves another server, as new.
    let other = registry.state(upstream: "v", address: addresses(9)[0])
    #expect(other == states[1] && other.latencyMicroseconds == 0)
  }

  @Test func leavesStatesToGroupsThatNoPlanNames() {
    let registry = PeerRegistry()
    let settings = UpstreamSettings(
      name: "computed|10.0.0.1:80", servers: [.init(.address(addresses(1)[0]))])
    var group: UpstreamGroup? = UpstreamGroup(settings, servers: registry.servers(of: settings))
    let state = group?.peers.first?.state
    for minute in 0..<5 { registry.recycle(keeping: [], now: minute * 61_000) }
    #expect(registry.count == 1)
    let other = registry.state(upstream: "u", address: addresses(2)[0])
    #expect(other != state)
    #expect(registry.servers(of: settings).map(\.state) == [state])
    // Once the group is gone, its server has the usual time to return.
    group = nil
    registry.recycle(keeping: [], now: 400_000)
    registry.recycle(keeping: [], now: 459_000)
    #expect(registry.count == 2)
    registry.recycle(keeping: [], now: 460_000)
    #expect(registry.count == 0)
  }

  @Test func keepsStatesOfServersThatReturnInTime() {
    let registry = PeerRegistry()
    var settings = UpstreamSettings(name: "u")
    settings.servers = addresses(1, 2).map { UpstreamServerSettings(.address($0)) }
    let states = registry.servers(of: settings).map(\.state)
    let all = settings
    settings.servers.removeLast()
    registry.recycle(keeping: [settings], now: 0)
    registry.recycle(keeping: [all], now: 59_000)
    registry.recycle(keeping: [settings], now: 100_000)
    registry.recycle(keeping: [settings], now: 159_000)
    #expect(registry.servers(of: all).map(\.state) == states)
  }

  @Test func remembersWhatNamesWereResolvedTo() {
    let registry = PeerRegistry()
    #expect(registry.servers(of: upstream()).isEmpty)
    #expect(registry.record(members(1, 2), of: name, in: "u"))
    #expect(!registry.record(members(1, 2), of: name, in: "u"))
    #expect(registry.servers(of: upstream()).map(\.address) == addresses(1, 2))
    #expect(registry.servers(of: UpstreamSettings(name: "v", servers: [.init(name)])).isEmpty)
  }

  @Test func keepsTurnsWeightsAndSlotsWhenServersChange() {
    let registry = PeerRegistry()
    _ = registry.record(members(1, 2, 3), of: name, in: "u")
    let group = UpstreamGroup(upstream(), servers: registry.servers(of: upstream()))
    var tried = TriedSet()
    let first = group.choose(&tried, now: 0)!
    group.release(first, .failure, now: 0)
    let before = Dictionary(uniqueKeysWithValues: zip(group.peers.map(\.address), group.peers))
    let turns = group.primary.seats.map(\.currentWeight)

    _ = registry.record(members(1, 3, 4), of: name, in: "u")
    group.update(registry.servers(of: upstream()))
    #expect(!group.has(before[addresses(2)[0]]!.state))
    #expect(group.peers[0] === before[addresses(1)[0]])
    #expect(group.peers[1] === before[addresses(3)[0]])
    #expect(group.primary.seats[0].currentWeight == turns[0])
    #expect(group.primary.seats[0].effectiveWeight == 0)
    #expect(group.primary.seats[1].currentWeight == turns[2])
    #expect(Set(group.peers.map(\.slot)).count == 3)
  }

  @Test func canLoseAllServersAndGetThemBack() {
    let registry = PeerRegistry()
    let group = UpstreamGroup(upstream(), servers: [])
    var tried = TriedSet()
    #expect(group.isEmpty && group.choose(&tried, now: 0) == nil)
    _ = registry.record(members(1), of: name, in: "u")
    group.update(registry.servers(of: upstream()))
    #expect(group.isSingle && group.choose(&tried, now: 0) != nil)
    group.update([])
    tried.removeAll()
    #expect(group.choose(&tried, now: 0) == nil)
  }

  @Test func namesAServerAsLogsShowIt() {
    let settings = UpstreamSettings(
      name: "u", servers: [.init(.address(SocketAddress(literal: "::1", port: 8080)!))])
    let group = UpstreamGroup(settings, servers: PeerRegistry().servers(of: settings))
    #expect(group.peers[0].name.string == "[::1]:8080")
  }

  @Test func averagesLatency() {
    let state = PeerState()
    state.recordLatency(microseconds: 800, now: 1)
    #expect(state.latencyMicroseconds == 800)
    state.recordLatency(microseconds: 1_600, now: 2)
    #expect(state.latencyMicroseconds == 900)
  }
}
