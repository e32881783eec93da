// A try by HTTP/2: a stream of a connection that many exchanges share. What is special about it;
// the rest is Exchange+Upstream (sending, retries) and Exchange+UpstreamResponse (heads, bodies).

import HTTP

extension Exchange {
  // --- a stream ----------------------------------------------------------------------------------

  /// Starts a try at `peer` on a connection that has room, or on a new one.
  func openStream(_ peer: Peer, _ group: UpstreamGroup, from local: SocketAddress?) {
    let list = core.streamedConnections(group)
    attempt.isReused = false
    let isLarge = hasLargeHead(for: list)
    let sendsData = attempt.request.map { hasUpstreamBody($0) } ?? false
    let known = core.h2Upstreams.find(list, peer.state, upstreamTLSTerms, from: local) {
      (!attempt.didRetryStale || !$0.mayBeStale) && (!isLarge || $0.isIdle)
        && (!sendsData || $0.takesBody)
    }
    if let known {
      attempt.isReused = known.mayBeStale
      return attachStream(to: known, alone: isLarge)
    }
    guard core.takesConnection() else {
      log(.alert, "worker_connections are not enough")
      return failTry(.noRoom, "no free connection for")
    }
    switch core.h2Upstreams.connect(to: peer.address, peer.state, from: local, in: list) {
    case .failure(let error):
      failTry(
        .connecting(error), "connect() failed \(error.logText) while connecting to")
    case .success(let connection):
      if location.settings.proxy.value.socketKeepalive { connection.keepAlive() }
      if proxyIsTLS, !secure(connection) {
        core.h2Upstreams.close(connection)
        return failTry(.noRoom, "SSL session could not be made for")
      }
      attachStream(to: connection, alone: isLarge)
    }
  }

  /// Whether the head is longer than the server takes. Servers may end the connection over it, and
  /// with it what others have there: such a request has one to itself.
  private func hasLargeHead(for list: H2UpstreamList) -> Bool {
    // A field counts 32 bytes more than it has; here it takes at least nine.
    let least = min(list.expectedHeadBytes / 4, Self.commonFieldCount * 9)
    guard let request = attempt.request, attempt.fieldBlockCount > least else { return false }
    let fields = request.unread.prefix(attempt.fieldBlockCount)
    let count = H2FieldBlock.count(fields)
    let additional = count * (32 - H2FieldBlock.overhead)
    return count > Self.commonFieldCount || fields.count + additional > list.expectedHeadBytes
  }

  /// How many fields every server takes; HAProxy ends the connection over the 102nd.
  private static var commonFieldCount: Int { 100 }

  /// Puts TLS on a connection that is being made.
  private func secure(_ connection: H2UpstreamConnection) -> Bool {
    guard let session = makeUpstreamSession(connection.fd) else { return false }
    connection.tlsKey = upstreamTLSTerms?.key
    connection.start(session)
    return true
  }

  private func attachStream(to connection: H2UpstreamConnection, alone: Bool) {
    guard let stream = core.h2Upstreams.attach(handle, to: connection, alone: alone) else {
      return failTry(.noRoom, "no HTTP/2 session for")
    }
    stream.fieldByteLimit = location.settings.proxy.value.bufferBytes
    attempt.stream = stream
    if connection.state == .open {
      upstreamLog.update { $0.connectTime = 0 }
      attempt.phase = .sending
      return send()
    }
    attempt.phase = .connecting
    setUpstreamTimer(location.settings.proxy.value.connectTimeout)
  }

  /// Lets the deadline of the try be `timeout` from now.
  func setStreamTimer(_ timeout: Milliseconds) {
    let timer = attempt.timer ?? loop.makeTimer()
    attempt.timer = timer
    attempt.waitsSince = loop.now
    attempt.takenAtTimer = attempt.stream?.takenCount ?? 0
    loop.setTimer(timer, after: timeout, for: handle)
  }

  /// Nothing is waited for of the upstream.
  func clearUpstreamTimer() {
    if let connection = attempt.connection { loop.clearTimer(connection.timer) }
    if attempt.stream != nil, let timer = attempt.timer { loop.clearTimer(timer) }
  }

  /// Parts from the stream; what is unfinished of it is reset.
  func releaseStream() {
    guard let stream = attempt.stream else { return }
    attempt.stream = nil
    if let timer = attempt.timer { loop.clearTimer(timer) }
    core.h2Upstreams.release(stream, isDraining: core.isDraining)
  }

  // --- events ------------------------------------------------------------------------------------

  /// Something happened to the stream: fields or bytes came, room was made, it ended.
  func onStreamTouched(_ stream: H2UpstreamStream) {
    guard attempt.stream === stream else { return }
    let number = attempt.number
    switch attempt.phase {
    case .connecting: streamConnected(stream)
    case .sending, .awaitingHead, .receivingBody:
      if !isRequestSent && stream.failure == nil { send() }
      if attempt.number == number && attempt.stream != nil { receiveFromStream() }
    case .handshaking, .tunneling, .none: break
    }
    if state != .idle { self.stream.flush() }
  }

  /// The deadline of the try passed.
  func onStreamTimeout() {
    guard let stream = attempt.stream else { return }
    if !attempt.isPausedByRate { stream.connection?.noteTimeout(since: attempt.waitsSince) }
    upstreamTimedOut()
    if state != .idle { self.stream.flush() }
  }

  private func streamConnected(_ stream: H2UpstreamStream) {
    if stream.failure != nil { return failStream(stream) }
    guard let connection = stream.connection, connection.state == .open else { return }
    let waited = max(0, connection.readyAt - attempt.triedAt)
    upstreamLog.update { $0.connectTime = waited }
    attempt.phase = .sending
    send()
  }

  // --- sending -----------------------------------------------------------------------------------

  /// Submits the request's fields if that is still to be done; false if the try is over.
  func submitStream(_ stream: H2UpstreamStream, _ request: Buffer) -> Bool {
    if stream.id > 0 { return true }
    let count = attempt.fieldBlockCount
    guard let session = stream.session,
      session.submit(stream, request.unread.prefix(count), hasBody: hasUpstreamBody(request))
    else {
      failTry(.error, "HTTP/2 stream could not be opened while sending request to")
      return false
    }
    attempt.requestSent = count
    countSent(count)
    stream.connection?.requestFlush()
    return true
  }

  /// Whether DATA follows the fields.
  private func hasUpstreamBody(_ request: Buffer) -> Bool {
    if request.count > attempt.fieldBlockCount { return true }
    guard sendsBody else { return false }
    switch body.phase {
    case .buffered: return body.bufferedCount > attempt.bodySent
    case .streaming: return !attempt.didEndBody
    default: return false
    }
  }

  /// Hands bytes to the connection, or to its stream, as many as fit.
  func transmit(_ bytes: Bytes) -> IOResult {
    if let stream = attempt.stream { return transmit(bytes, on: stream) }
    guard let connection = attempt.connection else { return .end }
    return connection.transport.send(bytes, more: false)
  }

  private func transmit(_ bytes: Bytes, on stream: H2UpstreamStream) -> IOResult {
    guard let session = stream.session, stream.failure == nil else { return .end }
    let count = session.write(bytes, to: stream)
    stream.connection?.requestFlush()
    return count > 0 || bytes.isEmpty ? .bytes(count) : .wouldBlock
  }

  /// The request was handed over whole.
  func endStreamOutput() {
    guard let stream = attempt.stream, let session = stream.session else { return }
    session.endOutput(stream)
    stream.connection?.requestFlush()
  }

  // --- receiving ---------------------------------------------------------------------------------

  /// Takes from the stream as much as the client side can take.
  func receiveFromStream() {
    let number = attempt.number
    // Bound: pieces per event; a fast server gives others their turn after that.
    for _ in 0..<16 {
      guard attempt.number == number, let stream = attempt.stream else { return }
      if attempt.phase != .receivingBody {
        guard takeHead(stream) else { return }
        continue
      }
      if stream.inputByteCount > 0 && isClientQueueFull {
        // A client that keeps up needs no file.
        self.stream.flush()
        guard attempt.number == number, attempt.stream === stream else { return }
      }
      attempt.isHeld = false
      guard canTakeBody else { return holdUpstream() }
      let allowance = readAllowance()
      if allowance == 0 { return passPauseOn() }
      if let piece = stream.takeInput(allowance, loop.pool) {
        countReceived(piece.count)
        stream.session?.consume(stream, piece.count)
        stream.connection?.requestFlush()
        deliver(piece)
        continue
      }
      if stream.hasEnded { return completeStream(stream) }
      if stream.failure != nil { return failStream(stream) }
      awaitProgress()
      return passPauseOn()
    }
    guard attempt.number == number, let stream = attempt.stream else { return }
    stream.session?.touch(stream)
    stream.connection?.requestFlush()
  }

  private var isClientQueueFull: Bool {
    stream.queuedByteCount >= location.settings.proxy.value.memoryLimit
  }

  /// Notes bytes that came.
  func countReceived(_ count: Int) {
    attempt.bytesReceived += count
    upstreamLog.update { $0.bytesReceived += count }
  }

  /// Uses the response's head; false if it isn't there yet or the try is over.
  private func takeHead(_ stream: H2UpstreamStream) -> Bool {
    if stream.interimCount > H2UpstreamStream.interimLimit {
      failTry(
        .invalidHeader,
        "upstream sent too many interim responses while reading response header from")
      return false
    }
    passInterim(of: stream)
    guard stream.hasHead, let bytes = stream.fieldBytes else {
      if stream.failure != nil {
        failStream(stream)
      } else {
        awaitProgress()
      }
      return false
    }
    attempt.didReceive = true
    dropKeptBody()
    countReceived(bytes.count)
    attempt.headBytes = arena.copy(bytes.unread)
    swap(&attempt.head, &stream.head)
    attempt.framing = UpstreamFraming()
    // The stream says where the body ends; the library holds it against Content-Length.
    attempt.framing.body = .untilClose
    return useHead()
  }

  /// What is known of the body's length, and of trailers, when the head goes to the client.
  func frameResponse(of stream: H2UpstreamStream) {
    let isAnswerToHead = attempt.method == .head && !isHead
    response.contentLength = isAnswerToHead ? 0 : upstreamField(.contentLength)?.decimal
    // A head alone: errors of gRPC come so, and clients only take them if nothing follows.
    let isAlone = stream.hasEnded && stream.inputByteCount == 0 && stream.trailers.isEmpty
    if isAlone && !isHead && response.contentLength == nil { response.contentLength = 0 }
    // By HTTP/1 a body is chunked or has a length. gRPC has to have its trailers, others may.
    let isCounted = response.contentLength != nil && !location.settings.proxy.value.isGRPC
    response.expectsTrailers = passesTrailers && !isAlone && !isCounted
  }

  /// The response is complete: its trailers follow the body.
  private func completeStream(_ stream: H2UpstreamStream) {
    takeTrailers(of: stream)
    completeFromUpstream()
  }

  /// Ends the try for the reason that the stream gives.
  private func failStream(_ stream: H2UpstreamStream) {
    // Only the loss of a connection that had been idle says that nothing was processed.
    if stream.failure != .connection { attempt.isReused = false }
    let phase = attempt.phase == .receivingBody ? "reading" : "reading response header from"
    let kind = attempt.phase == .receivingBody ? AttemptFailure.error : .invalidHeader
    switch stream.failure {
    case .unprocessed:
      failTry(.unprocessed, "upstream did not process the request while sending request to")
    case .refused: failTry(.refused, "upstream refused the stream while sending request to")
    case .reset(let code): failTry(kind, "upstream reset the stream (\(code)) while \(phase)")
    case .malformed: failTry(kind, "upstream sent an invalid HTTP/2 response while \(phase)")
    case .tooBig: failTry(.invalidHeader, "too big header while \(phase)")
    case .connection, nil:
      failTry(.error, stream.connection?.lossText ?? "connection lost while \(phase)")
    }
  }
}
