// A zone of `limit_req_zone`, `limit_conn_zone` or `sticky learn`: what all worker threads know
// together, by key.
//
// One block of raw memory with one lock, held for a look-up and a few additions (0.1 µs); no thread
// ever waits for anything else while it holds it. Zones are handed out by a `ZoneRegistry` and live
// as long as any plan has them, so that counts survive a reload.

import HTTP
import Synchronization

/// How fast requests may come.
///
/// Counted in parts of a request, 60,000 to one: what a rate in requests a minute lets through in a
/// millisecond is a whole number of them.
struct RequestRate: Equatable {
  /// One request.
  static let request = 60_000

  /// Requests a minute, which is parts of a request a millisecond.
  let perMinute: Int

  /// How many thousandths of a request `excess` is, as logs show it.
  static func thousandths(_ excess: Int) -> Int { excess / 60 }

  /// How long until `excess` is back at `allowed`.
  func delay(_ excess: Int, over allowed: Int) -> Milliseconds {
    excess <= allowed ? 0 : (excess - allowed + perMinute - 1) / perMinute
  }
}

/// What a zone says of a request.
enum RequestVerdict: Equatable {
  /// Counted; requests of this key are this far ahead of their rate.
  case admitted(excess: Int)
  /// Not counted: with it they would be this far ahead.
  case rejected(excess: Int)
  /// The zone has no room for the key, even after others made room.
  case full
}

/// What a zone says of a connection.
enum ConnectionVerdict: Equatable {
  /// Counted; to be given back by `leave`.
  case entered(ZoneTable.Index)
  case rejected
  /// The zone has no room for another key.
  case full
}

/// The counts of one zone; copying it copies a pointer. Any thread may call it.
///
/// - Safety: listed in ARCHITECTURE.md among what is shared by threads. The table is behind a lock,
///   and the block outlives every plan that has a lease of it.
@safe
struct LimitZone: SharedZone, @unchecked Sendable, Equatable {
  struct Key: ZoneKey {
    enum Kind { case requests, connections, sessions }
    let kind: Kind
    let name: String
    /// The words that make the key of a request; of sessions, whose they are.
    let keyText: String
    let byteCount: Int
  }

  private struct Block: ~Copyable {
    let table: Mutex<ZoneTable>
  }

  private let block: UnsafeMutablePointer<Block>

  // Bound: the longest key, as in nginx for `limit_req` (255 bytes for `limit_conn`).
  static let longestKey = 65_535
  // Bound: the smallest zone, as in nginx eight pages: room for 448 addresses.
  static let smallestByteCount = 32 << 10

  /// A new zone; nil if the kernel has no memory for it.
  init?(byteCount: Int) {
    guard let table = ZoneTable(byteCount: byteCount) else { return nil }
    unsafe block = .allocate(capacity: 1)
    unsafe block.initialize(to: Block(table: Mutex(table)))
  }

  func free() {
    unsafe block.pointee.table.withLock { $0.unmap() }
    unsafe block.deinitialize(count: 1)
    unsafe block.deallocate()
  }

  static func == (one: LimitZone, other: LimitZone) -> Bool { unsafe one.block == other.block }

  /// How many keys are known.
  var count: Int { unsafe block.pointee.table.withLock { $0.recordCount } }

  /// Seeded anew in each process, so that nobody can choose keys that collide.
  private static func hash(_ key: Bytes) -> UInt64 {
    var hasher = Hasher()
    unsafe hasher.combine(
      bytes: UnsafeRawBufferPointer(start: UnsafeRawPointer(key.unsafeBase), count: key.count))
    return UInt64(bitPattern: Int64(hasher.finalize()))
  }

  // --- requests ----------------------------------------------------------------------------------

  /// Counts a request, unless it is more than `burst` parts of a request ahead of `rate`. The key
  /// that was used longest ago makes room for a new one.
  func take(_ key: Bytes, _ rate: RequestRate, burst: Int, now: Milliseconds) -> RequestVerdict {
    let hash = Self.hash(key)
    return unsafe block.pointee.table.withLock { table in
      guard let index = table.find(hash, key) else {
        guard let new = table.insert(hash, key, evicts: true) else { return .full }
        table[new].moment = now
        return .admitted(excess: 0)
      }
      table.touch(index)
      var record = table[index]
      // Clocks of other threads may be a turn of their loop ahead.
      let elapsed = max(0, now - record.moment)
      let (back, isHuge) = elapsed.multipliedReportingOverflow(by: rate.perMinute)
      let isForgotten = isHuge || back > .max / 2
      let excess = isForgotten ? 0 : max(0, record.excess - back + RequestRate.request)
      if excess > burst { return .rejected(excess: excess) }
      record.excess = excess
      if elapsed > 0 { record.moment = now }
      table[index] = record
      return .admitted(excess: excess)
    }
  }

  /// Takes the last request of `key` back: another limit rejected it. A key that had nothing in
  /// excess, or is new, is left with one request less than none, which the next one makes up for.
  func giveBack(_ key: Bytes) {
    let hash = Self.hash(key)
    unsafe block.pointee.table.withLock { table in
      guard let index = table.find(hash, key) else { return }
      table[index].excess -= RequestRate.request
    }
  }

  // --- connections -------------------------------------------------------------------------------

  /// Counts a connection, unless `key` has `limit` of them.
  func enter(_ key: Bytes, limit: Int) -> ConnectionVerdict {
    let hash = Self.hash(key)
    return unsafe block.pointee.table.withLock { table in
      if let index = table.find(hash, key) {
        if table[index].count >= limit { return .rejected }
        table[index].count += 1
        return .entered(index)
      }
      guard let new = table.insert(hash, key, evicts: false) else { return .full }
      table[new].count = 1
      return .entered(new)
    }
  }

  /// Counts a connection out. A key without connections is forgotten.
  func leave(_ index: ZoneTable.Index) {
    unsafe block.pointee.table.withLock { table in
      table[index].count -= 1
      if table[index].count == 0 { table.remove(index) }
    }
  }

  // --- sessions ----------------------------------------------------------------------------------

  // Bound: sessions whose time is up that one new session clears away, so that a quiet zone
  // shrinks.
  private static let clearedAtOnce = 2

  /// What `session` was bound to within `timeout`; nil: nothing. Looking does not lengthen its
  /// time.
  func binding(of session: Bytes, timeout: Milliseconds, now: Milliseconds) -> UInt64? {
    Self.withSessionKey(session) { hash, key in
      unsafe block.pointee.table.withLock { table in
        guard let index = table.find(hash, key), now - table[index].moment < timeout else {
          return nil
        }
        return UInt64(bitPattern: Int64(table[index].excess))
      }
    }
  }

  /// Binds `session` for `timeout` from now on; one that is not known, or whose time is up, only
  /// with `creates`. The session that was used longest ago makes room for a new one.
  func bind(
    _ session: Bytes, to binding: UInt64, creates: Bool, timeout: Milliseconds, now: Milliseconds
  ) {
    Self.withSessionKey(session) { hash, key in
      unsafe block.pointee.table.withLock { table in
        var index = table.find(hash, key)
        if let known = index, now - table[known].moment >= timeout, !creates { index = nil }
        if index == nil && creates {
          table.removeOldest(atMost: Self.clearedAtOnce) { now - $0.moment >= timeout }
          index = table.insert(hash, key, evicts: true)
        }
        guard let index else { return }
        table.touch(index)
        table[index].excess = Int(Int64(bitPattern: binding))
        table[index].moment = now
      }
    }
  }

  /// Sessions are known by 128 bits of keyed hash, so that each takes one cell, however long its
  /// name.
  private static func withSessionKey<Result>(
    _ session: Bytes, _ body: (UInt64, Bytes) -> Result
  ) -> Result {
    let first = hash(session)
    var hasher = Hasher()
    hasher.combine(first)
    unsafe hasher.combine(
      bytes: UnsafeRawBufferPointer(
        start: UnsafeRawPointer(session.unsafeBase), count: session.count))
    let key = (first, UInt64(bitPattern: Int64(hasher.finalize())))
    return unsafe withUnsafeBytes(of: key) { pair in
      guard let start = unsafe pair.bindMemory(to: UInt8.self).baseAddress else {
        return body(first, Bytes())
      }
      return body(first, unsafe Bytes(base: start, count: pair.count))
    }
  }
}
