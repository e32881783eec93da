// Active health checks against servers on loopback that answer well, badly, half or not at all.

import CLinux
import HTTP
import Synchronization
import TestSupport
import Testing

@testable import Engine

/// A server on loopback that answers every connection with the same bytes.
final class FakeServer: Sendable {
  enum Behaviour {
    case answer(String)
    /// Accepts and never answers.
    case silent
  }

  let address: SocketAddress
  let behaviour: Mutex<Behaviour>
  let requests = Mutex<[String]>([])
  private let accepted = Atomic(0)
  /// Checks of a server that was stopped must not come to another test's.
  private let port: HeldPort
  private let listener: Int32

  init(
    _ answer: String = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    host: String = "127.0.0.1"
  ) throws {
    behaviour = Mutex(.answer(answer))
    listener = Int32(try check(linux_stream_socket(AF_INET)))
    port = HeldPort()
    let any = SocketAddress(literal: host, port: port.number)!
    let listener = listener
    _ = linux_set_option(listener, SOL_SOCKET, SO_REUSEADDR, 1)
    _ = try check(any.withSockaddr { unsafe linux_bind(listener, $0, $1) })
    _ = try check(linux_listen(listener, 1_024))
    address = Socket.localAddress(listener)
    _ = Thread.start("fake-server") { [self] in serve() }
  }

  func answer(_ text: String) { behaviour.withLock { $0 = .answer(text) } }
  func fallSilent() { behaviour.withLock { $0 = .silent } }
  /// Refuses connections from here on.
  func stop() { _ = linux_shutdown_both(listener) }
  var requestCount: Int { requests.withLock { $0.count } }
  var connectionCount: Int { accepted.load(ordering: .acquiring) }

  private func serve() {
    let poller = try! Poller()
    try! poller.addReader(listener, .none, exclusive: false)
    var kept: [Int32] = []
    while true {
      poller.wait(-1, { _, _ in }, woken: {})
      let accepted = linux_accept(listener, nil, nil)
      if accepted == -Int64(EAGAIN) { continue }
      if accepted < 0 { break }
      let fd = Int32(accepted)
      self.accepted.add(1, ordering: .releasing)
      switch behaviour.withLock({ $0 }) {
      case .silent: kept.append(fd)
      case .answer(let text):
        let buffer = Buffer(capacity: 4_096)
        // Until a request has come, or the other side has given up.
        _ = eventually {
          switch Socket.receive(fd, into: buffer.free) {
          case .bytes(let count):
            buffer.produced(count)
            return true
          case .wouldBlock: return false
          default: return true
          }
        }
        if !buffer.isEmpty { requests.withLock { $0.append(buffer.unread.string) } }
        var text = text
        text.withUTF8 { utf8 in
          guard let base = utf8.baseAddress else { return }
          _ = Socket.send(fd, unsafe Bytes(base: base, count: utf8.count), more: false)
        }
        Socket.close(fd)
      }
    }
    for fd in kept { Socket.close(fd) }
    Socket.close(listener)
  }
}

struct HealthCheckTests {
  /// The interval is what a check may take, too: no busy machine makes a good server fail.
  private func upstream(
    _ servers: [FakeServer], _ change: (inout HealthCheckSettings) -> Void = { _ in }
  ) -> UpstreamSettings {
    var settings = UpstreamSettings(
      name: "api", servers: servers.map { UpstreamServerSettings(.address($0.address)) })
    var check = HealthCheckSettings()
    check.interval = 500
    change(&check)
    settings.healthCheck = check
    return settings
  }

  private func states(_ bench: ControlBench, _ settings: UpstreamSettings) -> [PeerState] {
    bench.registry.servers(of: settings).map(\.state)
  }

  @Test func takesAServerOutAndBringsItBack() throws {
    let server = try FakeServer()
    let settings = upstream([server]) {
      $0.fails = 3
      $0.passes = 2
    }
    let bench = try ControlBench()
    bench.control.configure(ControlPlan(upstreams: [settings]))
    let state = states(bench, settings)[0]
    #expect(eventually { server.requestCount >= 2 })
    #expect(state.health == .healthy)
    server.answer("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
    #expect(eventually { state.health == .unhealthy })
    let name = server.address.description
    let subject = "health check of \(name) in upstream \"api\""
    let failure = "\(subject) failed: 503 Service Unavailable (3 of 3)"
    #expect(eventually { bench.sink.hasLine("[warn] \(failure)") })
    #expect(bench.sink.hasLine("(1 of 3)"))
    _ = state.recordFailure(now: Clock.monotonic)
    server.answer("HTTP/1.1 204 No Content\r\n\r\n")
    #expect(eventually { state.health == .healthy })
    let pass = "\(subject) passed: 204 No Content (2 of 2)"
    #expect(eventually { bench.sink.hasLine("[notice] \(pass)") })
    #expect(state.fails == 0)
  }

  @Test func asksWhatItWasToldToAsk() throws {
    let server = try FakeServer()
    let settings = upstream([server]) {
      $0.uri = "/healthz?full"
      $0.requestHost = "app.example"
    }
    let bench = try ControlBench()
    bench.control.configure(ControlPlan(upstreams: [settings]))
    #expect(eventually { server.requestCount > 0 })
    let request = server.requests.withLock { $0[0] }
    #expect(request.hasPrefix("GET /healthz?full HTTP/1.1\r\nHost: app.example\r\n"))
    #expect(request.contains("\r\nConnection: close\r\n"))
  }

  @Test(arguments: [
    ("garbage\r\n\r\n", "the answer is not HTTP"),
    ("HTTP/1.1 200 OK\r\nContent-", "the connection was closed in the middle of the head"),
    (
      "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
      "the connection was closed in the middle of the body"
    ),
    (
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
      "the connection was closed in the middle of the body"
    ),
    ("", "the connection was closed without an answer"),
    ("HTTP/1.1 404 \u{1b}[31m\r\n\r\n", "the answer is not HTTP"),
    ("HTTP/1.1 400\r\nContent-Length: 0\r\n\r\n", "400"),
  ])
  func seesWhatIsWrong(answer: String, reason: String) throws {
    let server = try FakeServer(answer)
    let settings = upstream([server])
    let bench = try ControlBench()
    bench.control.configure(ControlPlan(upstreams: [settings]))
    #expect(eventually { bench.sink.hasLine("failed: \(reason) (1 of 1)") })
    if !bench.sink.hasLine(reason) { Issue.record("\(bench.sink.lines)") }
    #expect(states(bench, settings)[0].health == .unhealthy)
  }

  @Test func seesServersThatAreSilentOrGone() throws {
    let silent = try FakeServer()
    silent.fallSilent()
    let gone = try FakeServer()
    gone.stop()
    let settings = upstream([silent, gone]) { $0.interval = 60 }
    let bench = try ControlBench()
    bench.control.configure(ControlPlan(upstreams: [settings]))
    #expect(eventually { bench.sink.hasLine("no complete answer within 60 ms") })
    #expect(eventually { bench.sink.hasLine("connection refused") })
    #expect(states(bench, settings).allSatisfy { $0.health == .unhealthy })
  }

  @Test func connectsOnlyWhenToldSo() throws {
    let server = try FakeServer()
    server.fallSilent()
    let settings = upstream([server]) { $0.kind = .tcp }
    let bench = try ControlBench()
    bench.control.configure(ControlPlan(upstreams: [settings]))
    #expect(eventually { server.connectionCount >= 2 })
    #expect(states(bench, settings)[0].health == .healthy)
    server.stop()
    #expect(eventually { states(bench, settings)[0].health == .unhealthy })
  }

  @Test func speaksTLSWhereTLSIsAskedFor() throws {
    // A server that answers a handshake by HTTP in the clear is not well.
    let server = try FakeServer()
    let settings = upstream([server]) { $0.tls = HealthCheckTLS(options: TLSClientOptions()) }
    let bench = try ControlBench()
    bench.control.configure(ControlPlan(upstreams: [settings]))
    #expect(eventually { states(bench, settings)[0].health == .unhealthy })
    #expect(bench.sink.lines.contains { $0.contains("failed: SSL_do_handshake() failed (") })
  }

  @Test func aCheckNeverTakesLongerThanItsInterval() {
    var settings = HealthCheckSettings()
    #expect(settings.effectiveTimeout == 5_000)
    settings.interval = 300
    #expect(settings.effectiveTimeout == 300)
    settings.timeout = 100
    #expect(settings.effectiveTimeout == 100)
    settings.timeout = 900
    #expect(settings.effectiveTimeout == 300)
    settings.interval = 60_000
    settings.timeout = 30_000
    #expect(settings.effectiveTimeout == 30_000)
  }

  @Test func checksMoreServersThanItMayAskAtOnce() throws {
    let server = try FakeServer(host: "0.0.0.0")
    let port = server.address.port
    var settings = upstream([]) { $0.interval = 10_000 }
    settings.servers = (0..<600).map {
      let address = "127.1.\($0 / 250).\($0 % 250 + 1)"
      return UpstreamServerSettings(.address(SocketAddress(literal: address, port: port)!))
    }
    settings.healthCheck?.isMandatory = true
    let bench = try ControlBench()
    bench.control.configure(ControlPlan(upstreams: [settings]))
    #expect(bench.control.waitUntilResolved(timeout: 30_000))
    let states = states(bench, settings)
    #expect(eventually { states.allSatisfy { $0.health == .healthy } })
    #expect(server.requestCount == 600)
  }

  @Test func holdsBackServersUntilTheFirstMandatoryCheckPasses() throws {
    let server = try FakeServer("HTTP/1.1 500 No\r\n\r\n")
    let settings = upstream([server]) { $0.isMandatory = true }
    let bench = try ControlBench()
    bench.control.configure(ControlPlan(upstreams: [settings]))
    #expect(bench.control.waitUntilResolved(timeout: 30_000))
    let state = states(bench, settings)[0]
    #expect(state.health == .unchecked)
    #expect(eventually { server.requestCount >= 2 })
    #expect(state.health == .unchecked)
    server.answer("HTTP/1.1 200 OK\r\n\r\n")
    #expect(eventually { state.health == .healthy })
  }

  @Test func knowsAfterAReloadWhatItKnewBefore() throws {
    let server = try FakeServer("HTTP/1.1 500 No\r\n\r\n")
    var settings = upstream([server]) { $0.interval = 100 }
    let bench = try ControlBench()
    bench.control.configure(ControlPlan(upstreams: [settings]))
    let state = states(bench, settings)[0]
    #expect(eventually { state.health == .unhealthy })
    let count = server.requestCount
    let begin = Clock.monotonic
    for _ in 0..<50 { bench.control.configure(ControlPlan(upstreams: [settings])) }
    #expect(bench.control.waitUntilResolved(timeout: 30_000))
    #expect(state.health == .unhealthy)
    // Reloads do not make checks come sooner.
    #expect(server.requestCount <= count + 2 + (Clock.monotonic - begin) / 100)
    settings.healthCheck?.interval = 50
    bench.control.configure(ControlPlan(upstreams: [settings]))
    #expect(bench.control.waitUntilResolved(timeout: 30_000))
    #expect(state.health == .unhealthy)
    settings.healthCheck = nil
    bench.control.configure(ControlPlan(upstreams: [settings]))
    #expect(eventually { state.health == .healthy })
  }

  @Test func checksAnotherPort() throws {
    let server = try FakeServer("HTTP/1.1 500 No\r\n\r\n")
    let status = try FakeServer()
    let settings = upstream([server]) { $0.port = status.address.port }
    let bench = try ControlBench()
    bench.control.configure(ControlPlan(upstreams: [settings]))
    #expect(eventually { status.requestCount >= 2 })
    #expect(server.requestCount == 0)
  }
}

struct HealthCheckMatchTests {
  private func compile(_ text: String) -> MatchPattern? {
    if text == "(" { return nil }
    return MatchPattern(text: text) { $0.string.contains(text) }
  }

  private func block(_ lines: String) throws -> MatchSettings {
    var match = MatchSettings(name: "m")
    for line in lines.split(separator: ";") {
      try match.add(line.split(separator: " ").map(String.init), compile: compile)
    }
    return match
  }

  /// The verdict on an answer that comes through a socket pair and ends.
  private func verdict(_ answer: String, _ match: MatchSettings) -> HealthVerdict? {
    var pair: [Int32] = [0, 0]
    _ = unsafe linux_socketpair(Int32(SOCK_STREAM.rawValue), &pair)
    defer { Socket.close(pair[1]) }
    let bytes = Array(answer.utf8)
    _ = unsafe linux_write(pair[0], bytes, bytes.count)
    Socket.close(pair[0])
    var health = HealthAnswer(match: match)
    var transport = Transport()
    transport.open(pair[1], readable: true, writable: false)
    transport.note([.readable, .peerClosed])
    return health.receive(&transport)
  }

  /// What traffic may have, a check takes too.
  @Test func aHeadMayHaveLineFeedsAlone() throws {
    let answer = "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello"
    #expect(verdict(answer, try block("body ~ hello")) == .passed("200 OK"))
  }

  @Test func looksAtMuchOfABody() throws {
    let body = String(repeating: ".", count: 100_000) + "hello"
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
    #expect(verdict(answer, try block("body ~ hello")) == .passed("200 OK"))
  }

  static let answer =
    "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nX-Two: a\r\nx-two: b\r\n"
    + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"

  @Test(arguments: [
    ("status 200", true), ("status 200 204", true), ("status 200-399", true),
    ("status 301-303 307", false), ("status ! 500", true), ("status ! 200-299", false),
    ("header Content-Type", true), ("header content-type = text/html", true),
    ("header Content-Type != text/html", false), ("header Content-Type ~ html", true),
    ("header Content-Type !~ html", false), ("header ! Content-Type", false),
    ("header ! Refresh", true), ("header Refresh", false), ("header Refresh != x", false),
    ("header X-Two = b", true), ("body ~ lo", true), ("body !~ lo", false),
    ("body ~ world", true), ("status 200; body ~ hello; header ! X-Two", false),
  ])
  func testsAnAnswer(lines: String, passes: Bool) throws {
    let result = verdict(Self.answer, try block(lines))
    if passes {
      #expect(result == .passed("200 OK"))
    } else {
      let last = lines.split(separator: ";").last!.split(separator: " ").joined(separator: " ")
      #expect(result == .failed("200 OK, but \"m\" wants \(last)"))
    }
  }

  @Test func looksAtBodiesOfEachFraming() throws {
    let match = try block("body ~ fine")
    #expect(
      verdict("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine", match) == .passed("200 OK"))
    #expect(verdict("HTTP/1.0 200 OK\r\n\r\nall is fine", match) == .passed("200 OK"))
    #expect(
      verdict("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nfine", match)
        == .passed("200 OK"))
    #expect(
      verdict("HTTP/1.1 200 OK\r\n\r\nbad", match)
        == .failed("200 OK, but \"m\" wants body ~ fine"))
  }

  @Test func judgesALongBodyByItsBeginning() throws {
    let body = "fine" + String(repeating: "x", count: 200_000)
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: \(body.utf8.count)\r\n\r\n" + body
    #expect(verdict(answer, try block("body ~ fine")) == .passed("200 OK"))
  }

  @Test(arguments: [
    "status", "status 99", "status 600", "status 300-200", "status abc", "header", "header a = ",
    "header a ? b", "body", "body = x", "body ~ (", "require $x", "header a ~ (",
  ])
  func refusesWhatItDoesNotKnow(line: String) {
    var match = MatchSettings(name: "m")
    #expect(throws: MatchSyntaxError.self) {
      try match.add(line.split(separator: " ").map(String.init), compile: compile)
    }
  }
}
