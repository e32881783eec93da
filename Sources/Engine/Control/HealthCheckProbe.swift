// One check of one server, from connect to verdict: a connection of its own that is closed behind
// the answer. Runs on the control loop; HealthChecks owns it, feeds it events and watches its
// deadline.
//
//   connecting ──► (tcp: passed)
//        └──► sending ──► receiving ──► verdict

import CLinux
import HTTP

/// A check under way.
final class HealthProbe {
  private enum Phase { case connecting, sending, receiving }

  private let fd: Int32
  private let settings: HealthCheckSettings
  private let request: Buffer
  private var answer: HealthAnswer
  private var phase = Phase.connecting
  /// The call, if the server is asked by gRPC.
  private var call: GRPCHealthCall?

  private init(_ fd: Int32, _ settings: HealthCheckSettings, host: String) {
    self.fd = fd
    self.settings = settings
    answer = HealthAnswer(match: settings.match)
    if case .grpc(let service, let status) = settings.kind {
      call = GRPCHealthCall(service: service, healthyStatus: status, host: host, isTLS: settings.usesTLS)
      request = Buffer(capacity: BufferPool.Size.large.byteCount)
      _ = call?.produce(into: request)
      return
    }
    let text =
      "GET \(settings.uri) HTTP/1.1\r\nHost: \(host)\r\nUser-Agent: portico-health-check\r\n"
      + "Accept: */*\r\nConnection: close\r\n\r\n"
    request = Buffer(capacity: text.utf8.count)
    for byte in text.utf8 { request.append(byte) }
  }

  deinit { Socket.close(fd) }

  /// Begins a check; events for it come with `handle`. Either a probe or its verdict.
  static func start(
    _ address: SocketAddress, _ settings: HealthCheckSettings, host: String, _ poller: Poller,
    _ handle: Handle
  ) -> Result<HealthProbe, HealthProbeEnd> {
    let socket = linux_stream_socket(address.family)
    if socket < 0 {
      let error = SystemError(code: Int32(-socket))
      return .failure(HealthProbeEnd(.undecided("no socket \(error.logText)")))
    }
    let probe = HealthProbe(Int32(socket), settings, host: host)
    if let error = Socket.connect(probe.fd, to: address) {
      return .failure(HealthProbeEnd(.failed(error.text.lowercased())))
    }
    do {
      // A connection that is there already is reported as an event, too.
      try poller.add(probe.fd, handle)
    } catch {
      return .failure(HealthProbeEnd(.undecided("epoll \(error.logText)")))
    }
    return .success(probe)
  }

  /// Goes on as far as an event allows. Nil: it isn't over.
  func onEvent(_ readiness: Readiness) -> HealthVerdict? {
    if phase == .connecting {
      if readiness.isDisjoint(with: [.writable, .broken]) { return nil }
      if let error = Socket.pendingError(fd) { return .failed(error.text.lowercased()) }
      if settings.effectiveKind == .tcp { return .passed("connected") }
      phase = .sending
    }
    if phase == .sending {
      switch Socket.send(fd, request.unread, more: false) {
      case .wouldBlock: return nil
      case .end: break
      case .failed(let error): return .failed(error.text.lowercased())
      case .bytes(let count):
        request.consume(count)
        // What didn't fit goes with the next event: the buffer of a new socket is larger.
        if !request.isEmpty { return nil }
        phase = .receiving
      }
    }
    if let call { return receive(call) }
    return answer.receive(fd)
  }

  /// Moves bytes between the server and a call.
  private func receive(_ call: GRPCHealthCall) -> HealthVerdict? {
    let input = Buffer(capacity: BufferPool.Size.medium.byteCount)
    // Bound: reads of one event; a server that sends more is cut off by the deadline.
    for _ in 0..<16 {
      input.reset()
      switch Socket.receive(fd, into: input.free) {
      case .wouldBlock: return nil
      case .end: return .failed("the connection was closed without an answer")
      case .failed(let error): return .failed(error.text.lowercased())
      case .bytes(let count):
        input.produced(count)
        if let verdict = call.receive(input.unread) { return verdict }
        // Acknowledgements; a server that doesn't take them has its answer read all the same.
        request.reset()
        guard call.produce(into: request) else { return .failed("the answer is not HTTP/2") }
        if !request.isEmpty { _ = Socket.send(fd, request.unread, more: false) }
      }
    }
    return .failed("the answer has no end")
  }

  /// What to say when the time is up.
  var lateness: HealthVerdict {
    let seconds = settings.effectiveTimeout
    let time = seconds % 1_000 == 0 ? "\(seconds / 1_000) s" : "\(seconds) ms"
    return switch phase {
    case .connecting: .failed("no connection within \(time)")
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
