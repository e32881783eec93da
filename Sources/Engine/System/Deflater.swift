// zlib's compressor in gzip's frame (RFC 1952), as an object that is used again and again: making
// one costs an allocation of a quarter of a megabyte and clearing it, starting it afresh only the
// latter.

import CZlib
import HTTP

/// A compressor.
@safe
final class Deflater {
  /// How much memory it works with.
  enum Size {
    /// 64 KiB: for bodies known to be no longer than its window, `smallLimit`.
    case small
    /// 256 KiB: a window of 32 KiB.
    case full

    /// In bytes.
    static let smallLimit = 8 << 10
  }

  /// What is asked of a step once its input is used up.
  enum Goal { case more, flush, end }

  /// What a step did.
  struct Step: BitwiseCopyable {
    /// Bytes of the input that were used.
    var consumed: Int
    /// Bytes that were written.
    var produced: Int
    /// All input was used, and the goal was reached.
    var isDone: Bool
  }

  let level: Int
  let size: Size
  private let stream: UnsafeMutablePointer<z_stream>

  /// nil: there is no memory for it.
  init?(level: Int, size: Size) {
    self.level = level
    self.size = size
    unsafe stream = .allocate(capacity: 1)
    unsafe stream.initialize(to: z_stream())
    let (window, memory): (Int32, Int32) = size == .full ? (15, 8) : (13, 6)
    guard unsafe portico_deflate_init(stream, Int32(level), window, memory) == Z_OK else {
      return nil
    }
  }

  deinit {
    unsafe deflateEnd(stream)
    unsafe stream.deallocate()
  }

  /// Starts afresh.
  func reset() { _ = unsafe deflateReset(stream) }

  /// Compresses some of `input` into `room`, which should be more than a few bytes for a flush. To
  /// be called again, with what is left of the input and with other room, until it is done.
  func run(_ input: Bytes, into room: MutableBytes, _ goal: Goal) -> Step {
    unsafe stream.pointee.next_in = UnsafeMutablePointer(mutating: input.unsafeBase)
    unsafe stream.pointee.avail_in = UInt32(input.count)
    unsafe stream.pointee.next_out = room.unsafeBase
    unsafe stream.pointee.avail_out = UInt32(room.count)
    let order =
      switch goal {
      case .more: Z_NO_FLUSH
      case .flush: Z_SYNC_FLUSH
      case .end: Z_FINISH
      }
    let result = unsafe deflate(stream, order)
    let left = unsafe Int(stream.pointee.avail_in)
    let free = unsafe Int(stream.pointee.avail_out)
    let isDone =
      switch goal {
      case .more: left == 0
      case .flush: left == 0 && free > 0
      case .end: result == Z_STREAM_END
      }
    return Step(consumed: input.count - left, produced: room.count - free, isDone: isDone)
  }
}

/// The compressors of one worker that wait to be used again.
final class DeflaterPool {
  private var free: [Deflater] = []
  // Bound: compressors that wait, 4 MiB.
  private static let keptCount = 16

  /// A compressor that begins a stream, or nil if there is no memory.
  func take(level: Int, size: Deflater.Size) -> Deflater? {
    for index in free.indices.reversed()
    where free[index].level == level && free[index].size == size {
      let deflater = free.remove(at: index)
      deflater.reset()
      return deflater
    }
    return Deflater(level: level, size: size)
  }

  /// Takes a compressor back.
  func giveBack(_ deflater: Deflater) {
    if free.count == Self.keptCount { free.removeFirst() }
    free.append(deflater)
  }
}
