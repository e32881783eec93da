// Cuts a head into lines and a line into a field: the part that both head parsers share.
//
// Each byte is looked at twice: once by the scanner, eight at a time, which stops at control
// characters only, so that finding the end of a line and refusing NUL, CR and LF in the wrong place
// are one pass; and once by whoever parses the line, when all of it is there. A head that comes
// byte by byte costs the same, because the scanner remembers how far it looked.

/// Finds the lines of a head as its bytes arrive.
struct LineScanner: BitwiseCopyable {
  /// Offset of the line that isn't complete yet.
  private(set) var lineStart = 0
  /// Bytes before this offset are known to hold no end of a line; after a failure, those before it
  /// had nothing wrong with them.
  private(set) var position = 0

  /// What `next` found.
  enum Line {
    case incomplete
    /// A line without its ending.
    case line(start: Int, end: Int)
    case failed(HeadError)
  }

  /// The next line of `bytes`, all that has been received since the start of the head.
  @inline(__always)
  mutating func next(_ bytes: Bytes, allowBareLineFeed: Bool) -> Line {
    while let at = bytes.firstControl(from: position) {
      switch bytes[at] {
      case 0x09:
        position = at + 1
      case 0x0D:
        guard at + 1 < bytes.count else {
          position = at
          return .incomplete
        }
        guard bytes[at + 1] == 0x0A else { return fail(.bareCarriageReturn, at + 1) }
        return endLine(at, length: 2)
      case 0x0A:
        guard allowBareLineFeed else { return fail(.bareLineFeed, at) }
        return endLine(at, length: 1)
      default:
        return fail(.controlCharacter, at)
      }
    }
    position = bytes.count
    return .incomplete
  }

  private mutating func fail(_ error: HeadError, _ at: Int) -> Line {
    position = at
    return .failed(error)
  }

  private mutating func endLine(_ end: Int, length: Int) -> Line {
    let start = lineStart
    lineStart = end + length
    position = lineStart
    return .line(start: start, end: end)
  }
}

extension Bytes {
  /// The index of the first control character (0x00–0x1F, 0x7F) at or after `start`.
  @inline(__always)
  func firstControl(from start: Int) -> Int? {
    var index = start
    while index &+ 8 <= count {
      let lanes = Words.controlLanes(word(at: index))
      if lanes != 0 { return index &+ lanes.trailingZeroBitCount &>> 3 }
      index &+= 8
    }
    while index < count {
      let byte = self[index]
      if byte < 0x20 || byte == 0x7F { return index }
      index &+= 1
    }
    return nil
  }
}

extension MessageHead {
  /// Adds the field line from `start` up to `end`, unless `limits` say to leave its name out.
  ///
  /// - Returns: why the line is refused, or nil.
  @inline(__always)
  mutating func appendLine(
    _ bytes: Bytes, _ start: Int, _ end: Int, limits: HeadLimits
  ) -> HeadError? {
    switch FieldLine.parse(bytes, start, end, limits: limits) {
    case .failed(let error): return error
    case .ignored: return nil
    case .field(let field):
      append(field)
      return nil
    }
  }
}

/// One field line, parsed.
enum FieldLine {
  case field(Field)
  /// A name with characters that `HeadLimits.ignoreInvalidFields` says to ignore.
  case ignored
  case failed(HeadError)

  /// Parses the line from `start` up to `end`, which the scanner found free of control characters
  /// other than HTAB and which isn't empty (RFC 9112 §5).
  @inline(__always)
  static func parse(_ bytes: Bytes, _ start: Int, _ end: Int, limits: HeadLimits) -> FieldLine {
    if bytes[start] == 0x20 || bytes[start] == 0x09 { return .failed(.foldedLine) }
    if let colon = bytes.prefix(end).firstIndex(of: 0x3A, from: start) {
      // A name that we know has no byte to object to.
      let token = FieldName.lookup(bytes.slice(start, colon))
      if token != .other { return .field(field(bytes, start, colon, end, token)) }
    }
    return parseUnknown(bytes, start, end, limits: limits)
  }

  /// The same for a line whose name isn't known: each of its bytes is looked at.
  private static func parseUnknown(
    _ bytes: Bytes, _ start: Int, _ end: Int, limits: HeadLimits
  ) -> FieldLine {
    var colon = start
    var isPlain = true
    while colon < end {
      let byte = bytes[colon]
      if !CharacterSet.plainName.contains(byte) {
        if byte == 0x3A { break }
        if byte <= 0x20 { return .failed(.spaceInFieldName) }
        isPlain = isPlain && byte == 0x5F && limits.allowUnderscores
      }
      colon &+= 1
    }
    guard colon < end else { return .failed(.missingColon) }
    guard colon > start else { return .failed(.emptyFieldName) }
    let name = bytes.slice(start, colon)
    if !isPlain {
      if limits.ignoreInvalidFields { return .ignored }
      guard CharacterSet.token.containsAll(name) else { return .failed(.invalidFieldName) }
    }
    return .field(field(bytes, start, colon, end, .other))
  }

  /// The field whose name ends at `colon`, its value without the white space around it.
  @inline(__always)
  private static func field(
    _ bytes: Bytes, _ start: Int, _ colon: Int, _ end: Int, _ token: FieldName
  ) -> Field {
    var from = colon + 1
    var to = end
    while from < to, bytes[from] == 0x20 || bytes[from] == 0x09 { from &+= 1 }
    while to > from, bytes[to &- 1] == 0x20 || bytes[to &- 1] == 0x09 { to &-= 1 }
    return Field(name: Slice(start, colon), value: Slice(from, to), token: token)
  }
}
