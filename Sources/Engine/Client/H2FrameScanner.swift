// Finds the frames in what an HTTP/2 client sends, so that each can be judged and paid for before
// the library acts on it: libnghttp2 drops frames of closed streams in silence, and a flood of them
// costs as much as any other.
//
//   preface (24 bytes) ─► header (9 bytes), up to 4 of the payload ─► rest of it ─► header ─► …

import CNGHTTP2
import HTTP

/// The header of a frame (RFC 9113 §4.1).
struct H2FrameHeader: BitwiseCopyable {
  var length = 0
  var type: UInt8 = 0
  var flags: UInt8 = 0
  var streamID: Int32 = 0
  /// The first bytes of the payload, as far as they are looked at: the stream that a PRIORITY frame
  /// depends on (RFC 7540 §6.3), the increment of a WINDOW_UPDATE (RFC 9113 §6.9), the code of a
  /// RST_STREAM (§6.4), how much padding a DATA or HEADERS frame has (§6.1). nil: none are.
  var first: Int32?
  /// How many bytes of the frame were taken for this.
  var byteCount = 0

  var kind: nghttp2_frame_type { nghttp2_frame_type(UInt32(type)) }
  /// A SETTINGS frame that isn't an acknowledgement.
  var isSettings: Bool { kind == NGHTTP2_SETTINGS && flags & UInt8(NGHTTP2_FLAG_ACK.rawValue) == 0 }
  var endsStream: Bool { flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0 }
  private var isPadded: Bool { flags & UInt8(NGHTTP2_FLAG_PADDED.rawValue) != 0 }

  /// How many bytes of the payload are to be looked at.
  fileprivate var firstByteCount: Int {
    switch kind {
    case NGHTTP2_PRIORITY, NGHTTP2_WINDOW_UPDATE, NGHTTP2_RST_STREAM: length >= 4 ? 4 : 0
    case NGHTTP2_DATA, NGHTTP2_HEADERS: isPadded && length >= 1 ? 1 : 0
    default: 0
    }
  }

  /// How many bytes a DATA frame carries, without padding; nil if the padding is longer than the
  /// frame.
  var dataCount: Int? {
    guard isPadded else { return length }
    let count = length - 1 - Int(first ?? 0)
    return length >= 1 && count >= 0 ? count : nil
  }
}

/// Follows the frames of one direction of a connection.
struct H2FrameScanner: BitwiseCopyable {
  /// Bytes of the preface or of a payload that are still to come.
  private var skipping = H2FrameScanner.prefaceByteCount
  private var header = H2FrameHeader()
  /// How many bytes of the header are here.
  private var count = 0

  private static let prefaceByteCount = 24
  private static let headerByteCount = 9

  /// Goes over `bytes`, which follow those of the last call.
  ///
  /// - Parameter position: where to begin; moved to behind the next header, or to the end.
  /// - Returns: the header that became complete.
  mutating func next(_ bytes: Bytes, _ position: inout Int) -> H2FrameHeader? {
    let skipped = min(skipping, bytes.count - position)
    skipping -= skipped
    position += skipped
    while position < bytes.count {
      take(bytes[position])
      position += 1
      if isComplete { return finish() }
    }
    return nil
  }

  private var isComplete: Bool {
    count >= Self.headerByteCount && count == Self.headerByteCount + header.firstByteCount
  }

  private mutating func take(_ byte: UInt8) {
    switch count {
    case 0...2: header.length = header.length << 8 | Int(byte)
    case 3: header.type = byte
    case 4: header.flags = byte
    case 5: header.streamID = Int32(byte & 0x7F)
    case 6...8: header.streamID = header.streamID << 8 | Int32(byte)
    // A reserved bit is ignored; of four bytes it is the first, of one there is none.
    case 9: header.first = Int32(header.firstByteCount == 4 ? byte & 0x7F : byte)
    default: header.first = (header.first ?? 0) << 8 | Int32(byte)
    }
    count += 1
  }

  private mutating func finish() -> H2FrameHeader {
    var complete = header
    complete.byteCount = count
    skipping = complete.length - (count - Self.headerByteCount)
    header = H2FrameHeader()
    count = 0
    return complete
  }
}
