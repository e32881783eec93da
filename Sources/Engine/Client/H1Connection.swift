// HTTP/1.x on a client's connection: heads in, bodies in and out, keep-alive, pipelining, and the
// ways in which a connection may end (RFC 9112).
//
//   waiting ─► head ─► exchanging ─┬─► waiting (keep-alive)
//                                  ├─► discarding ─► waiting   (a body that nobody read)
//                                  ├─► lingering ─► closed     (unread input behind a response)
//                                  ├─► breaking ─► closed      (a reset shows that it isn't all)
//                                  └─► closed

import HTTP

/// The HTTP/1 side of a connection; the client stream of its exchanges, one at a time.
@safe
final class H1Connection: ClientStream {
  enum State { case waiting, head, exchanging, discarding, lingering, breaking, closed }
  /// What the client has to do in time: send more of a body, or make room for what was sent.
  enum Awaited { case nothing, body, room }

  let client: ClientConnection
  let loop: Loop
  var state = State.closed
  var exchange: Exchange?
  var parser = RequestHeadParser()
  /// The head, and what came with it. Pinned while an exchange refers to it.
  var input: Buffer?
  /// What came behind the head of a chunked body.
  var bodyInput: Buffer?
  var bodyFraming = BodyFraming.none
  var bodyRemaining = 0
  var decoder = ChunkedDecoder()
  var isBodyComplete = true
  var wantsContinue = false
  var isTunnel = false

  var isChunked = false
  var endsByClose = false
  var isResponseEnded = false
  /// A reset has to show the client that the response isn't complete.
  var endsByReset = false
  var keepsAlive = false
  var lingerUntil: Milliseconds = 0
  /// `lingering_timeout` of the last request.
  var lingeringPause: Milliseconds = 0
  var sentBefore = 0
  /// What the deadline that runs while an exchange does is for. Room comes first: a client that
  /// takes nothing of the response need not be asked for more of the body.
  var awaited = Awaited.nothing
  /// What had been sent when the wait for room began.
  var sentAtBlock = 0
  /// How long the client has for the body that is waited for; 0: none is.
  private(set) var bodyTimeout: Milliseconds = 0
  /// Until when an idle connection is kept although the worker stops.
  var keptUntil: Milliseconds = 0
  /// How long to wait for a request once a body was discarded.
  var nextKeepalive: Milliseconds = 0

  init(_ client: ClientConnection) {
    self.client = client
    loop = client.loop
    super.init(client.facts)
  }

  override var queuedByteCount: Int { client.output.memoryCount }
  override var unsentByteCount: Int { client.output.byteCount }
  override var sentByteCount: Int { client.output.sentCount - sentBefore }

  /// Begins a life.
  func open() {
    state = .waiting
    keptUntil = 0
    isTunnel = false
    isBodyComplete = true
    resetForRequest()
  }

  func resetForRequest() {
    parser.reset()
    bodyFraming = .none
    bodyRemaining = 0
    isBodyComplete = true
    wantsContinue = false
    isChunked = false
    endsByClose = false
    isResponseEnded = false
    endsByReset = false
    awaited = .nothing
    bodyTimeout = 0
    keepsAlive = false
    sentBefore = client.output.sentCount
  }

  /// Gives everything back; the connection is closing.
  func release() {
    let wasReadingHead = state == .head
    state = .closed
    if let exchange, exchange.goesOnAlone {
      self.exchange = nil
      exchange.detach(keeping: input, clientLeft: !isResponseEnded)
      input = nil
    } else if let exchange {
      self.exchange = nil
      // A head that was cut short: the log line shows what came of it.
      if exchange.headBytes.isEmpty, let input { exchange.headBytes = input.unread }
      if exchange.response.status == 0
        || (!wasReadingHead && !isResponseEnded && !exchange.didSendHead)
      {
        exchange.response.status = 499
      }
      exchange.finish(isAnswered: false)
    }
    giveBackInput()
  }

  func giveBackInput() {
    loop.pool.reclaim(&input)
    loop.pool.reclaim(&bodyInput)
  }

  // --- events ------------------------------------------------------------------------------------

  func onReadable() {
    switch state {
    case .waiting, .head: receiveHead()
    case .exchanging: readableWhileExchanging()
    case .discarding: discard()
    case .lingering: client.linger(until: lingerUntil, pause: lingeringPause)
    case .breaking: breakConnection()
    case .closed: break
    }
  }

  func onResume() {
    switch state {
    case .waiting, .head:
      if input?.isEmpty == false || client.transport.isReadable { receiveHead() }
    // A body whose end brought no bytes: nothing is left to be flushed that would tell.
    case .exchanging where isResponseEnded && client.output.isEmpty: client.flush()
    case .exchanging where exchange?.state == .waiting: checkForDeparture()
    default: if client.transport.isReadable { onReadable() }
    }
  }

  func onTimeout() {
    switch state {
    case .waiting:
      client.close()
    case .head: endHead("client timed out while reading client request headers")
    case .exchanging: timedOutWhileExchanging()
    case .discarding, .lingering: client.close()
    case .breaking: breakConnection()
    case .closed: break
    }
  }

  /// Closes a connection on which a head has begun and takes too long, for the reason given.
  func endHead(_ reason: String) {
    exchange?.log(.info, reason)
    exchange?.response.status = 408
    client.close()
  }

  /// The client's connection broke while a response was on its way.
  func onBroken() {
    exchange?.log(.info, "client closed connection while sending a response")
    client.close(reset: true)
  }

  // --- request bodies ----------------------------------------------------------------------------

  override func noteWaiting() {
    // The end may have come with the request: no event will say so again.
    if client.transport.sawPeerClose || client.transport.isBroken { client.yield() }
  }

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

  override func awaitBody(atMost timeout: Milliseconds) {
    bodyTimeout = timeout
    if awaited != .room { beginBodyDeadline() }
  }

  func beginBodyDeadline() {
    awaited = .body
    loop.setTimer(client.timer, after: bodyTimeout, for: client.handle)
  }

  override func stopAwaitingBody() {
    bodyTimeout = 0
    if awaited == .body { endDeadline() }
  }

  func endDeadline() {
    awaited = .nothing
    loop.clearTimer(client.timer)
  }

  override func startTunnel() {
    isTunnel = true
    bodyTimeout = 0
    endDeadline()
  }

  // --- responses ---------------------------------------------------------------------------------

  override func sendHead(_ exchange: Exchange) {
    keepsAlive = decideKeepAlive(exchange)
    let writer = ResponseHeadWriter(exchange)
    isChunked = writer.isChunked
    endsByClose = writer.endsByClose
    if endsByClose { keepsAlive = false }
    let head = writer.write(exchange, keepsAlive: keepsAlive, pool: loop.pool)
    // Interim responses before it are no body either.
    exchange.headByteCount = sentByteCount + client.output.byteCount + head.count
    client.output.append(head)
  }

  override func sendInterim(_ exchange: Exchange, _ status: Int) {
    // A client of HTTP/1.0 takes the first head for the answer (RFC 9110 §15.2).
    guard exchange.request.minorVersion >= 1 else { return }
    let fields = exchange.response.interim
    client.output.append(ResponseHeadWriter.interim(status, fields, pool: loop.pool))
  }

  func decideKeepAlive(_ exchange: Exchange) -> Bool {
    let settings = exchange.location.settings.core.value
    return exchange.keepAlive && settings.keepaliveTimeout > 0
      && client.facts.requestCount < settings.keepaliveRequests && !client.endsWithRequest
      && loop.now - client.facts.openedAt < settings.keepaliveTime && !exchange.response.isUpgrade
      && !awaitsContinue && !isDisabled(exchange, settings.keepaliveDisabled)
  }

  /// `keepalive_disable`: old Explorers are let go after a POST only.
  private func isDisabled(_ exchange: Exchange, _ browsers: BrowserSet) -> Bool {
    var browsers = browsers
    if exchange.request.method != .post { browsers.remove(.oldExplorer) }
    guard !browsers.isEmpty, let agent = exchange.field(.userAgent) else { return false }
    return browsers.contains(agent: agent)
  }

  /// The client holds its body back for a "100 Continue" that won't come any more: whether a body
  /// or a request follows is anybody's guess.
  var awaitsContinue: Bool { wantsContinue && !isBodyComplete && input?.isEmpty != false }

  override func sendBody(_ buffer: consuming Buffer) {
    if isChunked { return sendChunk(buffer) }
    if client.output.appendToTail(buffer.unread) {
      loop.pool.giveBack(buffer)
    } else {
      client.output.append(buffer)
    }
  }

  override func sendBody(_ bytes: Bytes) {
    if isChunked { openChunk(bytes.count) }
    if !client.output.appendToTail(bytes) { client.output.append(bytes) }
    if isChunked { client.output.append(ChunkedEncoder.dataEnd) }
  }

  override func sendBody(_ file: OpenFile, offset: Int64, count: Int) {
    if isChunked { openChunk(count) }
    client.output.append(file, offset: offset, count: count)
    if isChunked { client.output.append(ChunkedEncoder.dataEnd) }
  }

  func sendChunk(_ buffer: consuming Buffer) {
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
  func openChunk(_ count: Int) {
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
      client.output.append(ResponseHeadWriter.trailers(trailers, pool: loop.pool))
    } else if isChunked {
      let end = ChunkedEncoder.bodyEnd
      if !client.output.appendToTail(end) { client.output.append(end) }
    }
    isResponseEnded = true
  }

  override func abort() {
    keepsAlive = false
    endsByReset = endsByClose && exchange?.didSendHead == true
    let isSilent = exchange?.response.status == 444
    // It was we who ended it: the log keeps that status.
    if isSilent { isResponseEnded = true }
    if isSilent || (client.output.isEmpty && !endsByReset) { return client.close() }
    isResponseEnded = true
    exchange?.keepAlive = false
    flush()
  }

  override func flush() {
    guard state == .exchanging else { return }
    // Nothing is there to be sent or to be gone on with while an upstream is asked.
    if client.output.isEmpty && !isResponseEnded && exchange?.didSendHead == false { return }
    guard let isSent = client.send(isLast: endsWithOutput) else { return }
    if isSent { onFlushed() } else { onBlocked() }
  }
}
