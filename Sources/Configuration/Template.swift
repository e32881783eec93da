// Words with variables in them: what nginx calls complex values.
//
// A row whose argument may have variables splits the word once, when the plan is compiled. There is
// no way to write a literal dollar, as in nginx, except from the environment: what `${env:…}` put
// into a word is never looked into.

/// A piece of a word with variables.
public enum TemplatePart: Sendable, Equatable {
  /// Text as it stands. Never empty, and never next to another literal.
  case literal(String)
  /// `$name` or `${name}`.
  case variable(String)
  /// `$1` to `$9`, or `${1}`: a group of the regular expression that matched last.
  case capture(Int)
}

/// Splits a word. A word without a dollar is one literal, the empty word is no parts.
public func splitTemplate(_ word: Word) throws(ValueError) -> [TemplatePart] {
  try splitTemplate(Array(word.text.utf8), opaque: word.environmentRanges ?? [])
}

/// Splits a text that isn't a word of its own, such as the value of a parameter.
public func splitTemplate(_ text: String) throws(ValueError) -> [TemplatePart] {
  try splitTemplate(Array(text.utf8), opaque: [])
}

private func splitTemplate(
  _ bytes: [UInt8], opaque: [Range<Int>]
) throws(ValueError) -> [TemplatePart] {
  var parts: [TemplatePart] = []
  var literalStart = 0
  var index = 0
  var opaque = opaque[...]
  while index < bytes.count {
    if let range = opaque.first, range.upperBound <= index {
      opaque.removeFirst()
    } else if bytes[index] != ASCII.dollar || opaque.first?.contains(index) == true {
      index += 1
    } else {
      appendLiteral(bytes[literalStart..<index], to: &parts)
      // A name ends where text from the environment begins.
      let end = opaque.first?.lowerBound ?? bytes.count
      parts.append(try reference(bytes[..<end], &index))
      literalStart = index
    }
  }
  appendLiteral(bytes[literalStart...], to: &parts)
  return parts
}

private func appendLiteral(_ bytes: ArraySlice<UInt8>, to parts: inout [TemplatePart]) {
  if !bytes.isEmpty { parts.append(.literal(String(decoding: bytes, as: UTF8.self))) }
}

/// The reference whose dollar is at `index`, which is moved behind it.
private func reference(
  _ bytes: ArraySlice<UInt8>, _ index: inout Int
) throws(ValueError) -> TemplatePart {
  var start = index + 1
  let isBraced = start < bytes.endIndex && bytes[start] == ASCII.openBrace
  if isBraced { start += 1 }
  var end = start
  if !isBraced, start < bytes.endIndex, ASCII.isDigit(bytes[start]), bytes[start] != 0x30 {
    // As in nginx, a capture has one digit: `$10` is `$1` and a zero.
    end = start + 1
  } else {
    while end < bytes.endIndex, ASCII.isName(bytes[end]) { end += 1 }
  }
  let name = String(decoding: bytes[start..<end], as: UTF8.self)
  let isClosed = !isBraced || (end < bytes.endIndex && bytes[end] == ASCII.closeBrace)
  guard isClosed else {
    let shown = String(decoding: bytes[index..<end], as: UTF8.self)
    throw ValueError("invalid variable name: \(quoted(shown)) is not closed by \"}\"")
  }
  guard !name.isEmpty else {
    throw ValueError(
      "invalid variable name: letters, digits or underscores must follow the \"$\" in "
        + quoted(String(decoding: bytes, as: UTF8.self)))
  }
  index = isBraced ? end + 1 : end
  if name.utf8.count == 1, let digit = Int(name), digit > 0 { return .capture(digit) }
  return .variable(name)
}
