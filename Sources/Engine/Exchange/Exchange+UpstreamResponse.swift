// What an upstream answers: bytes are received, the head is checked and filtered on its way to the
// client. The body is Exchange+UpstreamBody.

import Configuration
import HTTP

extension Exchange {
  /// Receives as much of the response as the client side can take.
  func receive() {
    if attempt.stream != nil { return receiveFromStream() }
    // Bound: reads per event; a fast upstream gives others their turn after that.
    for _ in 0..<16 {
      guard let connection = attempt.connection else { return }
      attempt.isHeld = false
      if attempt.phase == .receivingBody && !canTakeBody { return holdUpstream() }
      let allowance = readAllowance()
      if allowance == 0 { return passPauseOn() }
      if attempt.input == nil { attempt.input = loop.pool.take(.large) }
      guard let input = attempt.input else { return }
      if input.room == 0 {
        return failTry(.invalidHeader, "too big header while reading response header from")
      }
      switch connection.transport.receive(into: input.free.slice(0, min(input.room, allowance))) {
      case .bytes(let count):
        input.produced(count)
        attempt.didReceive = true
        countReceived(count)
        guard consume(input) else { return }
      case .wouldBlock:
        if input.isEmpty {
          loop.pool.giveBack(input)
          attempt.input = nil
        }
        awaitProgress()
        return passPauseOn()
      case .end:
        if attempt.ending == .none { attempt.ending = .end }
        return upstreamClosed()
      case .failed(let error):
        return failTry(.error, "recv() failed \(error.logText) while \(phaseText)")
      }
    }
    if let connection = attempt.connection { loop.yield(connection.handle) }
  }

  /// The client side is full: until it isn't, an upstream has no deadline.
  func holdUpstream() {
    attempt.isHeld = true
    clearUpstreamTimer()
  }

  /// The read timeout begins anew: it counts progress of this response, once the request is sent
  /// or the head is there.
  func awaitProgress() {
    guard isRequestSent || attempt.phase == .receivingBody else { return }
    setUpstreamTimer(location.settings.proxy.value.readTimeout)
  }

  /// How much `proxy_limit_rate` lets be read; 0 when reading has to pause, which a timer ends.
  func readAllowance() -> Int {
    attempt.isPausedByRate = false
    guard attempt.phase == .receivingBody else {
      // The head comes first, with as little of the body as can be.
      return location.settings.proxy.value.limitRate == nil ? .max : 4 << 10
    }
    guard attempt.bytesPerSecond > 0 else { return .max }
    let rate = attempt.bytesPerSecond
    let elapsed = loop.now - attempt.limitedSince
    let (allowed, isHuge) = rate.multipliedReportingOverflow(by: elapsed / 1000 + 1)
    if isHuge || allowed > attempt.bytesReceived {
      return isHuge ? .max : allowed - attempt.bytesReceived
    }
    attempt.isPausedByRate = true
    let delay = attempt.bytesReceived / rate * 1000 - elapsed
    setUpstreamTimer(max(1, delay))
    return 0
  }

  private var phaseText: String {
    attempt.phase == .receivingBody ? "reading" : "reading response header from"
  }

  /// Uses what stands in the input buffer. False when the try is over or has to wait.
  private func consume(_ input: Buffer) -> Bool {
    if attempt.phase == .receivingBody { return passBody() }
    switch attempt.parser.parse(input.unread, into: &attempt.head) {
    case .incomplete:
      if input.count >= location.settings.proxy.value.bufferBytes {
        failTry(.invalidHeader, "too big header while reading response header from")
        return false
      }
      return true
    case .failed(let error):
      failTry(
        .invalidHeader,
        "\(invalidHeadText(input.unread, error)) while reading response header from")
      return false
    case .complete:
      if attempt.head.length > location.settings.proxy.value.bufferBytes {
        failTry(.invalidHeader, "too big header while reading response header from")
        return false
      }
      return acceptHead(input)
    }
  }

  private func acceptHead(_ input: Buffer) -> Bool {
    let length = attempt.head.length
    attempt.headBytes = arena.copy(input.unread.prefix(length))
    input.skip(length)
    do throws(FramingError) {
      attempt.framing = UpstreamFraming(
        try attempt.head.framing(
          attempt.headBytes, requestMethod: attempt.method, upgradeRequested: passesUpgrade))
    } catch {
      failTry(
        .invalidHeader,
        "upstream sent invalid header (\(error.reason)) while reading response header from"
      )
      return false
    }
    if attempt.framing.isInterim && !attempt.framing.isUpgrade { return skipInterim(input) }
    if attempt.framing.isUpgrade && !passesUpgrade {
      failTry(
        .invalidHeader, "upstream switched protocols unasked while reading response header from")
      return false
    }
    return useHead()
  }

  /// Goes on with the head of a final response.
  func useHead() -> Bool {
    let status = attempt.head.statusCode
    upstreamLog.update {
      $0.status = status
      $0.headerTime = loop.now - attempt.triedAt
    }
    attempt.peer?.state.recordLatency(
      microseconds: (loop.now - attempt.triedAt) * 1000, now: loop.now)
    if status >= 400, mayTryAgain(after: .status(status)) {
      failTry(.status(status), "upstream answered \(status) while reading response header from")
      return false
    }
    if cache != nil && answerFromCache(status) { return false }
    return respondFromUpstream(status)
  }

  /// 1xx: passed on if the location says so, then skipped, within reason.
  private func skipInterim(_ input: Buffer) -> Bool {
    attempt.interimCount += 1
    // Bound: interim responses before a final one; more is an attack or a broken server.
    guard attempt.interimCount <= 16 else {
      failTry(
        .invalidHeader,
        "upstream sent too many interim responses while reading response header from")
      return false
    }
    passInterim(attempt.head.statusCode)
    attempt.head.reset()
    attempt.headBytes = Bytes()
    attempt.parser.reset()
    input.compact()
    return input.isEmpty ? true : consume(input)
  }

  /// Builds the client's response head and goes on with the body.
  private func respondFromUpstream(_ status: Int) -> Bool {
    let settings = location.settings.proxy.value
    takeResponseOrders(settings)
    if let cache { judgeFreshness(cache) }
    if attempt.group?.settings.isSticky == true { bindClient() }
    if settings.interceptsErrors && status >= 300 && namesErrorPage(for: status) {
      rememberError(status)
      // Without it nobody is asked for a password.
      if status == 401 { keepChallenges() }
      endTry(.success, mayKeep: false)
      fail(status)
      return false
    }
    if let target = upstreamField(.xAccelRedirect), !target.isEmpty,
      !settings.ignoredFields.contains(.xAccelRedirect)
    {
      return acceptInternalRedirect(target)
    }
    response.status = status
    let reason = attempt.head.reason.of(attempt.headBytes)
    // HTTP/2 has no reason phrases.
    if attempt.stream == nil && reason != StatusCode.reason(status) { response.reason = reason }
    copyFields(settings)
    switch attempt.framing.body {
    case .none:
      response.contentLength = declaredLength
      attempt.isBodyComplete = true
    case .length(let length):
      response.contentLength = length
      attempt.remaining = length
      attempt.isBodyComplete = length == 0
    case .chunked: response.contentLength = nil
    case .untilClose:
      response.contentLength = nil
      if let stream = attempt.stream { frameResponse(of: stream) }
    }
    if status == 101 {
      // In such a tunnel nobody would look at the requests.
      if let upgrade = upstreamField(.upgrade), HeaderList.contains(Bytes("h2c"), in: upgrade) {
        failTry(.invalidHeader, "upstream switched to HTTP/2 while reading response header from")
        return false
      }
      return startTunnel()
    }
    if cache != nil { beginStoring(status) }
    response.isJudged = !attempt.withholdsConditions
    if case .none = settings.store.place {} else { beginSaving(settings) }
    startUpstreamResponse(settings)
    if isHead && attempt.method != .head && cache?.draft == nil { return endWithoutBody() }
    attempt.phase = .receivingBody
    if buffersResponse, let rate = settings.limitRate {
      attempt.limitedSince = loop.now
      attempt.bytesPerSecond =
        (try? Value.size(evaluate(rate).string, of: "proxy_limit_rate")) ?? 0
    }
    return passBody()
  }

  /// Sends the head of the upstream's response, or of the part of it that the client asked for.
  private func startUpstreamResponse(_ settings: Borrowed<ProxySettings>) {
    guard attempt.withholdsConditions || settings.forcesRanges || withholdsRange else {
      return startResponse()
    }
    allowRanges(settings)
    let size = response.contentLength
    filterHead()
    cutOut(of: size)
    sendHead()
  }

  /// The upstream sends a body that was never wanted.
  private func endWithoutBody() -> Bool {
    endTry(.success, mayKeep: attempt.isBodyComplete)
    endCaching()
    completeResponse()
    return false
  }

  /// Whether the response is one to HEAD on both sides: its Content-Length counts no body.
  var isHeadThroughout: Bool { isHead && attempt.method == .head }

  /// The Content-Length of a response that has no body to count.
  private var declaredLength: Int? {
    guard isHeadThroughout || attempt.head.statusCode == 304 else {
      return attempt.head.statusCode == 204 ? nil : 0
    }
    return upstreamField(.contentLength)?.decimal
  }

  func upstreamField(_ token: FieldName) -> Bytes? {
    guard attempt.hasHead, attempt.head.present.contains(token) else { return nil }
    return attempt.head.first(token)?.value.of(attempt.headBytes)
  }

  private func keepChallenges() {
    challenges.removeAll(keepingCapacity: true)
    for field in attempt.head.fields where field.token == .wwwAuthenticate {
      challenges.append(arena.copy(field.value.of(attempt.headBytes)))
    }
  }

  /// Copies the fields that concern the client.
  func copyFields(_ settings: Borrowed<ProxySettings>) {
    let bytes = attempt.headBytes
    for index in 0..<attempt.head.fields.count {
      let entry = attempt.head.fields[index]
      let token = entry.token
      if settings.hiddenTokens.contains(token) { continue }
      let value = entry.value.of(bytes)
      switch token {
      case .contentType: response.contentType = value
      case .date: response.date = value
      case .server: response.server = value
      case .lastModified:
        guard response.first(token) == nil else { continue }
        response.lastModified = HTTPDate.parse(value)
        response.add(entry.name.of(bytes), value, token)
      case .etag, .expires, .acceptRanges:
        // Of fields that can't be lists the first counts.
        if response.first(token) == nil { response.add(entry.name.of(bytes), value, token) }
      case .location, .refresh:
        response.add(entry.name.of(bytes), rewriteRedirect(value, token, settings), token)
      case .setCookie where !settings.cookies.isEmpty:
        response.add(entry.name.of(bytes), rewriteCookie(value, settings.cookies), token)
      case .other:
        let name = entry.name.of(bytes)
        if !isHidden(name, settings) { response.add(name, value, token) }
      default: response.add(entry.name.of(bytes), value, token)
      }
    }
    // Who has the upstream's Server passed doesn't want ours in its place.
    if response.server == nil && !settings.hiddenTokens.contains(.server) {
      response.server = Bytes()
    }
  }

  func isHidden(_ name: Bytes, _ settings: Borrowed<ProxySettings>) -> Bool {
    for hidden in settings.hiddenNames where name.equalsIgnoringCase(hidden) { return true }
    return attempt.framing.namesFields
      && attempt.head.connectionNames(name, in: attempt.headBytes)
  }
}
