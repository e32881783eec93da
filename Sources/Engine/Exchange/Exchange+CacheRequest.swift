// What a cache changes in the request that an upstream gets: whole responses are asked for, since
// they are for others as well, and what is stored is held against the upstream's by its validators.

import HTTP

extension Exchange {
  /// Asks if what is stored still holds, unless the location sets these fields itself.
  func writeValidators(
    _ cache: CacheAccess, _ settings: Borrowed<ProxySettings>, _ head: inout RequestHeadWriter
  ) {
    guard cache.mayStore, cache.stored != nil else { return }
    if !settings.droppedRequestFields.contains(.ifModifiedSince),
      let modified = storedModification
    {
      head.field(Bytes("If-Modified-Since"), modified)
    }
    if !settings.droppedRequestFields.contains(.ifNoneMatch),
      let tag = storedTag
    {
      head.field(Bytes("If-None-Match"), tag)
    }
  }

  /// `$upstream_cache_last_modified`: when an expired response that is to be revalidated changed
  /// last.
  var storedModification: Bytes? {
    guard let header = expiredResponse?.header, header.lastModified != CacheFileHeader.noMoment
    else { return nil }
    let room = arena.allocate(HTTPDate.length)
    HTTPDate.write(header.lastModified, into: room)
    return room.readOnly
  }

  /// `$upstream_cache_etag`: the tag of an expired response that is to be revalidated.
  var storedTag: Bytes? {
    guard let stored = expiredResponse else { return nil }
    var head = ResponseHead()
    var parser = ResponseHeadParser(limits: .upstream)
    guard case .complete = parser.parse(stored.header.head, into: &head) else { return nil }
    return head.first(.etag)?.value.of(stored.header.head)
  }

  /// What is stored and has expired, where the location revalidates.
  private var expiredResponse: StoredResponse? {
    guard let stored = cache?.stored, cacheStatus == .expired, stored.header.status == 200,
      location.settings.cache.revalidates
    else { return nil }
    return stored
  }

  /// Removes a file of a cache that is no good.
  func removeFile(_ path: String) { ProcessFiles.remove(path) }
}

extension FieldName {
  /// Whether the field asks for something that only its sender can use.
  var concernsOneClient: Bool {
    switch self {
    case .ifModifiedSince, .ifUnmodifiedSince, .ifNoneMatch, .ifMatch, .range, .ifRange: true
    default: false
    }
  }
}
