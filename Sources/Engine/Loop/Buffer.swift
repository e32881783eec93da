// Memory for bytes in motion. Buffers come from a pool per worker and go back to it as soon as they
// are empty: an idle connection holds none.
//
//   base        start            end          capacity
//   |  consumed   |  unread bytes  |  free room  |

import CLinux
import HTTP

/// A block of memory with unread bytes in it. Recycled through `BufferPool`.
@safe
final class Buffer {
  private let base: UnsafeMutablePointer<UInt8>
  /// The size of the block, in bytes.
  let capacity: Int
  /// Where the unread bytes begin.
  private(set) var start = 0
  /// Where the unread bytes end and the free room begins.
  private(set) var end = 0

  init(capacity: Int) {
    unsafe base = .allocate(capacity: capacity)
    self.capacity = capacity
  }

  /// A buffer that holds `bytes` and has no room for more.
  convenience init(holding bytes: [UInt8]) {
    self.init(capacity: max(1, bytes.count))
    for byte in bytes { append(byte) }
  }

  deinit { unsafe base.deallocate() }

  /// The number of unread bytes.
  @inline(__always) var count: Int { end - start }
  @inline(__always) var isEmpty: Bool { start == end }
  /// The number of bytes that still fit behind the unread ones.
  @inline(__always) var room: Int { capacity - end }

  /// The unread bytes; valid until the buffer is consumed from, compacted or given back.
  @inline(__always)
  var unread: Bytes { unsafe Bytes(base: base + start, count: end - start) }

  /// Everything from the beginning of the block to the end of what was received.
  @inline(__always)
  var contents: Bytes { unsafe Bytes(base: base, count: end) }

  /// The unread bytes, for changing them in place.
  @inline(__always)
  var unreadMutable: MutableBytes { whole.slice(start, end) }

  /// The free room; what was written there becomes unread bytes by `produced(_:)`.
  @inline(__always)
  var free: MutableBytes { unsafe MutableBytes(base: base + end, count: capacity - end) }

  /// The whole block, for in-place work.
  @inline(__always)
  var whole: MutableBytes { unsafe MutableBytes(base: base, count: capacity) }

  /// Counts `count` bytes, written to `free`, as unread.
  @inline(__always)
  func produced(_ count: Int) {
    precondition(count >= 0 && count <= room)
    end += count
  }

  /// Drops the first `count` unread bytes.
  @inline(__always)
  func consume(_ count: Int) {
    precondition(count >= 0 && count <= self.count)
    start += count
    if start == end {
      start = 0
      end = 0
    }
  }

  /// Drops the first `count` unread bytes without moving the rest or rewinding: what was consumed
  /// stays readable through `contents`.
  @inline(__always)
  func skip(_ count: Int) {
    precondition(count >= 0 && count <= self.count)
    start += count
  }

  /// Cuts the unread bytes to the first `count`.
  func truncate(_ count: Int) {
    precondition(count >= 0 && count <= self.count)
    end = start + count
  }

  /// Moves the unread bytes to the beginning of the block.
  func compact() {
    guard start > 0 else { return }
    whole.copy(unread, at: 0)
    end -= start
    start = 0
  }

  /// Forgets everything; unread bytes begin at `headroom`.
  func reset(headroom: Int = 0) {
    precondition(headroom <= capacity)
    start = headroom
    end = headroom
  }

  /// Writes `bytes` just before the unread ones, into headroom that was reserved.
  func prepend(_ bytes: Bytes) {
    precondition(bytes.count <= start)
    whole.copy(bytes, at: start - bytes.count)
    start -= bytes.count
  }

  /// Writes the size line of a chunk before the unread bytes, into headroom that was reserved.
  func prependChunkHeader(_ size: Int) {
    let scratch = whole.slice(0, start)
    let count = ChunkedEncoder.writeHeader(size: size, into: scratch)
    whole.copy(scratch.readOnly.prefix(count), at: start - count)
    start -= count
  }

  /// Appends `bytes`, which must fit.
  @inline(__always)
  func append(_ bytes: Bytes) {
    precondition(bytes.count <= room)
    whole.copy(bytes, at: end)
    end += bytes.count
  }

  /// Appends one byte, which must fit.
  @inline(__always)
  func append(_ byte: UInt8) {
    whole[end] = byte
    end += 1
  }
}

/// The free buffers of one worker, by size.
final class BufferPool {
  /// Sizes of buffers. Requests heads begin in a small one; bodies move in large pieces because
  /// each system call costs more than copying 16 KiB does.
  enum Size {
    case small, medium, large

    /// In bytes.
    var byteCount: Int {
      switch self {
      case .small: 4 << 10
      case .medium: 16 << 10
      case .large: 128 << 10
      }
    }

    // Bound: how many free buffers a worker keeps for later; the rest goes back to the system.
    fileprivate var keptCount: Int {
      switch self {
      case .small: 1024
      case .medium: 256
      case .large: 64
      }
    }
  }

  /// Bytes of buffers that were not kept: they went back to the allocator, which keeps them.
  private(set) var freedByteCount = 0

  private var small = BufferPool.list(.small)
  private var medium = BufferPool.list(.medium)
  private var large = BufferPool.list(.large)

  private static func list(_ size: Size) -> [Buffer] {
    var list: [Buffer] = []
    list.reserveCapacity(size.keptCount)
    return list
  }

  /// An empty buffer of `size`.
  func take(_ size: Size) -> Buffer {
    let buffer =
      switch size {
      case .small: small.popLast()
      case .medium: medium.popLast()
      case .large: large.popLast()
      }
    return buffer ?? Buffer(capacity: size.byteCount)
  }

  /// An empty buffer of at least `byteCount` bytes; larger than the largest size, it is not kept.
  func take(atLeast byteCount: Int) -> Buffer {
    if byteCount <= Size.small.byteCount { return take(.small) }
    if byteCount <= Size.medium.byteCount { return take(.medium) }
    if byteCount <= Size.large.byteCount { return take(.large) }
    return Buffer(capacity: byteCount)
  }

  /// Takes a buffer back. Nothing may refer to its bytes any more.
  func giveBack(_ buffer: consuming Buffer) {
    buffer.reset()
    switch buffer.capacity {
    case Size.small.byteCount: Self.keep(buffer, in: &small, .small, &freedByteCount)
    case Size.medium.byteCount: Self.keep(buffer, in: &medium, .medium, &freedByteCount)
    case Size.large.byteCount: Self.keep(buffer, in: &large, .large, &freedByteCount)
    default: freedByteCount += buffer.capacity
    }
  }

  /// Takes back the buffer that stands in `place`, if there is one.
  @inline(__always)
  func reclaim(_ place: inout Buffer?) {
    if let buffer = place.take() { giveBack(buffer) }
  }

  @inline(__always)
  private static func keep(
    _ buffer: consuming Buffer, in list: inout [Buffer], _ size: Size, _ freed: inout Int
  ) {
    if list.count < size.keptCount {
      list.append(buffer)
    } else {
      freed += buffer.capacity
    }
  }
}
