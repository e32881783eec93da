// What all threads know of one server: raw atomics in a block of their own, so that workers who
// count requests to one server do not slow down those who talk to its neighbour.
//
//   0        8       16         24         32          40       48        56          64
//   | active | fails | refusals | failedAt | checkedAt | health | latency | latencyAt | bodyLatency
//   | pending count and sum
//
// Blocks are handed out by PeerRegistry and are never freed while the process lives, so that a
// worker that still runs an old plan can't touch foreign memory. All orderings are relaxed: each
// field is a count or a moment by itself, and none of them publishes other memory.

import Synchronization

/// What active health checks say of a server.
enum PeerHealth: Int, BitwiseCopyable {
  /// Its checks pass, or it has none.
  case healthy = 0
  /// Its checks fail.
  case unhealthy = 1
  /// Its checks are mandatory and it has not passed one yet.
  case unchecked = 2
}

/// The shared state of one server; copying it copies a pointer. Any thread may call it.
///
/// - Safety: listed in ARCHITECTURE.md among what is shared by threads. The block outlives every
///   copy, and all access is atomic.
@safe
struct PeerState: @unchecked Sendable, BitwiseCopyable, Equatable {
  private struct Block: ~Copyable {
    let active = Atomic<Int>(0)
    let fails = Atomic<Int>(0)
    let refusals = Atomic<Int>(0)
    let failedAt = Atomic<Int>(0)
    let checkedAt = Atomic<Int>(0)
    let health = Atomic<Int>(0)
    let latency = Atomic<Int>(0)
    let latencyAt = Atomic<Int>(0)
    let bodyLatency = Atomic<Int>(0)
    let pendingCount = Atomic<Int>(0)
    let pendingSum = Atomic<Int>(0)
  }

  private let block: UnsafeMutablePointer<Block>

  /// A new block; for `PeerRegistry` and tests, since it is never freed.
  init() { unsafe block = SharedBlock.make(Block()) }

  /// Names the block; the same for all copies.
  typealias ID = UInt
  var id: ID { unsafe UInt(bitPattern: block) }

  static func == (a: PeerState, b: PeerState) -> Bool { unsafe a.block == b.block }

  // MARK: Requests in flight

  /// Requests in flight over all workers.
  @inline(__always)
  var active: Int { unsafe block.pointee.active.load(ordering: .relaxed) }

  /// Counts a request in, unless `limit` (0: none) of them are in flight.
  @inline(__always)
  func enter(limit: Int) -> Bool {
    let before = unsafe block.pointee.active.wrappingAdd(1, ordering: .relaxed).oldValue
    if limit > 0 && before >= limit {
      leave()
      return false
    }
    return true
  }

  /// Counts a request out.
  @inline(__always)
  func leave() { unsafe block.pointee.active.wrappingSubtract(1, ordering: .relaxed) }

  // MARK: Passive failures

  /// Failures that count against `max_fails`.
  @inline(__always)
  var fails: Int { unsafe block.pointee.fails.load(ordering: .relaxed) }

  /// When the server was last tried after failures, or last failed.
  @inline(__always)
  var checkedAt: Milliseconds { unsafe block.pointee.checkedAt.load(ordering: .relaxed) }

  /// Counts a failure and gives their number.
  func recordFailure(now: Milliseconds) -> Int {
    unsafe block.pointee.failedAt.store(now, ordering: .relaxed)
    unsafe block.pointee.checkedAt.store(now, ordering: .relaxed)
    return unsafe block.pointee.fails.wrappingAdd(1, ordering: .relaxed).newValue
  }

  /// Notes a success: failures are forgotten if the server was tried since the last of them. Gives
  /// how many this thread made forgotten.
  @inline(__always)
  func recordSuccess() -> Int {
    if unsafe block.pointee.refusals.load(ordering: .relaxed) != 0 { clearRefusals() }
    if fails == 0 { return 0 }
    let failedAt = unsafe block.pointee.failedAt.load(ordering: .relaxed)
    return failedAt < checkedAt
      ? unsafe block.pointee.fails.exchange(0, ordering: .relaxed) : 0
  }

  /// Counts a request that the server refused, and gives how many there were since the last answer.
  func recordRefusal() -> Int {
    unsafe block.pointee.refusals.wrappingAdd(1, ordering: .relaxed).newValue
  }

  private func clearRefusals() { unsafe block.pointee.refusals.store(0, ordering: .relaxed) }

  /// Forgets the failures that count against `max_fails`.
  func clearFails() { unsafe block.pointee.fails.store(0, ordering: .relaxed) }

  /// Whether failures keep the server out at the moment.
  @inline(__always)
  func isFailed(maxFails: Int, failTimeout: Milliseconds, now: Milliseconds) -> Bool {
    maxFails > 0 && fails >= maxFails && now - checkedAt <= failTimeout
  }

  /// Claims the one trial that a server with failures gets in each `failTimeout`. False if the
  /// server is out and another thread has it. Servers without failures need no claim.
  @inline(__always)
  func claimTrial(maxFails: Int, failTimeout: Milliseconds, now: Milliseconds) -> Bool {
    let fails = self.fails
    if fails == 0 { return true }
    let checked = checkedAt
    if now - checked <= failTimeout { return maxFails == 0 || fails < maxFails }
    let claim = unsafe block.pointee.checkedAt.compareExchange(
      expected: checked, desired: now, ordering: .relaxed)
    return claim.exchanged || maxFails == 0 || fails < maxFails
  }

  /// Claims a trial before its time; a success then brings the server back.
  func claimEarlyTrial(now: Milliseconds) {
    let failedAt = unsafe block.pointee.failedAt.load(ordering: .relaxed)
    unsafe block.pointee.checkedAt.store(max(now, failedAt + 1), ordering: .relaxed)
  }

  // MARK: Health and latency

  /// What active checks say; written by the control thread only.
  @inline(__always)
  var health: PeerHealth {
    get { PeerHealth(rawValue: unsafe block.pointee.health.load(ordering: .relaxed)) ?? .healthy }
    nonmutating set { unsafe block.pointee.health.store(newValue.rawValue, ordering: .relaxed) }
  }

  /// A moving average of the time to the head of a response, in microseconds; 0 before the first.
  var latencyMicroseconds: Int { unsafe block.pointee.latency.load(ordering: .relaxed) }

  /// The same of the time to the last byte, where somebody measures it.
  var bodyLatencyMicroseconds: Int { unsafe block.pointee.bodyLatency.load(ordering: .relaxed) }

  /// When the last head came.
  var latencyAt: Milliseconds { unsafe block.pointee.latencyAt.load(ordering: .relaxed) }

  /// Moves the average an eighth of the way to `microseconds`. Threads that do so at the same time
  /// may lose one sample, which an average can bear.
  func recordLatency(microseconds: Int, now: Milliseconds) {
    let next = Self.average(latencyMicroseconds, microseconds)
    unsafe block.pointee.latency.store(next, ordering: .relaxed)
    unsafe block.pointee.latencyAt.store(now, ordering: .relaxed)
  }

  /// The same of the time to the last byte.
  func recordBodyLatency(microseconds: Int) {
    let next = Self.average(bodyLatencyMicroseconds, microseconds)
    unsafe block.pointee.bodyLatency.store(next, ordering: .relaxed)
  }

  private static func average(_ former: Int, _ sample: Int) -> Int {
    former == 0 ? sample : former + (sample - former) / 8
  }

  /// Counts a request that began at `moment` among those whose age is looked at.
  func beginPending(at moment: Milliseconds) {
    unsafe block.pointee.pendingSum.wrappingAdd(moment, ordering: .relaxed)
    unsafe block.pointee.pendingCount.wrappingAdd(1, ordering: .relaxed)
  }

  /// Takes it out again.
  func endPending(at moment: Milliseconds) {
    unsafe block.pointee.pendingCount.wrappingSubtract(1, ordering: .relaxed)
    unsafe block.pointee.pendingSum.wrappingSubtract(moment, ordering: .relaxed)
  }

  /// How old those requests are on average; 0 if there are none. Other threads may be between the
  /// two halves of counting one: then the answer is off once, and never below 0.
  func pendingAge(now: Milliseconds) -> Milliseconds {
    let count = unsafe block.pointee.pendingCount.load(ordering: .relaxed)
    if count <= 0 { return 0 }
    let sum = unsafe block.pointee.pendingSum.load(ordering: .relaxed)
    return max(0, now - sum / count)
  }

  /// Makes the block as new; for `PeerRegistry`, when nobody uses it.
  func reset() {
    unsafe block.pointee.active.store(0, ordering: .relaxed)
    clearFails()
    clearRefusals()
    unsafe block.pointee.failedAt.store(0, ordering: .relaxed)
    unsafe block.pointee.checkedAt.store(0, ordering: .relaxed)
    health = .healthy
    unsafe block.pointee.latency.store(0, ordering: .relaxed)
    unsafe block.pointee.latencyAt.store(0, ordering: .relaxed)
    unsafe block.pointee.bodyLatency.store(0, ordering: .relaxed)
    unsafe block.pointee.pendingCount.store(0, ordering: .relaxed)
    unsafe block.pointee.pendingSum.store(0, ordering: .relaxed)
  }
}
