// Trying servers: connect, send, receive, and what happens when a try fails. The events of the
// upstream connection arrive here; `Attempt` holds what is known of the try.

import HTTP

extension Exchange {
  /// Starts the first try at the group that `proxy` chose.
  func startTries() {
    state = .attempting
    attempt.startedAt = loop.now
    attempt.tryCount = 0
    attempt.didRetryStale = false
    attempt.tried.removeAll()
    upstreamLog.beginGroup()
    writeUpstreamRequest()
    nextTry()
  }

  private func nextTry() {
    guard let group = attempt.group else { return fail(502) }
    guard let peer = group.choose(&attempt.tried, now: loop.now, key: balancingKey(group)) else {
      attempt.groupName = arena.copy(group.settings.displayName)
      upstreamLog.begin(nil)
      upstreamLog.update { $0.status = 502 }
      log(.error, "no live upstreams while connecting to upstream")
      return fail(502)
    }
    attempt.peer = peer
    attempt.number += 1
    attempt.tryCount += 1
    attempt.triedAt = loop.now
    attempt.requestSent = 0
    attempt.resetResponse()
    attempt.bodySent = attempt.request.map { $0.count - upstreamHeadLength } ?? 0
    upstreamLog.begin(peer)
    let settings = location.settings.proxy.value
    let local = settings.bind == nil || peer.address.isUnix ? nil : upstreamBind
    if settings.speaksHTTP2 { return openStream(peer, group, from: local) }
    // Servers on SwiftNIO can upgrade only the first request of a connection: an upgrade gets a
    // connection of its own.
    if !passesUpgrade,
      let kept = core.upstreams.checkOut(
        core.idleConnections(group), peer.state, upstreamTLSKey, from: local)
    {
      attempt.isReused = true
      use(kept)
      upstreamLog.update { $0.connectTime = 0 }
      return send()
    }
    attempt.isReused = false
    guard core.hasFreeConnection else {
      log(.alert, "worker_connections are not enough")
      return failTry(.error, "no free connection for")
    }
    switch core.upstreams.connect(to: peer.address, peer.state, from: local) {
    case .failure(let error): failTry(.error, "connect() failed \(error.logText) while connecting to")
    case .success(let connection):
      connection.tlsKey = upstreamTLSKey
      if location.settings.proxy.value.socketKeepalive {
        Socket.setKeepAlive(connection.transport.fd)
      }
      use(connection)
      attempt.phase = .connecting
      setUpstreamTimer(location.settings.proxy.value.connectTimeout)
    }
  }

  /// What `hash` and `ip_hash` choose by.
  private func balancingKey(_ group: UpstreamGroup) -> Bytes {
    switch group.settings.method {
    case .addressHash: value(of: .builtin(.binary_remote_addr)) ?? Bytes()
    case .keyHash: group.hashKey.map { evaluate($0) } ?? Bytes()
    default: Bytes()
    }
  }

  /// What `proxy_bind` says; an address that isn't one is left to the system.
  private var upstreamBind: SocketAddress? {
    guard let bind = location.settings.proxy.value.bind else { return nil }
    let text = evaluate(bind)
    if text.isEmpty { return nil }
    if let address = SocketAddress(literal: text.string, port: 0) { return address }
    guard let colon = text.lastIndex(of: UInt8(ascii: ":")), let port = text.dropping(colon + 1).decimal,
      port < 65_536
    else {
      log(.error, "invalid local address \"\(text.string)\" in proxy_bind")
      return nil
    }
    var host = text.prefix(colon).string
    if host.hasPrefix("[") && host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
    return SocketAddress(literal: host, port: UInt16(port))
  }

  private func use(_ connection: UpstreamConnection) {
    connection.exchange = handle
    connection.state = .active
    connection.requestCount += 1
    attempt.connection = connection
    attempt.phase = .sending
  }

  func setUpstreamTimer(_ timeout: Milliseconds) {
    if attempt.stream != nil { return setStreamTimer(timeout) }
    guard let connection = attempt.connection else { return }
    loop.setTimer(connection.timer, after: timeout, for: connection.handle)
  }

  // --- events -------------------------------------------------------------------------------------

  /// The upstream connection of this exchange became ready.
  func onUpstreamEvent(_ connection: UpstreamConnection, _ readiness: Readiness) {
    guard connection.exchange == handle else { return }
    connection.transport.note(readiness)
    switch attempt.phase {
    case .connecting: connected(connection, readiness)
    case .handshaking: handshake(connection)
    case .sending, .awaitingHead, .receivingBody:
      if connection.transport.isWritable && !isRequestSent { send() }
      if connection.exchange == handle && connection.transport.isReadable { receive() }
    case .tunneling: pumpTunnel()
    case .none: break
    }
    if state != .idle { stream.flush() }
  }

  /// The deadline of the try passed.
  func onUpstreamTimeout(_ connection: UpstreamConnection) {
    guard attempt.connection === connection else { return }
    upstreamTimedOut()
    if state != .idle { stream.flush() }
  }

  func upstreamTimedOut() {
    switch attempt.phase {
    case .connecting, .handshaking: failTry(.timeout, "upstream timed out while connecting to")
    case .sending: failTry(.timeout, "upstream timed out while sending request to")
    case .awaitingHead: failTry(.timeout, "upstream timed out while reading response header from")
    case .receivingBody where attempt.isPausedByRate: receive()
    case .receivingBody:
      failTry(.timeout, "upstream timed out while reading")
    case .tunneling: endTunnel()
    case .none: break
    }
  }

  private func connected(_ connection: UpstreamConnection, _ readiness: Readiness) {
    if readiness.isDisjoint(with: [.writable, .broken]) { return }
    if let error = Socket.pendingError(connection.transport.fd) {
      return failTry(.error, "connect() failed \(error.logText) while connecting to")
    }
    upstreamLog.update { $0.connectTime = loop.now - attempt.triedAt }
    guard proxyIsTLS else { return send() }
    guard let session = makeUpstreamSession(connection.transport.fd) else {
      return failTry(.error, "SSL session could not be made for")
    }
    connection.transport.start(session)
    attempt.phase = .handshaking
    handshake(connection)
  }

  private func handshake(_ connection: UpstreamConnection) {
    guard let tls = connection.transport.tls else { return }
    switch tls.handshake() {
    case .bytes:
      if let problem = upstreamCertificateProblem(tls) {
        return failTry(.error, "\(problem) while SSL handshaking to")
      }
      send()
    case .wantRead, .wantWrite: break
    case .closed: failTry(.error, "peer closed connection in SSL handshake while SSL handshaking to")
    case .failed(let failure):
      failTry(.error, "SSL_do_handshake() failed (\(failure.reason)) while SSL handshaking to")
    }
  }

  // --- sending ------------------------------------------------------------------------------------

  var isRequestSent: Bool {
    guard let request = attempt.request else { return true }
    guard attempt.requestSent == request.count else { return false }
    switch body.phase {
    case .buffered: return attempt.bodySent == body.bufferedCount || !sendsBody
    case .streaming: return attempt.didEndBody
    default: return true
    }
  }

  var sendsBody: Bool {
    let settings = location.settings.proxy.value
    return settings.passesRequestBody && settings.body == nil
  }

  /// Sends what is left of the request.
  func send() {
    guard attempt.isActive, let request = attempt.request else { return }
    if attempt.phase == .connecting || attempt.phase == .handshaking { attempt.phase = .sending }
    if let stream = attempt.stream, !submitStream(stream, request) { return }
    let number = attempt.number
    while attempt.requestSent < request.count {
      let rest = request.unread.dropping(attempt.requestSent)
      switch transmit(rest) {
      case .bytes(let count):
        attempt.requestSent += count
        countSent(count)
      case .wouldBlock: return setUpstreamTimer(location.settings.proxy.value.sendTimeout)
      case .end: return
      case .failed(let error): return failSend(error)
      }
    }
    switch body.phase {
    case .buffered where sendsBody:
      guard sendBufferedBody() else { return }
    case .streaming:
      pumpRequestBody()
      guard attempt.number == number, attempt.isActive, attempt.didEndBody else { return }
    default: break
    }
    requestWasSent()
  }

  private func requestWasSent() {
    if attempt.phase == .sending { attempt.phase = .awaitingHead }
    endStreamOutput()
    setUpstreamTimer(location.settings.proxy.value.readTimeout)
  }

  func countSent(_ count: Int) {
    attempt.bytesSent += count
    upstreamLog.update { $0.bytesSent += count }
  }

  /// A server that answered early and closed may still have its answer read.
  private func failSend(_ error: SystemError) {
    if attempt.connection?.transport.isReadable == true {
      receive()
      if attempt.didReceive { return }
      guard attempt.isActive else { return }
    }
    failTry(
      attempt.isReused && !attempt.didReceive ? .stale : .error,
      "send() failed \(error.logText) while sending request to")
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
        setUpstreamTimer(location.settings.proxy.value.sendTimeout)
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
    guard body.phase == .streaming, attempt.isActive, let request = attempt.request,
      attempt.requestSent == request.count, attempt.phase != .connecting,
      attempt.phase != .handshaking
    else { return }
    let timeouts = location.settings.proxy.value
    while true {
      if let piece = attempt.bodyPiece {
        switch transmit(piece.unread) {
        case .bytes(let count):
          piece.consume(count)
          countSent(count)
          if !piece.isEmpty { continue }
          loop.pool.giveBack(piece)
          attempt.bodyPiece = nil
        case .wouldBlock: return setUpstreamTimer(timeouts.sendTimeout)
        case .end: return
        case .failed(let error): return failSend(error)
        }
      }
      if attempt.didEndBody { return requestWasSent() }
      guard readBodyPiece() else { return }
    }
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
    let limit = location.settings.core.value.maxBodyBytes
    switch readBody(into: piece) {
    case .bytes(let count):
      body.receivedCount += count
      if limit > 0 && body.receivedCount > limit {
        loop.pool.giveBack(piece)
        log(.error, "client intended to send too large chunked body: \(body.receivedCount) bytes")
        keepAlive = false
        breakOff(413)
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
      clearUpstreamTimer()
      return false
    case .failed(let status):
      loop.pool.giveBack(piece)
      keepAlive = false
      breakOff(status == 0 ? 499 : status)
      return false
    }
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

  // --- the end of a try ---------------------------------------------------------------------------

  /// The try failed: another server, or an answer to the client.
  func failTry(_ failure: AttemptFailure, _ what: String) {
    let failure = attempt.isReused && !attempt.didReceive && isError(failure) ? .stale : failure
    let reported = isStale(failure) && !attempt.didRetryStale ? LogLevel.info : .error
    log(reported, "\(what) upstream")
    let status = failure.statusCode
    upstreamLog.update {
      if $0.status == 0 { $0.status = status }
      $0.responseTime = loop.now - attempt.triedAt
    }
    let wasSent = attempt.requestSent > 0
    let peer = attempt.peer
    endTry(failure.outcome, mayKeep: false)
    if didSendHead { return breakOff(status) }
    let isReplayable = !attempt.consumedBody
    if isStale(failure), !attempt.didRetryStale, isReplayable {
      attempt.didRetryStale = true
      attempt.tryCount -= 1
      if let peer { attempt.tried.remove(peer.slot) }
      return nextTry()
    }
    let settings = location.settings.proxy.value
    let policy = RetryPolicy(
      allowed: settings.nextUpstream, maxTries: settings.nextUpstreamTries,
      timeout: settings.nextUpstreamTimeout)
    let mayRepeat =
      method.isIdempotent || !wasSent || failure.isUnprocessed
      || settings.nextUpstream.contains(.nonIdempotent)
    if policy.allows(
      failure, tries: attempt.tryCount, elapsed: loop.now - attempt.startedAt,
      isReplayable: isReplayable, mayRepeat: mayRepeat), hasUntriedPeer
    {
      return nextTry()
    }
    fail(status)
  }

  private var hasUntriedPeer: Bool {
    guard let group = attempt.group else { return false }
    return attempt.tryCount < max(group.tryCount, 1)
  }

  private func isError(_ failure: AttemptFailure) -> Bool {
    if case .error = failure { return true }
    return false
  }

  private func isStale(_ failure: AttemptFailure) -> Bool {
    switch failure {
    case .stale, .unprocessed: true
    default: false
    }
  }

  /// Parts from the connection: keeps it for later if it is clean, closes it otherwise.
  func endTry(_ outcome: PeerOutcome, mayKeep: Bool) {
    if proxyIsTLS, case .success = outcome { rememberUpstreamSession() }
    let group = attempt.group
    if let peer = attempt.peer, let group {
      if group.release(peer, outcome, now: loop.now) {
        core.errorLog.write(
          .warn, "upstream server \(peer.name.string) temporarily disabled", connection: 0)
      }
    }
    attempt.peer = nil
    releaseStream()
    if let connection = attempt.connection {
      attempt.connection = nil
      if mayKeep, let group, isKeepable(connection, group) {
        core.upstreams.checkIn(
          connection, core.idleConnections(group), timeout: group.settings.keepalive.idleTimeout)
      } else {
        core.upstreams.close(connection)
      }
    }
    if let input = attempt.input { loop.pool.giveBack(input) }
    attempt.input = nil
    if let piece = attempt.bodyPiece { loop.pool.giveBack(piece) }
    attempt.bodyPiece = nil
    if let trailers = attempt.trailerInput { loop.pool.giveBack(trailers) }
    attempt.trailerInput = nil
    attempt.phase = .none
  }

  private func isKeepable(_ connection: UpstreamConnection, _ group: UpstreamGroup) -> Bool {
    let keepalive = group.settings.keepalive
    return !core.isDraining && attempt.framing.keepAlive && isRequestSent
      && connection.requestCount < keepalive.requestCount
      && loop.now - connection.openedAt < keepalive.maxAge && !connection.transport.isBroken
      && !connection.transport.sawPeerClose
      && location.settings.proxy.value.httpMinorVersion == 1
      && !location.settings.proxy.value.closesUpstream
  }

  /// Gives everything of the upstream side back; called whenever the exchange turns elsewhere.
  func cancelUpstream() {
    if attempt.isActive {
      upstreamLog.update {
        if $0.responseTime < 0 { $0.responseTime = loop.now - attempt.triedAt }
        if $0.status == 0 && response.status == 499 { $0.status = 0 }
      }
      endTry(.neutral, mayKeep: false)
    }
    if let request = attempt.request { loop.pool.giveBack(request) }
    attempt.request = nil
    attempt.spool = nil
    attempt.spoolSent = 0
    attempt.isSpoolBroken = false
    attempt.group = nil
    attempt.consumedBody = false
    attempt.didEndBody = false
  }
}
