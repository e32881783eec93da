// Sending the request of a try: its head, then its body from memory, from its file, or as the
// client sends it. Exchange+Upstream calls it when the server is there or takes bytes again.

import CLinux
import HTTP

extension Exchange {
  /// Whether the request was handed over whole: its head, and what its head announced.
  var isRequestSent: Bool {
    guard let request = attempt.request else { return true }
    guard attempt.requestSent == request.count else { return false }
    guard sendsBody else { return true }
    switch body.phase {
    case .buffered: return attempt.bodySent == body.bufferedCount
    case .streaming: return attempt.didEndBody && attempt.bodyPiece == nil
    default: return true
    }
  }

  /// Whether the client's body goes to this upstream, in whatever way. What the head doesn't
  /// announce may not follow it: the server would take it for the next request.
  var sendsBody: Bool {
    let settings = location.settings.proxy.value
    return settings.passesRequestBody && settings.body == nil
  }

  /// Sends what is left of the request.
  func send() {
    guard attempt.isActive, let request = attempt.request else { return }
    if attempt.phase == .connecting || attempt.phase == .handshaking { attempt.phase = .sending }
    if let stream = attempt.stream, !submitStream(stream, request) { return }
    while attempt.requestSent < request.count {
      let rest = request.unread.dropping(attempt.requestSent)
      switch transmit(rest) {
      case .bytes(let count):
        attempt.requestSent += count
        countSent(count)
      case .wouldBlock: return awaitUpstreamRoom()
      case .end: return
      case .failed(let error): return failSend(error)
      }
    }
    if let isLast = attempt.joinedPiece { useJoinedPiece(isLast) }
    switch body.phase {
    case .buffered where sendsBody:
      guard sendBufferedBody() else { return }
    // It says itself when the last piece was sent.
    case .streaming where sendsBody: return pumpRequestBody()
    default: break
    }
    requestWasSent()
  }

  private func requestWasSent() {
    if attempt.phase == .sending { attempt.phase = .awaitingHead }
    endStreamOutput()
    // A response may be under way already, and have reasons not to be waited for.
    if attempt.isHeld || attempt.isPausedByRate { return }
    setUpstreamTimer(location.settings.proxy.value.readTimeout)
  }

  /// The server takes no more at the moment: it has so long for that, unless it may be waiting for
  /// us to take what it answers.
  private func awaitUpstreamRoom() {
    if attempt.isHeld || attempt.isPausedByRate { return }
    setUpstreamTimer(location.settings.proxy.value.sendTimeout)
  }

  func countSent(_ count: Int) {
    attempt.bytesSent += count
    upstreamLog.update { $0.bytesSent += count }
  }

  /// A server that answered early and closed may still have its answer read.
  private func failSend(_ error: SystemError) {
    // The socket tells its error once, and from then on looks as if its stream had ended: EPIPE is
    // that of a reset behind an end. What TLS makes of it says nothing.
    let isEnd = error.code == EPIPE && attempt.connection?.transport.tls == nil
    attempt.ending = isEnd ? .end : .reset
    attempt.connection?.transport.note(.readable)
    let number = attempt.number
    receive()
    guard attempt.isActive, attempt.number == number, !attempt.didReceive else { return }
    failTry(.error, "send() failed \(error.logText) while sending request to")
  }

  /// Sends the body from memory or its file; false when it has to wait.
  private func sendBufferedBody() -> Bool {
    let fileSize = body.file?.size ?? 0
    while attempt.bodySent < body.bufferedCount {
      let result: IOResult
      if let file = body.file, attempt.bodySent < fileSize {
        result = sendFromFile(file, fileSize - attempt.bodySent)
      } else if let memory = body.memory {
        result = transmit(memory.unread.dropping(attempt.bodySent - fileSize))
      } else {
        return true
      }
      switch result {
      case .bytes(let count):
        attempt.bodySent += count
        countSent(count)
      case .wouldBlock:
        awaitUpstreamRoom()
        return false
      case .end:
        failTry(.error, "a temporary file was truncated while sending request to")
        return false
      case .failed(let error):
        failSend(error)
        return false
      }
    }
    return true
  }

  private func sendFromFile(_ file: TemporaryFile, _ count: Int) -> IOResult {
    var offset = Int64(attempt.bodySent)
    if let connection = attempt.connection, connection.transport.tls == nil {
      return connection.transport.sendFile(file.fd, offset: &offset, count: min(count, 1 << 20))
    }
    let piece = loop.pool.take(.medium)
    defer { loop.pool.giveBack(piece) }
    let result = Socket.read(file.fd, into: piece.free, at: offset)
    guard case .bytes(let got) = result else { return result }
    return transmit(piece.free.readOnly.prefix(got))
  }

  /// Passes pieces of a streamed body on, as fast as the upstream takes them.
  func pumpRequestBody() {
    guard body.phase == .streaming, sendsBody, attempt.isActive, let request = attempt.request,
      attempt.requestSent == request.count, attempt.phase != .connecting,
      attempt.phase != .handshaking, attempt.stream?.failure == nil
    else { return }
    while true {
      if let piece = attempt.bodyPiece {
        switch transmit(piece.unread) {
        case .bytes(let count):
          piece.consume(count)
          countSent(count)
          if !piece.isEmpty { continue }
          loop.pool.giveBack(piece)
          attempt.bodyPiece = nil
        case .wouldBlock: return awaitUpstreamRoom()
        case .end: return
        case .failed(let error): return failSend(error)
        }
      }
      if keepsBody && !sendBufferedBody() { return }
      if attempt.didEndBody || body.phase == .buffered { return requestWasSent() }
      guard keepsBody ? keepBodyPiece() : readBodyPiece() else { return }
    }
  }

  /// Whether what was sent of a streamed body stays in memory: by HTTP/2 a server may say that it
  /// didn't process the request, however much of it came.
  private var keepsBody: Bool { attempt.stream != nil && !attempt.consumedBody }

  /// Reads on behind what is kept of the body; false when there is nothing now. When the body is
  /// complete it has become one that was buffered.
  private func keepBodyPiece() -> Bool {
    guard let memory = keptBodyRoom() else {
      dropKeptBody()
      return true
    }
    switch readBody(into: memory) {
    case .bytes(let count):
      guard countBody(count) else { return false }
      if case .length(let length) = body.framing, body.receivedCount == length {
        body.phase = .buffered
      }
    case .complete: body.phase = .buffered
    case .wouldBlock:
      awaitEitherSide()
      return false
    case .failed(let status):
      refuseBody(status)
      return false
    }
    return true
  }

  /// Where more of a body that is kept may stand: a little at first, `client_body_buffer_size` at
  /// most. Nil if there is no more room, or if the server has begun to answer.
  private func keptBodyRoom() -> Buffer? {
    if attempt.didReceive { return nil }
    let most = location.settings.core.value.bodyBufferBytes
    let memory = body.memory ?? loop.pool.take(.small)
    body.memory = memory
    if memory.room > 0 { return memory }
    if memory.count >= most { return nil }
    let larger = loop.pool.take(atLeast: most)
    larger.append(memory.unread)
    loop.pool.giveBack(memory)
    body.memory = larger
    return larger
  }

  /// What was sent of a streamed body isn't needed for another try.
  func dropKeptBody() {
    guard keepsBody, body.phase == .streaming, attempt.bodySent == body.bufferedCount
    else { return }
    loop.pool.reclaim(&body.memory)
    attempt.consumedBody = true
  }

  /// What is there of a body that is to be streamed, if it is little: it goes out with the head, by
  /// one write, in one TLS record. It stays in memory until it did, for another try.
  func firstPiece(_ settings: Borrowed<ProxySettings>) -> Buffer? {
    guard body.phase == .streaming, sendsBody, settings.version != .http2, let memory = body.memory,
      !memory.isEmpty, memory.count <= 8 << 10
    else { return nil }
    return memory
  }

  /// The room that a piece takes at most behind the head.
  func framedCount(_ piece: Buffer) -> Int {
    piece.count + ChunkedEncoder.maxHeaderLength + ChunkedEncoder.dataEnd.count
      + ChunkedEncoder.bodyEnd.count
  }

  func join(_ piece: Buffer, to request: Buffer) {
    guard attempt.sendsChunked else {
      request.append(piece.unread)
      if case .length(let length) = body.framing {
        attempt.joinedPiece = body.receivedCount == length
      }
      return
    }
    let isLast = stream.isBodyRead
    request.produced(ChunkedEncoder.writeHeader(size: piece.count, into: request.free))
    request.append(piece.unread)
    request.append(ChunkedEncoder.dataEnd)
    if isLast { request.append(ChunkedEncoder.bodyEnd) }
    attempt.joinedPiece = isLast
  }

  /// The head was sent, and the piece with it.
  private func useJoinedPiece(_ isLast: Bool) {
    attempt.joinedPiece = nil
    if let memory = body.memory { loop.pool.giveBack(memory) }
    body.memory = nil
    attempt.consumedBody = true
    attempt.didEndBody = isLast
  }

  /// Reads the next piece of a streamed body; false when there is none now.
  private func readBodyPiece() -> Bool {
    if let memory = body.memory, !memory.isEmpty {
      body.memory = nil
      take(memory)
      return true
    }
    // Room for a chunk's size line before and its end behind the bytes.
    let piece = loop.pool.take(.medium)
    piece.reset(headroom: ChunkedEncoder.maxHeaderLength)
    switch readBody(into: piece) {
    case .bytes(let count):
      guard countBody(count) else {
        loop.pool.giveBack(piece)
        return false
      }
      take(piece)
      return true
    case .complete:
      attempt.didEndBody = true
      if attempt.sendsChunked {
        piece.append(ChunkedEncoder.bodyEnd)
        attempt.bodyPiece = piece
      } else {
        loop.pool.giveBack(piece)
      }
      return true
    case .wouldBlock:
      loop.pool.giveBack(piece)
      awaitEitherSide()
      return false
    case .failed(let status):
      loop.pool.giveBack(piece)
      refuseBody(status)
      return false
    }
  }

  /// All that came of the body was sent, and more is to come. The client has a deadline of its own
  /// for that until the response begins; from then on one of the two has to say something in time.
  private func awaitEitherSide() {
    // The timer ends a pause.
    if attempt.isPausedByRate { return }
    guard attempt.phase == .receivingBody, canTakeBody else { return clearUpstreamTimer() }
    setUpstreamTimer(location.settings.proxy.value.readTimeout)
  }

  /// Lets `piece` of the streamed body be sent next.
  private func take(_ piece: Buffer) {
    attempt.consumedBody = true
    attempt.bodyPiece = attempt.sendsChunked ? chunk(piece) : piece
    if case .length(let length) = body.framing, body.receivedCount == length {
      attempt.didEndBody = true
    }
  }

  /// Puts chunk framing around the bytes of `piece`; the end follows at once if nothing else does.
  private func chunk(_ piece: Buffer) -> Buffer {
    let line = arena.allocate(ChunkedEncoder.maxHeaderLength)
    let count = ChunkedEncoder.writeHeader(size: piece.count, into: line)
    piece.prepend(line.readOnly.prefix(count))
    arena.shrink(by: ChunkedEncoder.maxHeaderLength)
    attempt.didEndBody = stream.isBodyRead
    let end = attempt.didEndBody ? Bytes("\r\n0\r\n\r\n") : ChunkedEncoder.dataEnd
    if piece.room >= end.count {
      piece.append(end)
      return piece
    }
    let larger = loop.pool.take(atLeast: piece.count + end.count)
    larger.append(piece.unread)
    larger.append(end)
    loop.pool.giveBack(piece)
    return larger
  }
}
