// The types that arguments have, read by nginx's rules.
//
// Rows in Engine call these with the text of a word, or the value of a `key=value` parameter, and
// with the name that the message is to begin with. Each either gives the value or throws a
// `ValueError` that says what is allowed: `"gzip_comp_level" must be between 1 and 9, not "11"`.
// The caller knows the word and so the place.

/// Why a text isn't a value of the type that is wanted.
public struct ValueError: Error, Sendable, Equatable {
  /// The whole message, ready for `Diagnostics.error(_:at:)`.
  public var message: String

  public init(_ message: String) {
    self.message = message
  }

  /// `"subject" must be <allowed>, not "text"`.
  public init(_ subject: String, mustBe allowed: String, not text: String) {
    message = "\(quoted(subject)) must be \(allowed), not \(quoted(text))"
  }
}

/// The readers. `subject` is the name of the directive or parameter that the value is for.
public enum Value {
  /// Bytes: a number, alone or with `k`, `m` or `g`.
  public static func size(_ text: String, of subject: String) throws(ValueError) -> Int {
    var number = text.utf8[...]
    var shift = 0
    switch number.last.map({ $0 | 0x20 }) {
    case UInt8(ascii: "k"): shift = 10
    case UInt8(ascii: "m"): shift = 20
    case UInt8(ascii: "g"): shift = 30
    default: break
    }
    if shift > 0 { number.removeLast() }
    guard let count = digits(number), count <= Int.max >> shift else {
      throw ValueError(subject, mustBe: "a size such as \"8k\", \"1m\" or \"2g\"", not: text)
    }
    return count << shift
  }

  /// A number of ASCII digits alone; nil for anything else, and when it doesn't fit.
  static func digits(_ text: some Collection<UInt8>) -> Int? {
    guard !text.isEmpty else { return nil }
    var value = 0
    for byte in text {
      guard ASCII.isDigit(byte) else { return nil }
      let (product, overflow) = value.multipliedReportingOverflow(by: 10)
      let (sum, carry) = product.addingReportingOverflow(Int(byte - UInt8(ascii: "0")))
      guard !overflow, !carry else { return nil }
      value = sum
    }
    return value
  }
}
