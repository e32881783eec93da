// The HTTP/2 side of a connection to an upstream (RFC 9113): frames and HPACK are libnghttp2's,
// streams and limits are ours. No sockets and no clocks: bytes go in by `receive`, come out by
// `produce`, and streams that something happened to are handed out by `nextTouched`.
//
// Memory: a server may send as much as the windows allow. The connection's window is opened as
// bytes come, so that a stalled stream doesn't stop the others; a stream's only as its bytes are
// taken. How streams share the windows of the server is H2UpstreamSession+Sharing's.

import CNGHTTP2
import HTTP

/// One client session.
@safe
final class H2UpstreamSession {
  /// How much a stream holds for a client that is slower than the server.
  // Bound: times the number of streams, this is what a connection may hold.
  static let streamWindow = 256 << 10
  /// The same before anything of it was taken: clients that read nothing cost no more.
  private static let firstWindow = 64 << 10
  private static let receiveWindow = 16 << 20

  private(set) var session: OpaquePointer?
  let pool: BufferPool
  private(set) var streams: [H2UpstreamStream] = []
  private var touched: [H2UpstreamStream] = []
  /// The server said GOAWAY: what is under way may end, nothing begins.
  private(set) var isGoingAway = false
  /// How many requests it had taken by then, if there were others that it excluded, and nothing
  /// else was wrong.
  private var servedCount: Int?
  var hasSettings = false
  /// The server broke a rule that ends the connection, or flooded it.
  private(set) var isBroken = false
  /// It is broken because the server flooded it.
  private(set) var wasFlooded = false
  var budget = H2UpstreamBudget()
  /// What holds for the bodies of all its requests together.
  var sharing = H2UpstreamSharing()

  /// Nil when memory is exhausted.
  init?(pool: BufferPool) {
    self.pool = pool
    streams.reserveCapacity(16)
    touched.reserveCapacity(16)
    guard let made = unsafe H2UpstreamCallbacks.makeSession(for: self) else { return nil }
    unsafe session = made
    unsafe withUnsafeTemporaryAllocation(of: nghttp2_settings_entry.self, capacity: 2) { entries in
      unsafe entries.initializeElement(
        at: 0,
        to: nghttp2_settings_entry(
          settings_id: Int32(NGHTTP2_SETTINGS_ENABLE_PUSH.rawValue), value: 0))
      unsafe entries.initializeElement(
        at: 1,
        to: nghttp2_settings_entry(
          settings_id: Int32(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE.rawValue),
          value: UInt32(Self.firstWindow)))
      _ = unsafe nghttp2_submit_settings(made, 0, entries.baseAddress, 2)
    }
    _ = unsafe nghttp2_session_set_local_window_size(made, 0, 0, Int32(Self.receiveWindow))
  }

  deinit { unsafe nghttp2_session_del(session) }

  // --- streams -----------------------------------------------------------------------------------

  // Bound: streams of one connection, whatever the server allows.
  static let streamLimit = 256

  /// How many streams the server allows; nil before it said so.
  var allowedStreams: Int? {
    guard hasSettings else { return nil }
    return Int(
      unsafe nghttp2_session_get_remote_settings(session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS))
  }

  /// How long a head the server takes (SETTINGS_MAX_HEADER_LIST_SIZE).
  var allowedHeadBytes: Int {
    Int(
      unsafe nghttp2_session_get_remote_settings(session, NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE))
  }

  /// Whether another stream may begin: the server's limit (`expected` before it said so) is not
  /// reached and nobody said goodbye.
  func hasRoom(expecting expected: Int) -> Bool {
    guard !isGoingAway, !isBroken,
      streams.count < min(allowedStreams ?? expected, Self.streamLimit)
    else { return false }
    return unsafe nghttp2_session_check_request_allowed(session) != 0
  }

  /// Takes `stream` in; its request is submitted later.
  func attach(_ stream: H2UpstreamStream) {
    stream.session = self
    stream.index = streams.count
    streams.append(stream)
  }

  /// Sends the request: `block` holds its fields, the body follows by `write` unless there is none.
  /// False if the library refuses.
  func submit(_ stream: H2UpstreamStream, _ block: Bytes, hasBody: Bool) -> Bool {
    let count = H2FieldBlock.count(block)
    let pointer = unsafe Unmanaged.passUnretained(stream).toOpaque()
    let id = unsafe withUnsafeTemporaryAllocation(of: nghttp2_nv.self, capacity: count) { fields in
      unsafe H2FieldBlock.fill(fields, from: block)
      guard hasBody else {
        return unsafe nghttp2_submit_request(
          session, nil, fields.baseAddress, count, nil, pointer)
      }
      var provider = unsafe H2UpstreamCallbacks.bodyProvider
      return unsafe nghttp2_submit_request(
        session, nil, fields.baseAddress, count, &provider, pointer)
    }
    guard id > 0 else { return false }
    stream.id = id
    stream.keepsLimits = hasSettings
    stream.didSendEnd = !hasBody
    stream.outputHasEnded = !hasBody
    if hasBody { sharing.senderCount += 1 }
    return true
  }

  /// Queues body bytes as far as there is room; 0: none, a touch announces it.
  func write(_ bytes: Bytes, to stream: H2UpstreamStream) -> Int {
    let count = stream.write(bytes, pool)
    if count < bytes.count { stream.wantsRoom = true }
    if count > 0 { resume(stream) }
    return count
  }

  /// Says that the request is complete.
  func endOutput(_ stream: H2UpstreamStream) {
    if stream.outputHasEnded { return }
    stream.outputHasEnded = true
    resume(stream)
  }

  private func resume(_ stream: H2UpstreamStream) {
    guard stream.isStarved else { return }
    stream.isStarved = false
    _ = unsafe nghttp2_session_resume_data(session, stream.id)
  }

  /// Lets the server send as much again as was taken.
  func consume(_ stream: H2UpstreamStream, _ count: Int) {
    guard stream.id > 0, !stream.hasEnded, stream.failure == nil else { return }
    _ = unsafe nghttp2_session_consume_stream(session, stream.id, count)
    stream.readCount += count
    guard stream.readCount >= Self.firstWindow, !stream.isWindowWide else { return }
    stream.isWindowWide = true
    _ = unsafe nghttp2_session_set_local_window_size(
      session, 0, stream.id, Int32(Self.streamWindow))
  }

  /// Whether the server sent too much of what moves nothing. The library may have given streams up
  /// without our knowing, and drops what comes for them.
  private var isExhausted: Bool { budget.isExhausted(expected: streams.count * Self.streamWindow) }

  /// The server takes no streams behind `last` (RFC 9113 §6.8).
  func noteGoAway(after last: Int32, _ code: UInt32) {
    isGoingAway = true
    for stream in streams where stream.id == 0 || stream.id > last {
      if code == NGHTTP2_NO_ERROR.rawValue { servedCount = Int(max(last, 0)) / 2 + 1 }
      stream.fail(.unprocessed)
      touch(stream)
    }
  }

  /// What a GOAWAY taught, once.
  func takeServedCount() -> Int? { servedCount.take() }

  /// Parts from `stream`; what is unfinished of it is reset, which is told.
  @discardableResult
  func detach(_ stream: H2UpstreamStream) -> Bool {
    var isReset = false
    guard stream.index >= 0, stream.index < streams.count, streams[stream.index] === stream else {
      return false
    }
    if stream.id > 0 {
      _ = unsafe nghttp2_session_set_stream_user_data(session, stream.id, nil)
      if !stream.didSendEnd || !(stream.hasEnded || stream.failure != nil) {
        // A complete response makes the rest of the request pointless (RFC 9113 §8.1).
        let code = stream.hasEnded ? NGHTTP2_NO_ERROR : NGHTTP2_CANCEL
        _ = unsafe nghttp2_submit_rst_stream(
          session, UInt8(NGHTTP2_FLAG_NONE.rawValue), stream.id, code.rawValue)
        isReset = true
      }
      if !stream.serverHasEnded { budget.expect(Self.streamWindow) }
      endSending(stream)
      letGo(stream)
    }
    let last = streams.removeLast()
    if last !== stream {
      streams[stream.index] = last
      last.index = stream.index
    }
    stream.index = -1
    stream.session = nil
    if stream.isTouched {
      stream.isTouched = false
      touched.removeAll { $0 === stream }
    }
    return isReset
  }

  // --- events ------------------------------------------------------------------------------------

  /// Notes that something happened to `stream`.
  func touch(_ stream: H2UpstreamStream) {
    if stream.isTouched || stream.index < 0 { return }
    stream.isTouched = true
    touched.append(stream)
  }

  /// A stream that something happened to since it was last returned.
  func nextTouched() -> H2UpstreamStream? {
    guard let stream = touched.popLast() else { return nil }
    stream.isTouched = false
    return stream
  }

  /// The connection is lost: so are all streams whose responses are incomplete.
  func loseAll() {
    isBroken = true
    for stream in streams {
      stream.fail(.connection)
      touch(stream)
    }
  }

  // --- bytes -------------------------------------------------------------------------------------

  /// Takes bytes of the server. False: the connection can't go on, once what is queued was sent.
  func receive(_ bytes: Bytes) -> Bool {
    budget.noteBytes(bytes.count)
    let result = unsafe nghttp2_session_mem_recv(session, bytes.unsafeBase, bytes.count)
    wasFlooded = isExhausted
    if result < 0 || wasFlooded { isBroken = true }
    return !isBroken
  }

  /// Whether there is anything to send.
  var wantsWrite: Bool {
    unsafe sharing.letsGo || nghttp2_session_want_write(session) != 0
  }

  /// Whether nothing is left to be done on the connection.
  var isOver: Bool {
    unsafe nghttp2_session_want_read(session) == 0 && nghttp2_session_want_write(session) == 0
  }

  // A piece is a frame of the default size with its head, or less.
  private static let largestPiece = 16_384 + 512

  /// Appends frames to `buffer` while they fit. False if the session is broken.
  func produce(into buffer: Buffer) -> Bool {
    while buffer.room >= Self.largestPiece {
      if sharing.letsGo { letAllGo() }
      var piece: UnsafePointer<UInt8>?
      let count = unsafe nghttp2_session_mem_send(session, &piece)
      if count < 0 || count > buffer.room {
        isBroken = true
        return false
      }
      guard count > 0, let piece = unsafe piece else {
        if sharing.letsGo { continue }
        return true
      }
      unsafe buffer.append(Bytes(base: piece, count: count))
    }
    return true
  }
}

/// What a server may cost beyond what its responses cost: frames that move nothing (SETTINGS, PING,
/// WINDOW_UPDATE, empty DATA, PRIORITY, unknown ones) are paid from a purse that useful frames and
/// time fill. A WINDOW_UPDATE that gives back what was sent is free (`H2OwedWindow`). The library
/// drops frames of unknown types, and of streams that are gone, without a word: they are what is
/// missing of the bytes that came.
struct H2UpstreamBudget {
  // Bound: such frames at once, ten a second in the long run, and four for each useful one.
  private static let capacity = 2_000
  private static let perSecond = 10
  private static let perUsefulFrame = 4
  // Bound: bytes of dropped frames at once, and how many of them a second forgives.
  private static let unknownByteCount = 64 << 10
  private static let forgivenByteCount = 4 << 10

  private var purse = capacity
  private var refilledAt: Milliseconds = 0

  private var unknownBytes = 0
  private var owed = H2OwedWindow()

  /// Whether the purse is empty; asked within a read, too.
  var isPurseEmpty: Bool { purse < 0 }

  /// Whether too much came; asked between reads, when each byte has its frame. `expected` is what
  /// may be dropped of streams that aren't over.
  func isExhausted(expected: Int) -> Bool {
    isPurseEmpty || unknownBytes > Self.unknownByteCount + expected
  }

  /// Counts bytes that came, whatever they are.
  mutating func noteBytes(_ count: Int) { unknownBytes += count }

  /// A stream is over for us, but not for the server: so much of it may be on its way.
  mutating func expect(_ count: Int) { unknownBytes -= count }

  /// Counts a frame of a known type with a payload of so many bytes.
  mutating func noteFrame(_ count: Int) { unknownBytes -= count + 9 }

  /// Counts a frame that moves a request or a response on.
  mutating func earn() { purse = min(purse + Self.perUsefulFrame, Self.capacity) }

  /// Counts a frame that doesn't.
  mutating func spend() { purse -= 1 }

  /// Counts bytes of a request's body that are sent.
  mutating func noteSent(_ count: Int) { owed.use(count) }

  /// A WINDOW_UPDATE, counted as a frame when it began, turns out to give back so many bytes.
  mutating func noteGivenBack(_ count: Int) {
    if owed.takeBack(count) { purse = min(purse + 1, Self.capacity) }
  }

  /// Fills the purse for the time that went by.
  mutating func refill(now: Milliseconds) {
    let seconds = (now - refilledAt) / 1000
    guard seconds > 0 else { return }
    refilledAt = now
    if unknownBytes > 0 {
      unknownBytes = max(0, unknownBytes - min(seconds, 1000) * Self.forgivenByteCount)
    }
    if purse >= 0 { purse = min(purse + min(seconds, 1000) * Self.perSecond, Self.capacity) }
  }
}
