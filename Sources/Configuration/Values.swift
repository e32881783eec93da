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
  /// `on` or `off`, in any case.
  public static func flag(_ text: String, of subject: String) throws(ValueError) -> Bool {
    if equalsIgnoringCase(text, "on") { return true }
    if equalsIgnoringCase(text, "off") { return false }
    throw ValueError(subject, mustBe: "\"on\" or \"off\"", not: text)
  }

  /// A decimal number without a sign.
  public static func integer(
    _ text: String, of subject: String, in range: ClosedRange<Int> = 0...Int.max
  ) throws(ValueError) -> Int {
    guard let value = digits(text.utf8[...]), range.contains(value) else {
      throw ValueError(subject, mustBe: describe(range), not: text)
    }
    return value
  }

  /// Bytes, as nginx reads sizes of memory: a number, alone or with `k` or `m`.
  public static func size(
    _ text: String, of subject: String, in range: ClosedRange<Int> = 0...Int.max
  ) throws(ValueError) -> Int {
    try bytes(text, of: subject, in: range, units: "km")
  }

  /// Bytes, as nginx reads sizes of files and bodies: a number, alone or with `k`, `m` or `g`.
  public static func offset(
    _ text: String, of subject: String, in range: ClosedRange<Int> = 0...Int.max
  ) throws(ValueError) -> Int {
    try bytes(text, of: subject, in: range, units: "kmg")
  }

  private static func bytes(
    _ text: String, of subject: String, in range: ClosedRange<Int>, units: String
  ) throws(ValueError) -> Int {
    let example = units == "km" ? "\"8k\" or \"1m\"" : "\"8k\", \"1m\" or \"2g\""
    var number = text.utf8[...]
    var shift = 0
    if let last = number.last, ASCII.isLetter(last) {
      guard let index = Array(units.utf8).firstIndex(of: last | 0x20) else {
        throw ValueError(subject, mustBe: "a size such as \(example)", not: text)
      }
      shift = 10 * (index + 1)
      number.removeLast()
    }
    guard let count = digits(number), count <= Int.max >> shift else {
      throw ValueError(subject, mustBe: "a size such as \(example)", not: text)
    }
    let value = count << shift
    guard range.contains(value) else {
      throw ValueError(subject, mustBe: describe(range, unit: " bytes"), not: text)
    }
    return value
  }

  /// A share in hundredths of a percent, from `0.01%` to `100%`, with at most two decimals.
  public static func percent(_ text: String, of subject: String) throws(ValueError) -> Int {
    let allowed = "a percentage such as \"50%\" or \"0.5%\""
    guard text.utf8.last == UInt8(ascii: "%") else {
      throw ValueError(subject, mustBe: allowed, not: text)
    }
    let parts = text.utf8.dropLast().split(
      separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    guard let whole = parts.first.flatMap({ digits($0) }), whole <= 100, parts.count <= 2 else {
      throw ValueError(subject, mustBe: allowed, not: text)
    }
    var hundredths = 0
    if parts.count == 2 {
      guard parts[1].count <= 2, let fraction = digits(parts[1]) else {
        throw ValueError(subject, mustBe: allowed, not: text)
      }
      hundredths = parts[1].count == 1 ? fraction * 10 : fraction
    }
    let value = whole * 100 + hundredths
    guard value > 0, value <= 10_000 else {
      throw ValueError(subject, mustBe: "above 0% and at most 100%", not: text)
    }
    return value
  }

  /// `key=value` split at the first `=`; nil when there is none or the key is empty.
  public static func parameter(_ text: String) -> (key: String, value: String)? {
    guard let equals = text.utf8.firstIndex(of: UInt8(ascii: "=")), equals > text.startIndex else {
      return nil
    }
    return (String(text[..<equals]), String(text[text.utf8.index(after: equals)...]))
  }
}

/// Choices.
extension Value {
  /// One of several names, in any case.
  public static func choice<Choice>(
    _ text: String, of subject: String, _ choices: KeyValuePairs<String, Choice>
  ) throws(ValueError) -> Choice {
    for (name, choice) in choices where equalsIgnoringCase(text, name) { return choice }
    throw ValueError(unknown(text, of: subject, choices.map(\.key), article: ""))
  }

  /// Several names, in any case, each adding its bits. The same name twice is an error.
  public static func bits<Bits: OptionSet>(
    _ texts: [String], of subject: String, _ choices: KeyValuePairs<String, Bits>
  ) throws(ValueError) -> Bits {
    var bits: Bits = []
    var seen: [String] = []
    next: for text in texts {
      for (name, choice) in choices where equalsIgnoringCase(text, name) {
        guard !seen.contains(name) else {
          throw ValueError("\(quoted(subject)) names \(quoted(text)) twice")
        }
        seen.append(name)
        bits.formUnion(choice)
        continue next
      }
      throw ValueError(unknown(text, of: subject, choices.map(\.key), article: "any of "))
    }
    return bits
  }

  private static func unknown(
    _ text: String, of subject: String, _ names: [String], article: String
  ) -> String {
    let allowed = article + list(names, before: article.isEmpty ? "or" : "and")
    let message = "\(quoted(subject)) must be \(allowed), not \(quoted(text))"
    guard names.count > 3, let near = nearestName(to: text, among: names) else { return message }
    return message + "; did you mean \(quoted(near))?"
  }

  /// `"a", "b" or "c"`.
  static func list(_ names: [String], before last: String) -> String {
    let words = names.map { quoted($0) }
    guard words.count > 1, let end = words.last else { return words.first ?? "nothing" }
    return words.dropLast().joined(separator: ", ") + " \(last) " + end
  }
}

extension Value {
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

  static func equalsIgnoringCase(_ left: String, _ right: String) -> Bool {
    left.utf8.count == right.utf8.count
      && zip(left.utf8, right.utf8).allSatisfy { lowercase($0) == lowercase($1) }
  }

  private static func lowercase(_ byte: UInt8) -> UInt8 {
    byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z") ? byte | 0x20 : byte
  }

  static func describe(_ range: ClosedRange<Int>, unit: String = "") -> String {
    switch (range.lowerBound, range.upperBound) {
    case (Int.min...0, Int.max): unit.isEmpty ? "a number" : "a number of\(unit)"
    case (let low, Int.max): "a number of at least \(low)\(unit)"
    case (let low, let high): "between \(low) and \(high)\(unit)"
    }
  }
}
