// The fields of a request on their way to HPACK: a run of records in a buffer, written once and
// submitted with each try.
//
//   | count of name (4) | count of value (4) | name | value |  …

import CNGHTTP2
import HTTP

/// Reads and writes runs of field records.
enum H2FieldBlock {
  /// What a record takes beside name and value.
  static let overhead = 8

  /// Appends a record; there must be room.
  static func append(_ name: Bytes, _ value: Bytes, to buffer: Buffer) {
    append(name.count, to: buffer)
    append(value.count, to: buffer)
    buffer.append(name)
    buffer.append(value)
  }

  private static func append(_ count: Int, to buffer: Buffer) {
    for shift in [24, 16, 8, 0] { buffer.append(UInt8(truncatingIfNeeded: count >> shift)) }
  }

  /// The number of records in `block`, which this file wrote.
  static func count(_ block: Bytes) -> Int {
    var count = 0
    var position = 0
    while position < block.count {
      let (name, value) = read(block, &position)
      position += name + value
      count += 1
    }
    return count
  }

  /// Fills `fields` with views of the records.
  @unsafe
  static func fill(_ fields: UnsafeMutableBufferPointer<nghttp2_nv>, from block: Bytes) {
    var position = 0
    for index in 0..<fields.count {
      let (nameCount, valueCount) = read(block, &position)
      let name = block.slice(position, position + nameCount)
      let value = block.slice(position + nameCount, position + nameCount + valueCount)
      position += nameCount + valueCount
      unsafe fields.initializeElement(
        at: index,
        to: nghttp2_nv(
          name: UnsafeMutablePointer(mutating: name.unsafeBase),
          value: UnsafeMutablePointer(mutating: value.unsafeBase), namelen: nameCount,
          valuelen: valueCount, flags: 0))
    }
  }

  private static func read(_ block: Bytes, _ position: inout Int) -> (name: Int, value: Int) {
    let name = number(block, position)
    let value = number(block, position + 4)
    position += overhead
    return (name, value)
  }

  private static func number(_ block: Bytes, _ position: Int) -> Int {
    var result = 0
    for index in position..<position + 4 { result = result << 8 | Int(block[index]) }
    return result
  }

  /// Whether a field may stand in a request (RFC 9113 §8.2.2): those that speak of a connection
  /// may not, and TE only asks for trailers.
  static func mayHold(_ name: Bytes, _ value: Bytes) -> Bool {
    let token = FieldName.lookup(name)
    if token == .te { return value.equalsIgnoringCase(Bytes("trailers")) }
    return !token.isHopByHop || token == .trailer || token == .proxyAuthorization
  }
}
