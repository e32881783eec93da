// Questions to a responder that is at several addresses, some of which lead nowhere.

import CLinux
import TestSupport
import Testing

@testable import Engine

/// A listening socket on loopback, for a responder that is only connected to.
private final class ListeningPort {
  let address: SocketAddress
  private let fd: Int32

  init(_ host: String, port: UInt16 = 0) throws {
    fd = Int32(try check(linux_stream_socket(AF_INET)))
    let fd = fd
    let wanted = SocketAddress(literal: host, port: port)!
    _ = try check(wanted.withSockaddr { unsafe linux_bind(fd, $0, $1) })
    _ = try check(linux_listen(fd, 8))
    address = Socket.localAddress(fd)
  }

  deinit { _ = linux_close(fd) }

  /// Whether a connection has come since the last call.
  func accepts() -> Bool {
    let connection = linux_accept(fd, nil, nil)
    if connection >= 0 { _ = linux_close(Int32(connection)) }
    return connection >= 0
  }
}

/// A question under way on a control loop that the test turns.
private final class FetchBench {
  let core: ControlCore
  let sink = SinkLog()
  let fetches: OCSPFetches

  /// Asks a responder at `port` whose addresses are `hosts`.
  init(_ hosts: [String], port: UInt16) throws {
    core = try ControlCore()
    fetches = OCSPFetches(core, Resolver(core), sink)
    fetches.ask(
      try OCSPQuestion(
        TestPKI.one.source(chain: [TestPKI.ca]), responder: .init("http://127.0.0.1:\(port)/"),
        trustedPEM: [], verifies: false, library: TLSLibrary()))
    let addresses = hosts.map { SocketAddress(literal: $0, port: 0)! }
    fetches.onAnswer(1, .addresses(addresses, timeToLive: 1_000))
  }

  deinit { fetches.close() }

  func turn() {
    core.poller.wait(10) { handle, readiness in
      if handle.kind == .ocsp { fetches.onEvent(handle, readiness) }
    } woken: {
    }
  }

  /// Lets `time` pass without a look at the sockets.
  func pass(_ time: Milliseconds) {
    core.now += time
    var fired: [Handle] = []
    core.wheel.advance(now: core.now, &fired)
    for handle in fired where handle.kind == .ocsp { fetches.onTimer(handle) }
  }
}

struct OCSPFetchTests {
  @Test(arguments: [["127.0.0.2", "127.0.0.1"], ["::1", "127.0.0.2", "127.0.0.3", "127.0.0.1"]])
  func triesTheNextAddressWhenConnectingFails(hosts: [String]) throws {
    let responder = try ListeningPort("127.0.0.1")
    let bench = try FetchBench(hosts, port: responder.address.port)
    var isReached = false
    #expect(
      eventually {
        bench.turn()
        isReached = responder.accepts()
        return isReached || !bench.sink.lines.isEmpty
      })
    #expect(isReached, "\(bench.sink.lines)")
  }

  @Test func saysWhyTheLastAddressFailed() throws {
    let port = HeldPort()
    let bench = try FetchBench(["127.0.0.2", "127.0.0.1"], port: port.number)
    #expect(
      eventually {
        bench.turn()
        return bench.sink.hasLine("connect() failed")
      })
    #expect(bench.sink.lines.count == 1)
  }

  @Test func triesIPv4First() throws {
    let responder = try ListeningPort("127.0.0.1")
    let bench = try FetchBench(["2001:db8::1", "127.0.0.1"], port: responder.address.port)
    #expect(eventually { responder.accepts() })
    #expect(bench.sink.lines.isEmpty)
  }

  @Test func leavesTimeForTheNextAddress() throws {
    let slow = try ListeningPort("127.0.0.2")
    let responder = try ListeningPort("127.0.0.1", port: slow.address.port)
    let bench = try FetchBench(["127.0.0.2", "127.0.0.1"], port: slow.address.port)
    // Nothing is heard of the first connection within a third of the ten seconds.
    bench.pass(3_000)
    #expect(!responder.accepts())
    bench.pass(500)
    #expect(eventually { responder.accepts() })
    bench.pass(6_000)
    #expect(bench.sink.lines.isEmpty)
    bench.pass(1_000)
    #expect(bench.sink.hasLine("no answer within 10 s"))
  }
}
