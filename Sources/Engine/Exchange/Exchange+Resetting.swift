// What an exchange forgets when it is over: the next request gets the same object, and must find
// nothing of this one. Bytes that are left over would be worse than wrong, since their memory is
// somebody else's by then.
//
// Every stored property of Exchange is named in this file, those that stay with the reason.

import HTTP

extension Exchange {
  /// Forgets the request.
  func reset() {
    // Kept until the next request sets them, by `start`, `enter` or `admit`: `handle`, `stream`,
    // `state`, `plan`, `address`, `site`, `location`, `startedAt`, `admission`,
    // `refusal`. Ended by `finish`: `counted`, `countedConnections`, `awaited`, `cache`. As before
    // whenever nothing is being computed: `nesting`.
    resetRequest()
    resetUpstream()
    resetResponse()
    resetCaching()
    arena.reset()
  }

  private func resetRequest() {
    request.reset()
    headBytes = Bytes()
    method = .get
    methodName = Bytes()
    uri = Bytes()
    arguments = Bytes()
    host = Bytes()
    requestTarget = Bytes()
    uriWasChanged = false
    uriIsOriginal = true
    targetIsCurrent = true
    aliasTakesPath = false
    locationIsValid = true
    isInternal = false
    redirectsLeft = 11
    requestedUpgrade = false
    connectionNamesFields = false
    keepAlive = true
    body.reset(loop.pool)
    for index in values.indices { values[index] = nil }
    captures.removeAll()
    requestID = nil
    userID = nil
    realAddress = nil
    // `admissionTimer` and `inner`, whose exchange is closed, are used again.
    if !challenges.isEmpty { challenges.removeAll(keepingCapacity: true) }
    requestLimitOutcome = .none
    connectionLimitOutcome = .none
    // A nil that is stored over a nil is a call of the runtime too.
    if isInner {
      isInner = false
      owner = nil
      depth = 0
    }
    if include != nil { include = nil }
    if pageState != nil { pageState = nil }
  }

  private func resetUpstream() {
    proxyHost = Bytes()
    proxyPort = Bytes()
    proxyURI = nil
    proxyURIIsComplete = false
    proxyIsTLS = false
    unresolved = nil
    upstreamLog.reset()
    attempt.resetResponse()
  }

  private func resetResponse() {
    response.reset()
    if let openFile = openFile.take() { openFile.release() }
    preconditionPage = nil
    headByteCount = 0
    didSendHead = false
    isErrorPage = false
    errorStatus = 0
    errorField = nil
    bodyByteCount = 0
    limitRate = 0
    isLimitRateSet = false
    // `pacer` and `pipeline` are used again. `isFiltered` is false without stages.
    if isPaced { stopPacing() }
    if let pipeline, !pipeline.isEmpty { stopFiltering() }
    if !redirectCookies.isEmpty { redirectCookies.removeAll() }
    charsetOrder = nil
    if stored != nil { stored = nil }
  }

  private func resetCaching() {
    cacheStatus = .none
    if storedResponse != nil { storedResponse = nil }
    if cut != nil { cut = nil }
    isAbandoned = false
    isAnswered = false
    if let head = keptHead.take() { loop.pool.giveBack(head) }
  }
}
