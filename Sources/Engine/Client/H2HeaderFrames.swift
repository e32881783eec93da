// Header blocks in as few frames as the client takes (RFC 9113 §4.3). libnghttp2 cuts a block at 16
// KiB whatever SETTINGS_MAX_FRAME_SIZE the client announced, or later, when larger DATA frames have
// made its buffer grow, and a client that lowered its limit since must not get such. Blocks of more
// than one frame, which are rare, are put together here and cut anew.

import CNGHTTP2
import HTTP

/// Puts the frames of a header block together, and cuts the block to the client's measure.
struct H2HeaderFrames {
  /// The block that is being put together, behind the first frame's header.
  private var block: Buffer?

  private static let headerByteCount = H2Callbacks.frameHeaderByteCount
  private static let endHeaders = UInt8(NGHTTP2_FLAG_END_HEADERS.rawValue)

  /// Whether `frame`, which the library gave last, belongs to a block that is to be cut anew.
  ///
  /// - Parameter limit: the longest payload that the client takes, in bytes.
  func isConcerned(with frame: Bytes, _ limit: @autoclosure () -> Int) -> Bool {
    if block != nil { return true }
    guard frame[3] == UInt8(NGHTTP2_HEADERS.rawValue) else { return false }
    return frame[4] & Self.endHeaders == 0 || frame.count - Self.headerByteCount > limit()
  }

  /// Takes `frame`; with the last one of the block, its frames go to `output`.
  mutating func take(
    _ frame: Bytes, _ limit: Int, to output: inout OutputQueue, _ pool: BufferPool,
    in size: BufferPool.Size
  ) {
    let payload = frame.dropping(Self.headerByteCount)
    if block == nil { append(frame.prefix(Self.headerByteCount), pool) }
    append(payload, pool)
    guard frame[4] & Self.endHeaders != 0, let block else { return }
    self.block = nil
    write(block.unread, limit, to: &output, pool, in: size)
    pool.giveBack(block)
  }

  /// Forgets a block whose end never came; the connection is over.
  mutating func reset(_ pool: BufferPool) {
    if let block { pool.giveBack(block) }
    block = nil
  }

  // Bound: the longest block that the library makes, a mebibyte (`H2Library`).
  private mutating func append(_ bytes: Bytes, _ pool: BufferPool) {
    let total = (block?.count ?? 0) + bytes.count
    if let block, block.room >= bytes.count { return block.append(bytes) }
    let grown = pool.take(atLeast: max(2 * total, BufferPool.Size.large.byteCount))
    if let block {
      grown.append(block.unread)
      pool.giveBack(block)
    }
    grown.append(bytes)
    block = grown
  }

  private func write(
    _ block: Bytes, _ limit: Int, to output: inout OutputQueue, _ pool: BufferPool,
    in size: BufferPool.Size
  ) {
    var rest = block.dropping(Self.headerByteCount)
    var header = block.prefix(Self.headerByteCount).array
    header[4] &= ~Self.endHeaders
    repeat {
      let piece = rest.prefix(min(rest.count, limit))
      rest = rest.dropping(piece.count)
      for index in 0..<3 { header[index] = UInt8(piece.count >> (16 - 8 * index) & 0xFF) }
      if rest.isEmpty { header[4] |= Self.endHeaders }
      header.withBytes { output.copy($0, pool, in: size) }
      output.copy(piece, pool, in: size)
      header[3] = UInt8(NGHTTP2_CONTINUATION.rawValue)
      header[4] = 0
    } while !rest.isEmpty
  }
}
