// A page that is written while a request is answered: text in buffers of the pool, escaped as HTML
// or JSON want it.

import HTTP

/// Text under construction.
struct PageWriter {
  private let pool: BufferPool
  /// The page so far; whoever sends it takes the buffers over.
  private(set) var buffers: [Buffer] = []
  /// In bytes.
  private(set) var count = 0

  init(_ pool: BufferPool) { self.pool = pool }

  mutating func write(_ text: Bytes) {
    var rest = text
    while !rest.isEmpty {
      let buffer = buffer(room: 1)
      let piece = rest.prefix(min(rest.count, buffer.room))
      buffer.append(piece)
      count += piece.count
      rest = rest.dropping(piece.count)
    }
  }

  mutating func write(_ byte: UInt8) {
    buffer(room: 1).append(byte)
    count += 1
  }

  mutating func writeDecimal(_ number: Int) {
    let buffer = buffer(room: 20)
    let digits = Engine.writeDecimal(number, into: buffer.free)
    buffer.produced(digits)
    count += digits
  }

  /// Calls `body` with room for exactly `length` bytes, which it fills.
  mutating func write(_ length: Int, _ body: (MutableBytes) -> Void) {
    let buffer = buffer(room: length)
    body(buffer.free.slice(0, length))
    buffer.produced(length)
    count += length
  }

  mutating func spaces(_ number: Int) {
    for _ in 0..<max(0, number) { write(0x20) }
  }

  /// Text in a page or an attribute of it.
  mutating func writeHTML(_ text: Bytes) {
    for index in 0..<text.count {
      switch text[index] {
      case UInt8(ascii: "&"): write(Bytes("&amp;"))
      case UInt8(ascii: "<"): write(Bytes("&lt;"))
      case UInt8(ascii: ">"): write(Bytes("&gt;"))
      case UInt8(ascii: "\""): write(Bytes("&quot;"))
      case let byte: write(byte)
      }
    }
  }

  /// Text in a JSON string (RFC 8259 §7), quotes not included.
  mutating func writeJSON(_ text: Bytes) {
    for index in 0..<text.count {
      switch text[index] {
      case UInt8(ascii: "\""): write(Bytes("\\\""))
      case UInt8(ascii: "\\"): write(Bytes("\\\\"))
      case let byte where byte < 0x20:
        write(Bytes("\\u00"))
        write(ASCII.lowerHexDigit(byte >> 4))
        write(ASCII.lowerHexDigit(byte & 15))
      case let byte: write(byte)
      }
    }
  }

  private mutating func buffer(room: Int) -> Buffer {
    if let last = buffers.last, last.room >= room { return last }
    let buffer = pool.take(atLeast: max(room, BufferPool.Size.medium.byteCount))
    buffers.append(buffer)
    return buffer
  }
}
