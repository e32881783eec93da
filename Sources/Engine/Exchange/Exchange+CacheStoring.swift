// Whether a response may be stored and for how long (nginx's rules: X-Accel-Expires before
// Cache-Control before Expires before `proxy_cache_valid`), and its way into the file.

import HTTP

extension Exchange {
  // --- what the response says --------------------------------------------------------------------

  /// Reads what concerns caching in the head of an upstream's response.
  func judgeFreshness(_ cache: CacheAccess) {
    let ignored = location.settings.proxy.ignoredFields
    let now = loop.wallTime / 1000
    cache.forgetResponse()
    if !ignored.contains(.setCookie), upstreamField(.setCookie) != nil { cache.mayStore = false }
    if !ignored.contains(.vary) { judgeVary(cache) }
    var isForbidden = false
    var control = CacheControl()
    if !ignored.contains(.cacheControl) {
      for entry in attempt.head.fields where entry.token == .cacheControl {
        control.read(entry.value.of(attempt.headBytes))
      }
      cache.staleWhileUpdating = control.staleWhileRevalidate
      cache.staleIfError = max(control.staleIfError, control.staleWhileRevalidate)
      if control.staleIfErrorIsSet { cache.staleIfError = control.staleIfError }
    }
    if !ignored.contains(.xAccelExpires), let order = upstreamField(.xAccelExpires) {
      switch AccelExpires(order) {
      case .never:
        cache.mayStore = false
        return
      case .after(let seconds):
        cache.freshUntil = now.adding(seconds)
        return
      case .at(let moment):
        // 0 would mean that nothing was said.
        cache.freshUntil = max(1, moment)
        return
      case .invalid: break
      }
    }
    if control.forbids || control.isMalformed {
      isForbidden = true
    } else if let seconds = control.age {
      cache.freshUntil = now.adding(seconds)
    } else if !ignored.contains(.expires), let expires = upstreamField(.expires) {
      if let moment = HTTPDate.parse(expires), moment >= now {
        cache.freshUntil = moment
      } else {
        isForbidden = true
      }
    }
    if isForbidden { cache.mayStore = false }
  }

  private func judgeVary(_ cache: CacheAccess) {
    var vary = Bytes()
    for entry in attempt.head.fields where entry.token == .vary {
      let value = entry.value.of(attempt.headBytes)
      vary = vary.isEmpty ? value : concatenate(vary, Bytes(","), value)
    }
    if vary.count > CacheFileHeader.longestVary || HeaderList.contains(Bytes("*"), in: vary) {
      cache.mayStore = false
    } else {
      cache.vary = vary
    }
  }

  /// For how long a response of `status` is fresh by the location, if it doesn't say so itself.
  private func applyValidity(_ status: Int, _ cache: CacheAccess) {
    guard cache.freshUntil == 0 else { return }
    let seconds = location.settings.cache.validities.seconds(for: status)
    if seconds > 0 { cache.freshUntil = (loop.wallTime / 1000).adding(seconds) }
  }

  /// An error stands for the response: of the upstream, shown by a page of ours, or that there was
  /// none. Not if the cache was passed by: what it has may be good.
  func rememberError(_ status: Int) {
    guard let cache, cache.mayStore, cacheStatus != .bypass,
      !holds(location.settings.cache.value.exclusions)
    else { return }
    applyValidity(status, cache)
    if cache.freshUntil > 0 { cache.errorStatus = status }
  }

  // --- the file ----------------------------------------------------------------------------------

  /// Begins to store the response whose head came, if it may be. If not, the next one may try at
  /// once: what isn't stored goes out as fast as its client reads.
  func beginStoring(_ status: Int) {
    guard let cache else { return }
    guard mayStore(status, cache) else { return giveStoringUp(cache) }
    settleVariant(cache)
    var header = CacheFileHeader(key: cache.text, vary: cache.vary, head: storedHead(status))
    guard header.count <= CacheFileHeader.limit else { return giveStoringUp(cache) }
    header.freshUntil = cache.freshUntil
    header.storedAt = loop.wallTime / 1000
    header.staleWhileUpdating = cache.staleWhileUpdating
    header.staleIfError = cache.staleIfError
    header.status = status
    if let modified = upstreamField(.lastModified).flatMap({ HTTPDate.parse($0) }) {
      header.lastModified = modified
    }
    header.digest = cache.key
    header.variant =
      cache.vary.isEmpty ? CacheKey(high: 0, low: 0) : variantKey(cache, cache.vary)
    let most = cache.zone.settings.maxByteCount ?? 0
    do throws(SystemError) {
      cache.draft = try CacheDraft(
        header, in: cache.zone.folder,
        name: CacheDraftName(worker: core.index, number: core.nextSerial()),
        limit: most > 0 ? most : nil, &arena)
    } catch {
      logDraftFailure(error, cache)
    }
  }

  private func mayStore(_ status: Int, _ cache: CacheAccess) -> Bool {
    guard cache.mayStore, buffersResponse, CacheFileHeader.isStored(status) else { return false }
    if holds(location.settings.cache.value.exclusions) { return false }
    applyValidity(status, cache)
    if let most = cache.zone.settings.maxByteCount, most > 0, let length = response.contentLength,
      length > most
    {
      return false
    }
    return cache.freshUntil > 0
  }

  /// What varies is stored by what this request has; the first variant by the key itself.
  private func settleVariant(_ cache: CacheAccess) {
    guard cache.isVariant, cache.vary.isEmpty || variantKey(cache, cache.vary) != cache.key else {
      return
    }
    giveBackRight(cache)
    cache.key = cache.mainKey
  }

  /// The head as lines, without what concerns the upstream's connection.
  private func storedHead(_ status: Int) -> Bytes {
    let bytes = attempt.headBytes
    let reason = attempt.stream == nil ? attempt.head.reason.of(bytes) : Bytes()
    var count = 32 + reason.count
    for entry in attempt.head.fields { count += Int(entry.name.count + entry.value.count) + 4 }
    let buffer = arena.allocate(count)
    var position = 0
    func put(_ piece: Bytes) {
      buffer.copy(piece, at: position)
      position += piece.count
    }
    put(Bytes("HTTP/1.1 "))
    put(arena.decimal(status))
    put(Bytes(" "))
    put(reason)
    put(Bytes("\r\n"))
    for entry in attempt.head.fields {
      let name = entry.name.of(bytes)
      if entry.token.isHopByHop { continue }
      // The file knows how long it is; a response to HEAD says how long it would be.
      if entry.token == .contentLength && !isHeadThroughout { continue }
      if attempt.framing.namesFields && attempt.head.connectionNames(name, in: bytes) { continue }
      put(name)
      put(Bytes(": "))
      put(entry.value.of(bytes))
      put(Bytes("\r\n"))
    }
    put(Bytes("\r\n"))
    return buffer.readOnly.prefix(position)
  }

  /// Stores a piece of the body as well.
  func store(_ bytes: Bytes, _ cache: CacheAccess, _ draft: CacheDraft) {
    do throws(SystemError) {
      if try draft.append(bytes) { return }
      log(.info, "a response is larger than its cache may be, it is not stored")
      giveUpDraft(cache, draft)
    } catch {
      logDraftFailure(error, cache)
      giveUpDraft(cache, draft)
    }
  }

  /// Nothing is stored of the response.
  private func giveStoringUp(_ cache: CacheAccess) {
    cache.mayStore = false
    giveBackRight(cache)
  }

  private func logDraftFailure(_ error: SystemError, _ cache: CacheAccess) {
    giveStoringUp(cache)
    log(
      .crit,
      """
      writing a file in "\(cache.zone.folder.path)" failed \(error.logText), the response is not \
      cached
      """
    )
  }

  /// The response goes on without being stored. What waits in the draft for the client is sent from
  /// there.
  private func giveUpDraft(_ cache: CacheAccess, _ draft: CacheDraft) {
    giveStoringUp(cache)
    cache.draft = nil
    if attempt.spool === draft.file { queueSpooled() }
  }

  /// The response is complete: it is in the cache from here on.
  func finishStoring() {
    guard let cache else { return }
    if let draft = cache.draft {
      do throws(SystemError) {
        let size = try draft.finish(cache.zone.folder, cache.key)
        cache.zone.store(cache.key, byteCount: size, now: loop.now)
      } catch {
        logDraftFailure(error, cache)
      }
    }
    endCaching()
  }
}
