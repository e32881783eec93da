// The end of a try: what became of it is told to the server's state and the log, its connection is
// kept or closed, and `RetryPolicy` says whether another server is asked.

import HTTP

extension Exchange {
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
    if cache != nil {
      if useStale(after: failure) { return }
      rememberError(status)
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
    if let peer = attempt.peer.take(), let group {
      if attempt.teachesSession && outcome != .failure { learnSession(from: peer) }
      if group.release(peer, outcome, now: loop.now) {
        core.errorLog.write(
          .warn, "upstream server \(peer.name.string) temporarily disabled", connection: 0)
      }
    }
    releaseStream()
    if let connection = attempt.connection.take() {
      if mayKeep, let group, isKeepable(connection, group) {
        core.upstreams.checkIn(
          connection, core.idleConnections(group), timeout: group.settings.keepalive.idleTimeout)
      } else {
        core.upstreams.close(connection)
      }
    }
    loop.pool.reclaim(&attempt.input)
    loop.pool.reclaim(&attempt.bodyPiece)
    loop.pool.reclaim(&attempt.trailerInput)
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

  /// Of a body that was streamed nothing but its rest is left: whoever answers next does without.
  func dropStreamedBody() {
    guard attempt.consumedBody else { return }
    attempt.consumedBody = false
    body.framing = .none
  }

  /// Gives everything of the upstream side back; called whenever the exchange turns elsewhere.
  func cancelUpstream() {
    if cache != nil { endCaching() }
    if attempt.isActive {
      upstreamLog.update {
        if $0.responseTime < 0 { $0.responseTime = loop.now - attempt.triedAt }
        if $0.status == 0 && response.status == 499 { $0.status = 0 }
      }
      endTry(.neutral, mayKeep: false)
    }
    loop.pool.reclaim(&attempt.request)
    if attempt.spool != nil { attempt.spool = nil }
    attempt.spoolSent = 0
    attempt.isSpoolBroken = false
    attempt.group = nil
    dropStreamedBody()
    attempt.didEndBody = false
  }
}
