// Reading DER (ITU-T X.690 §10): values one after another out of bytes that nobody has vouched for.
//
// Called where a certificate is looked at without OpenSSL (`TLSFirstLook`). Whatever isn't DER in
// its plain form (tags of several bytes, lengths that are indefinite or longer than they need be)
// is refused: the caller then leaves it to OpenSSL. Nothing is copied, nothing traps.

import HTTP

/// One value: its tag, its content, and the whole of it with tag and length.
struct DERValue {
  let tag: UInt8
  let content: Bytes
  let whole: Bytes
}

/// The identifier octets of the types that certificates and keys are made of.
enum DERTag {
  static let boolean: UInt8 = 0x01
  static let integer: UInt8 = 0x02
  static let bitString: UInt8 = 0x03
  static let octetString: UInt8 = 0x04
  static let null: UInt8 = 0x05
  static let objectIdentifier: UInt8 = 0x06
  static let utf8String: UInt8 = 0x0C
  static let utcTime: UInt8 = 0x17
  static let generalizedTime: UInt8 = 0x18
  static let sequence: UInt8 = 0x30
  static let set: UInt8 = 0x31

  /// `[number]` around another value, or in its place when that is constructed.
  static func constructed(_ number: UInt8) -> UInt8 { 0xA0 | number }
  /// `[number]` in the place of a primitive value.
  static func primitive(_ number: UInt8) -> UInt8 { 0x80 | number }
}

/// Takes values off the front of some bytes.
struct DERReader {
  private var rest: Bytes

  init(_ bytes: Bytes) { rest = bytes }

  var isAtEnd: Bool { rest.isEmpty }

  /// The next value, or nil at the end and where the bytes aren't DER; then nothing is taken.
  mutating func next() -> DERValue? {
    guard rest.count >= 2, rest[0] & 0x1F != 0x1F else { return nil }
    var length = Int(rest[1])
    var start = 2
    if length >= 0x80 {
      // Bound: four bytes of length are 4 GiB.
      let digits = length - 0x80
      guard (1...4).contains(digits), rest.count >= 2 + digits, rest[2] != 0 else { return nil }
      length = 0
      for index in 0..<digits { length = length << 8 | Int(rest[2 + index]) }
      guard length >= 0x80 else { return nil }
      start += digits
    }
    guard length <= rest.count - start else { return nil }
    let end = start + length
    defer { rest = rest.dropping(end) }
    return DERValue(tag: rest[0], content: rest.slice(start, end), whole: rest.prefix(end))
  }

  /// The content of the next value if it has the tag `tag`; otherwise nil, and nothing is taken.
  mutating func next(_ tag: UInt8) -> Bytes? {
    guard rest.count > 0, rest[0] == tag else { return nil }
    return next()?.content
  }

  /// A reader of what is inside the next value, if that has the tag `tag`.
  mutating func enter(_ tag: UInt8 = DERTag.sequence) -> DERReader? {
    next(tag).map(DERReader.init)
  }

  /// The bytes of the next value if that is a bit string of whole bytes.
  mutating func bits() -> Bytes? {
    guard let content = next(DERTag.bitString), content.count >= 1, content[0] == 0 else {
      return nil
    }
    return content.dropping(1)
  }
}

extension Bytes {
  /// Whether these are DER values through and through: those inside constructed ones, and the
  /// content of numbers, object identifiers and the like.
  var isWellFormedDER: Bool { isWellFormedDER(depth: 0) }

  private func isWellFormedDER(depth: Int) -> Bool {
    // Bound: names and extensions of certificates are nested less than ten deep.
    guard depth < 24 else { return false }
    var reader = DERReader(self)
    while let value = reader.next() {
      switch value.tag {
      case DERTag.sequence, DERTag.set, 0xA0...0xBE:
        if !value.content.isWellFormedDER(depth: depth + 1) { return false }
      default:
        if !value.isWellFormedPrimitive { return false }
      }
    }
    return reader.isAtEnd
  }
}

extension DERValue {
  /// Whether the content is of the form that the tag asks for (X.690 §8).
  fileprivate var isWellFormedPrimitive: Bool {
    switch tag {
    case DERTag.boolean: return content.count == 1
    case DERTag.null: return content.isEmpty
    case DERTag.bitString: return content.count >= 1 && content[0] <= 7
    case DERTag.integer:
      guard content.count > 1 else { return content.count == 1 }
      // Nine bits that are all alike are one too many.
      return content[0] != (content[1] & 0x80 == 0 ? 0x00 : 0xFF)
    case DERTag.objectIdentifier:
      // Groups of seven bits; the last byte of each group has its high bit clear.
      guard content.count >= 1, content[content.count - 1] & 0x80 == 0 else { return false }
      for index in 0..<content.count where content[index] == 0x80 {
        if index == 0 || content[index - 1] & 0x80 == 0 { return false }
      }
      return true
    case DERTag.utf8String:
      let bytes = unsafe UnsafeBufferPointer(start: content.unsafeBase, count: content.count)
      return unsafe String(validating: bytes, as: UTF8.self) != nil
    // Strings of single bytes, times, and implicitly tagged values.
    case DERTag.octetString, 0x12...0x18, 0x1A, 0x1B, 0x80...0x9E: return true
    default: return false
    }
  }
}
