// Whether a cache answers (https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_cache).
//
//   startTries ─► consultCache ─┬─ fresh, or stale and good enough ─► Exchange+CacheServing
//                     ▲         ├─ somebody fetches it: waits ─┐
//                     └─────────┼──────────────────────────────┘
//                               └─ the upstream is asked ─► Exchange+CacheStoring, …CacheUpdating
//
// A location without a cache tests one pointer.

import HTTP

extension Exchange {
  /// Whether an upstream is to be asked; otherwise the request was answered, or waits.
  func consultCache() -> Bool {
    if cache == nil {
      guard chooseCache() else { return false }
      guard let cache else { return true }
      let settings = location.settings.cache.value
      cache.convertsHead = isHead && settings.convertsHead
      if body.file != nil && settings.keyMayHoldBody {
        // `$request_body` is empty: bodies that differ would have one key.
        self.cache = nil
        return true
      }
      if body.hasBody && !settings.keyMayHoldBody && !settings.methods.contains(method) {
        // What an application makes of such a body would be what others get.
        cache.mayStore = false
      }
      if holds(settings.bypass) {
        cacheStatus = .bypass
        return true
      }
      cacheStatus = .miss
    }
    guard let cache else { return true }
    return cache.isBackground ? findExpired(cache) : lookUp(cache)
  }

  /// Whether one of `conditions` is neither empty nor "0".
  func holds(_ conditions: [Template]) -> Bool {
    for condition in conditions {
      let value = evaluate(condition)
      if !value.isEmpty && value != Bytes("0") { return true }
    }
    return false
  }

  /// Finds the cache and the key, if the request may be answered by one; false: it was answered.
  private func chooseCache() -> Bool {
    let settings = location.settings.cache.value
    guard method == .get || method == .head || settings.methods.contains(method),
      !passesUpgrade, let source = settings.source
    else { return true }
    let zone: CacheZone
    switch source {
    case .zone(let known): zone = known
    case .variable(let template):
      let name = evaluate(template)
      if name.isEmpty || name == Bytes("off") { return true }
      guard let known = plan.caches[name.string] else {
        log(.error, "cache \"\(name.string)\" not found")
        fail(500)
        return false
      }
      zone = known
    }
    let text = settings.key.map { arena.copy(evaluate($0)) } ?? standardCacheKey
    if text.count > CacheFileHeader.longestKey {
      log(.warn, "a cache key of \(text.count) bytes is too long, nothing is cached")
      return true
    }
    cache = CacheAccess(zone, text, core.hotResponses.find(zone, text, now: loop.now))
    return true
  }

  /// nginx's: protocol, host and target of the upstream's request.
  private var standardCacheKey: Bytes {
    let scheme = proxyIsTLS ? Bytes("https://") : Bytes("http://")
    return concatenate(scheme, proxyHost, upstreamTarget)
  }

  // --- looking up --------------------------------------------------------------------------------

  private var wallSeconds: Int { loop.wallTime / 1000 }

  private func lookUp(_ cache: CacheAccess) -> Bool {
    // Bound: the response of the key itself, then its variant for this request.
    for _ in 0..<2 {
      let counts = !cache.isCounted
      cache.isCounted = true
      let found = cache.zone.look(
        cache.key, counts: counts, leastUses: location.settings.cache.leastUses, now: loop.now,
        seconds: wallSeconds)
      if case .failed(let status) = found {
        cacheStatus = .hit
        endCaching()
        fail(status)
        return false
      }
      var version: UInt64 = 0
      var isOftenUsed = false
      if case .stored(let current, let uses) = found {
        if let hot = cache.hot, hot.version == current { return use(hot.response, cache) }
        version = current
        isOftenUsed = uses > 1
      }
      if version > 0 || cache.zone.isCold {
        switch open(cache) {
        case .found(let stored):
          if isOftenUsed {
            core.hotResponses.keep(stored, cache.zone, version: version, now: loop.now)
          }
          return use(stored, cache)
        case .variant(let key):
          cache.key = key
          cache.isCounted = false
          continue
        case .nothing: break
        }
      }
      return found == .scarce ? fetchUnstored(cache) : fetchFirst(cache)
    }
    return fetchFirst(cache)
  }

  enum CacheFinding {
    case found(StoredResponse)
    /// What was found is for other requests; this one's is stored by that key.
    case variant(CacheKey)
    case nothing
  }

  /// Opens the file of the access's key. One that is no good is removed.
  func open(_ cache: CacheAccess) -> CacheFinding {
    let path = cache.zone.folder.file(of: cache.key)
    switch StoredResponse.open(path, cache.key, cache.text, &arena) {
    case .sound(let stored):
      let header = stored.header
      if !header.vary.isEmpty {
        let variant = variantKey(cache, header.vary)
        if variant != header.variant { return cache.isVariant ? .nothing : .variant(variant) }
      }
      if cache.zone.isCold {
        let size = header.count + header.bodyCount
        cache.zone.adopt(cache.key, byteCount: size, now: loop.now)
      }
      return .found(stored)
    case .absent: cache.zone.lose(cache.key)
    case .unsound(let what):
      log(.crit, "cache file \"\(path)\" \(what)")
      cache.zone.lose(cache.key)
      removeFile(path)
    // It stays: who comes next finds it whole.
    case .changing: break
    case .failed(let error): log(.crit, "open() \"\(path)\" failed \(error.logText)")
    }
    return .nothing
  }

  /// What a request is stored by when the response varies by the fields that `vary` names.
  ///
  /// White space around the elements of a value, and empty ones, make no difference (RFC 9111
  /// §4.1).
  func variantKey(_ cache: CacheAccess, _ vary: Bytes) -> CacheKey {
    var pieces = [cache.text]
    for name in HeaderList(vary) {
      pieces.append(Bytes("\0"))
      pieces.append(arena.lowercased(name))
      pieces.append(Bytes(":"))
      for entry in request.fields where entry.name.of(headBytes).equalsIgnoringCase(name) {
        for element in HeaderList(entry.value.of(headBytes)) {
          pieces.append(element)
          pieces.append(Bytes(","))
        }
      }
    }
    return CacheKey(of: pieces).ofVariant
  }

  // --- what was found ----------------------------------------------------------------------------

  private func use(_ stored: StoredResponse, _ cache: CacheAccess) -> Bool {
    cache.stored = stored
    let header = stored.header
    if header.isFresh(at: wallSeconds) {
      cacheStatus = .hit
      sendStored(stored)
      return false
    }
    let settings = location.settings.cache.value
    let mayUse =
      settings.staleUses.whileUpdating
      || header.isUsable(at: wallSeconds, for: header.staleWhileUpdating)
    if let ticket = cache.zone.claim(cache.key, until: .max, now: loop.now) {
      cache.ticket = ticket
      if mayUse && settings.updatesInBackground && !body.hasBody && core.mayDetach {
        cacheStatus = .stale
        updateInBackground(cache)
        sendStored(stored)
        return false
      }
    } else if mayUse {
      cacheStatus = .updating
      sendStored(stored)
      return false
    }
    cacheStatus = .expired
    // What is in memory may be outlived by the file, and can't be renewed.
    if stored.fd < 0 {
      cache.stored = nil
      if case .found(let current) = open(cache) { cache.stored = current }
    }
    heedRangeOffset(cache)
    if !mayHoldRight(cache) { giveBackRight(cache) }
    return true
  }

  /// Whether it is to others' advantage that the exchange fetches for them: it isn't if nothing
  /// will be stored, nor while a client sends its body as slowly as it likes.
  private func mayHoldRight(_ cache: CacheAccess) -> Bool {
    cache.mayStore && body.phase != .streaming
  }

  /// The exchange fetches what another one found expired.
  private func findExpired(_ cache: CacheAccess) -> Bool {
    cacheStatus = .expired
    if case .found(let stored) = open(cache) { cache.stored = stored }
    return true
  }

  // --- nothing was found -------------------------------------------------------------------------

  private func fetchUnstored(_ cache: CacheAccess) -> Bool {
    cache.mayStore = false
    return true
  }

  /// Fetches, or waits for whoever does.
  private func fetchFirst(_ cache: CacheAccess) -> Bool {
    let settings = location.settings.cache.value
    heedRangeOffset(cache)
    guard settings.locks, mayHoldRight(cache) else { return true }
    let waiter =
      cache.isWaitOver || settings.lockTimeout == 0
      ? nil : CacheWaiter(worker: core.index, exchange: handle.raw)
    switch cache.zone.claim(
      cache.key, until: loop.now + settings.lockAge, now: loop.now, orWait: waiter)
    {
    case .granted(let ticket):
      cache.ticket = ticket
      return true
    case .refused: return fetchUnstored(cache)
    case .waits(let place, let end):
      cache.place = place
      let waitEnd = cache.waitEnd ?? loop.now + settings.lockTimeout
      cache.waitEnd = waitEnd
      wait(for: .cached(atMost: max(1, min(waitEnd, end) - loop.now)))
      return false
    }
  }

  /// Gives the place up in which the exchange waited.
  func leaveCacheQueue() {
    guard let cache, cache.place != CacheQueue.none else { return }
    leave(cache.place, of: cache.zone)
    cache.place = CacheQueue.none
  }

  private func leave(_ place: CacheQueue.Place, of zone: CacheZone) {
    if let next = zone.leave(place) { core.control?.wake([next]) }
  }

  /// Somebody's response was stored or wasn't, or it took too long.
  func onCacheReleased() {
    guard state == .waiting, case .cached = awaited else { return }
    if let cache, let end = cache.waitEnd, loop.now >= end {
      log(.info, "cache lock timeout")
      cache.isWaitOver = true
    }
    // The place is given up behind the claim: had nobody claimed, the next one would be told.
    let left = cache.map { (place: $0.place, zone: $0.zone) }
    cache?.place = CacheQueue.none
    stopWaiting()
    state = .working
    startTries()
    if let left, left.place != CacheQueue.none { leave(left.place, of: left.zone) }
    if state != .idle { stream.flush() }
  }

  /// `proxy_cache_max_range_offset`: what begins far behind isn't fetched from the beginning.
  private func heedRangeOffset(_ cache: CacheAccess) {
    guard let limit = location.settings.cache.maxRangeOffset, let range = field(.range),
      range.hasPrefixIgnoringCase(Bytes("bytes="))
    else { return }
    let set = range.dropping(6).trimmed
    let end = set.firstIndex(of: UInt8(ascii: "-")) ?? set.count
    // One that counts from the end, or none at all.
    guard let start = set.prefix(end).trimmed.decimal, start < limit else {
      cache.mayStore = false
      return
    }
  }

  /// The access is over: whoever waits for it goes on.
  func endCaching() {
    guard let cache else { return }
    leaveCacheQueue()
    self.cache = nil
    cache.draft = nil
    let now = loop.now
    if cache.errorStatus != 0 {
      cache.zone.fail(cache.key, cache.errorStatus, until: cache.freshUntil, now: now)
    }
    giveBackRight(cache)
  }

  /// Gives the right to fetch back, if the exchange has it: whoever waits for it goes on.
  func giveBackRight(_ cache: CacheAccess) {
    let keepsUses = location.settings.cache.leastUses > 1
    let waiters = cache.zone.release(cache.key, cache.ticket, keepsUses: keepsUses)
    cache.ticket = 0
    if !waiters.isEmpty { core.control?.wake(waiters) }
  }
}
