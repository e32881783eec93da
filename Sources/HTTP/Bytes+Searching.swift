// Comparing, searching, hashing and reading of `Bytes`.
//
// What parsers, the router and the variables of the configuration need from a string, without a
// String. All of it is inlinable, allocates nothing (except `string`), and treats letters as ASCII:
// "ignoring case" folds A–Z only, as HTTP's names and hosts do.

extension Bytes: Equatable {
  /// Whether both hold the same bytes. O(n), eight bytes at a time.
  @inlinable
  public static func == (left: Bytes, right: Bytes) -> Bool {
    guard left.count == right.count else { return false }
    var index = 0
    while index &+ 8 <= left.count {
      if left.word(at: index) != right.word(at: index) { return false }
      index &+= 8
    }
    while index < left.count {
      if left[index] != right[index] { return false }
      index &+= 1
    }
    return true
  }

  /// Whether both hold the same bytes. O(n).
  public static func == (left: Bytes, right: [UInt8]) -> Bool {
    left.count == right.count && right.indices.allSatisfy { left[$0] == right[$0] }
  }

  /// Whether both hold the same bytes when A–Z count as a–z on both sides. O(n), eight bytes at a
  /// time; the last eight overlap those before them.
  @inlinable
  public func equalsIgnoringCase(_ other: Bytes) -> Bool {
    guard count == other.count else { return false }
    guard count >= 8 else {
      return Words.lowercased(shortWord) == Words.lowercased(other.shortWord)
    }
    var index = 0
    while index &+ 8 < count {
      if Words.lowercased(word(at: index)) != Words.lowercased(other.word(at: index)) {
        return false
      }
      index &+= 8
    }
    let last = count &- 8
    return Words.lowercased(word(at: last)) == Words.lowercased(other.word(at: last))
  }

  /// Whether a letter A–Z occurs. O(n), eight bytes at a time.
  @inlinable
  public var hasUppercase: Bool {
    var index = 0
    while index &+ 8 <= count {
      if Words.lowercased(word(at: index)) != word(at: index) { return true }
      index &+= 8
    }
    let tail = tailWord()
    return Words.lowercased(tail) != tail
  }

  /// -1, 0 or 1: whether these bytes sort before, with or after `other`, byte by byte, shorter
  /// first.
  @inlinable
  public func compare(_ other: Bytes) -> Int {
    let shared = min(count, other.count)
    var index = 0
    while index < shared {
      if self[index] != other[index] { return self[index] < other[index] ? -1 : 1 }
      index &+= 1
    }
    return count == other.count ? 0 : (count < other.count ? -1 : 1)
  }

  /// Whether the bytes begin with `prefix`.
  @inlinable
  public func hasPrefix(_ prefix: Bytes) -> Bool {
    count >= prefix.count && slice(0, prefix.count) == prefix
  }

  /// Whether the bytes begin with `prefix`, A–Z counting as a–z.
  @inlinable
  public func hasPrefixIgnoringCase(_ prefix: Bytes) -> Bool {
    count >= prefix.count && slice(0, prefix.count).equalsIgnoringCase(prefix)
  }

  /// Whether the bytes end with `suffix`.
  @inlinable
  public func hasSuffix(_ suffix: Bytes) -> Bool {
    count >= suffix.count && dropping(count - suffix.count) == suffix
  }
}

extension Bytes {
  /// The index of the first `byte`, or nil. O(n), eight bytes at a time.
  @inlinable
  public func firstIndex(of byte: UInt8) -> Int? { firstIndex(of: byte, from: 0) }

  /// The index of the first `byte` at or after `start`, or nil.
  @inlinable
  public func firstIndex(of byte: UInt8, from start: Int) -> Int? {
    let pattern = Words.repeating(byte)
    var index = start
    while index &+ 8 <= count {
      let lanes = Words.zeroLanes(word(at: index) ^ pattern)
      if lanes != 0 { return index &+ lanes.trailingZeroBitCount &>> 3 }
      index &+= 8
    }
    guard index < count else { return nil }
    guard count >= 8 else { return firstIndex(of: byte, ofShort: index) }
    // The word that ends with the last byte; what came before is shifted out, zeros come in behind.
    let rest = word(at: count &- 8) &>> UInt64((index &+ 8 &- count) &* 8)
    let lanes = Words.zeroLanes(rest ^ pattern)
    index &+= lanes.trailingZeroBitCount &>> 3
    return lanes != 0 && index < count ? index : nil
  }

  /// The same of fewer bytes than a word has.
  @inlinable
  func firstIndex(of byte: UInt8, ofShort start: Int) -> Int? {
    for index in start..<count where self[index] == byte { return index }
    return nil
  }

  /// The index of the last `byte`, or nil.
  @inlinable
  public func lastIndex(of byte: UInt8) -> Int? {
    var index = count &- 1
    while index >= 0 {
      if self[index] == byte { return index }
      index &-= 1
    }
    return nil
  }

  /// The index at which `needle` first occurs, or nil. An empty needle is at 0. O(n × m).
  @inlinable
  public func firstIndex(of needle: Bytes) -> Int? {
    guard needle.count > 0 else { return 0 }
    var from = 0
    while let found = firstIndex(of: needle[0], from: from), found &+ needle.count <= count {
      if slice(found, found &+ needle.count) == needle { return found }
      from = found &+ 1
    }
    return nil
  }

  /// Whether `byte` occurs.
  @inlinable
  public func contains(_ byte: UInt8) -> Bool { firstIndex(of: byte) != nil }

  /// Whether `needle` occurs.
  @inlinable
  public func contains(_ needle: Bytes) -> Bool { firstIndex(of: needle) != nil }

  /// Whether the bytes are a token (RFC 9110 §5.6.2).
  public var isToken: Bool { !isEmpty && CharacterSet.token.containsAll(self) }

  /// The bytes without spaces and tabs around them (OWS of RFC 9110 §5.6.3).
  @inlinable
  public var trimmed: Bytes {
    var start = 0
    var end = count
    while start < end, self[start] == 0x20 || self[start] == 0x09 { start &+= 1 }
    while end > start, self[end &- 1] == 0x20 || self[end &- 1] == 0x09 { end &-= 1 }
    return slice(start, end)
  }
}

extension Bytes {
  /// A hash of the bytes. Equal bytes hash equally, in each process and on each machine; a table
  /// whose keys a client chooses passes a `seed` of its own, kept secret.
  @inlinable
  public func hash64(seed: UInt64) -> UInt64 {
    var hash = seed ^ (UInt64(truncatingIfNeeded: count) &* 0xA076_1D64_78BD_642F)
    var index = 0
    while index &+ 8 <= count {
      hash = Words.mixed(hash, word(at: index))
      index &+= 8
    }
    return Words.mixed(Words.mixed(hash, tailWord()), 0xE703_7ED1_A0B4_28DB)
  }

  /// `hash64(seed:)` with no seed.
  @inlinable
  public var hash64: UInt64 { hash64(seed: 0) }

  /// A hash of the bytes with A–Z counted as a–z; equal to `hash64` of the lowercased bytes.
  @inlinable
  public func hash64IgnoringCase(seed: UInt64) -> UInt64 {
    var hash = seed ^ (UInt64(truncatingIfNeeded: count) &* 0xA076_1D64_78BD_642F)
    var index = 0
    while index &+ 8 <= count {
      hash = Words.mixed(hash, Words.lowercased(word(at: index)))
      index &+= 8
    }
    let tail = Words.lowercased(tailWord())
    return Words.mixed(Words.mixed(hash, tail), 0xE703_7ED1_A0B4_28DB)
  }

  /// `hash64IgnoringCase(seed:)` with no seed.
  @inlinable
  public var hash64IgnoringCase: UInt64 { hash64IgnoringCase(seed: 0) }

  /// The number that the bytes spell: one or more digits and nothing else. Nil if there are no
  /// bytes, any other byte (also a sign or a space), or more than an Int holds.
  @inlinable
  public var decimal: Int? {
    guard count > 0 else { return nil }
    var value = 0
    var index = 0
    while index < count {
      let digit = self[index] &- 0x30
      guard digit < 10 else { return nil }
      let (product, tooLarge) = value.multipliedReportingOverflow(by: 10)
      let (sum, tooLargeNow) = product.addingReportingOverflow(Int(digit))
      if tooLarge || tooLargeNow { return nil }
      value = sum
      index &+= 1
    }
    return value
  }

  /// The bytes as text, for configuration, diagnostics and tests: what isn't UTF-8 is replaced by
  /// U+FFFD. Allocates.
  @inlinable
  public var string: String {
    unsafe String(decoding: UnsafeBufferPointer(start: base, count: count), as: UTF8.self)
  }

  /// A copy of the bytes. Allocates.
  @inlinable
  public var array: [UInt8] { unsafe Array(UnsafeBufferPointer(start: base, count: count)) }
}

extension Bytes: CustomStringConvertible {
  /// The same as `string`.
  public var description: String { string }
}
