// The request of a stream: decoded fields become a head in the form of HTTP/1 (`HTTP2Head`), DATA
// becomes body bytes that wait, at most a window of them, until the exchange reads.

import CNGHTTP2
import HTTP

/// A head that is being decoded.
struct H2HeadDraft {
  /// Where the request line begins in the buffer: behind the pseudo-header fields.
  var base = 0
  var method = Slice()
  var path = Slice()
  var authority = Slice()
  var protocolName = Slice()
  /// Whether the request line is written: regular fields follow.
  var hasLine = false
  var fieldCount = 0
  /// What the server takes that the exchange began with.
  var limits = HeadLimits()
  /// What the request is refused with; 0: nothing.
  var status = 0
  var reason: StaticString = "client sent invalid request"

  mutating func refuse(_ status: Int, _ reason: StaticString) {
    if self.status == 0 { (self.status, self.reason) = (status, reason) }
  }
}

extension H2Stream {
  /// A header block begins: an exchange begins with it.
  func beginHead() {
    let client = h2.client
    let exchange = client.core.takeExchange(self)
    client.refreshPlan()
    exchange.enter(client.address)
    exchange.countIn()
    self.exchange = exchange
    awaited = .head
    draft.limits = exchange.site.settings.headLimits
    loop.setTimer(timer, after: exchange.site.settings.headerTimeout, for: handle)
  }

  /// A decoded field. Names and values were checked by the library; `HTTP2Head` checks again.
  func onHeader(_ name: Bytes, _ value: Bytes) {
    guard !isHeadComplete, draft.status == 0 else { return }
    let limits = draft.limits
    draft.fieldCount += 1
    // Bound: each field counts, crumbs of cookies one by one: an index of one byte can stand for
    // thousands (the class of CVE-2026-49975).
    if draft.fieldCount > limits.maxFields + 4 {
      return draft.refuse(494, "client sent too many header fields")
    }
    if (head?.contents.count ?? 0) + name.count + value.count > limits.maxBytes {
      return draft.refuse(494, "client sent too large header")
    }
    // As a line of HTTP/1 has to fit into one buffer.
    if name.count > limits.maxLineBytes || value.count > limits.maxLineBytes {
      return name == Bytes(":path")
        ? draft.refuse(414, "client sent too long URI")
        : draft.refuse(494, "client sent too long header field")
    }
    if name.count > 0 && name[0] == UInt8(ascii: ":") { return onPseudoHeader(name, value) }
    guard let exchange else { return }
    if !draft.hasLine { writeLine(exchange) }
    guard draft.status == 0, !repeatsAuthority(name, value) else { return }
    append(field: name, value, exchange)
  }

  /// Whether a field is a Host that says what `:authority` said (RFC 9113 §8.3.1): one of them is
  /// enough. A different one stays, and makes two Hosts of which nobody knows which is meant.
  private func repeatsAuthority(_ name: Bytes, _ value: Bytes) -> Bool {
    guard !draft.authority.isEmpty, name == Bytes("host"), let head else { return false }
    return draft.authority.of(head.contents).equalsIgnoringCase(value)
  }

  private func onPseudoHeader(_ name: Bytes, _ value: Bytes) {
    let slice = store(value)
    if name == Bytes(":method") {
      draft.method = slice
    } else if name == Bytes(":path") {
      draft.path = slice
    } else if name == Bytes(":authority") {
      draft.authority = slice
    } else if name == Bytes(":protocol") {
      draft.protocolName = slice
    } else if name != Bytes(":scheme") {
      draft.refuse(400, "client sent an unknown pseudo-header field")
    }
  }

  /// Copies `bytes` into the head's buffer; where they stand, from its beginning.
  @discardableResult
  private func store(_ bytes: Bytes) -> Slice {
    let head = roomyHead(bytes.count)
    let start = head.contents.count
    head.append(bytes)
    return Slice(start, start + bytes.count)
  }

  private func roomyHead(_ count: Int) -> Buffer {
    guard let head else {
      let fresh = loop.pool.take(atLeast: max(count, BufferPool.Size.small.byteCount))
      self.head = fresh
      return fresh
    }
    if head.room >= count { return head }
    let grown = loop.pool.take(atLeast: head.count + count)
    grown.append(head.unread)
    loop.pool.giveBack(head)
    self.head = grown
    return grown
  }

  /// Writes the request line and Host, once the pseudo-header fields are complete.
  private func writeLine(_ exchange: Exchange) {
    draft.hasLine = true
    if !draft.protocolName.isEmpty { takeProtocol() }
    // For the asterisk and CONNECT there is no path (RFC 9113 §8.3.1, §8.5).
    let target = draft.path.isEmpty ? draft.authority : draft.path
    // The buffer may move while it grows: room is made first.
    let head = roomyHead(
      Int(draft.method.count + target.count + draft.authority.count) + Self.lineByteCount)
    draft.base = head.contents.count
    head.append(draft.method.of(head.contents))
    head.append(Bytes(" "))
    head.append(target.of(head.contents))
    head.append(Bytes(" HTTP/2.0"))
    let bytes = head.contents.dropping(draft.base)
    if let error = HTTP2Head.readLine(bytes, 0, bytes.count, into: &exchange.request) {
      draft.refuse(error.status, "client sent invalid pseudo-header fields")
    }
    head.append(Bytes("\r\n"))
    guard draft.status == 0, !draft.authority.isEmpty else { return }
    let start = head.contents.count
    head.append(Bytes("host: "))
    head.append(draft.authority.of(head.contents))
    endField(of: head, from: start, exchange)
  }

  /// What a request line and a Host have beside what the client filled in: blanks, version, line
  /// ends.
  private static let lineByteCount = 32

  /// What is known of a request whose head wasn't complete, for the log.
  func unfinishedHead(_ exchange: Exchange) -> Bytes {
    guard !draft.method.isEmpty else { return Bytes() }
    if !draft.hasLine { writeLine(exchange) }
    return line(from: draft.base)
  }

  private func line(from start: Int) -> Bytes { head?.contents.dropping(start) ?? Bytes() }

  private func append(field name: Bytes, _ value: Bytes, _ exchange: Exchange) {
    let head = roomyHead(name.count + value.count + 4)
    let start = head.contents.count
    head.append(name)
    head.append(Bytes(": "))
    head.append(value)
    endField(of: head, from: start, exchange)
  }

  /// Checks the field line that begins at `start` and ends with `head`, which has room for its end.
  private func endField(of head: Buffer, from start: Int, _ exchange: Exchange) {
    let bytes = head.contents.dropping(draft.base)
    if let error = HTTP2Head.readField(
      bytes, start - draft.base, bytes.count, limits: draft.limits, into: &exchange.request)
    {
      draft.refuse(error.status, "client sent invalid header field")
    }
    head.append(Bytes("\r\n"))
  }

  /// Extended CONNECT (RFC 8441): a WebSocket is asked for the way that HTTP/1 upstreams know.
  private func takeProtocol() {
    guard let head, draft.protocolName.of(head.contents).equalsIgnoringCase(Bytes("websocket")),
      draft.method.of(head.contents) == Bytes("CONNECT")
    else { return draft.refuse(501, "client asked for an unknown protocol") }
    isWebSocket = true
    draft.method = store(Bytes("GET"))
  }

  /// Has the connection's `settle` look at this stream.
  func touch() {
    guard !isTouched else { return }
    isTouched = true
    h2.noteTouched(self)
  }

  /// The header block is complete; `endsRequest`: no body follows.
  func onHeadComplete(endsRequest: Bool) {
    endsWithHead = endsRequest
    if let exchange, draft.status == 0 {
      if !draft.hasLine { writeLine(exchange) }
      if exchange.request.repeated.contains(.cookie) { joinCookies(exchange) }
    }
    isHeadComplete = true
    touch()
  }

  private func joinCookies(_ exchange: Exchange) {
    var size = 16
    HTTP2Head.forEachCookie(exchange.request) { size += Int($0.count) + 2 }
    let room = roomyHead(size)
    let start = room.contents.count
    room.append(Bytes("cookie: "))
    var isFirst = true
    HTTP2Head.forEachCookie(exchange.request) { slice in
      if !isFirst { room.append(Bytes("; ")) }
      isFirst = false
      room.append(slice.of(room.contents.dropping(draft.base)))
    }
    HTTP2Head.removeCookies(&exchange.request)
    endField(of: room, from: start, exchange)
  }

  // --- beginning ---------------------------------------------------------------------------------

  /// Lets the exchange work on a complete head.
  func begin() {
    guard let exchange, let head else { return }
    isBegun = true
    awaited = .nothing
    loop.clearTimer(timer)
    let h2 = h2
    h2.client.facts.requestCount += 1
    number = h2.client.facts.requestCount
    exchange.request.length = head.contents.count - draft.base
    exchange.headBytes =
      draft.hasLine ? head.contents.dropping(draft.base) : unfinishedHead(exchange)
    guard draft.status == 0 else { return refuse(exchange, draft.status, draft.reason.description) }
    do throws(FramingError) {
      var framing = try Framing.requestOfHTTP2(
        exchange.request, exchange.headBytes, endsWithHead: endsWithHead,
        isEmpty: isRequestEnded && bodyInput == nil)
      if isWebSocket {
        framing.body = .none
        framing.upgrade = true
        addHandshake(exchange)
      }
      if case .length(let length) = framing.body { announce(length) }
      exchange.accept(framing)
    } catch {
      return refuse(exchange, error.status, "client sent \(error.reason)")
    }
    exchange.begin()
    h2.schedule()
  }

  private func refuse(_ exchange: Exchange, _ status: Int, _ reason: @autoclosure () -> String) {
    exchange.log(.info, reason())
    exchange.reject(status)
  }

  /// The fields of an opening handshake (RFC 6455 §4.1), which extended CONNECT does without.
  private func addHandshake(_ exchange: Exchange) {
    // As browsers write it: configurations match `$http_connection` and pass it on.
    append(field: Bytes("connection"), Bytes("Upgrade"), exchange)
    append(field: Bytes("upgrade"), Bytes("websocket"), exchange)
    var generator = SystemRandomNumberGenerator()
    let nonce = exchange.arena.allocate(16)
    for index in 0..<16 { nonce[index] = generator.next() }
    let encoded = exchange.arena.allocate(24)
    Base64.encode(nonce.readOnly, into: encoded)
    append(field: Bytes("sec-websocket-key"), encoded.readOnly, exchange)
    guard let head else { return }
    exchange.request.length = head.contents.count - draft.base
    exchange.headBytes = head.contents.dropping(draft.base)
  }

  // --- the body ----------------------------------------------------------------------------------

  /// Takes a piece of the body; false if nobody will read it.
  func take(_ bytes: Bytes) -> Bool {
    guard exchange != nil, !isAborted, !isClosed else { return false }
    let input = bodyInput ?? loop.pool.take(.medium)
    bodyInput = input
    if input.room >= bytes.count {
      input.append(bytes)
    } else {
      // Bound: the stream's window. With some room, lest many small pieces be copied each time.
      let grown = loop.pool.take(atLeast: input.count + max(bytes.count, Self.spareByteCount))
      grown.append(input.unread)
      grown.append(bytes)
      loop.pool.giveBack(input)
      bodyInput = grown
    }
    noteBody()
    return true
  }

  /// END_STREAM: the request is complete.
  func onRequestEnd() {
    isRequestEnded = true
    if isBegun { noteBody() }
  }

  private func noteBody() {
    bodyArrived = true
    touch()
  }

  /// How many bytes a buffer of body bytes grows by at least.
  private static let spareByteCount = 16 << 10
  // Bound: what a client may send ahead of a body that is being read. One that is buffered is read
  // as it comes; one that is streamed waits here for its upstream.
  private static let bufferedWindow: Int32 = 1 << 20
  private static let streamedWindow: Int32 = 256 << 10

  /// The body is being read: the client may send more of it than `http2_body_preread_size` before
  /// it hears from us. 64 KiB a round trip are 640 kB a second at 100 ms.
  private func widenWindow() {
    guard !isWindowWide, !isRequestEnded, !isClosed, let exchange, let session = unsafe h2.session
    else { return }
    let narrow = unsafe nghttp2_session_get_stream_effective_local_window_size(session, id)
    let isStreamed = exchange.body.phase != .buffering
    let wide = isStreamed ? Self.streamedWindow : Self.bufferedWindow
    if narrow >= wide || isStreamed && !h2.mayWiden { return }
    if case .length(let length) = exchange.body.framing, length <= Int(narrow) { return }
    isWindowWide = true
    unsafe nghttp2_session_set_local_window_size(
      session, UInt8(NGHTTP2_FLAG_NONE.rawValue), id, wide)
    h2.schedule()
  }

  /// Moves body bytes that arrived to `buffer`.
  func readInput(into buffer: Buffer) -> BodyRead {
    widenWindow()
    if let input = bodyInput {
      let count = min(input.count, buffer.room)
      buffer.append(input.unread.prefix(count))
      input.consume(count)
      if input.isEmpty {
        loop.pool.giveBack(input)
        bodyInput = nil
      }
      h2.consume(self, count)
      return .bytes(count)
    }
    if isRequestEnded { return .complete }
    if isClosed || isAborted { return .failed(0) }
    sendContinue()
    return .wouldBlock
  }

  /// "100 Continue", once, for a client that waits for it.
  private func sendContinue() {
    guard let exchange, exchange.body.expectsContinue, exchange.body.receivedCount == 0,
      let session = unsafe h2.session
    else { return }
    exchange.body.expectsContinue = false
    var status = unsafe H2HeaderBlock.field(
      Bytes(":status"), Bytes("100"), UInt8(NGHTTP2_NV_FLAG_NONE.rawValue))
    let result = unsafe nghttp2_submit_headers(
      session, UInt8(NGHTTP2_FLAG_NONE.rawValue), id, nil, &status, 1, nil)
    if result == 0 { interimCount += 1 }
    h2.schedule()
  }
}
