// The head of an HTTP/2 request in the form of HTTP/1, so that everything behind it knows one form.
//
// Whoever decodes a header block (RFC 9113 §8.3) collects the pseudo-header fields, writes them as
//
//   METHOD SP :path SP "HTTP/2.0" CRLF
//   "host: " :authority CRLF
//   name ": " value CRLF …
//
// into a buffer, and has each line checked here by the rules of HTTP/1: what a request line or a
// field line may not hold can't come in by the other protocol. Nothing is repaired.

/// The rules for heads that were decoded from HTTP/2.
public enum HTTP2Head {
  /// Reads the request line between `start` and `end`.
  ///
  /// - Parameters:
  ///   - bytes: the bytes that the head's slices are relative to.
  ///   - head: the empty head to fill.
  /// - Returns: why the line is refused, or nil.
  public static func readLine(
    _ bytes: Bytes, _ start: Int, _ end: Int, into head: inout RequestHead
  ) -> HeadError? {
    if bytes.prefix(end).firstControl(from: start) != nil { return .controlCharacter }
    head.isHTTP2 = true
    return RequestHeadParser.parseLine(bytes, start, end, isHTTP2: true, &head)
  }

  /// Reads the field line between `start` and `end`, without its CRLF, and adds it to the table
  /// unless `limits` say to leave its name out.
  ///
  /// - Returns: why the line is refused, or nil.
  public static func readField(
    _ bytes: Bytes, _ start: Int, _ end: Int, limits: HeadLimits, into head: inout RequestHead
  ) -> HeadError? {
    var from = start
    while let control = bytes.prefix(end).firstControl(from: from) {
      if bytes[control] != 0x09 { return .controlCharacter }
      from = control + 1
    }
    return head.appendLine(bytes, start, end, limits: limits)
  }

  /// Calls `body` with the value of each Cookie field.
  public static func forEachCookie(_ head: RequestHead, _ body: (Slice) -> Void) {
    for field in head.fields where field.token == .cookie { body(field.value) }
  }

  /// Takes the Cookie fields out of the table, which are to be joined by "; " (RFC 9113 §8.2.3).
  public static func removeCookies(_ head: inout RequestHead) {
    head.fields.removeAll { $0.token == .cookie }
    head.present.remove(.cookie)
    head.repeated.remove(.cookie)
  }
}
