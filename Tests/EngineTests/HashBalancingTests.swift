// Which server a key leads to, and that chance keeps to the weights.

import HTTP
import Testing

@testable import Engine

@Suite struct HashBalancingTests {
  private func group(_ weights: [Int], _ method: UpstreamSettings.Method) -> UpstreamGroup {
    var settings = UpstreamSettings(name: "u")
    settings.method = method
    settings.servers = weights.enumerated().map { index, weight in
      var server = UpstreamServerSettings(
        .address(SocketAddress(literal: "10.0.0.\(index + 1)", port: 80)!))
      server.weight = weight
      return server
    }
    return UpstreamGroup(settings, servers: PeerRegistry().servers(of: settings))
  }

  private func choose(_ group: UpstreamGroup, _ key: String) -> String {
    var tried = TriedSet()
    let store = ByteStore()
    let peer = group.choose(&tried, now: 1_000_000, key: store.append(key))!
    group.release(peer, .success, now: 1_000_000)
    return peer.name.string
  }

  @Test func computesTheCRCOfZlib() {
    var crc = CRC32()
    crc.add(Bytes("123456789"))
    #expect(crc.value == 0xcbf4_3926)
  }

  @Test(arguments: [
    UpstreamSettings.Method.keyHash(consistent: false), .keyHash(consistent: true), .addressHash,
  ])
  func leadsAKeyToTheSameServerAndKeysToAll(method: UpstreamSettings.Method) {
    let group = group([1, 1, 1], method)
    let keys = (0..<100).map { "\($0 * 7 % 100)k" }
    let first = keys.map { choose(group, $0) }
    #expect(keys.map { choose(group, $0) } == first)
    #expect(Set(first).count == 3)
  }

  @Test func movesOnlyTheKeysOfTheServerThatLeft() {
    let (all, fewer) = (
      group([1, 2, 1], .keyHash(consistent: true)), group([1, 2], .keyHash(consistent: true))
    )
    for number in 0..<200 where choose(all, "\(number)") != "10.0.0.3:80" {
      #expect(choose(fewer, "\(number)") == choose(all, "\(number)"))
    }
  }

  @Test func clientsWithoutAnAddressAreOneClient() {
    let group = group([1, 1, 1], .addressHash)
    #expect(Set((0..<6).map { _ in choose(group, "") }).count == 1)
  }

  @Test func takesTurnsWithoutAKey() {
    let group = group([1, 1, 1], .keyHash(consistent: false))
    #expect(Set((0..<3).map { _ in choose(group, "") }).count == 3)
  }

  @Test func asksEachServerOnceBeforeGivingUp() {
    for method in [
      UpstreamSettings.Method.keyHash(consistent: true), .random(two: false), .random(two: true),
    ] {
      let group = group([1, 1, 1, 1], method)
      var tried = TriedSet()
      var names: Set<String> = []
      while let peer = group.choose(&tried, now: 1_000_000, key: Bytes("key")) {
        names.insert(peer.name.string)
        group.release(peer, .neutral, now: 1_000_000)
      }
      #expect(names.count == 4)
    }
  }

  @Test func keepsToTheWeightsByChance() {
    let group = group([3, 1], .random(two: false))
    var heavy = 0
    for _ in 0..<4000 where choose(group, "") == "10.0.0.1:80" { heavy += 1 }
    #expect(heavy > 2700 && heavy < 3300)
  }
}
