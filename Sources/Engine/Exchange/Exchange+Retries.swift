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
      if attempt.teachesSession && outcome != .failure { learnSession(from: peer) }
      if let change = group.release(peer, outcome, now: loop.now) { tell(change, of: peer) }
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

  private func tell(_ change: PeerChange, of peer: Peer) {
    let server = "upstream server \(peer.name.string)"
    switch change {
    case .out: core.errorLog.write(.warn, "\(server) temporarily disabled", connection: 0)
    case .back: core.errorLog.write(.notice, "\(server) is back", connection: 0)
    }
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
    dropStreamedBody()
    attempt.didEndBody = false
  }
}
