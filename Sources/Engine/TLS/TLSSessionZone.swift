// A zone of `ssl_session_cache shared:NAME:SIZE`: the sessions that clients resume by id, for all
// worker threads and past a reload.
//
// One block of raw memory with one lock, held while a session is copied in or out; OpenSSL
// reads and writes sessions outside of it. A zone knows nothing of policies: each session carries
// the session id context that it began under, and OpenSSL resumes it under no other one. Zones are
// handed out by a `ZoneRegistry` and live as long as any plan has them.

import COpenSSL
import HTTP
import Synchronization

/// What names a zone: a reload that changes either begins a new one.
struct TLSSessionZoneSettings: ZoneKey {
  var name: String
  var byteCount: Int

  // Bound: the smallest zone, as in nginx eight pages: room for about a hundred sessions.
  static let smallestByteCount = 32 << 10
}

/// The sessions of one zone; copying it copies a pointer. Any thread may call it.
///
/// - Safety: listed in ARCHITECTURE.md among what is shared by threads. The ring is behind a lock,
///   and the block outlives every context that has a lease of it.
@safe
struct TLSSessionZone: SharedZone, @unchecked Sendable, Equatable {
  typealias Key = TLSSessionZoneSettings

  private struct Block: ~Copyable {
    let ring: Mutex<TLSSessionRing>
    /// What ends of sessions are counted from: seconds of the monotonic clock.
    let start: Int64
  }

  private let block: UnsafeMutablePointer<Block>

  /// A new zone; nil if it is too small or the kernel has no memory for it.
  init?(byteCount: Int) {
    guard let ring = TLSSessionRing(byteCount: byteCount) else { return nil }
    unsafe block = .allocate(capacity: 1)
    unsafe block.initialize(to: Block(ring: Mutex(ring), start: portico_monotonic_seconds()))
  }

  func free() {
    unsafe block.pointee.ring.withLock { $0.unmap() }
    unsafe block.deinitialize(count: 1)
    unsafe block.deallocate()
  }

  static func == (one: TLSSessionZone, other: TLSSessionZone) -> Bool {
    unsafe one.block == other.block
  }

  /// How many sessions are known.
  var count: Int { unsafe block.pointee.ring.withLock { $0.count } }

  /// Seeded anew in each process, so that nobody can choose ids that collide.
  private static func hash(_ id: Bytes) -> UInt32 {
    var hasher = Hasher()
    unsafe hasher.combine(
      bytes: UnsafeRawBufferPointer(start: UnsafeRawPointer(id.unsafeBase), count: id.count))
    return UInt32(truncatingIfNeeded: hasher.finalize())
  }

  /// Seconds since the zone began.
  private func elapsed(_ now: Int64) -> UInt32 {
    unsafe UInt32(clamping: now - block.pointee.start)
  }

  /// Keeps `session` for `timeout` seconds from `now` on (monotonic seconds); false if it is longer
  /// than `TLSSessionRing.longestSession`. The oldest sessions make room.
  @discardableResult
  func keep(
    _ id: Bytes, _ session: Bytes, timeout: Int, now: Int64 = portico_monotonic_seconds()
  ) -> Bool {
    let hash = Self.hash(id)
    let end = elapsed(now + Int64(min(timeout, Int(UInt32.max))))
    return unsafe block.pointee.ring.withLock {
      $0.keep(id, session, hash: hash, end: end, now: elapsed(now))
    }
  }

  /// Copies the session that `id` has into `room`, of `TLSSessionRing.longestSession` bytes; its
  /// length, 0 if there is none.
  func copy(
    _ id: Bytes, into room: UnsafeMutableRawBufferPointer, now: Int64 = portico_monotonic_seconds()
  ) -> Int {
    let hash = Self.hash(id)
    return unsafe block.pointee.ring.withLock {
      unsafe $0.copy(id, into: room, hash: hash, now: elapsed(now))
    }
  }

  /// Forgets a session that must not be resumed.
  func forget(_ id: Bytes) {
    let hash = Self.hash(id)
    unsafe block.pointee.ring.withLock { $0.forget(id, hash: hash) }
  }
}
