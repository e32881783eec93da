// Exchanges that go on without a client: fetching for a cache in the background, while the client
// got what is stale (`proxy_cache_background_update`), and what is carried out although the client
// left, for a cache or because the location says so (`proxy_ignore_client_abort`), as nginx does.

import HTTP

extension Exchange {
  /// Begins an exchange that fetches what `cache` found stale, with its right to.
  func updateInBackground(_ cache: CacheAccess) {
    guard let pass = location.settings.proxy.value.pass else { return }
    DetachedStream(core, for: .cache, connection).start(plan) { update in
      update.enter(updating: self)
      update.cache = CacheAccess(updating: cache, update.arena.copy(cache.text))
      cache.ticket = 0
      update.proxy(pass)
    }
  }

  /// Begins a life with a copy of the request of `other`, at its location.
  private func enter(updating other: Exchange) {
    enter(copying: other)
    location = other.location
    uri = arena.copy(other.uri)
    isInternal = other.isInternal
    uriIsOriginal = other.uriIsOriginal
    targetIsCurrent = other.targetIsCurrent
    aliasTakesPath = other.aliasTakesPath
    locationIsValid = other.locationIsValid
    captures = other.captures.moved(to: arena.copy(other.captures.subject))
  }

  /// Whether the request is carried out although its client left: what comes is for a cache, or the
  /// location says so until there is an answer.
  var goesOnAlone: Bool {
    guard state == .attempting, attempt.isActive, body.phase != .streaming, core.mayDetach else {
      return false
    }
    if let cache, cache.mayStore, !didSendHead || cache.draft != nil { return true }
    return location.settings.proxy.value.ignoresClientAbort && (!didSendHead || stored != nil)
  }

  /// The client left, or has all that it gets. The exchange goes on without it and keeps `head`,
  /// the memory that the request lies in.
  func detach(keeping head: Buffer?, clientLeft: Bool) {
    if clientLeft { log(.info, "client closed connection, its request is carried out") }
    countOut()
    if isPaced { stopPacing() }
    if let pipeline, !pipeline.isEmpty { stopFiltering() }
    attempt.spool = nil
    include?.close()
    include = nil
    response.hasBody = false
    isAbandoned = !didSendHead && !location.settings.proxy.value.ignoresClientAbort
    keptHead = head
    DetachedStream(core, for: .cache, connection, sentByteCount: stream.sentByteCount)
      .takeOver(self)
    // What the slow client held back comes now; not at once, since its connection is being closed.
    if let connection = attempt.connection { loop.yield(connection.handle) }
    if let stream = attempt.stream, let session = stream.session {
      session.touch(stream)
      stream.connection?.requestFlush()
    }
  }
}

extension WorkerCore {
  /// Whether another exchange may go on for a cache without a client.
  var mayDetach: Bool { detachedCount - mirrorCount < mostDetached }
}
