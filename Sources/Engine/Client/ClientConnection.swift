// A client's connection: socket, TLS, what waits to be sent, one deadline. What its bytes mean is
// the protocol's affair (H1Connection, or H2Connection once that was agreed).
//
//   accepted ─► (introducing) ─► (peeking ─► handshaking) ─► open ─► closed

import CLinux
import HTTP

/// One connection of a client.
@safe
final class ClientConnection {
  enum Phase {
    /// A PROXY protocol header has to come first.
    case introducing
    case peeking, handshaking, open, closed
  }

  let core: WorkerCore
  let loop: Loop
  let timer: TimerWheel.ID
  private(set) var handle = Handle.none
  private(set) var phase = Phase.closed
  var transport = Transport()
  var output = OutputQueue()
  let facts = ConnectionFacts()
  private(set) var address: AddressPlan
  private(set) lazy var http = H1Connection(self)
  /// Set while this connection speaks HTTP/2.
  private(set) var http2: H2Connection?
  private var idleHTTP2: H2Connection?
  private let library: H2Library
  private(set) var hasYielded = false
  /// The current plan has no place for this connection: it ends with its request.
  private(set) var isOutlived = false
  /// Since when nothing is served on this connection, if nothing is.
  var quietSince: Milliseconds = 0
  /// Where to look the address plan up again after a reload.
  private var listen: ListenPlan
  private var plan: Plan

  init(core: WorkerCore, library: H2Library) {
    self.core = core
    self.library = library
    loop = core.loop
    timer = core.loop.makeTimer()
    plan = core.plan
    listen = plan.listens[0]
    address = listen.addresses[0]
  }

  /// Begins a life with an accepted socket.
  func open(_ fd: Int32, _ handle: Handle, _ peer: SocketAddress, on listen: ListenPlan) {
    self.handle = handle
    self.listen = listen
    plan = core.plan
    facts.peerAddress = peer
    facts.fd = fd
    facts.serial = core.nextSerial()
    facts.requestCount = 0
    facts.openedAt = loop.now
    quietSince = loop.now
    facts.tls = nil
    facts.inquiry = nil
    facts.isPlainOnTLS = false
    facts.forgetProxyHeader()
    facts.isPipelined = false
    hasYielded = false
    isOutlived = false
    // A socket that was just accepted often has its request already: EPOLLIN would say so at once.
    transport.open(fd, readable: true, writable: true)
    facts.listen = listen
    facts.plan = plan
    address = address(in: listen)
    output.sentCount = 0
    if address.takesProxyHeader {
      phase = .introducing
      return awaitProxyHeader()
    }
    begin()
  }

  /// Lets the client's own bytes be read.
  func begin() {
    if address.isTLS {
      phase = .peeking
      loop.setTimer(timer, after: address.handshakeTimeout, for: handle)
      peek()
    } else {
      startHTTP1()
    }
  }

  /// Speaks HTTP/1 from here on; a client with prior knowledge may still begin with HTTP/2's
  /// preface.
  private func startHTTP1() {
    phase = .open
    http.open()
    loop.setTimer(timer, after: address.defaultSite.settings.headerTimeout, for: handle)
    http.onReadable()
  }

  /// Takes the plan that holds at the moment: called when a request begins. A connection whose
  /// listening socket that plan doesn't have, that would have to speak TLS by it (or must not), or
  /// whose client it would verify in another way, stays with its own, as a whole.
  func refreshPlan() {
    guard plan !== core.plan else { return }
    isOutlived = true
    guard let listen = currentListen else { return }
    let address = address(in: listen)
    guard fits(address) else { return }
    isOutlived = false
    plan = core.plan
    self.listen = listen
    facts.listen = listen
    facts.plan = plan
    self.address = address
  }

  /// No request is taken behind the one that is being served.
  var endsWithRequest: Bool { isOutlived || core.isDraining }

  /// Notes whether the current plan wants TLS where there is none, or would verify the client in
  /// another way.
  func noteVerification() {
    guard phase == .open, let listen = currentListen else { return }
    isOutlived = !fits(address(in: listen))
  }

  /// Whether this connection was made in the way that `address` wants.
  private func fits(_ address: AddressPlan) -> Bool {
    guard let tls = facts.tls else { return !address.isTLS || facts.isPlainOnTLS }
    return address.isTLS && address.verifiesClients(as: tls)
  }

  /// This connection's listening socket in the current plan.
  private var currentListen: ListenPlan? {
    core.plan.listen(for: listen.settings.address)
      ?? core.plan.listen(covering: facts.localAddress)
  }

  private func address(in listen: ListenPlan) -> AddressPlan {
    listen.addresses.count == 1 ? listen.addresses[0] : listen.address(for: facts.localAddress)
  }

  /// Refers to the current plan instead of a former one, which can then be freed. For a closed
  /// connection.
  func forgetFormerPlan() {
    guard plan !== core.plan, let listen = core.plan.listens.first else { return }
    plan = core.plan
    self.listen = listen
    facts.listen = nil
    facts.plan = nil
    address = listen.addresses[0]
  }

  // --- events ------------------------------------------------------------------------------------

  func onEvent(_ readiness: Readiness) {
    transport.note(readiness)
    switch phase {
    case .introducing: readProxyHeader()
    case .peeking: peek()
    case .handshaking: handshake()
    case .open:
      if transport.isWritable && (!output.isEmpty || transport.holdsLast) { flush() }
      guard phase == .open && transport.isReadable else { return }
      if let http2 { http2.onReadable() } else { http.onReadable() }
    case .closed: break
    }
  }

  /// Lets others have a turn before `onResume`.
  func yield() {
    if hasYielded { return }
    hasYielded = true
    loop.yield(handle)
  }

  /// Goes on after others had a turn.
  func onResume() {
    hasYielded = false
    guard phase == .open else { return }
    if !output.isEmpty { flush() }
    guard phase == .open else { return }
    if let http2 { http2.onResume() } else { http.onResume() }
  }

  func onTimeout() {
    switch phase {
    case .introducing:
      core.errorLog.write(
        .info, "client timed out while reading PROXY protocol, client: \(facts.peerAddress.host)",
        connection: facts.serial)
      close()
    case .peeking, .handshaking:
      core.errorLog.write(
        .info, "client timed out while SSL handshaking, client: \(facts.peerAddress.host)",
        connection: facts.serial)
      close()
    case .open: if let http2 { http2.onTimeout() } else { http.onTimeout() }
    case .closed: break
    }
  }

  // --- TLS ---------------------------------------------------------------------------------------

  /// Looks at the first byte: a TLS record begins with 22; anything else is answered in plain.
  private func peek() {
    guard transport.isReadable else { return }
    var byte: UInt8 = 0
    switch unsafe IOResult(linux_peek(transport.fd, &byte, 1), zeroIsEnd: true) {
    case .bytes:
      if byte & 0x80 != 0 || byte == 0x16 { return startTLS() }
      facts.isPlainOnTLS = true
      startHTTP1()
    case .wouldBlock: transport.noteEmpty()
    case .end, .failed: close()
    }
  }

  private func startTLS() {
    guard let context = address.tlsContext(core.tlsLibrary, core.errorLog),
      let session = TLSSession(
        server: context, fd: transport.fd, resolver: core.nameResolver(address, of: plan))
    else { return close() }
    session.offersHTTP2 = address.speaksHTTP2
    unsafe session.connection = facts
    transport.start(session)
    facts.tls = session
    phase = .handshaking
    handshake()
  }

  private func handshake() {
    guard let tls = facts.tls else { return close() }
    switch tls.handshake() {
    case .bytes:
      guard tls.alpnProtocol == Bytes("h2") else { return startHTTP1() }
      phase = .open
      startHTTP2(Bytes())
    case .wantRead, .wantWrite: break
    case .closed:
      core.errorLog.write(
        .info,
        """
        peer closed connection in SSL handshake while SSL handshaking, client: \
        \(facts.peerAddress.host)
        """,
        connection: facts.serial)
      close()
    case .failed(let failure):
      core.errorLog.write(
        .info,
        """
        SSL_do_handshake() failed (\(failure.reason)) while SSL handshaking, client: \
        \(facts.peerAddress.host)
        """,
        connection: facts.serial)
      close()
    }
  }

  // --- HTTP/2 ------------------------------------------------------------------------------------

  /// Whether a plain connection may begin with HTTP/2's preface (RFC 9113 §3.3).
  var takesPreface: Bool {
    facts.requestCount == 0 && facts.tls == nil && !facts.isPlainOnTLS
      && (address.speaksHTTP2 || address.defaultSite.settings.http2.isOn)
  }

  /// Speaks HTTP/2 from here on; `received` is what the client sent already.
  func startHTTP2(_ received: Bytes) {
    let http2 = idleHTTP2 ?? H2Connection(self, library)
    idleHTTP2 = http2
    guard http2.open() else { return close() }
    self.http2 = http2
    if !received.isEmpty { http2.receive(received) }
    if phase == .open && transport.isReadable { http2.onReadable() }
  }

  /// Whether nothing is going on: such a connection may be closed without harm.
  var isIdle: Bool { http2?.isIdle ?? http.isIdle }

  // --- sending -----------------------------------------------------------------------------------

  // Bound: the end of a response that TLS copies, so that close_notify leaves with it.
  private static let lastByteCount = 4 << 10

  /// Hands queued bytes to the kernel, as many as it takes, and tells the protocol.
  func flush() {
    guard let isSent = send(isLast: http2 == nil && http.endsWithOutput) else { return }
    if let http2 {
      if isSent { http2.onFlushed() } else { http2.onBlocked() }
    } else {
      if isSent { http.onFlushed() } else { http.onBlocked() }
    }
  }

  /// Hands queued bytes to the kernel, as many as it takes. Whether that was all of them; nil: the
  /// connection is closed, or broke, which the protocol was told.
  ///
  /// - Parameter isLast: the connection ends with what is queued.
  func send(isLast: Bool) -> Bool? {
    guard phase == .open else { return nil }
    if isLast && output.byteCount <= Self.lastByteCount { transport.holdLast() }
    var result = output.flush(&transport, loop.pool)
    if isLast, case .bytes = result { result = transport.sendLast() }
    switch result {
    case .bytes: return true
    case .wouldBlock: return false
    case .end:
      core.errorLog.write(
        .alert, "a file was truncated while it was sent, client: \(facts.peerAddress.host)",
        connection: facts.serial)
      onBroken()
    case .failed: onBroken()
    }
    return nil
  }

  private func onBroken() {
    if let http2 { http2.onBroken() } else { http.onBroken() }
  }

  // --- the end -----------------------------------------------------------------------------------

  /// Closes at once. `reset`: the client must see that something is missing.
  func close(reset: Bool = false) {
    guard phase != .closed else { return }
    let wasOpen = phase == .open
    phase = .closed
    if let http2 {
      http2.release()
      self.http2 = nil
    } else if wasOpen {
      http.release()
    }
    output.removeAll(loop.pool)
    transport.close(reset: reset)
    facts.tls = nil
    facts.inquiry = nil
    facts.fd = -1
    loop.clearTimer(timer)
    forgetFormerPlan()
    core.clientClosed(handle)
  }
}
