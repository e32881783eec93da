// Deadlines, coarse. A hashed wheel: `slotCount` buckets of `tick` milliseconds, each a linked list
// threaded through one table. Moving a deadline later writes a field: the entry stays in its bucket
// and moves on when that bucket is visited. A keep-alive connection that gets a request every
// millisecond therefore costs the wheel one visit per timeout, not one per request.

/// The deadlines of one loop. Setting, moving and clearing are O(1).
struct TimerWheel {
  /// The resolution. A deadline fires up to this much late, never early.
  static let tick: Milliseconds = 16
  private static let slotCount = 4096  // 65 s a revolution; later deadlines take another round

  private struct Entry {
    var deadline: Milliseconds = .max
    var handle = Handle.none
    var visit = Int.max  // the tick at which its bucket is visited
    var bucket: Int32 = -1  // -1: not linked
    var previous: Int32 = -1
    var next: Int32 = -1

    /// Takes a deadline; false if the entry has to stand in an earlier bucket for it.
    @inline(__always)
    mutating func move(to deadline: Milliseconds, _ handle: Handle) -> Bool {
      self.deadline = deadline
      self.handle = handle
      return visit <= deadline / TimerWheel.tick
    }
  }

  /// Names an entry of the wheel; each timed object owns one for life.
  struct ID: BitwiseCopyable {
    fileprivate let index: Int32
  }

  private var entries: [Entry] = []
  private var free: [Int32] = []
  private var heads = [Int32](repeating: -1, count: slotCount)
  private var occupied = [UInt64](repeating: 0, count: slotCount / 64)
  private var position: Int  // the tick up to which buckets were visited

  init(now: Milliseconds) { position = now / Self.tick }

  /// A new entry without a deadline that will fire for `handle`.
  mutating func makeEntry() -> ID {
    if let index = free.popLast() { return ID(index: index) }
    entries.append(Entry())
    return ID(index: Int32(entries.count - 1))
  }

  /// Gives an entry back for good.
  mutating func removeEntry(_ id: ID) {
    unlink(id.index)
    entries[Int(id.index)] = Entry()
    free.append(id.index)
  }

  /// Lets `id` fire at `deadline`; replaces its former deadline.
  @inline(__always)
  mutating func set(_ id: ID, at deadline: Milliseconds, for handle: Handle) {
    if !entries[Int(id.index)].move(to: deadline, handle) { relink(id.index) }
  }

  /// Lets `id` never fire; its entry leaves its bucket when that is visited.
  @inline(__always)
  mutating func clear(_ id: ID) { entries[Int(id.index)].deadline = .max }

  /// Milliseconds until the next bucket that holds entries, or -1 if there is none.
  func timeout(now: Milliseconds) -> Milliseconds {
    let start = (position + 1) % Self.slotCount
    var word = start / 64
    var bits = occupied[word] & (~0 << UInt64(start % 64))
    for _ in 0...occupied.count {
      if bits != 0 {
        let slot = word * 64 + bits.trailingZeroBitCount
        let distance = (slot - start + Self.slotCount) % Self.slotCount
        return max(0, (position + 1 + distance + 1) * Self.tick - now)
      }
      word = (word + 1) % occupied.count
      bits = occupied[word]
    }
    return -1
  }

  /// Moves time on and calls `fire` for each entry whose deadline has passed.
  mutating func advance(now: Milliseconds, _ fired: inout [Handle]) {
    let target = now / Self.tick - 1
    guard target > position else { return }
    let first = max(position + 1, target - Self.slotCount + 1)
    position = target
    for tick in first...target {
      let slot = tick % Self.slotCount
      guard heads[slot] >= 0 else { continue }
      var index = heads[slot]
      heads[slot] = -1
      occupied[slot / 64] &= ~(1 << UInt64(slot % 64))
      while index >= 0 {
        let next = entries[Int(index)].next
        entries[Int(index)].bucket = -1
        entries[Int(index)].visit = .max
        let deadline = entries[Int(index)].deadline
        if deadline <= now {
          entries[Int(index)].deadline = .max
          fired.append(entries[Int(index)].handle)
        } else if deadline != .max {
          link(index)
        }
        index = next
      }
    }
  }

  private mutating func relink(_ index: Int32) {
    unlink(index)
    link(index)
  }

  private mutating func link(_ index: Int32) {
    // Bound: at most one revolution ahead, at least the next bucket to be visited.
    let tick = min(
      max(entries[Int(index)].deadline / Self.tick, position + 1), position + Self.slotCount - 1)
    let slot = tick % Self.slotCount
    let head = heads[slot]
    entries[Int(index)].visit = tick
    entries[Int(index)].bucket = Int32(slot)
    entries[Int(index)].previous = -1
    entries[Int(index)].next = head
    if head >= 0 { entries[Int(head)].previous = index }
    heads[slot] = index
    occupied[slot / 64] |= 1 << UInt64(slot % 64)
  }

  private mutating func unlink(_ index: Int32) {
    let entry = entries[Int(index)]
    guard entry.bucket >= 0 else { return }
    let slot = Int(entry.bucket)
    if entry.previous >= 0 {
      entries[Int(entry.previous)].next = entry.next
    } else {
      heads[slot] = entry.next
      if entry.next < 0 { occupied[slot / 64] &= ~(1 << UInt64(slot % 64)) }
    }
    if entry.next >= 0 { entries[Int(entry.next)].previous = entry.previous }
    entries[Int(index)].bucket = -1
    entries[Int(index)].visit = .max
  }
}
