// From a token to a word: quotes off, escapes resolved, the environment put in.
//
// As in nginx, `\"`, `\'` and `\\` lose their backslash, `\t`, `\r` and `\n` become the control
// character, and any other backslash stays (regular expressions rely on that). `${env:NAME}` and
// `${env:NAME:-default}` are replaced in the same pass, so that a value is never read again: a
// quote, a semicolon, a dollar or another `${env:` in it is plain text.

extension Parser {
  /// The word that a token stands for. Errors in it are reported, and the word is still usable.
  mutating func word(_ token: Token, _ lexer: Lexer) -> Word {
    let content = token.contentStart..<token.contentEnd
    var word = Word(
      text: "", position: position(token.start), length: token.end - token.start,
      isQuoted: token.isQuoted)
    if token.hasEscapes || token.hasEnvironment {
      expand(content, lexer, into: &word)
    } else if let valid = try? UTF8Span(validating: lexer.bytes.span.extracting(content)) {
      // Through a span, because `String(validating:as:)` is generic and costs twice the time.
      word.text = String(copying: valid)
    } else {
      word.text = String(decoding: lexer.bytes[content], as: UTF8.self)
      reportEncoding(word)
    }
    return word
  }

  private mutating func reportEncoding(_ word: Word) {
    diagnostics.error("this word is not valid UTF-8; save the file in UTF-8", at: word)
  }

  private mutating func expand(_ content: Range<Int>, _ lexer: Lexer, into word: inout Word) {
    var output: [UInt8] = []
    output.reserveCapacity(content.count)
    var substituted: [Range<Int>] = []
    var index = content.lowerBound
    while index < content.upperBound {
      let byte = lexer.bytes[index]
      if byte == ASCII.backslash {
        index = unescape(lexer.bytes, index, content.upperBound, into: &output)
      } else if byte == ASCII.dollar, lexer.isEnvironmentReference(index),
        let end = lexer.endOfReference(index, quote: quote(of: word, lexer)),
        end <= content.upperBound
      {
        let start = output.count
        output += environmentValue(index..<end, lexer)
        if output.count > start { substituted.append(start..<output.count) }
        index = end
      } else {
        output.append(byte)
        index += 1
      }
    }
    if !substituted.isEmpty { word.environmentRanges = substituted }
    if let text = String(validating: output, as: UTF8.self) {
      word.text = text
    } else {
      word.text = String(decoding: output, as: UTF8.self)
      word.environmentRanges = nil
      reportEncoding(word)
    }
  }

  private func quote(of word: Word, _ lexer: Lexer) -> UInt8? {
    word.isQuoted ? lexer.bytes[Int(word.position.offset)] : nil
  }

  /// Resolves the escape at `index`; the result is the offset after it.
  private func unescape(
    _ bytes: [UInt8], _ index: Int, _ end: Int, into output: inout [UInt8]
  ) -> Int {
    guard index + 1 < end else {
      output.append(ASCII.backslash)
      return index + 1
    }
    switch bytes[index + 1] {
    case ASCII.doubleQuote, ASCII.singleQuote, ASCII.backslash: output.append(bytes[index + 1])
    case UInt8(ascii: "t"): output.append(ASCII.tab)
    case UInt8(ascii: "r"): output.append(ASCII.carriageReturn)
    case UInt8(ascii: "n"): output.append(ASCII.lineFeed)
    default:
      output.append(ASCII.backslash)
      // The next byte is text even if it is a dollar, as for the lexer.
      output.append(bytes[index + 1])
    }
    return index + 2
  }

  /// The value of the reference in `range`, braces included; empty after an error.
  private mutating func environmentValue(_ range: Range<Int>, _ lexer: Lexer) -> [UInt8] {
    let inner = lexer.bytes[(range.lowerBound + 6)..<(range.upperBound - 1)]
    var nameEnd = inner.startIndex
    while nameEnd < inner.endIndex, ASCII.isName(inner[nameEnd]) { nameEnd += 1 }
    let name = String(decoding: inner[..<nameEnd], as: UTF8.self)
    let rest = inner[nameEnd...]
    let hasDefault = rest.starts(with: [UInt8(ascii: ":"), UInt8(ascii: "-")])
    guard !name.isEmpty, rest.isEmpty || hasDefault else {
      diagnostics.error(
        "\"${env:…}\" must be \"${env:NAME}\" or \"${env:NAME:-default}\", where NAME is letters, "
          + "digits and underscores",
        at: position(range.lowerBound), length: range.count)
      return []
    }
    // As in the shell, `:-` takes the default for an empty value, too.
    let value = files.environment(name) ?? environmentFileValues[name]
    if let value, !(hasDefault && value.isEmpty) { return Array(value.utf8) }
    if hasDefault { return defaultValue(rest.dropFirst(2)) }
    diagnostics.error(
      "the environment variable \"\(name)\" is not set; set it, or give a default: "
        + "\"${env:\(name):-default}\"",
      at: position(range.lowerBound), length: range.count)
    return []
  }

  /// A default with its escapes resolved; `\}` stands for a brace.
  private func defaultValue(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
    let source = Array(bytes)
    var output: [UInt8] = []
    var index = 0
    while index < source.count {
      if source[index] == ASCII.backslash, index + 1 < source.count,
        source[index + 1] == ASCII.closeBrace
      {
        output.append(ASCII.closeBrace)
        index += 2
      } else if source[index] == ASCII.backslash {
        index = unescape(source, index, source.count, into: &output)
      } else {
        output.append(source[index])
        index += 1
      }
    }
    return output
  }
}
