// The format of the files that `env_file` names: `KEY=VALUE` lines, as Docker and shells read them.
//
//   # a comment
//   export APP_HOST=10.0.0.3
//   GREETING="two words"      # quotes are removed; \" \\ \n are escapes within double ones
//
// Values are not looked into for variables. The parser calls this before it reads any word.

/// The values that a file sets; a later line wins. Lines of another form are reported and passed
/// over.
func parseEnvironmentFile(
  _ file: SourceFile, index fileIndex: Int32, diagnostics: inout Diagnostics
) -> [String: String] {
  var values: [String: String] = [:]
  for line in file.lineStarts.indices {
    let range = file.range(ofLine: line)
    var text = trim(file.bytes[range])
    // Editors of Windows put a byte order mark in front.
    if line == 0 && text.starts(with: [0xef, 0xbb, 0xbf]) { text = trim(text.dropFirst(3)) }
    guard let first = text.first, first != ASCII.numberSign else { continue }
    let position = Position(file: fileIndex, offset: UInt32(text.startIndex))
    if let (key, value) = parseLine(text) {
      values[key] = value
    } else {
      diagnostics.error(
        "a line must be NAME=VALUE, with or without quotes, or a comment", at: position,
        length: text.count)
    }
  }
  return values
}

private func parseLine(_ line: ArraySlice<UInt8>) -> (key: String, value: String)? {
  var line = line
  if line.starts(with: "export ".utf8) { line = trim(line.dropFirst(7)) }
  let name = line.prefix { ASCII.isName($0) }
  guard let first = name.first, !ASCII.isDigit(first) else { return nil }
  let rest = line[name.endIndex...]
  guard rest.first == UInt8(ascii: "=") else { return nil }
  guard let value = parseValue(trim(rest.dropFirst())),
    let text = String(validating: value, as: UTF8.self)
  else { return nil }
  return (String(decoding: name, as: UTF8.self), text)
}

/// The value, unquoted; nil when a quote isn't closed or something follows it.
private func parseValue(_ source: ArraySlice<UInt8>) -> [UInt8]? {
  guard let quote = source.first, quote == ASCII.doubleQuote || quote == ASCII.singleQuote else {
    return Array(withoutComment(source))
  }
  var value: [UInt8] = []
  var index = source.startIndex + 1
  while index < source.endIndex, source[index] != quote {
    var byte = source[index]
    if byte == ASCII.backslash, quote == ASCII.doubleQuote, index + 1 < source.endIndex {
      let escaped = source[index + 1]
      if escaped == ASCII.doubleQuote || escaped == ASCII.backslash || escaped == ASCII.dollar {
        byte = escaped
        index += 1
      } else if escaped == UInt8(ascii: "n") {
        byte = ASCII.lineFeed
        index += 1
      }
    }
    value.append(byte)
    index += 1
  }
  guard index < source.endIndex else { return nil }
  let rest = trim(source[(index + 1)...])
  return rest.isEmpty || rest.first == ASCII.numberSign ? value : nil
}

/// A value without quotes ends at a blank and `#`.
private func withoutComment(_ value: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
  var index = value.startIndex
  while index < value.endIndex {
    let isComment =
      value[index] == ASCII.numberSign
      && (index == value.startIndex || ASCII.isBlank(value[index - 1]))
    if isComment { break }
    index += 1
  }
  return trim(value[..<index])
}

private func trim(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
  var slice = bytes.drop { ASCII.isBlank($0) }
  while let last = slice.last, ASCII.isBlank(last) { slice.removeLast() }
  return slice
}

/// Whether a sequence of bytes occurs in another.
func contains(_ bytes: [UInt8], _ wanted: [UInt8]) -> Bool {
  guard let first = wanted.first, bytes.count >= wanted.count else { return wanted.isEmpty }
  for start in 0...(bytes.count - wanted.count) where bytes[start] == first {
    if bytes[start..<(start + wanted.count)].elementsEqual(wanted) { return true }
  }
  return false
}
