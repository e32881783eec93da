// One `proxy_cache_path`, as the cache reads it.

/// What is said of a cache as a whole.
struct CacheZoneSettings: Sendable, Equatable {
  let name: String
  let folder: CacheFolder
  /// The size of the zone: it bounds how many keys are known.
  var byteCount: Int
  /// How long a response stays that nobody asks for.
  var inactive: Milliseconds = 600_000
  /// How much the files may take; nil: no limit.
  var maxByteCount: Int?
  /// How much of the file system has to stay free.
  var minFreeByteCount = 0
  var manager = Pace()
  var loader = Pace()

  /// How fast the cache's thread works: so many files, or for so long, then a pause.
  struct Pace: Sendable, Equatable {
    var files = 100
    var sleep: Milliseconds = 50
    var threshold: Milliseconds = 200
  }

  // Bound: the smallest zone, as in nginx two pages.
  static let smallestByteCount = 8 << 10
  private static let keyByteCount = 128

  /// How many keys a zone of this size knows: 8,128 a megabyte, where nginx has "about 8 thousand".
  var capacity: Int { max(16, (byteCount - (8 << 10)) / Self.keyByteCount) }
}
