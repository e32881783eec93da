// Base 64 (RFC 4648 §4), for credentials of Basic authentication and keys of WebSockets.

/// Base 64, both ways.
public enum Base64 {
  /// Decodes `text` into `output`, which must hold three bytes for each four; returns how many it
  /// took, or nil if `text` is not base 64. Padding may be missing.
  public static func decode(_ text: Bytes, into output: MutableBytes) -> Int? {
    var bits: UInt32 = 0
    var held = 0
    var count = 0
    var end = text.count
    while end > 0 && text[end - 1] == 0x3D && text.count - end < 2 { end -= 1 }
    for index in 0..<end {
      guard let value = value(of: text[index]) else { return nil }
      bits = bits << 6 | value
      held += 6
      if held >= 8 {
        held -= 8
        output[count] = UInt8(truncatingIfNeeded: bits >> UInt32(held))
        count += 1
      }
    }
    return end % 4 == 1 ? nil : count
  }

  /// Whether `text` is what an encoder makes, but that padding may be missing: `decode` takes also
  /// bits behind the last byte that aren't zero (RFC 4648 §3.5), which others refuse.
  public static func isCanonical(_ text: Bytes) -> Bool {
    var end = text.count
    while end > 0 && text[end - 1] == 0x3D && text.count - end < 2 { end -= 1 }
    guard end % 4 != 1 else { return false }
    var last: UInt32 = 0
    for index in 0..<end {
      guard let value = value(of: text[index]) else { return false }
      last = value
    }
    return end % 4 == 2 ? last & 0xF == 0 : end % 4 == 3 ? last & 3 == 0 : true
  }

  /// Encodes `bytes` into `output`, which must hold four bytes for each three that are begun;
  /// returns how many it wrote, padding included.
  @discardableResult
  public static func encode(_ bytes: Bytes, into output: MutableBytes) -> Int {
    let alphabet = Bytes("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
    var count = 0
    for start in stride(from: 0, to: bytes.count, by: 3) {
      let length = min(3, bytes.count - start)
      var bits: UInt32 = 0
      for index in 0..<3 {
        bits = bits << 8 | (index < length ? UInt32(bytes[start + index]) : 0)
      }
      for index in 0..<4 {
        let digit = alphabet[Int(bits >> UInt32(18 - 6 * index) & 63)]
        output[count + index] = index <= length ? digit : UInt8(ascii: "=")
      }
      count += 4
    }
    return count
  }

  private static func value(of digit: UInt8) -> UInt32? {
    switch digit {
    case UInt8(ascii: "A")...UInt8(ascii: "Z"): UInt32(digit - UInt8(ascii: "A"))
    case UInt8(ascii: "a")...UInt8(ascii: "z"): UInt32(digit - UInt8(ascii: "a") + 26)
    case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(digit - UInt8(ascii: "0") + 52)
    case UInt8(ascii: "+"): 62
    case UInt8(ascii: "/"): 63
    default: nil
    }
  }
}
