// The end of a try: what became of it is told to the server's state and the log, its connection is
// kept or closed, and `RetryPolicy` says whether another server is asked.

import HTTP

extension Exchange {
  /// The try failed: another server, or an answer to the client.
  func failTry(_ failure: AttemptFailure, _ what: String) {
    let failure = isError(failure) && wasClosedBefore ? .stale : failure
    let isUncounted = mayRepeatUncounted(failure)
    log(isUncounted ? .info : .error, "\(what) upstream")
    let status = failure.statusCode
    upstreamLog.update { if $0.status == 0 { $0.status = status } }
    let peer = attempt.peer
    // As in nginx: a server whose head was sent on has answered, whatever becomes of the body. A
    // stream of events that is silent for too long is no reason to take it out.
    endTry(didSendHead ? .success : failure.outcome, mayKeep: false)
    if didSendHead { return endEarly() }
    // A server that refuses a stream has reasons that may last: others first.
    if failure.isRefused && mayTryAgain(after: failure) { return nextTry() }
    if isUncounted {
      if case .unprocessed = failure {
        attempt.excludedCount += 1
      } else {
        attempt.didRetryStale = true
      }
      attempt.tryCount -= 1
      if let peer { attempt.tried.remove(peer.slot) }
      return nextTry()
    }
    if mayTryAgain(after: failure) { return nextTry() }
    if cache != nil {
      if useStale(after: failure) { return }
      if failure.isOfServer { rememberError(status) }
    }
    fail(status)
  }

  /// Whether another server is asked once this try has failed so, or an error is the upstream's
  /// answer.
  func mayTryAgain(after failure: AttemptFailure) -> Bool {
    guard hasUntriedPeer else { return false }
    let settings = location.settings.proxy.value
    let policy = RetryPolicy(
      allowed: settings.nextUpstream, maxTries: settings.nextUpstreamTries,
      timeout: settings.nextUpstreamTimeout)
    let mayRepeat =
      method.isIdempotent || attempt.requestSent == 0 || failure.isUnprocessed
      || settings.nextUpstream.contains(.nonIdempotent)
    return policy.allows(
      failure, tries: attempt.tryCount, elapsed: loop.now - attempt.startedAt,
      isReplayable: isReplayable, mayRepeat: mayRepeat)
  }

  /// Whether the request can be sent again from its beginning.
  private var isReplayable: Bool { !attempt.consumedBody }

  /// Whether a kept connection seems to have been closed before the server could read the request.
  /// One that must not be carried out twice counts as unread only if the server ended its stream
  /// before its kernel had taken any byte. A reset doesn't count: a kernel acknowledges with a
  /// delay what an application may have read already.
  private var wasClosedBefore: Bool {
    guard attempt.isReused, !attempt.didReceive else { return false }
    if method.isIdempotent || location.settings.proxy.value.nextUpstream.contains(.nonIdempotent) {
      return true
    }
    // Of HTTP/2 nothing tells, but a GOAWAY: see `AttemptFailure.unprocessed`.
    guard attempt.ending == .end, let connection = attempt.connection else { return false }
    return Socket.unacknowledgedCount(connection.transport.fd) >= attempt.bytesSent
  }

  private var hasUntriedPeer: Bool {
    guard let group = attempt.group else { return false }
    return attempt.tryCount < max(group.tryCount, 1)
  }

  private func isError(_ failure: AttemptFailure) -> Bool {
    if case .error = failure { return true }
    return false
  }

  // Bound: how often a request goes out again that no server has processed.
  private static let mostExcluded = 10

  /// Whether the request is sent once more, as if this try had not been: nobody has seen it.
  private func mayRepeatUncounted(_ failure: AttemptFailure) -> Bool {
    switch failure {
    case .unprocessed: isReplayable && attempt.excludedCount < Self.mostExcluded
    case .stale, .refused: isReplayable && !attempt.didRetryStale
    default: false
    }
  }

  /// Ends the try: parts from server and connection, and gives its buffers back.
  func endTry(_ outcome: PeerOutcome, mayKeep: Bool) {
    if proxyIsTLS, case .success = outcome { rememberUpstreamSession() }
    // Nobody reads it until there is another try.
    if body.phase == .streaming { stream.stopAwaitingBody() }
    // Without a group there was no try.
    if let group = attempt.group {
      upstreamLog.update {
        if $0.responseTime < 0 { $0.responseTime = loop.now - attempt.triedAt }
      }
      if let peer = attempt.peer.take() { leave(peer, of: group, outcome) }
      releaseStream()
      if let connection = attempt.connection.take() {
        part(from: connection, of: group, mayKeep: mayKeep)
      }
    }
    loop.pool.reclaim(&attempt.input)
    loop.pool.reclaim(&attempt.bodyPiece)
    loop.pool.reclaim(&attempt.trailerInput)
    attempt.phase = .none
  }

  /// Tells the server's state, and all who choose by it, how the try went.
  private func leave(_ peer: Peer, of group: UpstreamGroup, _ outcome: PeerOutcome) {
    if group.settings.method.leastTime?.countsPending == true {
      peer.state.endPending(at: attempt.triedAt)
    }
    if attempt.teachesSession && outcome != .failure { learnSession(from: peer) }
    if let change = group.release(peer, outcome, now: loop.now) { tell(change, of: peer, group) }
  }

  /// Keeps the connection for later if it is clean, closes it otherwise.
  private func part(
    from connection: consuming UpstreamConnection, of group: UpstreamGroup, mayKeep: Bool
  ) {
    guard mayKeep, isKeepable(connection, group), isQuiet(connection) else {
      return core.upstreams.close(connection)
    }
    core.upstreams.checkIn(connection, timeout: group.settings.keepalive.idleTimeout)
  }

  private func tell(_ change: PeerChange, of peer: Peer, _ group: UpstreamGroup) {
    let server = "upstream server \(peer.name.string) in \"\(group.settings.displayName)\""
    switch change {
    case .out:
      let timeout = peer.server.failTimeout
      let time = timeout % 1000 == 0 ? "\(timeout / 1000) s" : "\(timeout) ms"
      core.errorLog.write(.warn, "\(server) temporarily disabled for \(time)", connection: 0)
    case .back: core.errorLog.write(.notice, "\(server) is back", connection: 0)
    }
  }

  private func isKeepable(_ connection: UpstreamConnection, _ group: UpstreamGroup) -> Bool {
    let keepalive = group.settings.keepalive
    return !core.isDraining && attempt.framing.keepAlive && isRequestSent
      && connection.requestCount < keepalive.requestCount
      && loop.now - connection.openedAt < keepalive.maxAge && !connection.transport.isBroken
      && !connection.transport.sawPeerClose
      && location.settings.proxy.value.version != .http10
      && !location.settings.proxy.value.closesUpstream
  }

  /// Whether nothing came behind the response: it would be the next exchange's. The kernel is only
  /// asked if the last read filled its room.
  private func isQuiet(_ connection: UpstreamConnection) -> Bool {
    if let input = attempt.input, !input.isEmpty { return false }
    guard connection.transport.isReadable else { return true }
    let scratch = loop.pool.take(.small)
    defer { loop.pool.giveBack(scratch) }
    if case .wouldBlock = connection.transport.receive(into: scratch.free) { return true }
    return false
  }

  /// Of a body that was streamed nothing but its rest is left: whoever answers next does without,
  /// and the rest ends at the client's side.
  func dropStreamedBody() {
    guard attempt.consumedBody else { return }
    attempt.consumedBody = false
    spendBody()
  }

  /// Gives everything of the upstream side back; called whenever the exchange turns elsewhere.
  func cancelUpstream() {
    if cache != nil { endCaching() }
    if attempt.isActive { endTry(.neutral, mayKeep: false) }
    loop.pool.reclaim(&attempt.request)
    if attempt.spool != nil { attempt.spool = nil }
    attempt.spoolSent = 0
    attempt.isSpoolBroken = false
    attempt.group = nil
    dropStreamedBody()
    attempt.didEndBody = false
  }
}
