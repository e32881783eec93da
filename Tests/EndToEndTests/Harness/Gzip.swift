// gzip for tests: whole bodies both ways, and decompressing piece by piece as the pieces come.

import CZlib
import Foundation

/// Decompresses one member of gzip as its bytes come.
final class TestInflater {
  private var stream = z_stream()
  /// Whether the member ended, its checksum being right.
  private(set) var hasEnded = false

  init() { precondition(portico_inflate_init(&stream) == Z_OK) }

  deinit { inflateEnd(&stream) }

  struct Broken: Error {}

  /// What `bytes` add to the content.
  func add(_ bytes: [UInt8]) throws -> [UInt8] {
    var input = bytes
    var output: [UInt8] = []
    var room = [UInt8](repeating: 0, count: 64 << 10)
    try input.withUnsafeMutableBufferPointer { input in
      stream.next_in = input.baseAddress
      stream.avail_in = UInt32(input.count)
      while !hasEnded {
        let result = room.withUnsafeMutableBufferPointer { room in
          stream.next_out = room.baseAddress
          stream.avail_out = UInt32(room.count)
          return inflate(&stream, Z_NO_FLUSH)
        }
        output += room.prefix(room.count - Int(stream.avail_out))
        if result == Z_STREAM_END { hasEnded = true }
        if result == Z_BUF_ERROR || (stream.avail_in == 0 && stream.avail_out > 0) { break }
        if result != Z_OK && result != Z_STREAM_END { throw Broken() }
      }
    }
    return output
  }
}

/// The content of a complete gzip member, or nil if `bytes` are none.
func gunzipped(_ bytes: [UInt8]) -> [UInt8]? {
  let inflater = TestInflater()
  guard let content = try? inflater.add(bytes), inflater.hasEnded else { return nil }
  return content
}

/// One gzip member.
func gzipped(_ bytes: [UInt8], level: Int32 = 6) -> [UInt8] {
  var output = [UInt8](repeating: 0, count: portico_gzip_bound(UInt(bytes.count)))
  let count = portico_gzip(level, bytes, UInt32(bytes.count), &output, UInt32(output.count))
  precondition(count > 0)
  return Array(output.prefix(count))
}
