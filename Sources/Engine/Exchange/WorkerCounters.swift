// What `stub_status` tells of a process: each worker thread counts in a block of its own, whoever
// asks adds the blocks up.
//
// Counting is a load and a store in a line that no other thread writes: nothing is locked and
// nothing bounces between processors.

import Synchronization

/// The counts of one worker thread; copying it copies a pointer.
///
/// - Safety: listed in ARCHITECTURE.md among what is shared by threads. The block is never freed,
///   its thread alone writes it, and all access is atomic.
@safe
struct WorkerCounters: @unchecked Sendable, BitwiseCopyable {
  private struct Block: ~Copyable {
    let accepted = Atomic<Int>(0)
    let requests = Atomic<Int>(0)
    let open = Atomic<Int>(0)
    let busy = Atomic<Int>(0)
    let reading = Atomic<Int>(0)
    let writing = Atomic<Int>(0)
  }

  private let block: UnsafeMutablePointer<Block>

  /// A new block; for `CounterBlocks` and tests, since it is never freed.
  init() { unsafe block = SharedBlock.make(Block()) }

  // Written by the thread whose block it is, and by no other.

  func countAccepted() {
    unsafe Self.add(1, to: block.pointee.accepted)
    unsafe Self.add(1, to: block.pointee.open)
  }
  func countClosed() { unsafe Self.add(-1, to: block.pointee.open) }
  func countRequest() { unsafe Self.add(1, to: block.pointee.requests) }
  /// Counts connections that have requests.
  func addBusy(_ change: Int) { unsafe Self.add(change, to: block.pointee.busy) }
  /// Counts requests whose head is being read.
  func addReading(_ change: Int) { unsafe Self.add(change, to: block.pointee.reading) }
  /// Counts requests whose head was read.
  func addWriting(_ change: Int) { unsafe Self.add(change, to: block.pointee.writing) }

  @inline(__always)
  private static func add(_ change: Int, to counter: borrowing Atomic<Int>) {
    counter.store(counter.load(ordering: .relaxed) &+ change, ordering: .relaxed)
  }

  /// What stands in the block. Counts that belong together may be a moment apart.
  var snapshot: ConnectionCounts {
    unsafe ConnectionCounts(
      accepted: block.pointee.accepted.load(ordering: .relaxed),
      requests: block.pointee.requests.load(ordering: .relaxed),
      open: block.pointee.open.load(ordering: .relaxed),
      busy: block.pointee.busy.load(ordering: .relaxed),
      reading: block.pointee.reading.load(ordering: .relaxed),
      writing: block.pointee.writing.load(ordering: .relaxed))
  }
}

/// Counts of one thread, or of all.
struct ConnectionCounts: Equatable {
  var accepted = 0
  var requests = 0
  /// Connections at present.
  var open = 0
  /// Those of them that have requests.
  var busy = 0
  /// Requests whose head is being read.
  var reading = 0
  /// Requests whose head was read.
  var writing = 0

  /// Connections without a request.
  var waiting: Int { max(0, open - busy) }

  static func += (sum: inout Self, other: Self) {
    sum.accepted += other.accepted
    sum.requests += other.requests
    sum.open += other.open
    sum.busy += other.busy
    sum.reading += other.reading
    sum.writing += other.writing
  }
}

/// The blocks of all worker threads that there were; what a thread counted stays when it has ended.
final class CounterBlocks: Sendable {
  private let blocks = Mutex<[Int: WorkerCounters]>([:])

  /// The block of thread `index`.
  func block(_ index: Int) -> WorkerCounters {
    blocks.withLock { blocks in
      if let known = blocks[index] { return known }
      let made = WorkerCounters()
      blocks[index] = made
      return made
    }
  }

  /// All of them together.
  var sum: ConnectionCounts {
    blocks.withLock { blocks in
      var sum = ConnectionCounts()
      for block in blocks.values { sum += block.snapshot }
      return sum
    }
  }
}
