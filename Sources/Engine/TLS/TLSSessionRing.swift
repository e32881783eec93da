// The records of one session zone: a ring of records behind a hash table, in one piece of memory of
// a fixed size.
//
//   buckets (4 bytes each) │ record │ record │ … │ free │ … │ record
//                                        newest ─┘        └─ oldest
//
//   record   hash │ next in bucket │ end │ length of session, of id │ kind        16 bytes
//            the id, the session as OpenSSL writes it, up to a multiple of 16 bytes
//
// Sessions of one timeout end in the order in which they came, so that what is overwritten is what
// ends first. A record never goes around the end of the memory: a filler takes what is left there.
// Memory that was never used is never touched, and what is given up is wiped: it holds secrets.

import CLinux
import COpenSSL
import HTTP

/// Sessions by id, as many of the newest as fit.
///
/// - Safety: part of `TLSSessionZone`, which any thread may use: the memory is the ring's own, what
///   is kept is copied into it, and there is one ring, behind a lock.
@safe
struct TLSSessionRing: ~Copyable, @unchecked Sendable {
  private enum Kind: UInt8 { case filler, dead, live }

  private struct Header: BitwiseCopyable {
    var hash: UInt32
    /// The place of the next record of the bucket, plus one.
    var next: UInt32 = 0
    /// When the session ends, in the seconds that callers count.
    var end: UInt32 = 0
    /// Of the session; of a filler its units.
    var byteCount: UInt16
    var idCount: UInt8 = 0
    var kind: UInt8
  }

  /// What memory is measured in, and as long as a header.
  private static let unit = 16
  // Bound: the longest session. One with a client's certificate of RSA-4096 takes 2 KiB.
  static let longestSession = 8 << 10
  // Bound: records whose time is up that one new record clears away, so that a quiet zone keeps no
  // secrets.
  private static let clearedAtOnce = 4

  private let memory: UnsafeMutableRawPointer
  private let byteCount: Int
  private let buckets: UnsafeMutablePointer<UInt32>  // one more than the place; 0: empty
  private let bucketMask: UInt32
  private let records: UnsafeMutableRawPointer
  private let unitCount: Int
  /// Units that were ever taken, and of those the ones that are free again: a place is the rest of
  /// a division by `unitCount`.
  private var head = 0
  private var tail = 0
  /// The number of sessions.
  private(set) var count = 0

  /// A ring in `byteCount` bytes of memory of its own; nil if the kernel has none.
  init?(byteCount: Int) {
    assert(MemoryLayout<Header>.size == Self.unit)
    // About two sessions a bucket.
    var bucketCount = 16
    while bucketCount * 2 * 512 <= byteCount { bucketCount *= 2 }
    let room = (byteCount - bucketCount * 4) / Self.unit
    // The longest record must fit behind the longest filler.
    guard room * Self.unit > 2 * (Self.longestSession + 512), room < Int(UInt32.max),
      let memory = unsafe linux_map(byteCount)
    else { return nil }
    unsafe self.memory = memory
    self.byteCount = byteCount
    bucketMask = UInt32(bucketCount - 1)
    unitCount = room
    unsafe buckets = memory.bindMemory(to: UInt32.self, capacity: bucketCount)
    unsafe records = memory + bucketCount * 4
  }

  /// Gives the memory back.
  func unmap() { unsafe linux_unmap(memory, byteCount) }

  // --- sessions ----------------------------------------------------------------------------------

  /// Keeps a session in place of the one that `id` had; true unless it is too long.
  mutating func keep(
    _ id: Bytes, _ session: Bytes, hash: UInt32, end: UInt32, now: UInt32
  ) -> Bool {
    guard session.count <= Self.longestSession, (1...255).contains(id.count) else { return false }
    forget(id, hash: hash)
    for _ in 0..<Self.clearedAtOnce where tail < head {
      let header = self[tail % unitCount]
      if header.kind == Kind.live.rawValue && header.end > now { break }
      removeOldest()
    }
    let needed = Self.units(id.count + session.count)
    let left = unitCount - head % unitCount
    let filler = left < needed ? left : 0
    while head + filler + needed - tail > unitCount { removeOldest() }
    if filler > 0 {
      self[head % unitCount] = Header(
        hash: 0, byteCount: UInt16(filler), kind: Kind.filler.rawValue)
      head += filler
    }
    let place = head % unitCount
    let bucket = Int(hash & bucketMask)
    self[place] = Header(
      hash: hash, next: unsafe buckets[bucket], end: end, byteCount: UInt16(session.count),
      idCount: UInt8(id.count), kind: Kind.live.rawValue)
    let content = unsafe self.content(place, id.count + session.count)
    unsafe content.copyMemory(from: id.unsafeBase, byteCount: id.count)
    unsafe (content + id.count).copyMemory(from: session.unsafeBase, byteCount: session.count)
    unsafe buckets[bucket] = UInt32(place + 1)
    head += needed
    count += 1
    return true
  }

  /// Copies the session that `id` has into `room`, which takes the longest one; its length, 0 if
  /// there is none or its time is up.
  func copy(
    _ id: Bytes, into room: UnsafeMutableRawBufferPointer, hash: UInt32, now: UInt32
  ) -> Int {
    guard let place = find(id, hash) else { return 0 }
    let header = self[place]
    let count = Int(header.byteCount)
    guard header.end > now, count <= room.count, let base = room.baseAddress else {
      return 0
    }
    let content = unsafe self.content(place, id.count + count)
    unsafe base.copyMemory(from: content + id.count, byteCount: count)
    return count
  }

  /// Forgets the session that `id` has, if there is one.
  mutating func forget(_ id: Bytes, hash: UInt32) {
    guard let place = find(id, hash) else { return }
    bury(place)
  }

  // --- records -----------------------------------------------------------------------------------

  private static func units(_ contentCount: Int) -> Int { 1 + (contentCount + unit - 1) / unit }

  private subscript(place: Int) -> Header {
    get { unsafe content(place, -Self.unit, 0).load(as: Header.self) }
    nonmutating set {
      unsafe content(place, -Self.unit, 0).storeBytes(of: newValue, as: Header.self)
    }
  }

  /// The address `offset` bytes behind the header at `place`, from where `count` bytes are in the
  /// ring.
  private func content(_ place: Int, _ offset: Int, _ count: Int) -> UnsafeMutableRawPointer {
    let start = place * Self.unit + Self.unit
    precondition(
      place >= 0 && start + count <= unitCount * Self.unit, "a record outside of its ring")
    return unsafe records + start + offset
  }

  private func content(_ place: Int, _ count: Int) -> UnsafeMutableRawPointer {
    unsafe content(place, 0, count)
  }

  private func find(_ id: Bytes, _ hash: UInt32) -> Int? {
    var next = unsafe buckets[Int(hash & bucketMask)]
    while next != 0 {
      let header = self[Int(next) - 1]
      if header.hash == hash, Int(header.idCount) == id.count,
        unsafe memcmp(content(Int(next) - 1, id.count), id.unsafeBase, id.count) == 0
      {
        return Int(next) - 1
      }
      next = header.next
    }
    return nil
  }

  /// Gives the oldest record's units up.
  private mutating func removeOldest() {
    let place = tail % unitCount
    let header = self[place]
    if header.kind == Kind.live.rawValue { bury(place) }
    tail +=
      header.kind == Kind.filler.rawValue
      ? Int(header.byteCount) : Self.units(Int(header.idCount) + Int(header.byteCount))
  }

  /// Takes a record out of its bucket and wipes it; its units are free when it is the oldest.
  private mutating func bury(_ place: Int) {
    var header = self[place]
    let bucket = Int(header.hash & bucketMask)
    if unsafe buckets[bucket] == UInt32(place + 1) {
      unsafe buckets[bucket] = header.next
    } else {
      var before = Int(unsafe buckets[bucket]) - 1
      while self[before].next != UInt32(place + 1) { before = Int(self[before].next) - 1 }
      self[before].next = header.next
    }
    header.kind = Kind.dead.rawValue
    self[place] = header
    let contentCount = Int(header.idCount) + Int(header.byteCount)
    unsafe OPENSSL_cleanse(content(place, contentCount), contentCount)
    count -= 1
  }
}
