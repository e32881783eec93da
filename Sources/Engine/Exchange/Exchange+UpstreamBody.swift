// The body of an upstream's response: its framing taken off, passed on as fast as the client takes
// it, spooled to a file if responses are buffered and the client is slow.

import HTTP

extension Exchange {
  /// Whether more of the body may be read from the upstream.
  var canTakeBody: Bool {
    // Stages that need another turn are no slow client, for whom a file would be written.
    if isFiltered, let pipeline, pipeline.hasYielded { return false }
    let settings = location.settings.proxy.value
    if waitingByteCount < settings.memoryLimit && attempt.spool == nil { return true }
    // What goes into a cache is in a file anyway.
    if cache?.draft != nil { return true }
    guard buffersResponse, settings.maxTemporaryFileBytes > 0, !attempt.isSpoolBroken else {
      return false
    }
    return (attempt.spool?.size ?? 0) < settings.maxTemporaryFileBytes
  }

  /// Passes the body bytes in the input buffer on. False when the try is over.
  func passBody() -> Bool {
    if let input = attempt.input.take() {
      if input.isEmpty {
        loop.pool.giveBack(input)
      } else {
        switch attempt.framing.body {
        case .none:
          attempt.framing.keepAlive = false
          attempt.input = input
        case .length: passCounted(input)
        case .chunked: guard passChunked(input) else { return false }
        case .untilClose: deliver(input)
        }
      }
    }
    if attempt.isBodyComplete {
      completeFromUpstream()
      return false
    }
    return true
  }

  private func passCounted(_ input: consuming Buffer) {
    if input.count > attempt.remaining {
      log(.warn, "upstream sent more data than specified in \"Content-Length\" header")
      attempt.framing.keepAlive = false
      input.truncate(attempt.remaining)
    }
    attempt.remaining -= input.count
    attempt.isBodyComplete = attempt.remaining == 0
    deliver(input)
  }

  /// Takes chunk framing off in place: the first piece stays where it is, the others move up to it.
  private func passChunked(_ input: consuming Buffer) -> Bool {
    let bytes = input.unread
    let whole = input.unreadMutable
    var position = 0
    var first = -1
    var end = 0
    loop: while position < bytes.count || first < 0 {
      switch attempt.decoder.next(bytes.dropping(position)) {
      case .data(let start, let count, let consumed):
        if first < 0 {
          first = position + start
          end = first + count
        } else {
          whole.copy(bytes.slice(position + start, position + start + count), at: end)
          end += count
        }
        position += consumed
      case .needMore(let consumed):
        keepTrailers(bytes.slice(position, position + consumed))
        position += consumed
        break loop
      case .end(let consumed):
        keepTrailers(bytes.slice(position, position + consumed))
        finishTrailers()
        position += consumed
        attempt.isBodyComplete = true
        if position < bytes.count { attempt.framing.keepAlive = false }
        break loop
      case .failed:
        loop.pool.giveBack(input)
        failTry(.error, "upstream sent invalid chunked response while reading")
        return false
      }
    }
    if first < 0 {
      loop.pool.giveBack(input)
      return true
    }
    input.truncate(end)
    input.skip(first)
    deliver(input)
    return true
  }

  /// Hands a buffer of body bytes to the client side, or to the spool behind it.
  func deliver(_ input: consuming Buffer) {
    let count = input.count
    upstreamLog.update { $0.responseLength += count }
    if stored != nil { save(input.unread) }
    let settings = location.settings.proxy.value
    if let cache, let draft = cache.draft { store(input.unread, cache, draft) }
    if cut != nil && cut?.apply(to: input) != true { return loop.pool.giveBack(input) }
    if attempt.spool != nil || waitingByteCount >= settings.memoryLimit {
      if spool(input, settings) { return }
    }
    sendBody(input)
  }

  private func spool(_ input: Buffer, _ settings: Borrowed<ProxySettings>) -> Bool {
    if let draft = cache?.draft, attempt.spool == nil || attempt.spool === draft.file {
      if attempt.spool == nil {
        let end = cut.map { draft.bodyStart + $0.passedEnd } ?? draft.file.size
        attempt.spoolSent = end - input.count
        attempt.spoolEnd = cut.map { draft.bodyStart + $0.range.end } ?? .max
      }
      attempt.spool = draft.file
      loop.pool.giveBack(input)
      return true
    }
    guard buffersResponse, settings.maxTemporaryFileBytes > 0, !attempt.isSpoolBroken else {
      return false
    }
    do throws(SystemError) {
      if attempt.spool == nil {
        attempt.spool = try TemporaryFile.make(in: plan.path(settings.temporaryPath))
        attempt.spoolSent = 0
        attempt.spoolEnd = .max
        log(.warn, "an upstream response is buffered to a temporary file")
      }
      try attempt.spool?.append(input.unread)
    } catch {
      log(.crit, "writing a response to a temporary file failed \(error.logText)")
      attempt.isSpoolBroken = true
      queueSpooled()
      return false
    }
    loop.pool.giveBack(input)
    return true
  }

  /// The client took bytes: sends what was spooled, reads on.
  func onClientWritable() {
    switch state {
    case .tunneling: pumpTunnel()
    case .attempting, .sending:
      if isPaced { releasePaced() }
      if isFiltered { runPipeline() }
      drainSpool()
      if attempt.phase == .receivingBody, isUpstreamReadable || attempt.isHeld { receive() }
    default: break
    }
  }

  private var isUpstreamReadable: Bool {
    attempt.stream?.isReadable ?? (attempt.connection?.transport.isReadable == true)
  }

  /// Hands what stands in the file to the client side; later bytes may go straight behind it.
  func queueSpooled() {
    guard let spool = attempt.spool else { return }
    sendBody(spool, offset: Int64(attempt.spoolSent), count: attempt.unsentSpoolCount)
    attempt.spool = nil
    attempt.spoolSent = 0
  }

  func drainSpool() {
    guard let spool = attempt.spool, waitingByteCount < 1 << 16 else { return }
    let unsent = attempt.unsentSpoolCount
    if unsent > 0 {
      sendBody(spool, offset: Int64(attempt.spoolSent), count: unsent)
      attempt.spoolSent += unsent
    }
    if attempt.phase == .none {
      attempt.spool = nil
      completeResponse()
    } else if waitingByteCount == 0 {
      attempt.spool = nil
      attempt.spoolSent = 0
    }
  }

  /// The upstream closed: the end of a body without length, an error otherwise.
  func upstreamClosed() {
    if attempt.phase == .receivingBody {
      // What ends by a reset isn't complete.
      if case .untilClose = attempt.framing.body, attempt.ending != .reset {
        attempt.framing.keepAlive = false
        attempt.isBodyComplete = true
        return completeFromUpstream()
      }
      return failTry(.error, "upstream prematurely closed connection while reading")
    }
    failTry(
      .error,
      "upstream prematurely closed connection while reading response header from")
  }

  func completeFromUpstream() {
    if attempt.group?.settings.method.leastTime?.isToLastByte == true {
      attempt.peer?.state.recordBodyLatency(microseconds: (loop.now - attempt.triedAt) * 1000)
    }
    if cache != nil { finishStoring() }
    if stored != nil { completeSaving() }
    endTry(.success, mayKeep: true)
    loop.pool.reclaim(&attempt.request)
    if attempt.spool == nil {
      completeResponse()
    } else {
      state = .sending
      drainSpool()
    }
  }
}
