// Single characters of ASCII, as bytes: what they are, and their other case.

/// Tests and conversions of one ASCII character.
public enum ASCII {
  /// Whether the byte is 0–9.
  @inlinable
  @inline(__always)
  public static func isDigit(_ byte: UInt8) -> Bool { byte &- 0x30 < 10 }

  /// Whether the byte is A–Z or a–z.
  @inlinable
  @inline(__always)
  public static func isLetter(_ byte: UInt8) -> Bool { (byte | 0x20) &- 0x61 < 26 }

  /// The same with A–Z as a–z.
  @inlinable
  @inline(__always)
  public static func lowercased(_ byte: UInt8) -> UInt8 {
    byte &- 0x41 < 26 ? byte | 0x20 : byte
  }

  /// The value of a hexadecimal digit of either case, or nil.
  @inlinable
  @inline(__always)
  public static func hexValue(_ byte: UInt8) -> UInt8? {
    if isDigit(byte) { return byte &- 0x30 }
    let letter = (byte | 0x20) &- 0x61
    return letter < 6 ? letter &+ 10 : nil
  }

  /// The hexadecimal digit of a number below 16, A–F in upper case.
  @inlinable
  @inline(__always)
  public static func hexDigit(_ value: UInt8) -> UInt8 {
    value < 10 ? 0x30 &+ value : 0x37 &+ value
  }

  /// The hexadecimal digit of a number below 16, a–f in lower case.
  @inlinable
  @inline(__always)
  public static func lowerHexDigit(_ value: UInt8) -> UInt8 {
    value < 10 ? 0x30 &+ value : 0x57 &+ value
  }

  /// Two hexadecimal digits in lower case for each byte.
  public static func hexadecimal(_ bytes: some Sequence<UInt8>) -> [UInt8] {
    bytes.flatMap { [lowerHexDigit($0 >> 4), lowerHexDigit($0 & 15)] }
  }
}

extension MutableBytes {
  /// Fills the buffer with the bytes, A–Z as a–z.
  ///
  /// - Precondition: `bytes.count` is at most `count`.
  @inlinable
  public func copyLowercased(_ bytes: Bytes) {
    for index in 0..<bytes.count { self[index] = ASCII.lowercased(bytes[index]) }
  }
}
