// The table of the open file cache: paths to entries, and the order of their last use.
//
// A chained hash table over an array of entries; each entry is also in a doubly linked list, the
// most recently used first. Entries are recycled; looking up and moving to the front allocate
// nothing.

import HTTP

/// What the cache knows of a path.
struct OpenFileEntry {
  enum Outcome {
    /// Asked for, but not often enough to be kept open.
    case counted
    case file(CachedFile)
    case directory
    case failed(SystemError)
  }

  fileprivate(set) var path: Bytes
  fileprivate var store: ByteStore
  fileprivate var hash: UInt64
  fileprivate var nextInBucket: Int32 = -1
  fileprivate var newer: Int32 = -1
  fileprivate var older: Int32 = -1

  var outcome: Outcome = .counted
  /// The links by which it was found.
  var links = SymlinkPolicy()
  /// How often it was asked for.
  var useCount = 0
  /// When the disk was last asked.
  var checked: Milliseconds = 0
  /// When a request last asked.
  var used: Milliseconds = 0
}

/// Entries by path, in the order of use.
struct OpenFileEntries {
  private(set) var count = 0
  private var entries: [OpenFileEntry] = []
  private var buckets: [Int32]
  private var free: [Int32] = []
  private var newest: Int32 = -1
  private var oldest: Int32 = -1
  /// Clients choose paths; with a seed that they don't know they can't choose a bucket.
  private let seed = UInt64.random(in: .min ... .max)

  /// A table for at most `max` entries.
  init(max: Int) {
    var size = 16
    // Bound: 256 KiB of buckets; more entries make longer chains.
    while size < max && size < 1 << 16 { size *= 2 }
    buckets = Array(repeating: -1, count: size)
  }

  /// The entry at an index that `find` or `insert` gave.
  subscript(index: Int) -> OpenFileEntry {
    // Borrowed rather than copied: a copy would count references to the file and the path.
    _read { yield entries[index] }
    _modify { yield &entries[index] }
  }

  /// The entry that was used longest ago, or nil.
  var oldestIndex: Int? { oldest < 0 ? nil : Int(oldest) }

  /// The entry of `path`, or nil.
  func find(_ path: Bytes) -> Int? {
    let hash = path.hash64(seed: seed)
    var index = buckets[bucket(hash)]
    while index >= 0 {
      if entries[Int(index)].hash == hash && entries[Int(index)].path == path { return Int(index) }
      index = entries[Int(index)].nextInBucket
    }
    return nil
  }

  /// Adds an entry for a path that has none, as the newest.
  mutating func insert(_ path: Bytes) -> Int {
    let store = ByteStore()
    let hash = path.hash64(seed: seed)
    var entry = OpenFileEntry(path: store.append(path), store: store, hash: hash)
    entry.nextInBucket = buckets[bucket(hash)]
    let index: Int32
    if let recycled = free.popLast() {
      index = recycled
      entries[Int(index)] = entry
    } else {
      index = Int32(entries.count)
      entries.append(entry)
    }
    buckets[bucket(hash)] = index
    linkNewest(index)
    count += 1
    return Int(index)
  }

  /// Makes an entry the newest.
  mutating func moveToFront(_ index: Int) {
    guard newest != Int32(index) else { return }
    unlink(Int32(index))
    linkNewest(Int32(index))
  }

  /// Removes an entry; its outcome has been disposed of.
  mutating func remove(_ index: Int) {
    let removed = Int32(index)
    let slot = bucket(entries[index].hash)
    if buckets[slot] == removed {
      buckets[slot] = entries[index].nextInBucket
    } else {
      var each = buckets[slot]
      while entries[Int(each)].nextInBucket != removed { each = entries[Int(each)].nextInBucket }
      entries[Int(each)].nextInBucket = entries[index].nextInBucket
    }
    unlink(removed)
    entries[index].outcome = .counted
    free.append(removed)
    count -= 1
  }

  private func bucket(_ hash: UInt64) -> Int { Int(truncatingIfNeeded: hash) & (buckets.count - 1) }

  private mutating func linkNewest(_ index: Int32) {
    entries[Int(index)].newer = -1
    entries[Int(index)].older = newest
    if newest >= 0 { entries[Int(newest)].newer = index } else { oldest = index }
    newest = index
  }

  private mutating func unlink(_ index: Int32) {
    let newer = entries[Int(index)].newer
    let older = entries[Int(index)].older
    if newer >= 0 { entries[Int(newer)].older = older } else { newest = older }
    if older >= 0 { entries[Int(older)].newer = newer } else { oldest = newer }
  }
}
