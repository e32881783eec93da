// An HTTP/2 connection to one server of an upstream: socket, TLS, one session with the streams of
// many exchanges on it.
//
//   connecting ─► (handshaking) ─► open ─► lost
//
// Streams may be attached from the start; they are touched when the connection is open, and when it
// is lost. What streams want to send is collected until the end of the loop's turn and leaves in
// one write.

import CLinux
import HTTP

/// One HTTP/2 connection to an upstream server.
final class H2UpstreamConnection {
  enum State { case connecting, handshaking, open, lost }

  private let loop: Loop
  let timer: TimerWheel.ID
  private(set) var handle = Handle.none
  private(set) var state = State.lost
  private(set) var transport = Transport()
  private(set) var session: H2UpstreamSession?
  private var output: Buffer?
  private var isFlushDue = false
  /// What the log says of the loss.
  private(set) var lossText = ""

  /// Which server this leads to, and how; see UpstreamConnection.
  private(set) var peerState: PeerState?
  var tlsKey: UpstreamConnection.TLSKey?
  private(set) var bound: SocketAddress?
  private(set) var openedAt: Milliseconds = 0
  /// When TCP, and TLS, were there.
  private(set) var readyAt: Milliseconds = 0
  private(set) var requestCount = 0
  /// It takes no more streams: its server left the configuration, or has had as many resets as may
  /// make it end the connection.
  var isRetired = false
  /// Streams that were reset, and since when.
  private var resetCount = 0
  private var resetsSince: Milliseconds = 0
  /// One exchange has the connection to itself as long as its stream lasts.
  var isReserved = false
  /// A try waited for all of its time, and nothing came for any stream: whoever it was that was
  /// there may be gone without a word.
  private var isSilent = false
  /// When bytes came last; at first, when the connection was begun.
  private var heardAt: Milliseconds = 0
  /// Since when a request waits and nothing came for any stream.
  private var askedAt: Milliseconds?
  /// Bytes came since the last time that no exchange had a stream here.
  private(set) var wasHeard = true
  var list: H2UpstreamList?

  init(_ loop: Loop) {
    self.loop = loop
    timer = loop.makeTimer()
  }

  /// Begins a life with a socket that is connecting. False when memory is exhausted.
  func open(_ fd: Int32, _ handle: Handle, _ peerState: PeerState, from local: SocketAddress?)
    -> Bool
  {
    guard let session = H2UpstreamSession(pool: loop.pool) else { return false }
    self.handle = handle
    self.session = session
    self.peerState = peerState
    bound = local
    tlsKey = nil
    transport.open(fd, readable: false, writable: false)
    state = .connecting
    openedAt = loop.now
    requestCount = 0
    isRetired = false
    (resetCount, resetsSince) = (0, loop.now)
    isReserved = false
    isSilent = false
    heardAt = loop.now
    askedAt = nil
    wasHeard = true
    lossText = ""
    isFlushDue = false
    session.budget.refill(now: loop.now)
    return true
  }

  var fd: Int32 { transport.fd }

  /// Lets TCP look after the connection when it is idle.
  func keepAlive() { Socket.setKeepAlive(fd) }

  /// Lets the connection speak TLS once it is there.
  func start(_ tls: TLSSession) { transport.start(tls) }

  /// What the server said counts for connections to it on which it didn't yet.
  private func noteLimits() {
    guard let session, let streams = session.allowedStreams else { return }
    list?.expectedStreams = streams
    // Who announces no limit has one all the same (nginx), and ends the connection over it.
    if session.allowedHeadBytes < UInt32.max { list?.expectedHeadBytes = session.allowedHeadBytes }
    if let served = session.takeServedCount() { list?.expectedRequests = served }
  }

  /// A server that ended connections after so many requests may not do so any more.
  private func noteService() {
    guard let list, state == .open, session?.isGoingAway == false,
      requestCount >= list.expectedRequests
    else { return }
    list.expectedRequests *= 2
  }

  /// Whether another exchange may have a stream here.
  func takesStream() -> Bool {
    guard state != .lost, !isRetired, !isSilent, !isReserved || isIdle, let session, let list
    else { return false }
    noteLimits()
    let keepalive = list.keepalive
    return session.hasRoom(expecting: list.expectedStreams)
      && requestCount < min(keepalive.requestCount, list.expectedRequests)
      && loop.now - openedAt < keepalive.maxAge
  }

  /// Whether a request with a body would not have to wait for those of others.
  var takesBody: Bool { session?.takesBody == true }

  /// Whether no exchange has a stream here.
  var isIdle: Bool { session?.streams.isEmpty == true }

  /// Whether the connection may wait for its next stream.
  var isKeepable: Bool {
    state == .open && list?.keepalive.connectionCount != 0 && takesStream()
      && !transport.isBroken && !transport.sawPeerClose
  }

  /// Whether a request that is sent here now may come too late: the server may have closed the
  /// connection while nobody used it, and nothing since has shown that it hasn't.
  var mayBeStale: Bool { state == .open && requestCount > 0 && (isIdle || !wasHeard) }

  /// An exchange is about to have a stream here.
  func noteRequest() {
    if isIdle && requestCount > 0 { wasHeard = false }
    if askedAt == nil { askedAt = loop.now }
    requestCount += 1
  }

  /// The deadline of a try passed that waited from `start` on. If nothing came in all that time the
  /// connection takes no other stream, and ends with its last one.
  func noteTimeout(since start: Milliseconds) {
    if heardAt <= start { isSilent = true }
  }

  /// An exchange gives `stream` back. Clients may give up sooner than any deadline of ours, one
  /// after the other: whoever was asked long enough without a word is silent as well.
  func noteRelease(of stream: H2UpstreamStream) {
    guard !stream.hasHead, stream.failure == nil, let askedAt else { return }
    if loop.now - askedAt >= Self.patience { isSilent = true }
  }

  private static let patience: Milliseconds = 1000

  /// A stream was reset. Servers end a connection over many of them (Netty over 200 in 30 s), and
  /// with it the calls of clients who reset nothing.
  func noteReset() {
    if loop.now - resetsSince > Self.resetPeriod { (resetCount, resetsSince) = (0, loop.now) }
    resetCount += 1
    if resetCount >= Self.mostResets { isRetired = true }
  }

  // Bound: with the streams that are open by then, half of what servers take.
  private static let mostResets = 50
  private static let resetPeriod: Milliseconds = 30_000

  // --- events ------------------------------------------------------------------------------------

  /// The socket became ready.
  func onEvent(_ readiness: Readiness) {
    transport.note(readiness)
    switch state {
    case .connecting: connected(readiness)
    case .handshaking: handshake()
    case .open:
      if transport.isReadable { receive() }
      if state == .open && (output != nil || session?.wantsWrite == true) { flush() }
    case .lost: break
    }
  }

  private func connected(_ readiness: Readiness) {
    if readiness.isDisjoint(with: [.writable, .broken]) { return }
    if let error = Socket.pendingError(transport.fd) {
      return lose("connect() failed \(error.logText) while connecting to")
    }
    if transport.tls == nil { return becomeReady() }
    state = .handshaking
    handshake()
  }

  private func handshake() {
    guard let tls = transport.tls else { return }
    switch tls.connectStep() {
    case .done: break
    case .waiting: return
    case .failed(let problem): return lose("\(problem) while SSL handshaking to")
    }
    // No agreement passes: the configuration says that the server speaks HTTP/2.
    let agreed = tls.alpnProtocol
    guard agreed.isEmpty || agreed == Bytes("h2") else {
      return lose(
        "upstream chose protocol \"\(agreed.string)\" instead of \"h2\" while SSL handshaking to")
    }
    becomeReady()
  }

  private func becomeReady() {
    state = .open
    readyAt = loop.now
    guard let session else { return }
    for stream in session.streams { session.touch(stream) }
    requestFlush()
    if transport.isReadable { receive() }
  }

  /// Receives what there is; the windows bound it.
  private func receive() {
    guard let session else { return }
    session.budget.refill(now: loop.now)
    let input = loop.pool.take(.large)
    defer { loop.pool.giveBack(input) }
    // Bound: reads per event; a fast server gives others their turn after that.
    for _ in 0..<8 {
      input.reset()
      switch transport.receive(into: input.free) {
      case .bytes(let count):
        input.produced(count)
        heardAt = loop.now
        askedAt = nil
        isSilent = false
        wasHeard = true
        guard session.receive(input.unread) else {
          flush()
          return lose(
            session.wasFlooded
              ? "upstream flooded the connection while reading from"
              : "upstream sent invalid HTTP/2 while reading from")
        }
      case .wouldBlock: return finishReceiving(session)
      case .end: return lose("upstream prematurely closed connection while reading from")
      case .failed(let error): return lose("recv() failed \(error.logText) while reading from")
      }
    }
    requestFlush()
  }

  private func finishReceiving(_ session: H2UpstreamSession) {
    if session.isOver { lose(reason(session)) }
  }

  /// Why a session is over: the server said so, or the library ended it for what the server sent.
  private func reason(_ session: H2UpstreamSession) -> String {
    session.isGoingAway
      ? "upstream prematurely closed connection while reading from"
      : "upstream sent invalid HTTP/2, or a field over 64 KiB, while reading from"
  }

  // --- sending -----------------------------------------------------------------------------------

  /// Lets what streams queued leave when everybody had a turn.
  func requestFlush() {
    if isFlushDue || state != .open { return }
    isFlushDue = true
    loop.yield(handle)
  }

  /// The turn is over: sends, and reads on if reading had stopped in the middle.
  func onResume() {
    isFlushDue = false
    guard state == .open else { return }
    flush()
    if state == .open && transport.isReadable { receive() }
  }

  /// Sends frames as far as the socket takes them.
  func flush() {
    guard state == .open, let session else { return }
    // Bound: writes per call, about a megabyte.
    for _ in 0..<8 {
      if let output, !output.isEmpty {
        guard send(output) else { return }
      }
      if !transport.isWritable { return }
      let buffer = output ?? loop.pool.take(.large)
      buffer.reset()
      output = buffer
      guard session.produce(into: buffer) else {
        return lose("upstream HTTP/2 session failed while sending to")
      }
      if buffer.isEmpty {
        loop.pool.giveBack(buffer)
        output = nil
        if session.isOver { lose(reason(session)) }
        return
      }
    }
    requestFlush()
  }

  /// Sends the output buffer; false when some of it has to wait.
  private func send(_ output: Buffer) -> Bool {
    while !output.isEmpty {
      switch transport.send(output.unread, more: false) {
      case .bytes(let count): output.consume(count)
      case .wouldBlock, .end: return false
      case .failed(let error):
        // What the server said before it closed may be a complete response, and the event that
        // announces it may still be on its way.
        transport.note(.readable)
        receive()
        lose("send() failed \(error.logText) while sending request to")
        return false
      }
    }
    return true
  }

  // --- the end -----------------------------------------------------------------------------------

  private func lose(_ text: String) {
    if state == .lost { return }
    state = .lost
    lossText = text
    session?.loseAll()
  }

  /// Gives everything back. Streams must be gone.
  func close() {
    // What is queued, such as the reset of a stream that nobody waits for, leaves if it can.
    if state == .open && transport.isWritable { flush() }
    noteLimits()
    noteService()
    state = .lost
    transport.close()
    if let output { loop.pool.giveBack(output) }
    output = nil
    session = nil
    list = nil
    loop.clearTimer(timer)
  }
}
