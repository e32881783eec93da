// One way to write each configuration: a directive a line, two blanks a level, quotes where needed.
//
// Golden tests compare this form, and reading it gives the same tree again (a test says so).
// Includes and the environment are already in place; only a `${env:` that came from the environment
// itself can't be written.

/// The tree as text.
public func canonical(_ tree: ConfigurationTree) -> String {
  var output = ""
  write(tree.directives, level: 0, to: &output)
  return output
}

private func write(_ directives: [Directive], level: Int, to output: inout String) {
  let margin = String(repeating: "  ", count: level)
  for directive in directives {
    output += margin
    write(directive.name, to: &output)
    for argument in directive.arguments {
      output += " "
      write(argument, to: &output)
    }
    guard let block = directive.block else {
      output += ";\n"
      continue
    }
    if block.isEmpty {
      output += " {}\n"
    } else {
      output += " {\n"
      write(block, level: level + 1, to: &output)
      output += margin + "}\n"
    }
  }
}

private func write(_ word: Word, to output: inout String) {
  let bytes = Array(word.text.utf8)
  let isQuoted = word.isQuoted || needsQuotes(bytes)
  var text: [UInt8] = []
  if isQuoted { text.append(ASCII.doubleQuote) }
  for (index, byte) in bytes.enumerated() {
    switch byte {
    case ASCII.doubleQuote where isQuoted: text += #"\""#.utf8
    case ASCII.tab: text += #"\t"#.utf8
    case ASCII.carriageReturn: text += #"\r"#.utf8
    case ASCII.lineFeed: text += #"\n"#.utf8
    case ASCII.backslash:
      // Where reading would take it as an escape, a backslash is doubled; elsewhere it stays as
      // people write it in regular expressions.
      let following = index + 1 < bytes.count ? bytes[index + 1] : ASCII.backslash
      text += (#"\"'trn"#.utf8.contains(following) || isControl(following) ? #"\\"# : #"\"#).utf8
    default: text.append(byte)
    }
  }
  if isQuoted { text.append(ASCII.doubleQuote) }
  output += String(decoding: text, as: UTF8.self)
}

private func isControl(_ byte: UInt8) -> Bool {
  byte == ASCII.tab || byte == ASCII.lineFeed || byte == ASCII.carriageReturn
}

/// Whether a word would be read as something else without quotes.
private func needsQuotes(_ bytes: [UInt8]) -> Bool {
  guard let first = bytes.first else { return true }
  let opensOther = [ASCII.doubleQuote, ASCII.singleQuote, ASCII.numberSign, ASCII.closeBrace]
  if opensOther.contains(first) { return true }
  for (index, byte) in bytes.enumerated() {
    if ASCII.isBlank(byte) || byte == ASCII.semicolon { return true }
    if byte == ASCII.openBrace, index == 0 || bytes[index - 1] != ASCII.dollar { return true }
  }
  return false
}
