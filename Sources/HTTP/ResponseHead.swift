// A response's head as a table of offsets, and its parser (RFC 9112 §4).
//
// Upstreams are read as strictly as clients: an upstream and we must agree on where its response
// ends, or the next client gets the rest of it. What is tolerated is a missing reason phrase.

/// The head of a response.
public struct ResponseHead: MessageHead, Sendable {
  /// 100–999.
  public var statusCode = 0
  /// The reason phrase as sent; may be empty.
  public var reason = Slice()
  /// 0 for HTTP/1.0, 1 for HTTP/1.1 and for later minor versions.
  public var minorVersion: UInt8 = 1
  public var fields: [Field] = []
  public var present = FieldNames()
  public var repeated = FieldNames()
  /// The bytes of the head, the final empty line included; 0 until it is complete.
  public var length = 0

  /// An empty head, with room for the fields of ordinary responses.
  public init() { fields.reserveCapacity(32) }

  /// Empties the head for the next response and keeps the capacity of its table.
  public mutating func reset() {
    statusCode = 0
    reason = Slice()
    minorVersion = 1
    length = 0
    removeFields()
  }
}

/// A resumable parser of response heads. See `RequestHeadParser` for how it is fed.
public struct ResponseHeadParser: Sendable {
  /// What is accepted; may be changed between heads.
  public var limits: HeadLimits
  private var scanner = LineScanner()
  private var fieldLines = 0

  /// Whether the status line isn't complete.
  public private(set) var isInStatusLine = true

  /// Where the line begins that made parsing fail, from the start of the head.
  public private(set) var failedLineStart = 0

  /// A parser at the start of a head.
  public init(limits: HeadLimits = .response) { self.limits = limits }

  /// Back to the start of a head. The head itself is reset by its owner.
  public mutating func reset() { self = ResponseHeadParser(limits: limits) }

  /// Parses as much as there is.
  ///
  /// - Parameters:
  ///   - bytes: everything received so far from the start of the head; more may follow the head.
  ///   - head: the head to fill, empty at the first call and untouched by others between calls.
  public mutating func parse(_ bytes: Bytes, into head: inout ResponseHead) -> HeadProgress {
    while true {
      switch scanner.next(bytes, allowBareLineFeed: limits.allowBareLineFeed) {
      case .incomplete: return .incomplete
      case .failed(let error):
        failedLineStart = scanner.lineStart
        return .failed(error)
      case .line(let start, let end):
        if isInStatusLine {
          isInStatusLine = false
          guard ResponseHeadParser.parseStatusLine(bytes, start, end, &head) else {
            return .failed(.malformedStatusLine)
          }
        } else if start == end {
          head.length = scanner.lineStart
          return .complete
        } else {
          if let error = parseField(bytes, start, end, &head) {
            failedLineStart = start
            return .failed(error)
          }
        }
      }
    }
  }

  /// `HTTP/1.DIGIT SP 3DIGIT [SP reason]`.
  private static func parseStatusLine(
    _ bytes: Bytes, _ start: Int, _ end: Int, _ head: inout ResponseHead
  ) -> Bool {
    let line = bytes.slice(start, end)
    guard line.count >= 12, line.hasPrefix(Bytes("HTTP/1.")), line[8] == 0x20,
      ASCII.isDigit(line[7]),
      let code = line.slice(9, 12).decimal, code >= 100
    else { return false }
    head.minorVersion = line[7] == 0x30 ? 0 : 1
    head.statusCode = code
    guard line.count > 12 else { return true }
    guard line[12] == 0x20 else { return false }
    head.reason = Slice(start + 13, end)
    return true
  }

  private mutating func parseField(
    _ bytes: Bytes, _ start: Int, _ end: Int, _ head: inout ResponseHead
  ) -> HeadError? {
    fieldLines += 1
    if fieldLines > limits.maxFields { return .tooManyFields }
    return head.appendLine(bytes, start, end, limits: limits)
  }
}
