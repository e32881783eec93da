// HTTP/1.x on a client's connection: heads in, bodies in and out, keep-alive, pipelining, and the
// ways in which a connection may end (RFC 9112).
//
//   waiting ─► head ─► exchanging ─┬─► waiting (keep-alive)
//                                  ├─► discarding ─► waiting   (a body that nobody read)
//                                  ├─► lingering ─► closed     (unread input behind a response)
//                                  └─► closed

import HTTP

/// The HTTP/1 side of a connection; the client stream of its exchanges, one at a time.
final class H1Connection: ClientStream {
  enum State { case waiting, head, exchanging, discarding, lingering, closed }

  unowned(unsafe) let client: ClientConnection
  let loop: Loop
  private(set) var state = State.closed
  private var exchange: Exchange?
  private var parser = RequestHeadParser(limits: HeadLimits.client)
  /// The head, and what came with it. Pinned while an exchange refers to it.
  private var input: Buffer?
  /// What came behind the head of a chunked body.
  private var bodyInput: Buffer?
  private var bodyFraming = BodyFraming.none
  private var bodyRemaining = 0
  private var decoder = ChunkedDecoder()
  private var isBodyComplete = true
  private var wantsContinue = false
  private var isTunnel = false

  private var isChunked = false
  private var endsByClose = false
  private var isResponseEnded = false
  private var keepsAlive = false
  private var lingerUntil: Milliseconds = 0
  private var sentBefore = 0

  init(_ client: ClientConnection) {
    self.client = client
    loop = client.loop
  }

  override var connection: ConnectionFacts { client.facts }
  override var queuedByteCount: Int { client.output.memoryCount }
  override var sentByteCount: Int { client.output.sentCount - sentBefore }

  /// Begins a life.
  func open() {
    state = .waiting
    client.output.sentCount = 0
    isTunnel = false
    isBodyComplete = true
    resetForRequest()
  }

  private func resetForRequest() {
    parser.reset()
    bodyFraming = .none
    bodyRemaining = 0
    isBodyComplete = true
    wantsContinue = false
    isChunked = false
    endsByClose = false
    isResponseEnded = false
    keepsAlive = false
    sentBefore = client.output.sentCount
  }

  /// Gives everything back; the connection is closing.
  func release() {
    let wasReadingHead = state == .head
    state = .closed
    if let exchange {
      self.exchange = nil
      // A head that was cut short: the log line shows what came of it.
      if exchange.headBytes.isEmpty, let input { exchange.headBytes = input.unread }
      if exchange.response.status == 0
        || (!wasReadingHead && !isResponseEnded && !exchange.didSendHead)
      {
        exchange.response.status = 499
      }
      exchange.finish()
    }
    giveBackInput()
  }

  private func giveBackInput() {
    if let input { loop.pool.giveBack(input) }
    input = nil
    if let bodyInput { loop.pool.giveBack(bodyInput) }
    bodyInput = nil
  }

  // --- events -------------------------------------------------------------------------------------

  func onReadable() {
    switch state {
    case .waiting, .head: receiveHead()
    case .exchanging: readableWhileExchanging()
    case .discarding: discard()
    case .lingering: linger()
    case .closed: break
    }
  }

  func onResume() {
    switch state {
    case .waiting, .head:
      if input?.isEmpty == false || client.transport.isReadable { receiveHead() }
    default: if client.transport.isReadable { onReadable() }
    }
  }

  func onTimeout() {
    switch state {
    case .waiting:
      client.close()
    case .head:
      exchange?.log(.info, "client timed out while reading client request headers")
      exchange?.response.status = 408
      client.close()
    case .exchanging: timedOutWhileExchanging()
    case .discarding, .lingering: client.close()
    case .closed: break
    }
  }

  private func timedOutWhileExchanging() {
    guard let exchange else { return client.close() }
    if exchange.state == .readingBody || (exchange.state == .attempting && !isBodyComplete && !exchange.didSendHead) {
      exchange.log(.info, "client timed out while reading a client request body")
      exchange.keepAlive = false
      exchange.fail(408)
      return flush()
    }
    exchange.log(.info, "client timed out while sending a response")
    client.close(reset: exchange.location.settings.core.value.resetsTimedOut)
  }

  /// The client's connection broke while a response was on its way.
  func onBroken() {
    exchange?.log(.info, "client closed connection while sending a response")
    client.close(reset: true)
  }

  private func readableWhileExchanging() {
    guard let exchange else { return }
    if !isBodyComplete || isTunnel {
      exchange.onBodyReadable()
      if state == .exchanging { flush() }
      if state == .exchanging, !isTunnel { checkForDeparture() }
    } else {
      checkForDeparture()
    }
  }

  /// The client closed although its answer is on its way: 499, unless the location ignores it.
  private func checkForDeparture() {
    guard let exchange, client.transport.sawPeerClose || client.transport.isBroken else { return }
    guard exchange.state == .attempting || exchange.state == .resolving || exchange.state == .readingBody
    else { return }
    if client.transport.isBroken || !exchange.location.settings.proxy.value.ignoresClientAbort {
      exchange.log(.info, "client prematurely closed connection")
      client.close()
    }
  }

  // --- heads --------------------------------------------------------------------------------------

  private func receiveHead() {
    while true {
      if let input, !input.isEmpty {
        if state == .waiting { beginHead() }
        guard parse(input) else { return }
      }
      guard state == .waiting || state == .head else { return }
      let input = roomyInput()
      switch client.transport.receive(into: input.free) {
      case .bytes(let count): input.produced(count)
      case .wouldBlock:
        if input.isEmpty { giveBackInput() }
        return
      case .end:
        if state == .head {
          exchange?.log(.info, "client prematurely closed connection while reading client request headers")
          exchange?.response.status = 400
        }
        return client.close()
      case .failed: return client.close()
      }
    }
  }

  private func beginHead() {
    state = .head
    resetForRequest()
    let exchange = client.core.takeExchange(self)
    client.refreshPlan()
    exchange.enter(client.address, client.address.defaultSite)
    self.exchange = exchange
    let settings = exchange.site.settings
    parser.limits.maxFields = settings.maxFields
    parser.limits.allowUnderscores = settings.allowsUnderscores
    parser.limits.ignoreInvalidFields = settings.ignoresInvalidFields
    loop.setTimer(client.timer, after: settings.headerTimeout, for: client.handle)
  }

  /// The input buffer with room for more, grown as far as `large_client_header_buffers` allows.
  private func roomyInput() -> Buffer {
    guard let input else {
      let fresh = loop.pool.take(.small)
      self.input = fresh
      return fresh
    }
    if input.room > 0 { return input }
    let grown = loop.pool.take(atLeast: input.capacity * 2)
    grown.append(input.unread)
    loop.pool.giveBack(input)
    self.input = grown
    return grown
  }

  /// Parses what is there. True: more bytes are wanted.
  private func parse(_ input: Buffer) -> Bool {
    guard let exchange else { return false }
    switch parser.parse(input.unread, into: &exchange.request) {
    case .incomplete:
      let settings = exchange.site.settings
      let line = input.count - parser.lineStart
      let limit = max(settings.largeHeaderBufferBytes, settings.headerBufferBytes)
      if line > limit || input.count > max(limit, settings.largeHeaderBufferCount * settings.largeHeaderBufferBytes) {
        let status = parser.isInRequestLine ? 414 : 494
        exchange.headBytes = input.unread
        exchange.log(.info, parser.isInRequestLine ? "client sent too long URI" : "client sent too long header line")
        reject(status)
        return false
      }
      return true
    case .failed(let error):
      exchange.headBytes = input.unread
      exchange.log(.info, "client sent invalid request: \(error)")
      reject(error.status)
      return false
    case .complete:
      if let status = tooLarge(exchange) {
        exchange.headBytes = input.unread.prefix(exchange.request.length)
        exchange.log(.info, status == 414 ? "client sent too long URI" : "client sent too long header line")
        reject(status)
        return false
      }
      let length = exchange.request.length
      exchange.headBytes = input.unread.prefix(length)
      input.skip(length)
      accept(exchange)
      return false
    }
  }

  /// Holds `large_client_header_buffers` against a head that came whole: a line is to fit in one
  /// buffer, the head in all of them. 414, 494, or nil.
  private func tooLarge(_ exchange: Exchange) -> Int? {
    let settings = exchange.site.settings
    let line = max(settings.largeHeaderBufferBytes, settings.headerBufferBytes)
    if exchange.request.length <= line { return nil }
    let head = exchange.request
    let versionAndLineEnd = " HTTP/1.1\r\n".utf8.count
    if Int(head.target.start + head.target.count) + versionAndLineEnd > line { return 414 }
    for field in head.fields
    where Int(field.value.start + field.value.count - field.name.start) + 2 > line { return 494 }
    let all =
      settings.headerBufferBytes + settings.largeHeaderBufferCount * settings.largeHeaderBufferBytes
    return head.length > all ? 494 : nil
  }

  /// Answers a request that can't be understood; the connection closes behind it.
  private func reject(_ status: Int) {
    guard let exchange else { return }
    state = .exchanging
    exchange.keepAlive = false
    client.facts.requestCount += 1
    exchange.state = .working
    exchange.fail(status)
    flush()
  }

  /// A sound head: frames the body, decides about keep-alive, lets the exchange begin.
  private func accept(_ exchange: Exchange) {
    state = .exchanging
    client.facts.requestCount += 1
    do throws(FramingError) {
      let framing = try Framing.request(exchange.request, exchange.headBytes)
      bodyFraming = framing.body
      switch framing.body {
      case .none: isBodyComplete = true
      case .length(let length):
        bodyRemaining = length
        isBodyComplete = length == 0
      case .chunked, .untilClose:
        decoder = ChunkedDecoder()
        isBodyComplete = false
      }
      exchange.accept(framing)
      wantsContinue = framing.expectsContinue && !isBodyComplete
    } catch {
      exchange.log(.info, "client sent a request of uncertain length: \(error)")
      exchange.keepAlive = false
      exchange.fail(error.status)
      return flush()
    }
    loop.clearTimer(client.timer)
    exchange.begin()
    flush()
  }

  // --- request bodies -----------------------------------------------------------------------------

  override var isBodyRead: Bool { isBodyComplete }

  override func readBody(into buffer: Buffer) -> BodyRead {
    if isTunnel { return readRaw(into: buffer, limit: buffer.room) }
    if isBodyComplete { return .complete }
    if wantsContinue {
      wantsContinue = false
      if input?.isEmpty != false {
        client.output.append(Bytes("HTTP/1.1 100 Continue\r\n\r\n"))
        client.flush()
      }
    }
    switch bodyFraming {
    case .none, .untilClose: return .complete
    case .length:
      let result = readRaw(into: buffer, limit: min(buffer.room, bodyRemaining))
      if case .bytes(let count) = result {
        bodyRemaining -= count
        isBodyComplete = bodyRemaining == 0
      } else if case .complete = result {
        return .failed(0)
      }
      return result
    case .chunked: return readChunked(into: buffer)
    }
  }

  /// Bytes as they come: first those that came with the head.
  private func readRaw(into buffer: Buffer, limit: Int) -> BodyRead {
    for source in [input, bodyInput] {
      guard let source, !source.isEmpty else { continue }
      let count = min(source.count, limit)
      buffer.append(source.unread.prefix(count))
      source.skip(count)
      return .bytes(count)
    }
    switch client.transport.receive(into: buffer.free.slice(0, limit)) {
    case .bytes(let count):
      buffer.produced(count)
      return .bytes(count)
    case .wouldBlock: return .wouldBlock
    case .end: return .complete
    case .failed: return .failed(0)
    }
  }

  private func readChunked(into buffer: Buffer) -> BodyRead {
    while true {
      if let source = chunkSource, !source.isEmpty {
        let before = buffer.count
        guard decode(source, into: buffer) else { return .failed(400) }
        if buffer.count > before { return .bytes(buffer.count - before) }
        if isBodyComplete { return .complete }
        continue
      }
      if bodyInput == nil { bodyInput = loop.pool.take(.medium) }
      guard let bodyInput else { return .failed(0) }
      bodyInput.reset()
      switch client.transport.receive(into: bodyInput.free) {
      case .bytes(let count): bodyInput.produced(count)
      case .wouldBlock:
        loop.pool.giveBack(bodyInput)
        self.bodyInput = nil
        return .wouldBlock
      case .end, .failed: return .failed(0)
      }
    }
  }

  private var chunkSource: Buffer? { input?.isEmpty == false ? input : bodyInput }

  /// Decodes as much of `source` as `buffer` takes; false if it is malformed.
  private func decode(_ source: Buffer, into buffer: Buffer) -> Bool {
    while !source.isEmpty && buffer.room > 0 {
      let window = source.unread.prefix(min(source.count, buffer.room))
      switch decoder.next(window) {
      case .data(let start, let count, let consumed):
        buffer.append(window.slice(start, start + count))
        source.skip(consumed)
      case .needMore(let consumed): source.skip(consumed)
      case .end(let consumed):
        source.skip(consumed)
        isBodyComplete = true
        return true
      case .failed:
        exchange?.log(.info, "client sent invalid chunked body")
        return false
      }
    }
    return true
  }

  override func setDeadline(_ timeout: Milliseconds) {
    loop.setTimer(client.timer, after: timeout, for: client.handle)
  }

  override func startTunnel() {
    isTunnel = true
    loop.clearTimer(client.timer)
  }

  // --- responses ----------------------------------------------------------------------------------

  override func sendHead(_ exchange: Exchange) {
    keepsAlive = decideKeepAlive(exchange)
    let writer = ResponseHeadWriter(exchange, keepsAlive: keepsAlive, requestCount: client.facts.requestCount)
    isChunked = writer.isChunked
    endsByClose = writer.endsByClose
    if endsByClose { keepsAlive = false }
    client.output.append(writer.write(keepsAlive: keepsAlive, pool: loop.pool))
  }

  private func decideKeepAlive(_ exchange: Exchange) -> Bool {
    let settings = exchange.location.settings.core.value
    return exchange.keepAlive && settings.keepaliveTimeout > 0
      && client.facts.requestCount < settings.keepaliveRequests && !client.core.isDraining
      && loop.now - client.facts.openedAt < settings.keepaliveTime && !exchange.response.isUpgrade
      && !awaitsContinue
  }

  /// The client holds its body back for a "100 Continue" that won't come any more: whether a body
  /// or a request follows is anybody's guess.
  private var awaitsContinue: Bool { wantsContinue && !isBodyComplete && input?.isEmpty != false }

  override func sendBody(_ buffer: Buffer) {
    if isChunked { return sendChunk(buffer) }
    if let tail = client.output.tail(room: buffer.count) {
      tail.append(buffer.unread)
      client.output.extended(by: buffer.count)
      loop.pool.giveBack(buffer)
    } else {
      client.output.append(buffer)
    }
  }

  override func sendBody(_ bytes: Bytes) {
    if isChunked { openChunk(bytes.count) }
    if let tail = client.output.tail(room: bytes.count) {
      tail.append(bytes)
      client.output.extended(by: bytes.count)
    } else {
      client.output.append(bytes)
    }
    if isChunked { client.output.append(ChunkedEncoder.dataEnd) }
  }

  override func sendBody(_ file: OpenFile, offset: Int64, count: Int) {
    if isChunked { openChunk(count) }
    client.output.append(file, offset: offset, count: count)
    if isChunked { client.output.append(ChunkedEncoder.dataEnd) }
  }

  private func sendChunk(_ buffer: Buffer) {
    let count = buffer.count
    if let tail = client.output.tail(room: count + ChunkedEncoder.maxHeaderLength + 2) {
      let line = ChunkedEncoder.writeHeader(size: count, into: tail.free)
      tail.produced(line)
      tail.append(buffer.unread)
      tail.append(ChunkedEncoder.dataEnd)
      client.output.extended(by: line + count + 2)
      loop.pool.giveBack(buffer)
      return
    }
    if buffer.start >= ChunkedEncoder.maxHeaderLength && buffer.room >= 2 {
      buffer.prependChunkHeader(count)
      buffer.append(ChunkedEncoder.dataEnd)
      client.output.append(buffer)
      return
    }
    openChunk(count)
    client.output.append(buffer)
    client.output.append(ChunkedEncoder.dataEnd)
  }

  /// Queues a chunk's size line by itself.
  private func openChunk(_ count: Int) {
    if let tail = client.output.tail(room: ChunkedEncoder.maxHeaderLength) {
      let line = ChunkedEncoder.writeHeader(size: count, into: tail.free)
      tail.produced(line)
      client.output.extended(by: line)
      return
    }
    let line = loop.pool.take(.small)
    line.produced(ChunkedEncoder.writeHeader(size: count, into: line.free))
    client.output.append(line)
  }

  override func endBody() {
    if isChunked, let trailers = exchange?.response.trailers, !trailers.isEmpty {
      end(with: trailers)
    } else if isChunked {
      let end = ChunkedEncoder.bodyEnd
      if let tail = client.output.tail(room: end.count) {
        tail.append(end)
        client.output.extended(by: end.count)
      } else {
        client.output.append(end)
      }
    }
    isResponseEnded = true
  }

  /// Ends a chunked body with fields behind it (RFC 9112 §7.1.2).
  private func end(with trailers: [OutgoingField]) {
    var size = 5
    for field in trailers { size += field.name.count + field.value.count + 4 }
    let buffer = loop.pool.take(atLeast: size)
    buffer.append(Bytes("0\r\n"))
    for field in trailers {
      buffer.append(field.name)
      buffer.append(Bytes(": "))
      buffer.append(field.value)
      buffer.append(Bytes("\r\n"))
    }
    buffer.append(Bytes("\r\n"))
    client.output.append(buffer)
  }

  override func abort() {
    keepsAlive = false
    if client.output.isEmpty || endsByClose || exchange?.response.status == 444 {
      client.close(reset: endsByClose && exchange?.didSendHead == true)
    } else {
      isResponseEnded = true
      exchange?.keepAlive = false
      flush()
    }
  }

  override func flush() {
    guard state == .exchanging else { return }
    client.flush()
  }

  /// Everything queued was handed to the kernel.
  func onFlushed() {
    guard state == .exchanging, let exchange else { return }
    if isResponseEnded { return finishExchange(exchange) }
    if exchange.didSendHead { resumeExchange(exchange) }
  }

  /// Lets the exchange hand over more, and sends that at the next turn.
  private func resumeExchange(_ exchange: Exchange) {
    exchange.onClientWritable()
    guard state == .exchanging, isResponseEnded || !client.output.isEmpty,
      client.transport.isWritable
    else { return }
    client.yield()
  }

  /// The client does not take more at the moment.
  func onBlocked() {
    guard state == .exchanging, let exchange else { return }
    if !client.transport.isWritable {
      loop.setTimer(
        client.timer, after: exchange.location.settings.core.value.sendTimeout, for: client.handle)
    } else {
      client.yield()
    }
    if queuedByteCount < 64 << 10 { resumeExchange(exchange) }
  }

  // --- between requests ---------------------------------------------------------------------------

  private func finishExchange(_ exchange: Exchange) {
    let settings = exchange.location.settings.core.value
    let (keepaliveTimeout, lingering) = (settings.keepaliveTimeout, settings.lingeringClose)
    let (lingeringTime, lingeringTimeout) = (settings.lingeringTime, settings.lingeringTimeout)
    self.exchange = nil
    exchange.finish()
    if keepsAlive && isBodyComplete { return waitForNext(keepaliveTimeout) }
    let hasUnread =
      input?.isEmpty == false || bodyInput?.isEmpty == false || client.transport.isReadable
      || !isBodyComplete
    lingerUntil = loop.now + lingeringTime
    loop.setTimer(client.timer, after: lingeringTimeout, for: client.handle)
    if keepsAlive {
      state = .discarding
      nextKeepalive = keepaliveTimeout
      return discard()
    }
    if lingering == .always || (lingering == .on && hasUnread) {
      state = .lingering
      client.transport.shutdownWrite()
      giveBackInput()
      return linger()
    }
    client.close()
  }

  private var nextKeepalive: Milliseconds = 0

  private func waitForNext(_ timeout: Milliseconds) {
    state = .waiting
    if let rest = bodyInput {
      bodyInput = nil
      if let input { loop.pool.giveBack(input) }
      input = rest
    }
    if let input {
      if input.isEmpty {
        loop.pool.giveBack(input)
        self.input = nil
      } else {
        input.compact()
      }
    }
    if client.core.isDraining && input == nil { return client.close() }
    loop.setTimer(client.timer, after: timeout, for: client.handle)
    if input != nil || client.transport.isReadable { client.yield() }
  }

  /// Reads and drops what is left of a request body, so that the next request can be found.
  private func discard() {
    let scratch = loop.pool.take(.medium)
    defer { loop.pool.giveBack(scratch) }
    // Bound: a body that nobody wants is read for `lingering_time` at most, in turns.
    for _ in 0..<64 {
      scratch.reset()
      switch readBody(into: scratch) {
      case .bytes: continue
      case .wouldBlock:
        if loop.now > lingerUntil { client.close() }
        return
      case .complete: return waitForNext(nextKeepalive)
      case .failed: return client.close()
      }
    }
    if loop.now > lingerUntil { client.close() } else { client.yield() }
  }

  /// Reads and drops until the client has read our answer and closes.
  private func linger() {
    let scratch = loop.pool.take(.medium)
    defer { loop.pool.giveBack(scratch) }
    for _ in 0..<64 {
      switch client.transport.receive(into: scratch.free) {
      case .bytes: continue
      case .wouldBlock:
        if loop.now > lingerUntil { client.close() }
        return
      case .end, .failed: return client.close()
      }
    }
    if loop.now > lingerUntil { client.close() } else { client.yield() }
  }

  /// Whether nothing is going on: such a connection may be closed without harm.
  var isIdle: Bool { state == .waiting && (input == nil || input?.isEmpty == true) }
}

extension HeadLimits {
  /// What clients may send. A line may end in a line feed alone (RFC 9112 §2.2 allows it, nginx's
  /// clients rely on it); heads are always written anew, with CRLF, before anybody else sees them.
  static let client: HeadLimits = {
    var limits = HeadLimits()
    limits.allowBareLineFeed = true
    return limits
  }()
}
