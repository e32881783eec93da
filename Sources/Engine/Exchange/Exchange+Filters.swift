// Which stages a response's body goes through, and what its head says of that. Chosen when the head
// is complete, in nginx's order: decompress, replace, recode, include, add, compress.

import HTTP

extension Exchange {
  /// What a head was before header rules changed it.
  struct UnfilteredHead {
    var type: Bytes?
    var length: Int?
    /// The upstream forbids changing the content (RFC 9111 §5.2.2.6).
    var forbidsTransforming = false
  }

  /// Whether any filter may concern this response.
  var mayFilter: Bool {
    location.settings.filters.value.isActive || charsetOrder != nil || isPart
  }

  /// Whether the response becomes a part of a page.
  var isPart: Bool { isInner && stream is IncludeStream }

  /// Remembers what filters have to know of the head as it came.
  func unfilteredHead() -> UnfilteredHead {
    var head = UnfilteredHead(type: response.contentType, length: response.contentLength)
    if let control = response.first(.cacheControl) {
      head.forbidsTransforming = HeaderList.contains(Bytes("no-transform"), in: control)
    }
    return head
  }

  /// Chooses the stages, and lets the head speak of what they make of the body.
  func chooseFilters(_ head: UnfilteredHead) {
    if isFiltered { stopFiltering() }
    let settings = location.settings.filters.value
    guard !response.isUpgrade else { return }
    if settings.gunzips && !head.forbidsTransforming { chooseGunzip(settings) }
    if !settings.substitute.pairs.isEmpty && !head.forbidsTransforming {
      chooseSubstitutes(settings.substitute, head)
    }
    chooseCharset(settings, mayRecode: !head.forbidsTransforming)
    if settings.ssi.isOn { choosePageCommands(settings.ssi, head) }
    if settings.addition.isOn && !head.forbidsTransforming {
      chooseAdditions(settings.addition, head)
    }
    if settings.gzip.isOn && !head.forbidsTransforming { chooseGzip(settings.gzip, head) }
    if isFiltered, let pipeline { pipeline.flushesAtOnce = flushesAtOnce(pipeline) }
  }

  private func flushesAtOnce(_ pipeline: BodyPipeline) -> Bool {
    if pipeline.gzip == nil || !buffersResponse { return true }
    guard let type = response.contentType else { return false }
    return type.hasPrefixIgnoringCase(Bytes("text/event-stream"))
  }

  /// The body will be another than the head describes.
  func becomeTransformed() {
    response.contentLength = nil
    response.acceptsRanges = false
    response.remove(.acceptRanges)
    weakenETag()
  }

  /// A tag of bytes that were changed on their way is weak (RFC 9110 §8.8.3).
  private func weakenETag() {
    guard let tag = response.first(.etag), !EntityTag.isWeak(tag) else { return }
    response.replace(.etag, tag.hasPrefix(Bytes("\"")) ? concatenate(Bytes("W/"), tag) : nil)
  }

  /// Has Vary name Accept-Encoding, unless it does.
  func addVary() {
    for field in response.fields where field.token == .vary {
      if HeaderList.contains(Bytes("Accept-Encoding"), in: field.value) { return }
      if field.value == Bytes("*") { return }
    }
    response.add(Bytes("Vary"), Bytes("Accept-Encoding"), .vary)
  }

  // --- gunzip ------------------------------------------------------------------------------------

  private func chooseGunzip(_ settings: Borrowed<FilterSettings>) {
    guard let coding = response.first(.contentEncoding), coding.equalsIgnoringCase(Bytes("gzip")),
      response.status != 206, response.status != 204, response.status != 304
    else { return }
    if settings.gzip.varies { addVary() }
    if acceptsGzip(settings.gzip) { return }
    if response.hasBody {
      guard let inflater = core.inflaters.take() else {
        return log(.crit, "there is no memory to decompress a response")
      }
      addStage(GunzipStage(inflater))
    }
    response.remove(.contentEncoding)
    becomeTransformed()
  }

  // --- sub_filter --------------------------------------------------------------------------------

  private func chooseSubstitutes(_ settings: SubstituteSettings, _ head: UnfilteredHead) {
    guard settings.types.contains(head.type), head.length != 0, response.status != 204,
      response.status != 304
    else { return }
    guard response.first(.contentEncoding) == nil else {
      return log(.info, "nothing is replaced in a compressed response")
    }
    var pairs: [SubstituteStage.Pair] = []
    for (pattern, replacement) in settings.pairs {
      let wanted = evaluate(pattern)
      if wanted.isEmpty { continue }
      pairs.append(SubstituteStage.Pair(pattern: wanted, replacement: evaluate(replacement)))
    }
    if pairs.isEmpty { return }
    if response.hasBody { addStage(SubstituteStage(pairs, isOnce: settings.isOnce, loop.pool)) }
    becomeTransformed()
    guard !settings.keepsLastModified else { return }
    response.lastModified = nil
    response.remove(.lastModified)
    response.remove(.etag)
  }

  // --- gzip --------------------------------------------------------------------------------------

  private func chooseGzip(_ settings: GzipSettings, _ head: UnfilteredHead) {
    guard isCompressible(response.status), response.first(.contentEncoding) == nil,
      settings.types.contains(head.type), !location.settings.proxy.value.isGRPC
    else { return }
    // A stage in front may have made another length of it, which nobody knows.
    let length = isFiltered ? nil : head.length
    if let length, length < settings.leastLength { return }
    if settings.varies { addVary() }
    guard acceptsGzip(settings) else { return }
    // What is not modified is the response that was compressed (RFC 9110 §15.4.5).
    if response.status == 304 { return weakenETag() }
    if response.hasBody {
      let isSmall = (length ?? .max) <= Deflater.Size.smallLimit
      guard
        let deflater = core.deflaters.take(level: settings.level, size: isSmall ? .small : .full)
      else { return log(.crit, "there is no memory to compress a response") }
      let stage = GzipStage(deflater)
      addStage(stage)
      pipeline?.gzip = stage
      pipeline?.roomByteCount = settings.bufferBytes
    }
    response.add(Bytes("Content-Encoding"), Bytes("gzip"), .contentEncoding)
    becomeTransformed()
  }

  private func isCompressible(_ status: Int) -> Bool {
    switch status {
    case 200, 304, 403, 404: true
    default: false
    }
  }

  /// Whether the client takes gzip, and the location gives it to this client.
  func acceptsGzip(_ settings: GzipSettings) -> Bool {
    // What another response includes is compressed with it.
    if isInner { return false }
    var preference = CodingPreference(Bytes("gzip"))
    for entry in request.fields where entry.token == .acceptEncoding {
      preference.add(entry.value.of(headBytes))
    }
    guard preference.isAccepted else { return false }
    if request.minorVersion < settings.leastMinorVersion && !request.isHTTP2 { return false }
    if let agent = field(.userAgent), isDisabled(agent, settings) { return false }
    return field(.via) == nil || isAllowedForProxies(settings.proxied)
  }

  private func isDisabled(_ agent: Bytes, _ settings: GzipSettings) -> Bool {
    if settings.disabledBrowsers.contains(agent: agent) { return true }
    for regex in settings.disabled where regex.matches(agent) { return true }
    return false
  }

  /// `gzip_proxied`: one of its reasons has to hold.
  private func isAllowedForProxies(_ reasons: GzipProxied) -> Bool {
    if reasons.isEmpty || reasons.contains(.off) { return false }
    if reasons.contains(.any) { return true }
    if reasons.contains(.auth) && field(.authorization) != nil { return true }
    if reasons.contains(.expired), let expires = response.first(.expires) {
      let date = response.date.flatMap { HTTPDate.parse($0) } ?? loop.wallTime / 1000
      if let moment = HTTPDate.parse(expires), moment < date { return true }
    }
    if reasons.contains(.noLastModified) && response.lastModified == nil { return true }
    if reasons.contains(.noETag) && response.first(.etag) == nil { return true }
    return isUncacheable(reasons)
  }

  private func isUncacheable(_ reasons: GzipProxied) -> Bool {
    let words: [(GzipProxied, Bytes)] = [
      (.noCache, Bytes("no-cache")), (.noStore, Bytes("no-store")), (.private, Bytes("private")),
    ]
    for entry in response.fields where entry.token == .cacheControl {
      for (reason, word) in words where reasons.contains(reason) {
        if HeaderList.contains(word, in: entry.value) { return true }
      }
    }
    return false
  }

  /// `$gzip_ratio`: how many times larger the body was, with two decimals.
  var gzipRatio: Bytes? {
    guard let gzip = pipeline?.gzip, gzip.compressedCount > 0 else { return nil }
    let hundredths = gzip.originalCount * 100 / gzip.compressedCount
    let digits = arena.allocate(2)
    digits[0] = UInt8(ascii: "0") + UInt8(hundredths / 10 % 10)
    digits[1] = UInt8(ascii: "0") + UInt8(hundredths % 10)
    return concatenate(arena.decimal(hundredths / 100), Bytes("."), digits.readOnly)
  }
}
