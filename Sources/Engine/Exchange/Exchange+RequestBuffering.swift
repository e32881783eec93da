// Reading the client's request body before it is passed on: whole, if requests are buffered, or as
// much as is there already (https://nginx.org/r/proxy_request_buffering).

import HTTP

extension Exchange {
  /// Reads the body whole if requests are buffered, whatever else the client asks for, then starts
  /// the first try. A body that was to be streamed before, and of which nothing was, may be read
  /// whole here.
  func prepareBody() {
    guard body.hasBody, body.phase == .untouched || body.phase == .streaming && sendsBody else {
      return startTries()
    }
    if wantsWholeBody { return readWholeBody() }
    if body.phase == .untouched { readAhead() } else { startTries() }
  }

  /// Whether the request is to be sent when its body has come whole: as `proxy_request_buffering`
  /// says, because variables may ask for what isn't passed on itself, or because HTTP/1.0 knows no
  /// other way to say how long it is.
  private var wantsWholeBody: Bool {
    let settings = location.settings.proxy.value
    if settings.requestBuffering || !sendsBody { return true }
    guard settings.version == .http10 else { return false }
    if case .length = body.framing { return false }
    return true
  }

  /// Reads the body to its end; what it is read for follows.
  func readWholeBody() {
    body.phase = .buffering
    state = .readingBody
    onBodyReadable()
  }

  private func useWholeBody() {
    body.phase = .buffered
    state = .working
    if !body.isMirrored { return startTries() }
    body.isMirrored = false
    sendMirrors()
  }

  /// Takes what is there already of a body that is to be streamed. If that is all of it, the
  /// request can be sent again to another server, like one that was buffered.
  private func readAhead() {
    let settings = location.settings.core.value
    let memory = loop.pool.take(atLeast: bodyBufferSize(settings) + ChunkedEncoder.maxHeaderLength)
    memory.reset(headroom: ChunkedEncoder.maxHeaderLength)
    body.memory = memory
    body.phase = .streaming
    while memory.room > 0 && body.phase == .streaming {
      switch stream.readBody(into: memory) {
      case .bytes(let count): guard countBody(count) else { return }
      case .wouldBlock: return startTries()
      case .complete: body.phase = .buffered
      case .failed(let status): return refuseBody(status)
      }
    }
    startTries()
  }

  /// Lets nobody have anything of the body any more. What the client still sends of it is dropped
  /// behind the response, or ends with the connection.
  func spendBody() {
    body.framing = .none
    body.phase = .spent
    stream.stopAwaitingBody()
  }

  /// The body can't be had, or is not wanted: answers with `status`, 0 meaning that the client is
  /// gone. An error page does without the body.
  func refuseBody(_ status: Int) {
    keepAlive = false
    spendBody()
    breakOff(status == 0 ? 499 : status)
  }

  /// Counts body bytes that came. False: they are too many, which the client is told.
  func countBody(_ count: Int) -> Bool {
    body.receivedCount += count
    let most = location.settings.core.value.maxBodyBytes
    guard most > 0, body.receivedCount > most else { return true }
    log(.error, "client intended to send too large chunked body: \(body.receivedCount) bytes")
    refuseBody(413)
    return false
  }

  /// Bytes of the body, or room for them, are there.
  func onBodyReadable() {
    switch state {
    case .readingBody: bufferBody()
    case .attempting: pumpRequestBody()
    case .tunneling: pumpTunnel()
    default: break
    }
  }

  /// Reads the body. The client has `client_body_timeout` for what isn't there yet; the time until
  /// more is wanted is the upstream's.
  func readBody(into buffer: Buffer) -> BodyRead {
    let result = stream.readBody(into: buffer)
    if case .wouldBlock = result {
      stream.awaitBody(atMost: location.settings.core.value.bodyTimeout)
    } else {
      stream.stopAwaitingBody()
    }
    return result
  }

  private func bufferBody() {
    let settings = location.settings.core.value
    while true {
      if body.memory == nil { body.memory = loop.pool.take(atLeast: bodyBufferSize(settings)) }
      guard let memory = body.memory else { return }
      // What fits exactly stays in memory.
      if memory.room == 0 && !stream.isBodyRead {
        guard spoolBody(memory, settings) else { return }
      }
      switch readBody(into: memory) {
      case .bytes(let count): guard countBody(count) else { return }
      case .wouldBlock: return
      case .complete:
        // With `client_body_in_file_only` an empty body is a file, too.
        if body.file == nil ? settings.bodyInFileOnly != .off : !memory.isEmpty {
          guard spoolBody(memory, settings) else { return }
        }
        return useWholeBody()
      case .failed(let status): return refuseBody(status)
      }
    }
  }

  /// A body of known length gets a buffer that fits, up to `client_body_buffer_size`.
  private func bodyBufferSize(_ settings: Borrowed<CoreSettings>) -> Int {
    if case .length(let length) = body.framing { return min(length, settings.bodyBufferBytes) }
    return settings.bodyBufferBytes
  }

  private func spoolBody(_ memory: Buffer, _ settings: Borrowed<CoreSettings>) -> Bool {
    do throws(SystemError) {
      if body.file == nil {
        let folder = plan.path(settings.bodyTemporaryPath)
        if settings.bodyInFileOnly == .off {
          body.file = try TemporaryFile.make(in: folder)
          log(.warn, "a client request body is buffered to a temporary file")
        } else {
          body.file = try TemporaryFile.make(
            in: folder, named: "\(loop.wallTime)-\(core.index)-\(core.nextSerial())",
            isKept: settings.bodyInFileOnly == .on)
        }
      }
      try body.file?.append(memory.unread)
      memory.reset()
      return true
    } catch {
      log(.crit, "writing a client request body to a temporary file failed \(error.logText)")
      refuseBody(error.code == 28 ? 507 : 500)
      return false
    }
  }
}
