// One check of one server, from connect to verdict: a connection of its own that is closed behind
// the answer. Runs on the control loop; HealthChecks owns it, feeds it events and watches its
// deadline.
//
//   connecting ──► (tcp: passed)
//        ├──► handshaking ──┐
//        └──────────────────┴──► sending ──► receiving ──► verdict

import CLinux
import HTTP

/// A check under way.
final class HealthProbe {
  private enum Phase { case connecting, handshaking, sending, receiving }

  private var transport = Transport()
  /// What the connection will speak once it is there; nil: plain HTTP.
  private var session: TLSSession?
  private let settings: HealthCheckSettings
  private let request: Buffer
  private var answer: HealthAnswer
  private var phase = Phase.connecting
  /// The call, if the server is asked by gRPC.
  private var call: GRPCHealthCall?

  private init(_ fd: Int32, _ settings: HealthCheckSettings, host: String) {
    transport.open(fd, readable: false, writable: false)
    self.settings = settings
    answer = HealthAnswer(match: settings.match)
    if case .grpc(let service, let status) = settings.kind {
      call = GRPCHealthCall(
        service: service, healthyStatus: status, host: host, isTLS: settings.tls != nil)
      request = Buffer(capacity: BufferPool.Size.large.byteCount)
      _ = call?.produce(into: request)
      return
    }
    let text =
      "GET \(settings.uri) HTTP/1.1\r\nHost: \(host)\r\nUser-Agent: portico-health-check\r\n"
      + "Accept: */*\r\nConnection: close\r\n\r\n"
    request = Buffer(holding: Array(text.utf8))
  }

  deinit { transport.close() }

  /// Begins a check; events for it come with `handle`. `context` is for servers that speak TLS.
  /// Either a probe or its verdict.
  static func start(
    _ check: HealthCheck, _ context: TLSClientContext?, _ poller: Poller, _ handle: Handle
  ) -> Result<HealthProbe, HealthProbeEnd> {
    let fd: Int32
    switch Socket.open(to: check.address) {
    case .failure(let error):
      let text = error.text.lowercased()
      return .failure(HealthProbeEnd(error.isShortage ? .undecided(text) : .failed(text)))
    case .success(let opened): fd = opened
    }
    let probe = HealthProbe(fd, check.settings, host: check.host)
    if let context, let tls = check.settings.tls {
      probe.session = TLSSession(
        client: context, fd: fd, serverName: tls.serverName, verifyName: tls.verifyName)
      if probe.session == nil {
        return .failure(HealthProbeEnd(.undecided("a TLS session can't be made")))
      }
    }
    do {
      // A connection that is there already is reported as an event, too.
      try poller.add(fd, handle)
    } catch {
      return .failure(HealthProbeEnd(.undecided("epoll \(error.logText)")))
    }
    return .success(probe)
  }

  /// Goes on as far as an event allows. Nil: it isn't over.
  func onEvent(_ readiness: Readiness) -> HealthVerdict? {
    transport.note(readiness)
    if phase == .connecting {
      if readiness.isDisjoint(with: [.writable, .broken]) { return nil }
      if let error = Socket.pendingError(transport.fd) {
        return .failed(error.text.lowercased())
      }
      if settings.kind == .tcp { return .passed("connected") }
      phase = .sending
      if let session {
        transport.start(session)
        phase = .handshaking
      }
    }
    if phase == .handshaking, let session {
      switch session.connectStep() {
      case .done: phase = .sending
      case .waiting: return nil
      case .failed(let problem): return .failed(problem)
      }
    }
    while phase == .sending {
      switch transport.send(request.unread, more: false) {
      case .wouldBlock: return nil
      case .end: return .failed("the connection was closed before the request was sent")
      case .failed(let error): return .failed(error.text.lowercased())
      case .bytes(let count):
        request.consume(count)
        if request.isEmpty { phase = .receiving }
      }
    }
    if let call { return receive(call) }
    return answer.receive(&transport)
  }

  /// Moves bytes between the server and a call.
  private func receive(_ call: GRPCHealthCall) -> HealthVerdict? {
    let input = Buffer(capacity: BufferPool.Size.medium.byteCount)
    // Bound: reads of one event; a server that sends more is cut off by the deadline.
    for _ in 0..<16 {
      input.reset()
      switch transport.receive(into: input.free) {
      case .wouldBlock: return nil
      case .end: return .failed("the connection was closed without an answer")
      case .failed(let error): return .failed(error.text.lowercased())
      case .bytes(let count):
        input.produced(count)
        if let verdict = call.receive(input.unread) { return verdict }
        // Acknowledgements; a server that doesn't take them has its answer read all the same.
        request.reset()
        guard call.produce(into: request) else { return .failed("the answer is not HTTP/2") }
        if !request.isEmpty { _ = transport.send(request.unread, more: false) }
      }
    }
    return .failed("the answer has no end")
  }

  /// What to say when the time is up.
  var lateness: HealthVerdict {
    let limit = settings.effectiveTimeout
    let time = limit % 1_000 == 0 ? "\(limit / 1_000) s" : "\(limit) ms"
    return switch phase {
    case .connecting: .failed("no connection within \(time)")
    case .handshaking: .failed("the TLS handshake took longer than \(time)")
    case .sending: .failed("the request could not be sent within \(time)")
    case .receiving: .failed("no complete answer within \(time)")
    }
  }
}

/// A check that was over before it began.
struct HealthProbeEnd: Error {
  let verdict: HealthVerdict
  init(_ verdict: HealthVerdict) { self.verdict = verdict }
}
