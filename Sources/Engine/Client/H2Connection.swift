// HTTP/2 on a client's connection (RFC 9113). libnghttp2 reads and writes frames; here bytes are
// moved between it and the socket, streams begin and end, and the connection is closed in order.
//
//   open ─► draining (GOAWAY sent; the streams that are open finish) ─► lingering ─► closed
//
// One turn of the loop: what was received is fed to the library, whose callbacks note what became
// of streams (`touched`); then `settle` lets exchanges begin, read and finish; at the end of the
// turn `pump` writes the frames of all streams, with one system call where the socket takes them.

import CNGHTTP2
import HTTP

/// The HTTP/2 side of a connection.
@safe
final class H2Connection {
  enum State { case open, draining, lingering, closed }

  let client: ClientConnection
  let loop: Loop
  let library: H2Library
  let memory = H2SessionMemory()
  var state = State.closed
  /// What `session` is, folded or not.
  private var madeSession: OpaquePointer?
  var flood = H2FloodGuard()
  var closedStreams = H2ClosedStreams()
  private var scanner = H2FrameScanner()
  private var headerFrames = H2HeaderFrames()
  /// The largest `http2_chunk_size` of a response here, as far as it exceeds what the library cuts.
  private var largestChunk = H2Connection.smallestFrameLimit
  private var sawFrame = false
  /// The library is about to acknowledge SETTINGS that the client never sent.
  private var withholdsAcknowledgement = false
  /// The streams that are open, in no order.
  private(set) var streams: [H2Stream] = []
  /// Streams that something happened to since `settle`.
  private var touched: [H2Stream] = []
  private var settling: [H2Stream] = []
  private(set) var isPumping = false
  /// The library stopped behind a DATA frame because the output is full.
  var didPause = false
  var isSessionBroken = false
  var didSendLastGoAway = false
  var lingerUntil: Milliseconds = 0
  /// When a client that asks for nothing is sent away.
  private(set) var idleUntil: Milliseconds = 0
  /// What had been sent when the wait for room began; -1: none is waited for.
  var sentAtBlock = -1
  /// The streams' responses that wait in memory, together.
  var queuedByteCount = 0
  /// Bytes of bodies that were sent on all streams.
  var sentBodyCount = 0

  // Bound: bytes that wait for the socket before the library is asked for more.
  private static let outputLimit = 256 << 10
  /// What every client takes as a frame's payload (RFC 9113 §4.2).
  private static let smallestFrameLimit = 16 << 10
  // Bound: the library keeps a buffer of the largest DATA frame for each connection.
  private static let largestFrameLimit = 256 << 10
  /// How long nothing happens before memory is given back, in milliseconds.
  static let trimDelay: Milliseconds = 1000

  init(_ client: ClientConnection, _ library: H2Library) {
    self.client = client
    loop = client.loop
    self.library = library
  }

  /// The library's session. Whoever asks for it is about to use it, and finds it unfolded.
  var session: OpaquePointer? {
    if memory.isFolded { unfold() }
    return unsafe madeSession
  }

  /// Begins a life; false if memory is exhausted.
  func open() -> Bool {
    guard let made = unsafe library.makeSession(for: self, memory) else { return false }
    unsafe madeSession = made
    state = .open
    sentAtBlock = -1
    flood = H2FloodGuard(now: loop.now)
    isSessionBroken = false
    didSendLastGoAway = false
    closedStreams.reset()
    scanner = H2FrameScanner()
    largestChunk = Self.smallestFrameLimit
    sawFrame = false
    withholdsAcknowledgement = false
    (queuedByteCount, sentBodyCount) = (0, 0)
    submitSettings()
    awaitRequest()
    client.yield()
    return true
  }

  private func submitSettings() {
    let settings = client.address.defaultSite.settings.http2
    var entries = [
      nghttp2_settings_entry(
        settings_id: Int32(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS.rawValue),
        value: UInt32(settings.maxConcurrentStreams)),
      nghttp2_settings_entry(
        settings_id: Int32(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE.rawValue), value: bodyWindow),
      nghttp2_settings_entry(
        settings_id: Int32(NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL.rawValue), value: 1),
      // Priorities are those of RFC 9218.
      nghttp2_settings_entry(
        settings_id: Int32(NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES.rawValue), value: 1),
    ]
    unsafe nghttp2_submit_settings(
      session, UInt8(NGHTTP2_FLAG_NONE.rawValue), &entries, entries.count)
    unsafe nghttp2_session_set_local_window_size(
      session, UInt8(NGHTTP2_FLAG_NONE.rawValue), 0, windowByteCount)
  }

  /// Gives everything back; the connection is closing.
  func release() {
    guard state != .closed else { return }
    state = .closed
    for stream in streams {
      stream.cancel()
      recycle(stream)
    }
    streams.removeAll(keepingCapacity: true)
    touched.removeAll(keepingCapacity: true)
    headerFrames.reset(loop.pool)
    unsafe nghttp2_session_del(session)
    unsafe madeSession = nil
    memory.discard()
  }

  private func recycle(_ stream: H2Stream) {
    // Closed, it has no handle any more.
    let handle = stream.handle
    stream.close()
    library.streams.giveBack(handle)
  }

  /// Nothing is going on: gives back what the next request takes again.
  func releaseRoom() {
    if streams.isEmpty { streams = [] }
    if touched.isEmpty { touched = [] }
    if settling.isEmpty { settling = [] }
  }

  // --- receiving ---------------------------------------------------------------------------------

  /// Takes what the client sent before this connection was known to speak HTTP/2.
  func receive(_ bytes: Bytes) {
    feed(bytes)
    settle()
    client.yield()
  }

  func onReadable() {
    if state == .lingering { return linger() }
    let input = loop.pool.take(.medium)
    defer { loop.pool.giveBack(input) }
    // Bound: reads per event; the rest goes on after others had a turn.
    for _ in 0..<16 {
      input.reset()
      switch client.transport.receive(into: input.free) {
      case .bytes(let count):
        input.produced(count)
        guard feed(input.unread) else { return client.yield() }
        settle()
        guard state != .closed else { return }
      case .wouldBlock: return client.yield()
      case .end:
        noteDeparture()
        return client.close()
      case .failed:
        noteDeparture()
        return client.close()
      }
    }
    client.yield()
  }

  /// Hands received bytes to the library, frame by frame. False: nothing more is to be read.
  @discardableResult
  private func feed(_ bytes: Bytes) -> Bool {
    var fed = 0
    var position = 0
    while position < bytes.count {
      let header = scanner.next(bytes, &position)
      // A frame's header is judged when all before it has been acted on.
      let end = header.map { max(fed, position - $0.byteCount) } ?? bytes.count
      if end > fed && !feedLibrary(bytes.slice(fed, end)) { return false }
      fed = end
      guard let header else { continue }
      if !sawFrame && !header.isSettings && position - fed == header.byteCount {
        // nginx serves clients that leave their SETTINGS out, and some do (RFC 9113 §3.4 wants
        // them): to the library they look as if they had sent empty ones. They would take an answer
        // to those for an error.
        withholdsAcknowledgement = true
        _ = feedLibrary(Bytes("\0\0\0\u{4}\0\0\0\0\0"))
      }
      sawFrame = true
      admit(header)
      // One that comes in pieces goes to the library, which ends the connection at once.
      if isResetOfIdleStream(header) && position - fed == header.byteCount {
        fed = position
        goAwayOverIdleStream()
      }
    }
    return feedLibrary(bytes.dropping(fed))
  }

  private func feedLibrary(_ bytes: Bytes) -> Bool {
    let result = unsafe nghttp2_session_mem_recv(session, bytes.unsafeBase, bytes.count)
    if result >= 0 { return wantsToRead }
    let error = nghttp2_error(Int32(result))
    let reason = unsafe String(cString: nghttp2_strerror(error.rawValue))
    terminate(Self.code(for: error), "client sent invalid HTTP/2: \(reason)")
    return false
  }

  /// What a client is told when the library gives up on it.
  private static func code(for error: nghttp2_error) -> nghttp2_error_code {
    switch error {
    case NGHTTP2_ERR_BAD_CLIENT_MAGIC: NGHTTP2_PROTOCOL_ERROR
    case NGHTTP2_ERR_NOMEM, NGHTTP2_ERR_CALLBACK_FAILURE: NGHTTP2_INTERNAL_ERROR
    default: NGHTTP2_ENHANCE_YOUR_CALM
    }
  }

  var wantsToRead: Bool { unsafe nghttp2_session_want_read(session) != 0 }
  var wantsToWrite: Bool { unsafe nghttp2_session_want_write(session) != 0 }

  func noteDeparture() {
    for stream in streams where stream.isUnderWay {
      stream.exchange?.log(.info, "client prematurely closed connection")
    }
  }

  // --- streams -----------------------------------------------------------------------------------

  /// Takes a stream object for the request `id`.
  func makeStream(_ id: Int32) -> H2Stream {
    let (stream, handle) = library.streams.take { H2Stream(self) }
    stream.open(self, id, handle)
    closedStreams.noteOpened(id)
    stream.index = streams.count
    streams.append(stream)
    if streams.count == 1 && sentAtBlock < 0 { loop.clearTimer(client.timer) }
    return stream
  }

  /// Has `settle` look at `stream`, which marked itself.
  func noteTouched(_ stream: H2Stream) { touched.append(stream) }

  /// Lets exchanges do what the library's callbacks noted.
  func settle() {
    // Bound: an exchange that goes on at once (a file) may touch its stream again.
    for _ in 0..<16 where !touched.isEmpty {
      swap(&touched, &settling)
      for stream in settling {
        stream.isTouched = false
        stream.settle()
        if stream.isOver { remove(stream) }
      }
      settling.removeAll(keepingCapacity: true)
    }
  }

  private func remove(_ stream: H2Stream) {
    guard stream.index < streams.count, streams[stream.index] === stream else { return }
    let last = streams.removeLast()
    if last !== stream {
      streams[stream.index] = last
      last.index = stream.index
    }
    recycle(stream)
    if streams.isEmpty { awaitRequest() }
  }

  /// Nothing is open: the client has this long to ask again.
  private func awaitRequest() {
    guard state == .open else { return }
    let settings = client.address.defaultSite
    let timeout =
      client.facts.requestCount == 0
      ? settings.settings.headerTimeout : settings.root.settings.core.value.keepaliveTimeout
    idleUntil = loop.now + timeout
    client.quietSince = loop.now
    if sentAtBlock < 0 { awaitTrim() }
  }

  /// A request is being answered, by the location whose word counts: the connection ends after so
  /// many of them, or after so long.
  func noteAnswer(_ exchange: Exchange) {
    let settings = exchange.location.settings.core.value
    let isLast =
      client.facts.requestCount >= settings.keepaliveRequests || settings.keepaliveTimeout == 0
      || loop.now - client.facts.openedAt >= settings.keepaliveTime || client.endsWithRequest
    if isLast { goAway() }
  }

  // --- sending -----------------------------------------------------------------------------------

  /// Writes what streams have ready, at the end of this turn of the loop.
  func schedule() {
    if !isPumping { client.yield() }
  }

  func onResume() {
    guard state != .closed else { return }
    pump()
    guard state == .open || state == .draining || state == .lingering else { return }
    if client.transport.isReadable { onReadable() }
  }

  /// Moves frames from the library to the socket as far as both go.
  private func pump() {
    guard state == .open || state == .draining else { return }
    isPumping = true
    // Bound: rounds before others have their turn.
    for _ in 0..<8 {
      pull()
      settle()
      if client.output.isEmpty { break }
      client.flush()
      guard state != .closed else {
        isPumping = false
        return
      }
      guard client.output.isEmpty, wantsToWrite else { break }
    }
    isPumping = false
    if client.output.isEmpty {
      if !touched.isEmpty || wantsToWrite { return client.yield() }
      endIfDone()
    }
  }

  /// Appends frames to the output, as many as it may hold; all up to the head of `stream`.
  func pull(throughHeadOf stream: H2Stream? = nil) {
    let size: BufferPool.Size = client.transport.tls == nil ? .small : .large
    while !isOutputFull || stream?.didSendHead == false {
      if let stream, stream.didSendHead { return }
      var frame: UnsafePointer<UInt8>?
      didPause = false
      let count = unsafe nghttp2_session_mem_send(session, &frame)
      if count == 0 && didPause { continue }
      guard count > 0, let frame = unsafe frame else {
        if count < 0 { isSessionBroken = true }
        return
      }
      let bytes = unsafe Bytes(base: frame, count: count)
      if withholdsAcknowledgement && bytes == Bytes("\0\0\0\u{4}\u{1}\0\0\0\0") {
        withholdsAcknowledgement = false
        continue
      }
      if headerFrames.isConcerned(with: bytes, frameLimit) {
        headerFrames.take(bytes, frameLimit, to: &client.output, loop.pool, in: size)
      } else {
        client.output.copy(bytes, loop.pool, in: size)
      }
    }
  }

  /// Whether frames have to wait until the socket has taken some.
  var isOutputFull: Bool { client.output.memoryCount >= Self.outputLimit }

  /// The longest payload of a frame that the client takes, in bytes.
  private var frameLimit: Int {
    Int(unsafe nghttp2_session_get_remote_settings(session, NGHTTP2_SETTINGS_MAX_FRAME_SIZE))
  }

  /// A response is to be cut into pieces of `byteCount`.
  func noteChunks(of byteCount: Int) {
    if byteCount > largestChunk { largestChunk = min(byteCount, Self.largestFrameLimit) }
  }

  /// How long a DATA frame may become for a client that takes `limit` bytes.
  func dataLimit(_ limit: Int) -> Int { min(limit, largestChunk) }

  func onBroken() {
    noteDeparture()
    client.close(reset: true)
  }
}
