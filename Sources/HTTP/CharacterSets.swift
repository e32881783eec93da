// Which bytes may stand where: the character classes of RFC 9110 and RFC 3986 as bit sets.
//
// A set is two words, one bit for each ASCII character; bytes above 0x7F belong to no set. The sets
// are constants, so that a test is a shift and a mask.

/// A set of ASCII characters.
struct CharacterSet: BitwiseCopyable {
  /// Bits of 0x00–0x3F.
  let low: UInt64
  /// Bits of 0x40–0x7F.
  let high: UInt64

  @inline(__always)
  init(low: UInt64, high: UInt64) {
    self.low = low
    self.high = high
  }

  @inline(__always)
  func contains(_ byte: UInt8) -> Bool {
    let half = byte < 0x40 ? low : high
    return byte < 0x80 && (half &>> UInt64(byte & 0x3F)) & 1 != 0
  }

  /// Whether each byte is in the set; true for no bytes.
  func containsAll(_ bytes: Bytes) -> Bool {
    for index in 0..<bytes.count where !contains(bytes[index]) { return false }
    return true
  }
}

extension CharacterSet {
  /// tchar of RFC 9110 §5.6.2: !#$%&'*+-.^_`|~ digits letters.
  @inline(__always)
  static var token: CharacterSet {
    CharacterSet(low: 0x03FF_6CFA_0000_0000, high: 0x57FF_FFFF_C7FF_FFFE)
  }

  /// Letters, digits and "-": what nginx takes as a valid name of a request's field.
  @inline(__always)
  static var plainName: CharacterSet {
    CharacterSet(low: 0x03FF_2000_0000_0000, high: 0x07FF_FFFE_07FF_FFFE)
  }

  /// reg-name of RFC 3986 §3.2.2: unreserved, sub-delims and "%".
  @inline(__always)
  static var host: CharacterSet {
    CharacterSet(low: 0x2BFF_7FF2_0000_0000, high: 0x47FF_FFFE_87FF_FFFE)
  }

  /// What may stand between the brackets of an IP literal (RFC 3986 §3.2.2).
  @inline(__always)
  static var ipLiteral: CharacterSet {
    CharacterSet(low: 0x2FFF_7FD2_0000_0000, high: 0x47FF_FFFE_87FF_FFFE)
  }
}

extension CharacterSet {
  /// What nginx takes as a method: A–Z, "_" and "-".
  @inline(__always)
  static var method: CharacterSet {
    CharacterSet(low: 0x0000_2000_0000_0000, high: 0x0000_0000_87FF_FFFE)
  }

  /// scheme of RFC 3986 §3.1: letters, digits, "+", "-" and "." (the first is a letter).
  @inline(__always)
  static var scheme: CharacterSet {
    CharacterSet(low: 0x03FF_6800_0000_0000, high: 0x07FF_FFFE_07FF_FFFE)
  }
}
