// Tables of a cache's index that grow a little at a time: others wait for the lock behind which
// they grow. A dictionary and an array that double took up to 530 ms at 800,000 keys and 4.9 s at
// eight million; these take less than the machine's own pauses.

/// Where the entry of a key lies. Its parts grow each for itself.
struct CacheSlots {
  private static let partCount = 256
  private var parts = [[CacheKey: Int]](repeating: [:], count: partCount)
  private(set) var count = 0

  /// A digest is as random as a number can be: the parts are of one size.
  private static func part(_ key: CacheKey) -> Int { Int(key.high % UInt64(partCount)) }

  subscript(key: CacheKey) -> Int? {
    get { parts[Self.part(key)][key] }
    set {
      let part = Self.part(key)
      count -= parts[part].count
      parts[part][key] = newValue
      count += parts[part].count
    }
  }
}

/// Entries by their slots. Appending moves none.
struct CacheEntries {
  private static let chunkCount = 1 << 10
  private var chunks: [[CacheIndex.Entry]] = []
  private(set) var count = 0

  subscript(slot: Int) -> CacheIndex.Entry {
    get { chunks[slot / Self.chunkCount][slot % Self.chunkCount] }
    _modify { yield &chunks[slot / Self.chunkCount][slot % Self.chunkCount] }
  }

  mutating func append(_ entry: CacheIndex.Entry) {
    if count % Self.chunkCount == 0 {
      chunks.append([])
      chunks[chunks.count - 1].reserveCapacity(Self.chunkCount)
    }
    chunks[chunks.count - 1].append(entry)
    count += 1
  }
}
