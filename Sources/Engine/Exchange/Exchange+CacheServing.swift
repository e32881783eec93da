// Answering with a stored response: its head takes the way of an upstream's, with the location's
// rules as they are now, its body that of a file's.

import HTTP

extension Exchange {
  /// Answers with `stored`. The upstream, if one was asked, has nothing to do with it any more.
  func sendStored(_ stored: StoredResponse) {
    let settings = location.settings.proxy.value
    storedResponse = stored
    guard readStoredHead(stored) else { return refuseStored() }
    let status = attempt.head.statusCode
    takeResponseOrders(settings)
    if let target = upstreamField(.xAccelRedirect), !target.isEmpty,
      !settings.ignoredFields.contains(.xAccelRedirect)
    {
      endCaching()
      _ = acceptInternalRedirect(target)
      return
    }
    response.status = status
    let reason = attempt.head.reason.of(attempt.headBytes)
    if !reason.isEmpty && reason != StatusCode.reason(status) { response.reason = reason }
    copyFields(settings)
    let declared = isHead ? upstreamField(.contentLength)?.decimal : nil
    response.contentLength = declared ?? stored.header.bodyCount
    allowRanges(settings)
    // Before the body: a range outside of it may lead to an error page that has a cache of its own.
    endCaching()
    send(stored.body)
  }

  /// The file has a sound header, but what it holds is no response: somebody else wrote it.
  private func refuseStored() {
    if let cache {
      let path = cache.zone.folder.file(of: cache.key)
      log(.crit, "cache file \"\(path)\" holds no response")
      cache.zone.lose(cache.key)
      removeFile(path)
    }
    fail(500)
  }

  /// Puts the head of `stored` where the upstream's would be; false if it is none.
  @discardableResult
  func readStoredHead(_ stored: StoredResponse) -> Bool {
    attempt.resetResponse()
    attempt.framing = UpstreamFraming()
    // A head in the worker's memory may be replaced while this exchange goes on.
    attempt.headBytes = stored.fd < 0 ? arena.copy(stored.header.head) : stored.header.head
    _ = attempt.parser.parse(attempt.headBytes, into: &attempt.head)
    return stored.header.holds(attempt.head)
  }

  /// Says that parts of the response may be asked for, if the upstream says so or needn't.
  func allowRanges(_ settings: Borrowed<ProxySettings>) {
    guard response.status == 200, location.settings.core.maxRanges > 0 else { return }
    if response.first(.acceptRanges) != nil || settings.forcesRanges {
      response.remove(.acceptRanges)
      response.acceptsRanges = true
    }
  }

  /// Answers with what is stored because the upstream failed, if the location or the stored
  /// response itself allows that.
  ///
  /// - Parameter mayKeep: the upstream's connection may be used again.
  func useStale(_ failure: NextUpstream, _ outcome: PeerOutcome, mayKeep: Bool) -> Bool {
    guard let cache, let stored = cache.stored, cacheStatus == .expired,
      location.settings.cache.staleUses.failures.contains(failure), !didSendHead
    else { return false }
    endTry(outcome, mayKeep: mayKeep)
    giveBackRequest()
    cacheStatus = .stale
    sendStored(stored)
    return true
  }

  /// The same when no response came, for which the stored one may say that it may be used.
  func useStale(after failure: AttemptFailure) -> Bool {
    guard let cache, let stored = cache.stored, cacheStatus == .expired, !didSendHead else {
      return false
    }
    let uses = location.settings.cache.staleUses.failures
    let flag: NextUpstream =
      switch failure {
      case .timeout: .timeout
      case .invalidHeader: .invalidHeader
      case .status(let status): NextUpstream.flag(of: status) ?? []
      default: .error
      }
    var mayUse = !flag.isEmpty && uses.contains(flag)
    if case .status = failure {
    } else {
      let now = loop.wallTime / 1000
      mayUse = mayUse || stored.header.isUsable(at: now, for: stored.header.staleIfError)
    }
    guard mayUse else { return false }
    giveBackRequest()
    cacheStatus = .stale
    sendStored(stored)
    return true
  }

  /// The request that was sent to upstreams isn't needed any more.
  private func giveBackRequest() {
    if let request = attempt.request { loop.pool.giveBack(request) }
    attempt.request = nil
    attempt.group = nil
  }

  // --- after the upstream's head -----------------------------------------------------------------

  /// What the cache makes of a response whose status is no reason to ask another server; true: it
  /// answered.
  func answerFromCache(_ status: Int) -> Bool {
    guard let cache else { return false }
    // Without the right to store, the conditions that were sent were the client's.
    if status == 304, cache.mayStore, cacheStatus == .expired, let stored = cache.stored,
      location.settings.cache.revalidates
    {
      return revalidate(stored, cache)
    }
    guard status >= 400, let flag = NextUpstream.flag(of: status) else { return false }
    return useStale(flag, AttemptFailure.status(status).outcome, mayKeep: false)
  }

  /// The upstream says that what is stored still holds.
  private func revalidate(_ stored: StoredResponse, _ cache: CacheAccess) -> Bool {
    judgeFreshness(cache)
    if cache.freshUntil == 0 {
      let mayStore = cache.mayStore
      let ending = attempt.framing
      readStoredHead(stored)
      judgeFreshness(cache)
      cache.mayStore = mayStore
      attempt.framing = ending
    }
    let now = loop.wallTime / 1000
    if cache.freshUntil == 0 {
      let seconds = location.settings.cache.validities.seconds(for: stored.header.status)
      if seconds > 0 { cache.freshUntil = now.adding(seconds) }
    }
    endTry(.success, mayKeep: attempt.input?.isEmpty != false)
    giveBackRequest()
    if cache.freshUntil > 0 {
      stored.renew(&arena) { header in
        header.freshUntil = cache.freshUntil
        header.storedAt = now
        header.staleWhileUpdating = cache.staleWhileUpdating
        header.staleIfError = cache.staleIfError
      }
      cache.zone.renew(cache.key)
    }
    cacheStatus = .revalidated
    sendStored(stored)
    return true
  }
}

extension Int {
  /// A moment `seconds` later, or earlier, as far as there is one.
  func adding(_ seconds: Int) -> Int {
    let (sum, isHuge) = addingReportingOverflow(seconds)
    return isHuge ? (seconds < 0 ? .min : .max) : sum
  }
}
