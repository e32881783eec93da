// Frames of HTTP/2, written byte by byte, so that tests can send what no library would.

/// One frame (RFC 9113 §4.1).
struct H2Frame: Sendable {
  enum Kind: UInt8, Sendable {
    case data, headers, priority, reset, settings, pushPromise, ping, goAway, windowUpdate
    case continuation
  }

  static let endStream: UInt8 = 1
  static let endHeaders: UInt8 = 4
  static let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

  var kind: UInt8
  var flags: UInt8 = 0
  var stream: UInt32 = 0
  var payload: [UInt8] = []

  init(_ kind: Kind, flags: UInt8 = 0, stream: UInt32 = 0, _ payload: [UInt8] = []) {
    self.kind = kind.rawValue
    self.flags = flags
    self.stream = stream
    self.payload = payload
  }

  /// The frame whose head is `head`, nine bytes; its payload is still to come.
  init(head: [UInt8]) {
    kind = head[3]
    flags = head[4]
    stream = head[5...8].reduce(0) { $0 << 8 | UInt32($1) } & 0x7fff_ffff
  }

  /// How long the payload behind `head` is.
  static func length(head: [UInt8]) -> Int { head[0...2].reduce(0) { $0 << 8 | Int($1) } }

  var endsStream: Bool { flags & Self.endStream != 0 }

  var bytes: [UInt8] {
    let count = payload.count
    return [UInt8(count >> 16), UInt8(count >> 8 & 255), UInt8(count & 255), kind, flags]
      + Self.number(stream) + payload
  }

  static func number(_ value: UInt32) -> [UInt8] {
    [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> UInt32($0)) }
  }

  // --- the frames of a response ------------------------------------------------------------------

  /// A head or trailers in one frame; every field a literal that no table remembers.
  static func headers(_ stream: UInt32, _ fields: [(String, String)], end: Bool = false) -> [UInt8]
  {
    H2Frame(.headers, flags: endHeaders | (end ? endStream : 0), stream: stream, block(fields))
      .bytes
  }

  static func block(_ fields: [(String, String)]) -> [UInt8] {
    fields.flatMap { [0] + text($0.0) + text($0.1) }
  }

  private static func text(_ text: String) -> [UInt8] {
    let bytes = Array(text.utf8)
    if bytes.count < 127 { return [UInt8(bytes.count)] + bytes }
    var rest = bytes.count - 127
    var prefix: [UInt8] = [127]
    while rest >= 128 {
      prefix.append(UInt8(rest & 127 | 128))
      rest >>= 7
    }
    return prefix + [UInt8(rest)] + bytes
  }

  static func data(_ stream: UInt32, _ body: String, end: Bool = false) -> [UInt8] {
    H2Frame(.data, flags: end ? endStream : 0, stream: stream, Array(body.utf8)).bytes
  }

  static func reset(_ stream: UInt32, code: UInt32) -> [UInt8] {
    H2Frame(.reset, stream: stream, number(code)).bytes
  }

  static func goAway(last: UInt32, code: UInt32 = 0) -> [UInt8] {
    H2Frame(.goAway, number(last) + number(code)).bytes
  }

  static func settings(_ values: [(UInt16, UInt32)]) -> [UInt8] {
    H2Frame(
      .settings, values.flatMap { [UInt8($0.0 >> 8), UInt8($0.0 & 255)] + number($0.1) }
    ).bytes
  }

  /// A whole response with status 200.
  static func answer(_ stream: UInt32, _ body: String) -> [UInt8] {
    headers(stream, [(":status", "200")]) + data(stream, body, end: true)
  }
}
