// Parses the head of an HTTP/1 request (RFC 9112 §§2–5) as its bytes arrive.
//
// The caller appends what it receives to a buffer and calls `parse` with all of the buffer since
// the start of the head, until it isn't `.incomplete`. Accepted is what nginx accepts, minus
// everything on which two readers could disagree: see `HeadError` for the list. Nothing is
// repaired. Linear in the length of the head, however it is cut; no allocation once the table has
// grown.

/// A resumable parser of request heads.
public struct RequestHeadParser: Sendable {
  /// What is accepted; may be changed between heads.
  public var limits: HeadLimits
  private var scanner = LineScanner()
  private var fieldLines = 0
  private var emptyLines = 0

  private var isInRequestLine = true

  /// A parser at the start of a head.
  public init(limits: HeadLimits = HeadLimits()) { self.limits = limits }

  /// Back to the start of a head. The head itself is reset by its owner.
  public mutating func reset() { self = RequestHeadParser(limits: limits) }

  /// Parses as much as there is.
  ///
  /// - Parameters:
  ///   - bytes: everything received so far from the start of the head; more may follow the head.
  ///   - head: the head to fill, empty at the first call and untouched by others between calls.
  public mutating func parse(_ bytes: Bytes, into head: inout RequestHead) -> HeadProgress {
    while true {
      switch scanner.next(bytes, allowBareLineFeed: limits.allowBareLineFeed) {
      // What is too long is known by its length alone, so that nothing depends on how much of it is
      // there, nor on what comes behind.
      case .incomplete:
        return tooLong(scanner.lineStart, bytes.count).map { .failed($0) } ?? .incomplete
      case .failed(let error):
        return .failed(tooLong(scanner.lineStart, scanner.position) ?? error)
      case .line(let start, let end):
        if let error = tooLong(start, scanner.lineStart) { return .failed(error) }
        if isInRequestLine {
          if let error = parseFirst(bytes, start, end, &head) { return .failed(error) }
        } else if start == end {
          head.length = scanner.lineStart
          return .complete
        } else {
          if let error = parseField(bytes, start, end, &head) { return .failed(error) }
        }
      }
    }
  }

  /// Holds the limits against a head that reaches up to `end` with a line that began at `start`.
  @inline(__always)
  private func tooLong(_ start: Int, _ end: Int) -> HeadError? {
    if end - start <= limits.maxLineBytes && end <= limits.maxBytes { return nil }
    return isInRequestLine ? .requestLineTooLong : .headTooLong
  }

  private mutating func parseFirst(
    _ bytes: Bytes, _ start: Int, _ end: Int, _ head: inout RequestHead
  ) -> HeadError? {
    if start == end {
      emptyLines += 1
      return emptyLines > limits.maxEmptyLines ? .malformedRequestLine : nil
    }
    isInRequestLine = false
    return RequestHeadParser.parseLine(bytes, start, end, isHTTP2: false, &head)
  }

  /// Parses the request line from `start` up to `end`, which holds no control characters.
  static func parseLine(
    _ bytes: Bytes, _ start: Int, _ end: Int, isHTTP2: Bool, _ head: inout RequestHead
  ) -> HeadError? {
    RequestLine(bytes: bytes, start: start, end: end, isHTTP2: isHTTP2).parse(into: &head)
  }

  private mutating func parseField(
    _ bytes: Bytes, _ start: Int, _ end: Int, _ head: inout RequestHead
  ) -> HeadError? {
    fieldLines += 1
    if fieldLines > limits.maxFields { return .tooManyFields }
    return head.appendLine(bytes, start, end, limits: limits)
  }
}

/// A complete request line: `method SP target SP version` (RFC 9112 §3).
private struct RequestLine {
  let bytes: Bytes
  let start: Int
  let end: Int
  /// Whether the line was made from HTTP/2's pseudo-header fields.
  var isHTTP2 = false

  func parse(into head: inout RequestHead) -> HeadError? {
    guard let methodEnd = index(of: 0x20, from: start), methodEnd > start else {
      return CharacterSet.method.contains(bytes[start]) ? .malformedRequestLine : .invalidMethod
    }
    let method = bytes.slice(start, methodEnd)
    guard CharacterSet.method.containsAll(method) else { return .invalidMethod }
    guard let targetEnd = index(of: 0x20, from: methodEnd + 1), targetEnd > methodEnd + 1 else {
      return .malformedRequestLine
    }
    head.method = Method.lookup(method)
    head.methodName = Slice(start, methodEnd)
    head.target = Slice(methodEnd + 1, targetEnd)
    let error = parseVersion(bytes.slice(targetEnd + 1, end), &head)
    // Three words are no request line, whatever the second one is; of a version that isn't spoken
    // the target is judged as well, as nginx does.
    if error == .malformedRequestLine { return error }
    return parseTarget(methodEnd + 1, targetEnd, &head) ? error : .invalidTarget
  }

  private func index(of byte: UInt8, from: Int) -> Int? {
    bytes.prefix(end).firstIndex(of: byte, from: from)
  }

  /// `HTTP/1.DIGIT`; a major version above 1 is known for what it is (RFC 9112 §2.3).
  private func parseVersion(_ version: Bytes, _ head: inout RequestHead) -> HeadError? {
    guard version.count >= 6, version.hasPrefix(Bytes("HTTP/")) else {
      return .malformedRequestLine
    }
    if isHTTP2 { return version == Bytes("HTTP/2.0") ? nil : .unsupportedVersion }
    let major = version[5]
    guard ASCII.isDigit(major), major != 0x30 else { return .malformedRequestLine }
    if major != 0x31 { return .unsupportedVersion }
    guard version.count > 6 else { return .malformedRequestLine }
    if ASCII.isDigit(version[6]) { return .unsupportedVersion }
    guard version.count == 8, version[6] == 0x2E, ASCII.isDigit(version[7]) else {
      return .malformedRequestLine
    }
    head.minorVersion = version[7] == 0x30 ? 0 : 1
    return nil
  }

  private func parseTarget(_ from: Int, _ to: Int, _ head: inout RequestHead) -> Bool {
    if head.method == .connect {
      head.form = .authority
      head.authority = Slice(from, to)
      return Authority(bytes.slice(from, to))?.port != nil
    }
    if bytes[from] == 0x2F { return parsePath(from, to, &head) }
    if bytes[from] == 0x2A && to == from + 1 {
      head.form = .asterisk
      return head.method == .options
    }
    return parseAbsolute(from, to, &head)
  }

  /// `scheme "://" host[:port] [path] [?query]` (RFC 9112 §3.2.2).
  private func parseAbsolute(_ from: Int, _ to: Int, _ head: inout RequestHead) -> Bool {
    head.form = .absolute
    guard ASCII.isLetter(bytes[from]) else { return false }
    var index = from
    while index < to, CharacterSet.scheme.contains(bytes[index]) { index += 1 }
    guard to - index >= 3, bytes.slice(index, index + 3) == Bytes("://") else { return false }
    index += 3
    let hostStart = index
    while index < to, !RequestLine.endsAuthority(bytes[index]) { index += 1 }
    guard Authority(bytes.slice(hostStart, index)) != nil else { return false }
    head.authority = Slice(hostStart, index)
    return parsePath(index, to, &head)
  }

  private static func endsAuthority(_ byte: UInt8) -> Bool {
    byte == 0x2F || byte == 0x3F || byte == 0x23
  }

  /// Splits `[path][?query][#fragment]`. A fragment has no business here (RFC 9112 §3.2.1); like
  /// nginx we leave it out of path and query.
  private func parsePath(_ from: Int, _ to: Int, _ head: inout RequestHead) -> Bool {
    if index(of: 0x09, from: from) ?? to < to { return false }
    let fragment = bytes.prefix(to).firstIndex(of: 0x23, from: from) ?? to
    if let mark = bytes.prefix(fragment).firstIndex(of: 0x3F, from: from) {
      head.path = Slice(from, mark)
      head.query = Slice(mark + 1, fragment)
    } else {
      head.path = Slice(from, fragment)
    }
    return true
  }
}
