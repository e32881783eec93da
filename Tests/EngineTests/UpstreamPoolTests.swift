// What pools of connections to upstreams remember, and for how long.

import TestSupport
import Testing

@testable import Engine

struct UpstreamPoolTests {
  private func upstream(_ number: Int) -> UpstreamSettings { UpstreamSettings(name: "u\(number)") }

  @Test func forgetsUpstreamsThatNobodyKnows() throws {
    let loop = try Loop()
    var plain = UpstreamPool(loop: loop)
    var streamed = H2UpstreamPool(loop: loop)
    let kept = (plain.list(of: upstream(7)), streamed.list(of: upstream(7)))
    let gone = (plain.list(of: upstream(8)), streamed.list(of: upstream(8)))
    for number in 0..<1000 {
      _ = plain.list(of: upstream(number))
      _ = streamed.list(of: upstream(number))
    }
    plain.prune { $0 == "u7" }
    streamed.prune { $0 == "u7" }
    #expect(plain.listCount == 1 && streamed.listCount == 1)
    #expect(plain.list(of: upstream(7)) === kept.0)
    #expect(streamed.list(of: upstream(7)) === kept.1)
    // Who still has one that was forgotten keeps nothing where nobody looks.
    #expect(gone.0.limit == 0 && gone.1.keepalive.connectionCount == 0)
    #expect(plain.list(of: upstream(8)) !== gone.0)
  }

  @Test func keepsUpstreamsThatHaveConnections() throws {
    let server = HeldPort()
    let listener = server.listen()
    defer { Socket.close(listener) }
    let address = try #require(SocketAddress(literal: "127.0.0.1", port: server.number))
    let state = PeerState()
    var pool = UpstreamPool(loop: try Loop())
    let list = pool.list(of: upstream(1))
    let connection = try pool.connect(to: address, state, from: nil, for: list).get()
    pool.checkIn(connection, timeout: 60_000)
    pool.prune { _ in false }
    #expect(pool.listCount == 1 && list.connections.count == 1)
    #expect(pool.checkOut(list, state, nil) === connection)
    pool.prune { _ in false }
    #expect(pool.listCount == 0)
    // It was in use, and is closed once it isn't.
    pool.checkIn(connection, timeout: 60_000)
    #expect(pool.count == 0 && list.connections.isEmpty)
  }

  @Test func givesUpConnectionsToServersThatLeft() throws {
    let server = HeldPort()
    let listener = server.listen()
    defer { Socket.close(listener) }
    let address = try #require(SocketAddress(literal: "127.0.0.1", port: server.number))
    let (stays, leaves) = (PeerState(), PeerState())
    var pool = UpstreamPool(loop: try Loop())
    let list = pool.list(of: upstream(1))
    for state in [stays, leaves] {
      pool.checkIn(
        try pool.connect(to: address, state, from: nil, for: list).get(), timeout: 60_000)
    }
    let used = try pool.connect(to: address, leaves, from: nil, for: list).get()
    used.exchange = Handle(.exchange, slot: 0)
    pool.retire { $0 == "u1" && $1 == stays }
    #expect(pool.count == 2)
    pool.checkIn(used, timeout: 60_000)
    #expect(pool.count == 1 && pool.checkOut(list, stays, nil) != nil)
  }
}
