// Fetching for a cache without a client: in the background, while the client got what is stale
// (`proxy_cache_background_update`), and on behalf of a client that left, as nginx does.

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
    locationIsValid = other.locationIsValid
    captures = other.captures.moved(to: arena.copy(other.captures.subject))
  }

  /// Whether the request is carried out although its client left: what comes is for the cache.
  var goesOnForCache: Bool {
    guard let cache, cache.mayStore, core.mayDetach, state == .attempting, attempt.isActive,
      !didSendHead || cache.draft != nil
    else { return false }
    return body.phase != .streaming
  }

  /// The client left. The exchange goes on without it and keeps `head`, the memory that the request
  /// lies in.
  func detach(keeping head: Buffer?) {
    log(.info, "client closed connection, its response is fetched for the cache")
    countOut()
    if isPaced { stopPacing() }
    if let pipeline, !pipeline.isEmpty { stopFiltering() }
    attempt.spool = nil
    include?.close()
    include = nil
    response.hasBody = false
    isAbandoned = true
    keptHead = head
    DetachedStream(core, for: .cache, connection).takeOver(self)
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
