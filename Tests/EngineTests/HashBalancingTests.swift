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

  /// A group of these `server` lines, whose names are at `addresses`.
  private func ring(
    _ lines: [(text: String, weight: Int)], _ addresses: [String: [String]] = [:]
  ) -> UpstreamGroup {
    let registry = PeerRegistry()
    var settings = UpstreamSettings(name: "u")
    settings.method = .keyHash(consistent: true)
    for (text, weight) in lines {
      let target = HostPort(text, defaultPort: 80)!
      var server = UpstreamServerSettings(
        target.address.map { .address($0) } ?? .name(target.host, port: target.port))
      (server.written, server.weight) = (text, weight)
      settings.servers.append(server)
      let members = (addresses[target.host] ?? []).map {
        NamedAddress(address: SocketAddress(literal: $0, port: target.port)!)
      }
      if target.address == nil { _ = registry.record(members, of: server.host, in: "u") }
    }
    return UpstreamGroup(settings, servers: registry.servers(of: settings))
  }

  // What nginx 1.22 chose, by the number of the line, for keys key0, key7919, key15838 …
  private static let nginxRows: [([String], [Int], String)] = [
    (
      ["127.0.0.1:24310", "127.0.0.1:24311", "127.0.0.1:24312"], [1, 3, 1],
      "2211210211202111212111011121211101010111"
    ),
    (
      ["localhost:24310", "localhost:24311", "127.0.0.1:24312"], [2, 1, 1],
      "2110201222111021220001000002220000000100"
    ),
    (
      ["127.0.0.9", "LocalHost:24310", "unix:/tmp/s.hash"], [1, 1, 2],
      "2220220201222122222110022002102022210022"
    ),
  ]

  @Test(arguments: nginxRows)
  func placesLinesWhereNginxDoes(lines: [String], weights: [Int], expected: String) {
    let group = ring(
      Array(zip(lines, weights)).map { (text: $0, weight: $1) },
      ["localhost": ["127.0.0.1"], "LocalHost": ["127.0.0.1"]])
    let chosen = (0..<40).map { number in
      var tried = TriedSet()
      let store = ByteStore()
      let peer = group.choose(&tried, now: 0, key: store.append("key\(number * 7919)"))!
      group.release(peer, .success, now: 0)
      return String(lines.firstIndex(of: peer.server.written ?? "")!)
    }
    #expect(chosen.joined() == expected)
  }

  @Test func keysStayWhenTheirNameMoves() {
    let lines = [("a.test:80", 1), ("b.test:80", 1), ("10.0.0.9:80", 1)]
    let before = ring(lines, ["a.test": ["10.0.0.1"], "b.test": ["10.0.0.2"]])
    let after = ring(lines, ["a.test": ["10.7.7.7"], "b.test": ["10.0.0.2"]])
    for number in 0..<200 {
      let former = choose(before, "\(number)")
      let isMoved = former == "10.0.0.1:80"
      #expect(choose(after, "\(number)") == (isMoved ? "10.7.7.7:80" : former))
    }
  }

  @Test func addressesOfOneLineTakeTurns() {
    let lines = [("a.test:80", 2), ("10.0.0.9:80", 1)]
    let one = ring(lines, ["a.test": ["10.0.0.1"]])
    let two = ring(lines, ["a.test": ["10.0.0.1", "10.0.0.2"]])
    var counts: [String: Int] = [:]
    for number in 0..<200 {
      let former = choose(one, "\(number)")
      let server = choose(two, "\(number)")
      #expect((former == "10.0.0.9:80") == (server == "10.0.0.9:80"))
      counts[server, default: 0] += 1
    }
    #expect(abs(counts["10.0.0.1:80", default: 0] - counts["10.0.0.2:80", default: 0]) <= 1)
    // The second address is asked before another line is.
    var tried = TriedSet()
    let key = (0..<200).map(String.init).first { choose(one, $0) == "10.0.0.1:80" }!
    let store = ByteStore()
    let names = (0..<3).map { _ -> String in
      let peer = two.choose(&tried, now: 0, key: store.append(key))!
      two.release(peer, .neutral, now: 0)
      return peer.name.string
    }
    #expect(names[2] == "10.0.0.9:80" && Set(names).count == 3)
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
      UpstreamSettings.Method.keyHash(consistent: true), .random(two: false, time: nil),
      .random(two: true, time: nil),
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
    let group = group([3, 1], .random(two: false, time: nil))
    var heavy = 0
    for _ in 0..<4000 where choose(group, "") == "10.0.0.1:80" { heavy += 1 }
    #expect(heavy > 2700 && heavy < 3300)
  }
}
