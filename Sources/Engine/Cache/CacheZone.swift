// A cache as all worker threads share it: what is known of its keys, behind one lock that is held
// for a look-up and never while a file is touched. Plans, the cache's thread and exchanges that use
// it hold it.

import Synchronization

/// What a cache says of a key.
enum CacheLookup: Equatable {
  /// There should be a file, of this version; so many have asked for it.
  case stored(version: UInt64, uses: Int)
  /// There is none, and what comes may be stored.
  case absent
  /// There is none, and too few have asked for it (`proxy_cache_min_uses`).
  case scarce
  /// This error stands for the response.
  case failed(Int)
}

/// What comes of asking for the right to fetch.
enum CacheClaim: Equatable {
  case granted(UInt64)
  /// Somebody has it until `end`.
  case waits(CacheQueue.Place, end: Milliseconds)
  case refused
}

/// One cache. Any thread may call it.
final class CacheZone: Sendable {
  private static let lastNumber = Atomic<Int>(0)
  /// No other zone has, or had, this number.
  let number = lastNumber.add(1, ordering: .relaxed).newValue
  let name: String
  let folder: CacheFolder
  private let index: Mutex<CacheIndex>
  private let current: Mutex<CacheZoneSettings>
  private let loading = Atomic(true)

  init(_ settings: CacheZoneSettings) {
    name = settings.name
    folder = settings.folder
    index = Mutex(CacheIndex(capacity: settings.capacity))
    current = Mutex(settings)
  }

  /// What holds now; a reload may change all but name and folder.
  var settings: CacheZoneSettings { current.withLock { $0 } }

  func adopt(_ settings: CacheZoneSettings) {
    let isChanged = current.withLock { current in
      defer { current = settings }
      return current != settings
    }
    if isChanged { index.withLock { $0.capacity = settings.capacity } }
  }

  /// Whether files of a former life may be there that nobody knows of.
  var isCold: Bool { loading.load(ordering: .relaxed) }

  /// Every file of the folder was seen.
  func noteLoaded() { loading.store(false, ordering: .relaxed) }

  // --- for exchanges -----------------------------------------------------------------------------

  /// What is known of `key`, whose use is counted if this request's wasn't.
  ///
  /// - Parameter seconds: now, since 1970.
  func look(
    _ key: CacheKey, counts: Bool, leastUses: Int, now: Milliseconds, seconds: Int
  ) -> CacheLookup {
    index.withLock { index in
      let entry = index.use(key, counts: counts, now: now)
      if entry.errorStatus != 0 {
        if entry.errorUntil >= seconds { return .failed(entry.errorStatus) }
        index.clearError(key)
      }
      if entry.isStored { return .stored(version: entry.version, uses: entry.uses) }
      return entry.uses >= leastUses ? .absent : .scarce
    }
  }

  /// The right to fetch; see `CacheIndex.claim`.
  func claim(_ key: CacheKey, until end: Milliseconds, now: Milliseconds) -> UInt64? {
    index.withLock { $0.claim(key, until: end, now: now) }
  }

  /// The same; if somebody has it, `waiter` gets a place in the line for it, which `leave` gives
  /// back. `end`: when the other's right ends.
  func claim(
    _ key: CacheKey, until end: Milliseconds, now: Milliseconds, orWait waiter: CacheWaiter?
  ) -> CacheClaim {
    index.withLock { index in
      if let ticket = index.claim(key, until: end, now: now) { return .granted(ticket) }
      guard let waiter else { return .refused }
      let place = index.wait(waiter, for: key, now: now)
      return .waits(place, end: index.entry(key)?.ticketEnd ?? now)
    }
  }

  /// Gives a place in the line up; gives who is to be told, as by `release`.
  func leave(_ place: CacheQueue.Place) -> CacheWaiter? { index.withLock { $0.leave(place) } }

  /// Gives the right back; gives those who are to be told.
  func release(_ key: CacheKey, _ ticket: UInt64, keepsUses: Bool) -> [CacheWaiter] {
    index.withLock { $0.release(key, ticket, keepsUses: keepsUses) }
  }

  /// An error stands for the response until `end`, in seconds since 1970.
  func fail(_ key: CacheKey, _ status: Int, until end: Int, now: Milliseconds) {
    index.withLock { $0.fail(key, status, until: end, now: now) }
  }

  /// The file of `key` is in its place.
  func store(_ key: CacheKey, byteCount: Int, now: Milliseconds) {
    index.withLock { $0.store(key, byteCount: byteCount, now: now) }
  }

  /// The file of `key` says something else than before.
  func renew(_ key: CacheKey) { index.withLock { $0.renew(key) } }

  /// The file of `key` isn't there, or was no good.
  func lose(_ key: CacheKey) { index.withLock { $0.lose(key) } }

  // --- for the cache's thread --------------------------------------------------------------------

  /// A file of a former life was found.
  func adopt(_ key: CacheKey, byteCount: Int, now: Milliseconds) {
    index.withLock { $0.adopt(key, byteCount: byteCount, now: now) }
  }

  /// How many keys are known, and what their files take.
  var extent: (count: Int, byteCount: Int) { index.withLock { ($0.count, $0.byteCount) } }

  /// Whether there are so many keys that the oldest are to be given up.
  var isOverWatermark: Bool { index.withLock { $0.count >= $0.watermark } }

  /// See `CacheIndex.removeOldest`.
  func removeOldest(usedBefore limit: Milliseconds) -> Bool {
    index.withLock { $0.removeOldest(usedBefore: limit) }
  }

  /// When the entry that was used longest ago was used.
  var oldestUse: Milliseconds? { index.withLock { $0.oldestUse } }

  /// Keys whose files are to be removed.
  func takeDoomed() -> [CacheKey] { index.withLock { $0.takeDoomed() } }
}

/// The caches of the process, by name. Whoever compiles a plan asks here, so that a cache that is
/// in the old and in the new configuration keeps what it knows. It lives as long as somebody has
/// it.
final class CacheZones: Sendable {
  private struct Known: Sendable { weak let zone: CacheZone? }
  private let zones = Mutex<[String: Known]>([:])

  /// The cache for `settings`: the known one if it has the same folder, otherwise a new one.
  func zone(for settings: CacheZoneSettings) -> CacheZone {
    zones.withLock { zones in
      if let known = zones[settings.name]?.zone, known.folder == settings.folder {
        known.adopt(settings)
        return known
      }
      let zone = CacheZone(settings)
      zones[settings.name] = Known(zone: zone)
      return zone
    }
  }
}
