// Scratch memory of one exchange: values of variables, normalised paths, fields that are added to
// heads. Bytes from an arena live until the exchange finishes; nothing is freed one by one.

import HTTP

/// A bump allocator over buffers of the worker's pool.
struct Arena {
  private let pool: BufferPool
  private var chunks: [Buffer] = []

  init(pool: BufferPool) { self.pool = pool }

  /// Room for `count` bytes, uninitialised.
  mutating func allocate(_ count: Int) -> MutableBytes {
    if chunks.isEmpty || chunks[chunks.count - 1].room < count {
      chunks.append(pool.take(atLeast: max(count, BufferPool.Size.small.byteCount)))
    }
    let chunk = chunks[chunks.count - 1]
    let bytes = chunk.free.slice(0, count)
    chunk.produced(count)
    return bytes
  }

  /// Gives back the last `count` bytes of the allocation made last.
  mutating func shrink(by count: Int) {
    let chunk = chunks[chunks.count - 1]
    chunk.truncate(chunk.count - count)
  }

  /// A copy of `bytes` that lives as long as the exchange.
  mutating func copy(_ bytes: Bytes) -> Bytes {
    let room = allocate(bytes.count)
    room.copy(bytes, at: 0)
    return room.readOnly
  }

  /// The bytes with A–Z as a–z; themselves if that changes nothing.
  mutating func lowercased(_ bytes: Bytes) -> Bytes {
    guard bytes.hasUppercase else { return bytes }
    let room = allocate(bytes.count)
    room.copyLowercased(bytes)
    return room.readOnly
  }

  /// A copy of the UTF-8 of `text`.
  mutating func copy(_ text: String) -> Bytes {
    var text = text
    return text.withUTF8 { utf8 in
      guard let base = utf8.baseAddress else { return Bytes() }
      return unsafe copy(Bytes(base: base, count: utf8.count))
    }
  }

  /// A copy of `bytes`.
  mutating func copy(_ bytes: [UInt8]) -> Bytes {
    let room = allocate(bytes.count)
    for (index, byte) in bytes.enumerated() { room[index] = byte }
    return room.readOnly
  }

  /// Decimal digits of `number`.
  mutating func decimal(_ number: Int) -> Bytes {
    let room = allocate(20)
    let count = writeDecimal(number, into: room)
    return room.readOnly.prefix(count)
  }

  /// Forgets everything.
  mutating func reset() {
    while let chunk = chunks.popLast() { pool.giveBack(chunk) }
  }
}

/// Writes the decimal digits of `number` and returns how many bytes they took (at most 20).
func writeDecimal(_ number: Int, into output: MutableBytes) -> Int {
  if number < 0 {
    output[0] = UInt8(ascii: "-")
    return 1 + writeDecimal(-number, into: output.slice(1, output.count))
  }
  var rest = number
  var count = 1
  while rest >= 10 {
    rest /= 10
    count += 1
  }
  rest = number
  var index = count - 1
  while index >= 0 {
    output[index] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
    rest /= 10
    index -= 1
  }
  return count
}
