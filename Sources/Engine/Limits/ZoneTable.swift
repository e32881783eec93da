// The records of one zone: a hash table with a queue of use, in one piece of memory of a fixed
// size.
//
//   buckets (4 bytes each) │ cell │ cell │ cell …       64 bytes each, one or more a record
//
//   first cell of a record   hash │ next in bucket │ more cells │ older │ newer │ key length
//                            count │ excess │ moment │ 16 bytes of the key
//   cells behind it          next │ 60 bytes of the key
//
// An address, of IPv4 or IPv6, fits the first cell: a megabyte holds 15,400 of them. Memory that
// was never used is never touched. No index leaves the lock of `LimitZone` but that of a record
// that is counted.

import CLinux
import HTTP

/// Records by key, at most as many as fit.
///
/// - Safety: part of `LimitZone`, which any thread may use: the memory is the table's own, keys are
///   copied into it, and there is one table, behind a lock.
@safe
struct ZoneTable: ~Copyable, @unchecked Sendable {
  /// Names a record while it exists.
  typealias Index = Int32

  /// The first cell of a record. Memory of zeros is a free cell.
  struct Cell: BitwiseCopyable {
    var hash: UInt64 = 0
    var nextInBucket: Index = none
    var tail: Index = none
    var older: Index = none
    var newer: Index = none
    var keyCount: Int32 = 0
    /// Requests in flight.
    var count: Int32 = 0
    /// How far requests are ahead of their rate; of a session, what it is bound to.
    var excess: Int = 0
    /// When `excess` was computed; when a session was bound last.
    var moment: Milliseconds = 0
    var key: (UInt64, UInt64) = (0, 0)
  }

  static let none: Index = -1
  private static let cellByteCount = 64
  private static let inlineKeyCount = 16
  private static let tailKeyCount = 60

  private let memory: UnsafeMutableRawPointer
  private let byteCount: Int
  private let buckets: UnsafeMutablePointer<Index>  // one more than the index; 0: empty
  private let bucketMask: UInt64
  private let cells: UnsafeMutablePointer<Cell>
  private let cellCount: Index
  private var firstFree = none
  /// Cells from here on were never used.
  private var firstUntouched: Index = 0
  private var freeCount: Index
  private var oldest = none
  private var newest = none
  /// The number of records.
  private(set) var recordCount = 0

  /// A table in `byteCount` bytes of memory of its own; nil if the kernel has none.
  init?(byteCount: Int) {
    assert(MemoryLayout<Cell>.size == Self.cellByteCount)
    // About a bucket a cell: chains are short, and buckets take a sixteenth of the memory.
    guard byteCount / Self.cellByteCount < Int(Index.max) else { return nil }
    var bucketCount = 16
    while bucketCount * 2 * (Self.cellByteCount + 4) <= byteCount { bucketCount *= 2 }
    let room = byteCount - bucketCount * 4
    guard room >= Self.cellByteCount, room / Self.cellByteCount < Int(Index.max),
      let memory = unsafe linux_map(byteCount)
    else { return nil }
    unsafe self.memory = memory
    self.byteCount = byteCount
    bucketMask = UInt64(bucketCount - 1)
    cellCount = Index(room / Self.cellByteCount)
    freeCount = cellCount
    unsafe buckets = memory.bindMemory(to: Index.self, capacity: bucketCount)
    unsafe cells = (memory + bucketCount * 4).bindMemory(to: Cell.self, capacity: Int(cellCount))
  }

  /// Gives the memory back.
  func unmap() { unsafe linux_unmap(memory, byteCount) }

  /// A record, for reading and writing its numbers.
  subscript(index: Index) -> Cell {
    get { unsafe cells[checked(index)] }
    set { unsafe cells[checked(index)] = newValue }
  }

  private func checked(_ index: Index) -> Int {
    precondition(index >= 0 && index < cellCount, "no such cell")
    return Int(index)
  }

  // --- records -----------------------------------------------------------------------------------

  /// The record of `key`.
  func find(_ hash: UInt64, _ key: Bytes) -> Index? {
    var index = unsafe buckets[Int(hash & bucketMask)] - 1
    while index != Self.none {
      let cell = self[index]
      if cell.hash == hash && cell.keyCount == key.count && hasKey(index, key) { return index }
      index = cell.nextInBucket
    }
    return nil
  }

  /// A new record for `key`, which has none. With `evicts` the ones used longest ago make room; nil
  /// if there is none.
  mutating func insert(_ hash: UInt64, _ key: Bytes, evicts: Bool) -> Index? {
    let needed = Self.cellCount(for: key)
    guard needed <= cellCount else { return nil }
    while freeCount < needed {
      guard evicts, oldest != Self.none else { return nil }
      remove(oldest)
    }
    let index = takeCell()
    var cell = Cell()
    cell.hash = hash
    cell.keyCount = Int32(key.count)
    let bucket = Int(hash & bucketMask)
    cell.nextInBucket = unsafe buckets[bucket] - 1
    unsafe buckets[bucket] = index + 1
    self[index] = cell
    self[index].tail = store(key, in: index)
    append(index)
    recordCount += 1
    return index
  }

  /// Forgets a record.
  mutating func remove(_ index: Index) {
    let cell = self[index]
    let bucket = Int(cell.hash & bucketMask)
    if unsafe buckets[bucket] - 1 == index {
      unsafe buckets[bucket] = cell.nextInBucket + 1
    } else {
      var before = unsafe buckets[bucket] - 1
      while self[before].nextInBucket != index { before = self[before].nextInBucket }
      self[before].nextInBucket = cell.nextInBucket
    }
    unlink(index)
    var tail = cell.tail
    while tail != Self.none {
      let next = unsafe raw(tail).load(as: Index.self)
      giveBack(tail)
      tail = next
    }
    giveBack(index)
    recordCount -= 1
  }

  /// Forgets those of the oldest records that are `outdated`, up to the first that isn't.
  mutating func removeOldest(atMost count: Int, where outdated: (Cell) -> Bool) {
    for _ in 0..<count {
      guard oldest != Self.none, outdated(self[oldest]) else { return }
      remove(oldest)
    }
  }

  /// Makes a record the one that was used last.
  mutating func touch(_ index: Index) {
    if index == newest { return }
    unlink(index)
    append(index)
  }

  // --- keys --------------------------------------------------------------------------------------

  private static func cellCount(for key: Bytes) -> Int32 {
    let rest = max(0, key.count - inlineKeyCount)
    return Int32(1 + (rest + tailKeyCount - 1) / tailKeyCount)
  }

  private static let inlineKeyOffset = 48

  private func raw(_ index: Index) -> UnsafeMutableRawPointer {
    unsafe UnsafeMutableRawPointer(cells + checked(index))
  }

  /// Calls `body` with the room of each piece of the key of a record; false ends it.
  private func hasKey(_ index: Index, _ key: Bytes) -> Bool {
    let first = min(key.count, Self.inlineKeyCount)
    guard unsafe memcmp(raw(index) + Self.inlineKeyOffset, key.unsafeBase, first) == 0 else {
      return false
    }
    var (position, tail) = (first, self[index].tail)
    while position < key.count {
      let count = min(key.count - position, Self.tailKeyCount)
      let piece = key.slice(position, position + count)
      guard unsafe memcmp(raw(tail) + 4, piece.unsafeBase, count) == 0 else { return false }
      position += count
      tail = unsafe raw(tail).load(as: Index.self)
    }
    return true
  }

  /// Writes the key of a record; gives the first of the cells behind.
  private mutating func store(_ key: Bytes, in index: Index) -> Index {
    let first = min(key.count, Self.inlineKeyCount)
    unsafe (raw(index) + Self.inlineKeyOffset).copyMemory(from: key.unsafeBase, byteCount: first)
    var (head, last, position) = (Self.none, Self.none, first)
    while position < key.count {
      let cell = takeCell()
      let count = min(key.count - position, Self.tailKeyCount)
      let piece = key.slice(position, position + count)
      unsafe raw(cell).storeBytes(of: Self.none, as: Index.self)
      unsafe (raw(cell) + 4).copyMemory(from: piece.unsafeBase, byteCount: count)
      if last == Self.none {
        head = cell
      } else {
        unsafe raw(last).storeBytes(of: cell, as: Index.self)
      }
      last = cell
      position += count
    }
    return head
  }

  // --- cells and the queue of use ----------------------------------------------------------------

  private mutating func takeCell() -> Index {
    freeCount -= 1
    if firstFree == Self.none {
      firstUntouched += 1
      return firstUntouched - 1
    }
    let index = firstFree
    firstFree = unsafe raw(index).load(as: Index.self)
    return index
  }

  private mutating func giveBack(_ index: Index) {
    unsafe raw(index).storeBytes(of: firstFree, as: Index.self)
    firstFree = index
    freeCount += 1
  }

  private mutating func append(_ index: Index) {
    self[index].older = newest
    self[index].newer = Self.none
    if newest != Self.none { self[newest].newer = index } else { oldest = index }
    newest = index
  }

  private mutating func unlink(_ index: Index) {
    let cell = self[index]
    if cell.older != Self.none { self[cell.older].newer = cell.newer } else { oldest = cell.newer }
    if cell.newer != Self.none { self[cell.newer].older = cell.older } else { newest = cell.older }
  }
}
