// zlib's decompressor for gzip's frame (RFC 1952), members one after the other included.

import CZlib
import HTTP

/// A decompressor; works with about 48 KiB.
@safe
final class Inflater {
  /// What a step did.
  struct Step: BitwiseCopyable {
    /// Bytes of the input that were used.
    var consumed: Int
    /// Bytes that were written.
    var produced: Int
    /// The input isn't gzip, or its checksum is wrong.
    var hasFailed: Bool
  }

  /// Whether the input so far ends where a member does (or hasn't begun): it may be over.
  private(set) var isAtBoundary = true
  private let stream: UnsafeMutablePointer<z_stream>

  /// nil: there is no memory for it.
  init?() {
    unsafe stream = .allocate(capacity: 1)
    unsafe stream.initialize(to: z_stream())
    guard unsafe portico_inflate_init(stream) == Z_OK else { return nil }
  }

  deinit {
    unsafe inflateEnd(stream)
    unsafe stream.deallocate()
  }

  /// Starts afresh.
  func reset() {
    _ = unsafe inflateReset(stream)
    isAtBoundary = true
  }

  /// Decompresses some of `input` into `room`: until the input is used up, the room is full, or a
  /// member ends, behind which another may follow.
  func run(_ input: Bytes, into room: MutableBytes) -> Step {
    if isAtBoundary && !input.isEmpty {
      _ = unsafe inflateReset(stream)
      isAtBoundary = false
    }
    unsafe stream.pointee.next_in = UnsafeMutablePointer(mutating: input.unsafeBase)
    unsafe stream.pointee.avail_in = UInt32(input.count)
    unsafe stream.pointee.next_out = room.unsafeBase
    unsafe stream.pointee.avail_out = UInt32(room.count)
    let result = unsafe inflate(stream, Z_NO_FLUSH)
    if result == Z_STREAM_END { isAtBoundary = true }
    let isSound = result == Z_OK || result == Z_STREAM_END || result == Z_BUF_ERROR
    return unsafe Step(
      consumed: input.count - Int(stream.pointee.avail_in),
      produced: room.count - Int(stream.pointee.avail_out), hasFailed: !isSound)
  }
}

/// The decompressors of one worker that wait to be used again.
final class InflaterPool {
  private var free: [Inflater] = []
  // Bound: decompressors that wait, 768 KiB.
  private static let keptCount = 16

  /// A decompressor that begins a stream, or nil if there is no memory.
  func take() -> Inflater? {
    guard let inflater = free.popLast() else { return Inflater() }
    inflater.reset()
    return inflater
  }

  /// Takes a decompressor back.
  func giveBack(_ inflater: Inflater) { if free.count < Self.keptCount { free.append(inflater) } }
}
