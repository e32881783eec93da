// How many connections are accepted at a time, and what they take over from their listening socket.

import CLinux
import Testing

@testable import Engine

@Suite struct AcceptTests {
  @Test func whoComesAloneIsAcceptedAlone() {
    var batch = AcceptBatch()
    #expect([3, 5, 9, 20].map { batch.next(turn: $0, many: false) } == [1, 1, 1, 1])
  }

  @Test func aCrowdIsAcceptedInGrowingBatches() {
    var batch = AcceptBatch()
    #expect((3...8).map { batch.next(turn: $0, many: false) } == [1, 2, 4, 8, 8, 8])
    // Nobody came for a turn.
    #expect(batch.next(turn: 10, many: false) == 1)
  }

  @Test func multiAcceptTakesManyAtOnce() {
    var batch = AcceptBatch()
    #expect([3, 7].map { batch.next(turn: $0, many: true) } == [64, 64])
  }

  @Test func connectionsTakeOverThatNothingIsDelayed() throws {
    let settings = ListenSettings(
      address: try #require(SocketAddress(literal: "127.0.0.1", port: 0)))
    let listener = try ListenerSockets.open(settings)
    _ = AcceptingSocket(fd: listener, listen: ListenPlan(settings: settings))
    let client = Int32(linux_socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0))
    defer { for fd in [listener, client] { _ = linux_close(fd) } }
    #expect(Socket.connect(client, to: Socket.localAddress(listener)) == nil)
    let poller = try Poller()
    try poller.addReader(listener, .none, exclusive: false)
    poller.wait(10_000, { _, _ in }, woken: {})
    let accepted = Int32(linux_accept(listener, nil, nil))
    #expect(linux_get_option(accepted, Int32(IPPROTO_TCP), TCP_NODELAY) == 1)
    _ = linux_close(accepted)
  }
}
