// Splits the bytes of one file into words, `;`, `{` and `}`, exactly where nginx does.
//
// The rules that surprise: a comment begins only where a word could; quotes open a word only at its
// beginning, and after the closing one a blank, `;`, `{` or `)` must follow; a backslash shields
// the next byte from the lexer everywhere; `{` after `$` belongs to the word; `}` ends nothing
// inside a word. One addition: `${env:…}` reaches to its `}`, blanks included.
//
// Tokens are offsets, so lexing allocates nothing. What is wrong is recorded in `problems` and
// lexing goes on. The parser is the only caller.

/// A piece of the source.
struct Token: BitwiseCopyable {
  enum Kind: UInt8, BitwiseCopyable {
    case word, semicolon, open, close, end
  }

  var kind: Kind
  /// The extent in the source, quotes included.
  var start: Int
  var end: Int
  /// The extent of the text, quotes excluded.
  var contentStart: Int
  var contentEnd: Int
  var isQuoted = false
  /// Whether the text has backslashes.
  var hasEscapes = false
  /// Whether the text has a complete `${env:…}`.
  var hasEnvironment = false
}

/// Something that isn't nginx's grammar, found while splitting.
struct LexicalProblem {
  var message: String
  var offset: Int
  var length = 1
}

/// The lexer of one file.
struct Lexer {
  let bytes: [UInt8]
  /// Where the next token is looked for. The parser moves it back to read a token again.
  var cursor: Int
  /// What was found wrong since the parser took it last.
  var problems: [LexicalProblem] = []

  init(_ bytes: [UInt8]) {
    self.bytes = bytes
    // A byte order mark is an editor's, not the user's.
    let hasMark = bytes.count >= 3 && bytes[0] == 0xEF && bytes[1] == 0xBB && bytes[2] == 0xBF
    cursor = hasMark ? 3 : 0
  }

  /// The next token; `.end` for ever once the file is used up.
  mutating func next() -> Token {
    skipBlanksAndComments()
    guard cursor < bytes.count else { return single(.end, length: 0) }
    switch bytes[cursor] {
    case ASCII.semicolon: return single(.semicolon)
    case ASCII.openBrace: return single(.open)
    case ASCII.closeBrace: return single(.close)
    case ASCII.doubleQuote, ASCII.singleQuote: return quotedWord()
    default: return plainWord()
    }
  }

  private mutating func skipBlanksAndComments() {
    let count = bytes.count
    var index = cursor
    while index < count {
      let byte = bytes[index]
      if ASCII.isBlank(byte) {
        index += 1
      } else if byte == ASCII.numberSign {
        while index < count, bytes[index] != ASCII.lineFeed { index += 1 }
      } else {
        break
      }
    }
    cursor = index
  }

  private mutating func single(_ kind: Token.Kind, length: Int = 1) -> Token {
    let start = cursor
    cursor += length
    return Token(
      kind: kind, start: start, end: cursor, contentStart: start, contentEnd: cursor)
  }

  private mutating func plainWord() -> Token {
    let count = bytes.count
    let start = cursor
    var token = Token(kind: .word, start: start, end: start, contentStart: start, contentEnd: start)
    var index = start
    scan: while index < count {
      switch bytes[index] {
      case ASCII.space, ASCII.lineFeed, ASCII.tab, ASCII.carriageReturn, ASCII.semicolon:
        break scan
      case ASCII.openBrace:
        guard let end = endOfQuantifier(index), index > start else { break scan }
        problems.append(
          LexicalProblem(
            message: "a regular expression with \"{\" must stand in quotes", offset: index,
            length: end - index))
        index = end
      case ASCII.backslash:
        token.hasEscapes = true
        index = min(index + 2, count)
      case ASCII.dollar:
        index = afterDollar(index, quote: nil, &token)
      default:
        index += 1
      }
    }
    token.end = index
    token.contentEnd = index
    cursor = index
    return token
  }

  /// The offset after a quantifier of a regular expression, such as `{3}` or `{2,}`; nil if none
  /// stands here. To nginx its brace opens a block, and no sensible block looks like that.
  private func endOfQuantifier(_ brace: Int) -> Int? {
    var index = brace + 1
    while index < bytes.count, ASCII.isDigit(bytes[index]) || bytes[index] == UInt8(ascii: ",") {
      index += 1
    }
    guard index > brace + 1, index < bytes.count, bytes[index] == ASCII.closeBrace else {
      return nil
    }
    return index + 1
  }

  /// The offset after a dollar and the braces that belong to it. nginx takes each `{` that follows
  /// a dollar at once as part of the word.
  private mutating func afterDollar(_ dollar: Int, quote: UInt8?, _ token: inout Token) -> Int {
    var index = dollar + 1
    guard index < bytes.count, bytes[index] == ASCII.openBrace else { return index }
    if isEnvironmentReference(dollar) {
      if let end = endOfReference(dollar, quote: quote) {
        token.hasEnvironment = true
        return end
      }
      problems.append(
        LexicalProblem(message: "\"${env:\" is not closed by \"}\"", offset: dollar, length: 6))
    }
    while index < bytes.count, bytes[index] == ASCII.openBrace { index += 1 }
    return index
  }

  /// Whether `${env:` stands at an offset.
  func isEnvironmentReference(_ dollar: Int) -> Bool {
    dollar + 6 <= bytes.count && bytes[dollar] == ASCII.dollar
      && bytes[dollar + 1] == ASCII.openBrace && bytes[dollar + 2] == UInt8(ascii: "e")
      && bytes[dollar + 3] == UInt8(ascii: "n") && bytes[dollar + 4] == UInt8(ascii: "v")
      && bytes[dollar + 5] == UInt8(ascii: ":")
  }

  /// The offset after the `}` of the reference at `dollar`; nil when its line, or the quoted word
  /// it stands in, ends before.
  func endOfReference(_ dollar: Int, quote: UInt8?) -> Int? {
    var index = dollar + 6
    while index < bytes.count {
      let byte = bytes[index]
      if byte == ASCII.closeBrace { return index + 1 }
      if byte == ASCII.lineFeed || byte == quote { return nil }
      index += byte == ASCII.backslash ? 2 : 1
    }
    return nil
  }
}

/// Words in quotes, and what people do to them.
extension Lexer {
  private mutating func quotedWord() -> Token {
    let count = bytes.count
    let start = cursor
    let quote = bytes[start]
    var token = Token(
      kind: .word, start: start, end: start, contentStart: start + 1, contentEnd: start + 1,
      isQuoted: true)
    var index = start + 1
    while index < count, bytes[index] != quote {
      switch bytes[index] {
      case ASCII.backslash:
        token.hasEscapes = true
        index = min(index + 2, count)
      case ASCII.dollar:
        index = afterDollar(index, quote: quote, &token)
      default:
        index += 1
      }
    }
    token.contentEnd = index
    guard index < count else {
      return cutAtLineEnd(token, "this quote is never closed")
    }
    token.end = index + 1
    cursor = index + 1
    guard cursor < count, !isAllowedAfterQuote(bytes[cursor]) else { return token }
    if spansLines(start..<index) {
      return cutAtLineEnd(
        token, "this quote is closed in a later line, in the middle of a word; is a quote missing?")
    }
    problems.append(
      LexicalProblem(
        message: "a blank or \";\" must follow the closing quote; quote the whole word or none",
        offset: cursor))
    return token
  }

  private func isAllowedAfterQuote(_ byte: UInt8) -> Bool {
    // nginx refuses `}`, too, and so does the parser, which misses the `;` before it.
    ASCII.isBlank(byte) || byte == ASCII.semicolon || byte == ASCII.openBrace
      || byte == ASCII.closeParenthesis || byte == ASCII.closeBrace
  }

  private func spansLines(_ range: Range<Int>) -> Bool {
    bytes[range].contains(ASCII.lineFeed)
  }

  /// Ends a quoted word at the end of its first line, as if the quote had been closed there before
  /// `;` or `{`: what follows is then most likely read as it was meant.
  private mutating func cutAtLineEnd(_ word: Token, _ message: String) -> Token {
    problems.append(LexicalProblem(message: message, offset: word.start))
    var token = word
    var end = word.contentStart
    while end < bytes.count, bytes[end] != ASCII.lineFeed { end += 1 }
    while end > word.contentStart, ASCII.isBlank(bytes[end - 1]) { end -= 1 }
    if end > word.contentStart,
      bytes[end - 1] == ASCII.semicolon || bytes[end - 1] == ASCII.openBrace
    {
      end -= 1
    }
    token.contentEnd = end
    token.end = end
    // The flags may speak of bytes after the cut; the text of a wrong word is never used.
    token.hasEscapes = false
    token.hasEnvironment = false
    cursor = end
    return token
  }
}
