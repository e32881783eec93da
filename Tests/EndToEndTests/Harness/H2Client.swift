// A client of HTTP/2 that sends exactly the frames it is told: for what no real client does. Header
// blocks are written as literals (RFC 7541 §6.2.2, no Huffman code) and of responses only the status
// is read.

import Foundation

/// A frame (RFC 9113 §4.1).
struct H2Frame {
  enum Kind: UInt8 {
    case data, headers, priority, rstStream, settings, pushPromise, ping, goAway, windowUpdate
    case continuation
  }

  var kind: Kind?
  var flags: UInt8
  var stream: Int32
  var payload: [UInt8]

  var endsStream: Bool { flags & 1 != 0 }

  /// The error code of a GOAWAY or RST_STREAM.
  var code: UInt32? {
    switch kind {
    case .goAway where payload.count >= 8: Self.number(payload[4..<8])
    case .rstStream where payload.count == 4: Self.number(payload[0..<4])
    default: nil
    }
  }

  /// The status of a response's HEADERS, if it is one of HPACK's static table.
  var status: Int? {
    guard kind == .headers, let first = payload.first(where: { $0 & 0xE0 != 0x20 }) else { return nil }
    let known = [200, 204, 206, 304, 400, 404, 500]
    let index = Int(first & 0x7F) - 8
    return first & 0x80 != 0 && known.indices.contains(index) ? known[index] : nil
  }

  private static func number(_ bytes: ArraySlice<UInt8>) -> UInt32 {
    bytes.reduce(0) { $0 << 8 | UInt32($1) }
  }
}

/// Error codes (RFC 9113 §7).
enum H2Code {
  static let noError: UInt32 = 0
  static let protocolError: UInt32 = 1
  static let streamClosed: UInt32 = 5
  static let cancel: UInt32 = 8
  static let enhanceYourCalm: UInt32 = 11
}

/// A connection that speaks HTTP/2 with prior knowledge.
final class H2Client {
  let raw: RawClient

  /// Connects and sends the preface with `settings`, pairs of identifier and value.
  init(port: UInt16, settings: [(UInt16, UInt32)] = []) throws {
    raw = try RawClient(port: port)
    try raw.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    let payload = settings.flatMap { Self.bytes(UInt32($0.0), 2) + Self.bytes($0.1, 4) }
    try send(.settings, payload: payload)
  }

  static func bytes(_ value: UInt32, _ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: value >> UInt32(8 * (count - 1 - $0))) }
  }

  /// The bytes of a frame.
  static func frame(
    _ kind: H2Frame.Kind, flags: UInt8 = 0, stream: Int32 = 0, payload: [UInt8] = []
  ) -> [UInt8] {
    bytes(UInt32(payload.count), 3) + [kind.rawValue, flags] + bytes(UInt32(stream), 4) + payload
  }

  func send(
    _ kind: H2Frame.Kind, flags: UInt8 = 0, stream: Int32 = 0, payload: [UInt8] = []
  ) throws {
    try raw.send(Self.frame(kind, flags: flags, stream: stream, payload: payload))
  }

  /// A literal field that is not indexed.
  static func literal(_ name: String, _ value: String) -> [UInt8] {
    [0] + text(name) + text(value)
  }

  private static func text(_ text: String) -> [UInt8] {
    let bytes = Array(text.utf8)
    if bytes.count < 127 { return [UInt8(bytes.count)] + bytes }
    var rest = bytes.count - 127
    var length: [UInt8] = [127]
    while rest >= 128 {
      length.append(UInt8(rest & 127) | 128)
      rest >>= 7
    }
    return length + [UInt8(rest)] + bytes
  }

  /// The header block of a request.
  static func block(
    _ path: String = "/", method: String = "GET", authority: String? = "localhost",
    fields: [(String, String)] = [], protocolName: String? = nil
  ) -> [UInt8] {
    var block = literal(":method", method) + literal(":scheme", "http") + literal(":path", path)
    if let authority { block += literal(":authority", authority) }
    if let protocolName { block += literal(":protocol", protocolName) }
    return block + fields.flatMap { literal($0.0, $0.1) }
  }

  /// Asks for `path`; without `ends` a body follows.
  func request(
    _ stream: Int32, _ path: String = "/", method: String = "GET", ends: Bool = true,
    authority: String? = "localhost", fields: [(String, String)] = [], protocolName: String? = nil
  ) throws {
    let block = Self.block(
      path, method: method, authority: authority, fields: fields, protocolName: protocolName)
    try send(.headers, flags: ends ? 5 : 4, stream: stream, payload: block)
  }

  /// The next frame.
  func frame(within seconds: Double = 5) throws -> H2Frame {
    let header = try raw.read(count: 9, within: seconds)
    let length = header[0..<3].reduce(0) { $0 << 8 | Int($1) }
    let stream = header[5..<9].reduce(Int32(0)) { $0 << 8 | Int32($1) }
    return H2Frame(
      kind: H2Frame.Kind(rawValue: header[3]), flags: header[4], stream: stream,
      payload: try raw.read(count: length, within: seconds))
  }

  /// The first frame that `isWanted`, the others passed over.
  func frame(within seconds: Double = 5, where isWanted: (H2Frame) -> Bool) throws -> H2Frame {
    let deadline = Date(timeIntervalSinceNow: seconds)
    while true {
      let frame = try frame(within: max(0.01, deadline.timeIntervalSinceNow))
      if isWanted(frame) { return frame }
    }
  }

  /// A whole response: status (of the static table) and body.
  func response(_ stream: Int32, within seconds: Double = 5) throws -> (status: Int?, body: [UInt8]) {
    var status: Int?
    var body: [UInt8] = []
    while true {
      let frame = try frame(within: seconds) { $0.stream == stream }
      switch frame.kind {
      case .headers: status = status ?? frame.status
      case .data: body += frame.payload
      case .rstStream: throw RawClient.Failure.closed(received: "RST_STREAM \(frame.code ?? 0)")
      default: break
      }
      if frame.endsStream && (frame.kind == .headers || frame.kind == .data) { return (status, body) }
    }
  }

  /// The code of the GOAWAY that ends the connection, or nil if it closes without one.
  func goAwayCode(within seconds: Double = 10) -> UInt32? {
    let deadline = Date(timeIntervalSinceNow: seconds)
    var code: UInt32?
    while let frame = try? frame(within: max(0.01, deadline.timeIntervalSinceNow)) {
      if frame.kind == .goAway { code = frame.code }
    }
    return code
  }
}
