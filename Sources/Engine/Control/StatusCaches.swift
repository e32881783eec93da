// What OCSP responders said of clients' certificates, kept until it ends (`ssl_ocsp_cache`). One
// for all workers: it is the control thread's, which asks.

/// What is kept under one name.
///
/// Two generations: when the younger one is full, the older one is forgotten.
struct StatusCache {
  private struct Entry {
    let verdict: CertificateVerdict
    /// In seconds since 1970.
    let until: Int
  }

  // A digest, its entry and their places in a table.
  private static let entryBytes = 128
  private let limit: Int
  private var young: [[UInt8]: Entry] = [:]
  private var old: [[UInt8]: Entry] = [:]

  init(byteCount: Int) { limit = max(byteCount / Self.entryBytes / 2, 1) }

  var count: Int { young.count + old.count }

  /// What is known of the certificate that `digest` stands for, at `now` (seconds since 1970).
  mutating func verdict(_ digest: [UInt8], now: Int) -> CertificateVerdict? {
    guard let entry = young[digest] ?? old[digest], now < entry.until else { return nil }
    if young[digest] == nil { keep(digest, entry) }
    return entry.verdict
  }

  /// Keeps a verdict until then (seconds since 1970).
  mutating func keep(_ digest: [UInt8], _ verdict: CertificateVerdict, until: Int) {
    keep(digest, Entry(verdict: verdict, until: until))
  }

  private mutating func keep(_ digest: [UInt8], _ entry: Entry) {
    // Bound: twice the limit, which together is the size that the configuration gives.
    if young.count >= limit && young[digest] == nil {
      old = young
      young = [:]
    }
    old[digest] = nil
    young[digest] = entry
  }
}

/// The caches of a configuration, by name and size: a reload keeps those that stay.
struct StatusCaches {
  private var caches: [StatusCacheSettings: StatusCache] = [:]

  mutating func configure(_ settings: Set<StatusCacheSettings>) {
    caches = caches.filter { settings.contains($0.key) }
    for settings in settings where caches[settings] == nil {
      caches[settings] = StatusCache(byteCount: settings.byteCount)
    }
  }

  /// What is known, at `now` (seconds since 1970).
  mutating func verdict(
    _ digest: [UInt8], in settings: StatusCacheSettings, now: Int
  ) -> CertificateVerdict? {
    caches[settings]?.verdict(digest, now: now)
  }

  /// Keeps a verdict, if the configuration has the cache.
  mutating func keep(
    _ digest: [UInt8], in settings: StatusCacheSettings, _ verdict: CertificateVerdict, until: Int
  ) {
    caches[settings]?.keep(digest, verdict, until: until)
  }
}
