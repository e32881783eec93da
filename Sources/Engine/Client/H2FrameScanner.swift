// Finds the frames in what an HTTP/2 client sends, so that each can be judged and paid for before
// the library acts on it: libnghttp2 drops frames of closed streams in silence, and a flood of them
// costs as much as any other.
//
//   preface (24 bytes) ─► header (9 bytes; 13 of a PRIORITY) ─► rest of the payload ─► header ─► …

import CNGHTTP2
import HTTP

/// The header of a frame (RFC 9113 §4.1).
struct H2FrameHeader: BitwiseCopyable {
  var length = 0
  var type: UInt8 = 0
  var flags: UInt8 = 0
  var streamID: Int32 = 0
  /// The stream that a PRIORITY frame depends on (RFC 7540 §6.3).
  var dependency: Int32 = -1

  var kind: nghttp2_frame_type { nghttp2_frame_type(UInt32(type)) }
  /// A SETTINGS frame that isn't an acknowledgement.
  var isSettings: Bool { kind == NGHTTP2_SETTINGS && flags & UInt8(NGHTTP2_FLAG_ACK.rawValue) == 0 }
  var endsStream: Bool { flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0 }
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
  private static let priorityByteCount = 13

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
    if count < Self.headerByteCount { return false }
    let hasDependency = header.kind == NGHTTP2_PRIORITY && header.length >= 4
    return count == (hasDependency ? Self.priorityByteCount : Self.headerByteCount)
  }

  private mutating func take(_ byte: UInt8) {
    switch count {
    case 0...2: header.length = header.length << 8 | Int(byte)
    case 3: header.type = byte
    case 4: header.flags = byte
    case 5: header.streamID = Int32(byte & 0x7F)
    case 6...8: header.streamID = header.streamID << 8 | Int32(byte)
    case 9: header.dependency = Int32(byte & 0x7F)
    default: header.dependency = header.dependency << 8 | Int32(byte)
    }
    count += 1
  }

  private mutating func finish() -> H2FrameHeader {
    let complete = header
    skipping = complete.length - (count - Self.headerByteCount)
    header = H2FrameHeader()
    count = 0
    return complete
  }
}
