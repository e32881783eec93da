// Eight bytes at a time: the loads and the bit tricks behind comparing, hashing and scanning.
//
// The module imports nothing, so there is no memchr and no memcmp; a word of eight bytes in a
// register does their work. "Lanes" are the eight bytes of a word. A trick that finds a lane marks
// it with its high bit; a lane above the first marked one may be marked wrongly (the borrow of a
// subtraction travels up), so only the lowest mark is meaningful. Little-endian only, as x86-64 and
// arm64 are.

/// Bit tricks on eight bytes held in one word.
@usableFromInline
enum Words {

  /// A word with `byte` in each lane.
  @inlinable @inline(__always)
  static func repeating(_ byte: UInt8) -> UInt64 { UInt64(byte) &* 0x0101_0101_0101_0101 }

  /// Marks the first lane that is zero.
  @inlinable @inline(__always)
  static func zeroLanes(_ word: UInt64) -> UInt64 {
    (word &- 0x0101_0101_0101_0101) & ~word & 0x8080_8080_8080_8080
  }

  /// Marks the first lane that is a control character: below 0x20, or 0x7F.
  @inlinable @inline(__always)
  static func controlLanes(_ word: UInt64) -> UInt64 {
    let low = (word &- 0x2020_2020_2020_2020) & ~word & 0x8080_8080_8080_8080
    return low | zeroLanes(word ^ 0x7F7F_7F7F_7F7F_7F7F)
  }

  /// The word with A–Z in each lane made a–z; other bytes, also those above 0x7F, stay.
  @inlinable @inline(__always)
  static func lowercased(_ word: UInt64) -> UInt64 {
    let low = word & 0x7F7F_7F7F_7F7F_7F7F
    let aboveZ = low &+ 0x2525_2525_2525_2525  // 0x7F - "Z"
    let fromA = low &+ 0x3F3F_3F3F_3F3F_3F3F  // 0x80 - "A"
    let upper = ~word & (fromA ^ aboveZ) & 0x8080_8080_8080_8080
    return word | (upper &>> 2)
  }

  /// One byte, A–Z made a–z.
  @inlinable @inline(__always)
  static func lowercased(_ byte: UInt8) -> UInt8 {
    byte &- 0x41 < 26 ? byte | 0x20 : byte
  }

  /// Folds the next word into a hash: a 64 × 64 bit product, both halves kept.
  @inlinable @inline(__always)
  static func mixed(_ hash: UInt64, _ word: UInt64) -> UInt64 {
    let product = (hash ^ word).multipliedFullWidth(by: 0x9E37_79B9_7F4A_7C15)
    return product.high ^ product.low ^ word
  }
}

extension Bytes {
  /// The eight bytes at `index`; the caller has checked `index + 8 <= count`.
  @inlinable @inline(__always)
  func word(at index: Int) -> UInt64 {
    precondition(index >= 0 && index &+ 8 <= count, "word out of bounds")
    return unsafe UnsafeRawPointer(base + index).loadUnaligned(as: UInt64.self)
  }

  /// All of at most seven bytes in a word that no other bytes of the same count have: the first
  /// four and the last four, which overlap, or the first, the middle and the last.
  @inlinable @inline(__always)
  var shortWord: UInt64 {
    precondition(count < 8, "too many bytes for a word")
    if count >= 4 { return half(at: 0) | half(at: count &- 4) &<< 32 }
    if count == 0 { return 0 }
    return UInt64(self[0]) | UInt64(self[count &>> 1]) &<< 8 | UInt64(self[count &- 1]) &<< 16
  }

  /// The four bytes at `index`, with zeros above them.
  @inlinable @inline(__always)
  func half(at index: Int) -> UInt64 {
    precondition(index >= 0 && index &+ 4 <= count, "word out of bounds")
    return unsafe UInt64(UnsafeRawPointer(base + index).loadUnaligned(as: UInt32.self))
  }

  /// The last `count % 8` bytes packed into a word, zeros above them.
  @inlinable @inline(__always)
  func tailWord() -> UInt64 {
    let rest = count & 7
    if rest == 0 { return 0 }
    // The word that ends with the last byte holds what came before in its low lanes.
    if count >= 8 { return word(at: count &- 8) &>> UInt64((8 &- rest) &* 8) }
    var word: UInt64 = 0
    for index in 0..<rest { word |= UInt64(self[index]) &<< UInt64(index &* 8) }
    return word
  }
}
