// A stream of HTTP/2: the client side of one exchange. Its request is in H2Stream+Request.swift,
// what it does when a client is too slow in H2Stream+Deadlines.swift; here is how its response
// becomes frames.
//
//   head being received ─► begun ─► response under way ─► ended ─► closed
//
// The library's callbacks note events; `settle` acts on them, outside the library.

import CNGHTTP2
import HTTP

/// One request of an HTTP/2 connection.
final class H2Stream: ClientStream {
  /// What a deadline waits for.
  enum Awaited { case nothing, head, body, window, restOfRequest }

  /// The connection that it belongs to, or belonged to last.
  private(set) var h2: H2Connection
  let loop: Loop
  let timer: TimerWheel.ID
  private(set) var id: Int32 = 0
  private(set) var handle = Handle.none
  private(set) var openedAt: Milliseconds = 0
  var exchange: Exchange?

  // The request.
  var draft = H2HeadDraft()
  var head: Buffer?
  var bodyInput: Buffer?
  var isHeadComplete = false
  /// Whether the stream ended with the head, without DATA.
  var endsWithHead = false
  var isBegun = false
  var isRequestEnded = false
  /// How much of a body of announced length is still to come; nil: its length wasn't announced.
  private(set) var owed: Int?
  var isTunnel = false
  /// The client may send more of the body than every client may.
  var isWindowWide = false
  var isWebSocket = false
  var awaited = Awaited.nothing

  // The response.
  var queue = H2BodyQueue()
  private(set) var didSendHead = false
  private var hasBodyProvider = false
  private var isDeferred = false
  /// Interim heads that the library has not written yet.
  var interimCount = 0
  var isBodyEnded = false
  /// A reset follows what is queued: the response isn't complete.
  private var endsByReset = false
  private(set) var didEndResponse = false
  private var sentCount = 0
  private(set) var sentBodyCount = 0
  /// What `sentBodyCount` was when the deadline of the window began, here and on the connection.
  var sentBodyAtDeadline = (own: 0, all: 0)
  /// Which request of the connection it is.
  var number = 0

  /// Where it stands among the streams of its connection.
  var index = 0

  // What `settle` has to look at.
  var isTouched = false
  var bodyArrived = false
  private var isWritable = false
  private(set) var isAborted = false
  private(set) var isClosed = false
  var wasResetByUs = false
  private var wasRefused = false

  // Bound: what the streams of one connection queue together before they wait for their client.
  private static let connectionLimit = 2 << 20
  init(_ h2: H2Connection) {
    self.h2 = h2
    loop = h2.loop
    timer = h2.loop.makeTimer()
    super.init(h2.client.facts)
  }

  /// Begins a life.
  func open(_ h2: H2Connection, _ id: Int32, _ handle: Handle) {
    self.h2 = h2
    connection = h2.client.facts
    openedAt = loop.now
    self.id = id
    self.handle = handle
  }

  /// Ends it: everything goes back to the pools.
  func close() {
    finish()
    loop.clearTimer(timer)
    loop.pool.reclaim(&head)
    if let bodyInput {
      if let session = unsafe h2.session {
        unsafe nghttp2_session_consume_connection(session, bodyInput.count)
      }
      loop.pool.giveBack(bodyInput)
    }
    bodyInput = nil
    draft = H2HeadDraft()
    (isHeadComplete, isBegun, isRequestEnded, isTunnel, isWebSocket) = (
      false, false, false, false, false
    )
    (endsWithHead, isWindowWide, owed) = (false, false, nil)
    awaited = .nothing
    (didSendHead, hasBodyProvider, isDeferred, isBodyEnded) = (false, false, false, false)
    (didEndResponse, endsByReset) = (false, false)
    interimCount = 0
    (sentCount, sentBodyCount, sentBodyAtDeadline) = (0, 0, (0, 0))
    (isTouched, bodyArrived, isWritable, isAborted, isClosed) = (false, false, false, false, false)
    (wasResetByUs, wasRefused) = (false, false)
    handle = .none
  }

  /// A body of `length` bytes was announced, of which nothing has been counted yet.
  func announce(_ length: Int) { owed = length - (bodyInput?.count ?? 0) }

  /// Bytes of the body came, whether anybody reads them or not.
  func noteArrival(_ count: Int) { owed = owed.map { $0 - count } }

  override var sentByteCount: Int { sentCount }
  override var requestNumber: Int { number }

  /// What waits here; much of it once the connection as a whole queues too much.
  override var queuedByteCount: Int {
    let own = queue.memoryCount
    let isOverLimit = h2.queuedByteCount > Self.connectionLimit
    return own > 0 && isOverLimit ? own + Self.connectionLimit : own
  }

  /// The same with what is in files.
  override var unsentByteCount: Int { queuedByteCount + queue.byteCount - queue.memoryCount }

  /// Whether a request is being worked on.
  var isUnderWay: Bool { isBegun && exchange != nil && !didEndResponse }
  /// Whether nothing refers to this stream any more.
  var isOver: Bool { isClosed && exchange == nil }

  // --- events ------------------------------------------------------------------------------------

  /// Acts on what the library's callbacks noted.
  func settle() {
    if isClosed || didEndResponse || isAborted { return end() }
    if isHeadComplete && !isBegun { return begin() }
    if bodyArrived {
      bodyArrived = false
      exchange?.onBodyReadable()
    }
    if endsByReset && queue.isEmpty { return reset(NGHTTP2_INTERNAL_ERROR) }
    if isWritable {
      isWritable = false
      if didSendHead && !isBodyEnded { exchange?.onClientWritable() }
    }
  }

  private func end() {
    if !didEndResponse { noteBreak() }
    finish()
    if didEndResponse && !isRequestEnded && !isClosed { awaitRest() }
  }

  /// The client broke the request off, or its connection did.
  private func noteBreak() {
    guard let exchange, !isAborted, exchange.response.status == 0 || !exchange.didSendHead else {
      return
    }
    exchange.response.status = isBegun && !wasRefused ? 499 : 400
  }

  /// The request is malformed and the stream about to be reset. True: a head may be sent before.
  func noteRefusal() -> Bool {
    guard !didSendHead, !isClosed, !isAborted else { return false }
    wasRefused = true
    return true
  }

  /// The exchange is over: log line, slot back.
  private func finish() {
    guard let exchange else { return }
    self.exchange = nil
    loop.clearTimer(timer)
    if exchange.goesOnAlone {
      exchange.detach(keeping: head, clientLeft: !didEndResponse)
      head = nil
      return dropQueue()
    }
    if exchange.headBytes.isEmpty { exchange.headBytes = unfinishedHead(exchange) }
    exchange.finish(isAnswered: didEndResponse)
    dropQueue()
  }

  func dropQueue() {
    h2.queuedByteCount -= queue.memoryCount
    queue.removeAll(&h2.client.output, loop.pool)
  }

  /// The connection is closing.
  func cancel() {
    isClosed = true
    end()
  }

  func onClose() {
    isClosed = true
    if isUnderWay && exchange?.goesOnAlone == false {
      exchange?.log(.info, "client closed stream while its response was under way")
    }
    touch()
  }

  override func awaitBody(atMost timeout: Milliseconds) {
    // There is one deadline: a client that doesn't take its response has this one.
    if awaited == .window { return }
    awaited = .body
    loop.setTimer(timer, after: timeout, for: handle)
  }

  override func stopAwaitingBody() {
    guard awaited == .body else { return }
    awaited = .nothing
    loop.clearTimer(timer)
  }

  /// Breaks the stream off, and the exchange with it.
  func reset(_ code: nghttp2_error_code) {
    guard !isAborted, !isClosed, let session = unsafe h2.session else { return }
    isAborted = true
    unsafe nghttp2_submit_rst_stream(
      session, UInt8(NGHTTP2_FLAG_NONE.rawValue), id, code.rawValue)
    touch()
    h2.schedule()
  }

  override func abort() {
    let isForeign = exchange?.response.status == 444 || exchange?.response.status == 499
    // A reset drops what is queued, which goes out before.
    if !isForeign, !queue.isEmpty, exchange?.response.isBrokenOff == true {
      endsByReset = true
      return resume()
    }
    reset(isForeign ? NGHTTP2_CANCEL : NGHTTP2_INTERNAL_ERROR)
  }

  override var isBodyRead: Bool { isRequestEnded && bodyInput == nil }

  override func readBody(into buffer: Buffer) -> BodyRead { readInput(into: buffer) }

  override func startTunnel() { isTunnel = true }

  // --- responses ---------------------------------------------------------------------------------

  override func sendHead(_ exchange: Exchange) {
    // Taken once: each look at a variable of a class counts a reference.
    let h2 = h2
    guard !isClosed, !isAborted, let session = unsafe h2.session else { return }
    let (status, hasBody) = outcome(exchange.response)
    hasBodyProvider = hasBody
    h2.noteAnswer(exchange)
    h2.noteChunks(of: exchange.location.settings.core.value.http2ChunkBytes)
    let writer = H2ResponseHead(exchange, status: status)
    let result = unsafe writer.submit(
      session, id, hasBodyProvider ? H2Callbacks.body(of: self) : nil)
    if result != 0 { return reset(NGHTTP2_INTERNAL_ERROR) }
    // Names and values live in the exchange: they are encoded before it goes on.
    h2.pull(throughHeadOf: self)
    if !didSendHead && !isClosed { reset(NGHTTP2_INTERNAL_ERROR) }
    h2.schedule()
  }

  /// The status to send, and whether a body follows.
  private func outcome(_ head: borrowing OutgoingHead) -> (status: Int, hasBody: Bool) {
    if head.isUpgrade { return (200, true) }
    // A WebSocket that the location didn't accept must not look as if it had (RFC 8441 §5).
    let status = isWebSocket && head.status / 100 == 2 ? 501 : head.status
    return (status, head.hasBody && (head.contentLength != 0 || head.expectsTrailers))
  }

  override func sendInterim(_ exchange: Exchange, _ status: Int) {
    guard !isClosed, !isAborted, let session = unsafe h2.session else { return }
    let fields = exchange.response.interim
    guard unsafe H2ResponseHead.submitInterim(session, id, status, fields, &exchange.arena)
    else { return }
    interimCount += 1
    h2.schedule()
  }

  override func sendBody(_ buffer: consuming Buffer) {
    guard hasBodyProvider, !isClosed, !isAborted else { return loop.pool.giveBack(buffer) }
    noteQueued(buffer.count)
    queue.append(buffer, loop.pool)
    resume()
  }

  override func sendBody(_ bytes: Bytes) {
    guard hasBodyProvider, !isClosed, !isAborted else { return }
    noteQueued(bytes.count)
    queue.append(bytes)
    resume()
  }

  override func sendBody(_ file: OpenFile, offset: Int64, count: Int) {
    guard hasBodyProvider, !isClosed, !isAborted else { return }
    noteQueued(0)
    queue.append(file, offset: offset, count: count)
    resume()
  }

  private func noteQueued(_ count: Int) {
    h2.queuedByteCount += count
    if awaited != .window, let exchange { awaitWindow(exchange) }
  }

  override func endBody() {
    isBodyEnded = true
    guard hasBodyProvider else { return }
    if endsInShutWindow() { return }
    // Whatever keeps the end from being sent has a deadline as well.
    if awaited != .window, let exchange { awaitWindow(exchange) }
    resume()
  }

  /// Has the library ask for body bytes again.
  private func resume() {
    if isDeferred, let session = unsafe h2.session {
      isDeferred = false
      unsafe nghttp2_session_resume_data(session, id)
    }
    h2.schedule()
  }

  override func flush() { h2.schedule() }

  /// How much the next DATA frame takes (at most `limit`), or that there is nothing now.
  func onBodyWanted(_ limit: Int, _ flags: inout UInt32) -> Int {
    guard let exchange else { return Int(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue) }
    let piece = min(limit, exchange.location.settings.core.value.http2ChunkBytes)
    let before = queue.memoryCount
    guard let count = queue.prepare(piece, loop.pool) else {
      exchange.log(.alert, "a file was truncated while it was sent")
      return Int(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue)
    }
    h2.queuedByteCount += queue.memoryCount - before
    if count == 0 && !isBodyEnded {
      isDeferred = true
      return Int(NGHTTP2_ERR_DEFERRED.rawValue)
    }
    flags |= UInt32(NGHTTP2_DATA_FLAG_NO_COPY.rawValue)
    if isBodyEnded && count == queue.byteCount {
      flags |= UInt32(NGHTTP2_DATA_FLAG_EOF.rawValue)
      let trailers = exchange.response.trailers
      if !trailers.isEmpty, let session = unsafe h2.session,
        unsafe H2ResponseHead.submitTrailers(session, id, trailers)
      {
        flags |= UInt32(NGHTTP2_DATA_FLAG_NO_END_STREAM.rawValue)
      }
    }
    return count
  }

  /// Hands `count` bytes of the body on.
  func moveBody(_ count: Int, to output: inout OutputQueue, maySlice: Bool) {
    h2.queuedByteCount -= count
    sentBodyCount += count
    queue.move(count, to: &output, maySlice: maySlice, loop.pool)
    if isBodyEnded { return }
    if queue.isEmpty && awaited == .window {
      awaited = .nothing
      loop.clearTimer(timer)
    }
    if queue.memoryCount < 64 << 10 {
      isWritable = true
      touch()
    }
  }

  func onFrameSent(_ header: nghttp2_frame_hd) {
    sentCount += header.length + H2Callbacks.frameHeaderByteCount
    let isHead = header.type == UInt8(NGHTTP2_HEADERS.rawValue)
    if isHead && interimCount > 0 {
      interimCount -= 1
    } else if isHead, !didSendHead, let exchange, exchange.didSendHead {
      didSendHead = true
      exchange.headByteCount = sentCount
    }
    if header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0 {
      didEndResponse = true
      touch()
    } else if didSendHead && !isBodyEnded && queue.isEmpty {
      isWritable = true
      touch()
    }
  }
}
