// Memory for the names and values that a plan's tables hold: bytes that live as long as the table.
//
// Filled while the plan is made, freed with it as a whole. What was appended never moves, so that
// `Bytes` into a store stay valid for as long as the store does.

import HTTP

/// Append-only bytes at stable addresses.
@safe
final class ByteStore {
  private var blocks: [MutableBytes] = []
  private var used = 0

  // Bound: blocks double from the small to the large size. A plan may have 10,000 stores of a few
  // names each, and a store of 10,000 names should be a few blocks.
  private static let smallestBlock = 128
  private static let largestBlock = 64 << 10

  deinit { for block in blocks { unsafe block.unsafeBase.deallocate() } }

  /// A copy of `bytes` that lives as long as the store.
  func append(_ bytes: Bytes) -> Bytes {
    let room = allocate(bytes.count)
    room.copy(bytes, at: 0)
    return room.readOnly
  }

  /// A copy of the UTF-8 of `text` that lives as long as the store.
  func append(_ text: String) -> Bytes { text.withBytes { append($0) } }

  /// Room for `count` bytes, uninitialised.
  func allocate(_ count: Int) -> MutableBytes {
    if blocks.isEmpty || blocks[blocks.count - 1].count - used < count {
      let last = blocks.last?.count ?? Self.smallestBlock / 2
      let size = max(count, min(last * 2, Self.largestBlock))
      unsafe blocks.append(MutableBytes(base: .allocate(capacity: size), count: size))
      used = 0
    }
    let start = used
    used += count
    return blocks[blocks.count - 1].slice(start, used)
  }
}

extension [UInt8] {
  /// Calls `body` with a view of the array; the bytes must not escape.
  func withBytes<R>(_ body: (Bytes) throws -> R) rethrows -> R {
    try unsafe withUnsafeBufferPointer { buffer in
      guard let base = buffer.baseAddress else { return try body(Bytes()) }
      return try unsafe body(Bytes(base: base, count: buffer.count))
    }
  }
}

extension String {
  /// Calls `body` with the UTF-8 of the text; the bytes must not escape.
  func withBytes<R>(_ body: (Bytes) throws -> R) rethrows -> R {
    var text = self
    return try text.withUTF8 { utf8 in
      guard let base = utf8.baseAddress else { return try body(Bytes()) }
      return try unsafe body(Bytes(base: base, count: utf8.count))
    }
  }
}
