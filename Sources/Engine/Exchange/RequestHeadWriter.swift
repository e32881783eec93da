// The head of an upstream request in the form of its protocol: lines for HTTP/1, records that
// become HPACK for HTTP/2.

import HTTP

/// Writes the lines of a request head into a buffer that is known to be large enough. The buffer is
/// the writer's until `finish`.
struct RequestHeadWriter: ~Copyable {
  private let buffer: Buffer
  /// Fields become records (H2FieldBlock) instead of lines.
  private let speaksHTTP2: Bool

  init(_ buffer: consuming Buffer, speaksHTTP2: Bool = false) {
    self.buffer = buffer
    self.speaksHTTP2 = speaksHTTP2
  }

  /// Writes what HTTP/2 has instead of a request line (RFC 9113 §8.3.1).
  mutating func start(_ method: Bytes, _ target: Bytes, scheme: Bytes, authority: Bytes) {
    H2FieldBlock.append(Bytes(":method"), method, to: buffer)
    H2FieldBlock.append(Bytes(":scheme"), scheme, to: buffer)
    H2FieldBlock.append(Bytes(":path"), target, to: buffer)
    if !authority.isEmpty { H2FieldBlock.append(Bytes(":authority"), authority, to: buffer) }
  }

  mutating func start(_ method: Bytes, _ target: Bytes, minorVersion: Int) {
    buffer.append(method)
    buffer.append(UInt8(ascii: " "))
    buffer.append(target)
    buffer.append(minorVersion == 1 ? Bytes(" HTTP/1.1\r\n") : Bytes(" HTTP/1.0\r\n"))
  }

  @inline(__always)
  mutating func field(_ name: Bytes, _ value: Bytes) {
    if speaksHTTP2 {
      if H2FieldBlock.mayHold(name, value) { H2FieldBlock.append(name, value, to: buffer) }
      return
    }
    buffer.append(name)
    buffer.append(Bytes(": "))
    buffer.append(value)
    buffer.append(Bytes("\r\n"))
  }

  mutating func length(_ count: Int) {
    if speaksHTTP2 { return lengthRecord(count) }
    buffer.append(Bytes("Content-Length: "))
    buffer.produced(writeDecimal(count, into: buffer.free))
    buffer.append(Bytes("\r\n"))
  }

  private func lengthRecord(_ count: Int) {
    unsafe withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 20) { digits in
      guard let base = digits.baseAddress else { return }
      let room = unsafe MutableBytes(base: base, count: 20)
      let digitCount = writeDecimal(count, into: room)
      H2FieldBlock.append(Bytes("content-length"), room.readOnly.prefix(digitCount), to: buffer)
    }
  }

  /// Ends the head, and gives the buffer that it stands in.
  consuming func finish() -> Buffer {
    if !speaksHTTP2 { buffer.append(Bytes("\r\n")) }
    return buffer
  }
}
