// The frame of a response with several ranges (multipart/byteranges, RFC 9110 §14.6).
//
//   each      CRLF --BOUNDARY CRLF Content-Type: T CRLF Content-Range: bytes a-b/size CRLF CRLF
//             <range>
//   the end   CRLF --BOUNDARY-- CRLF
//
// The static file handler asks for the total length when the head is made, and for each part's head
// when that part is sent. Byte for byte what nginx sends.

import HTTP

/// One response's ranges as parts.
struct Multipart: BitwiseCopyable {
  /// Twenty digits, as nginx writes its numbers.
  let boundary: InlineArray<20, UInt8>
  /// The type of the file; empty for none.
  let mediaType: Bytes
  /// The size of the whole file in bytes.
  let size: Int

  static let boundaryLength = 20
  // Bound: what a head takes beside its type: the fixed words and three numbers.
  private static let headOverhead = 160

  /// Parts of a file of `size` bytes; `number` is this response's, from the worker's generator.
  init(mediaType: Bytes, size: Int, number: UInt64) {
    self.mediaType = mediaType
    self.size = size
    var digits = InlineArray<20, UInt8>(repeating: UInt8(ascii: "0"))
    var rest = number
    for index in 0..<20 {
      digits[19 - index] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
      rest /= 10
    }
    boundary = digits
  }

  /// What `partHead` needs room for.
  var partHeadCapacity: Int { mediaType.count + Self.headOverhead }
  static let endCapacity = boundaryLength + 8
  static let contentTypeCapacity = boundaryLength + 40

  /// Writes the value of the response's Content-Type and returns its length.
  func writeContentType(into output: MutableBytes) -> Int {
    var writer = Writer(output: output)
    writer.append(Bytes("multipart/byteranges; boundary="))
    append(boundary, to: &writer)
    return writer.count
  }

  /// Writes what stands before `range` and returns its length.
  func writePartHead(_ range: ByteRange, into output: MutableBytes) -> Int {
    var writer = Writer(output: output)
    writer.append(Bytes("\r\n--"))
    append(boundary, to: &writer)
    if !mediaType.isEmpty {
      writer.append(Bytes("\r\nContent-Type: "))
      writer.append(mediaType)
    }
    writer.append(Bytes("\r\nContent-Range: bytes "))
    writer.append(decimal: range.start)
    writer.append(Bytes("-"))
    writer.append(decimal: range.end - 1)
    writer.append(Bytes("/"))
    writer.append(decimal: size)
    writer.append(Bytes("\r\n\r\n"))
    return writer.count
  }

  /// Writes what stands behind the last range and returns its length.
  func writeEnd(into output: MutableBytes) -> Int {
    var writer = Writer(output: output)
    writer.append(Bytes("\r\n--"))
    append(boundary, to: &writer)
    writer.append(Bytes("--\r\n"))
    return writer.count
  }

  /// The length of the part that `range` makes: its head and its bytes.
  func partLength(_ range: ByteRange) -> Int {
    let type = mediaType.isEmpty ? 0 : Bytes("\r\nContent-Type: ").count + mediaType.count
    let digits =
      Self.digitCount(range.start) + Self.digitCount(range.end - 1) + Self.digitCount(size)
    return 4 + Self.boundaryLength + type + Bytes("\r\nContent-Range: bytes ").count + digits + 2
      + 4
      + range.count
  }

  /// The length of the whole body.
  func totalLength(of ranges: [ByteRange]) -> Int {
    var total = 4 + Self.boundaryLength + 4
    for range in ranges { total += partLength(range) }
    return total
  }

  private func append(_ boundary: InlineArray<20, UInt8>, to writer: inout Writer) {
    for index in 0..<20 { writer.append(boundary[index]) }
  }

  private static func digitCount(_ number: Int) -> Int {
    var count = 1
    var rest = number
    while rest >= 10 {
      rest /= 10
      count += 1
    }
    return count
  }

  private struct Writer {
    let output: MutableBytes
    var count = 0

    mutating func append(_ bytes: Bytes) {
      output.copy(bytes, at: count)
      count += bytes.count
    }

    mutating func append(_ byte: UInt8) {
      output[count] = byte
      count += 1
    }

    mutating func append(decimal number: Int) {
      count += writeDecimal(number, into: output.slice(count, output.count))
    }
  }
}
