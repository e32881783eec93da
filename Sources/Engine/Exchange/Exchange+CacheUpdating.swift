// Fetching for a cache without a client: in the background, while the client got what is stale
// (`proxy_cache_background_update`), and on behalf of a client that left, as nginx does.

import HTTP

extension Exchange {
  /// Begins an exchange that fetches what `cache` found stale, with its right to.
  func updateInBackground(_ cache: CacheAccess) {
    guard let pass = location.settings.proxy.value.pass else { return }
    // The client of the other one, until it has its own.
    let update = core.takeExchange(self.stream, plan)
    let stream = DetachedStream(update, connection)
    stream.isHeld = true
    update.attach(stream)
    update.enter(updating: self)
    update.cache = CacheAccess(updating: cache, update.arena.copy(cache.text))
    cache.ticket = 0
    update.proxy(pass)
    stream.isHeld = false
    stream.flush()
  }

  /// Begins a life with a copy of the request of `other`, at its location.
  private func enter(updating other: Exchange) {
    isInner = true
    state = .working
    address = other.address
    site = other.site
    location = other.location
    request = other.request
    headBytes = arena.copy(other.headBytes)
    method = other.method
    methodName = arena.copy(other.methodName)
    uri = arena.copy(other.uri)
    arguments = arena.copy(other.arguments)
    host = arena.copy(other.host)
    requestTarget = arena.copy(other.requestTarget)
    isInternal = other.isInternal
    uriIsOriginal = other.uriIsOriginal
    locationIsValid = other.locationIsValid
    realAddress = other.realAddress
    connectionNamesFields = other.connectionNamesFields
    for index in values.indices { values[index] = other.values[index].map { arena.copy($0) } }
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
    attach(DetachedStream(self, connection))
    // What the slow client held back comes now; not at once, since its connection is being closed.
    if let connection = attempt.connection { loop.yield(connection.handle) }
    if let stream = attempt.stream, let session = stream.session {
      session.touch(stream)
      stream.connection?.requestFlush()
    }
  }
}

extension WorkerCore {
  /// Whether another exchange may go on without a client. Bound: a quarter of `worker_connections`, or
  /// an upstream that answers slowly would take the connections that clients need.
  var mayDetach: Bool { detachedCount < max(1, plan.main.workerConnections / 4) }
}
