// A client of HTTP/2 that sends exactly the frames it is told: for what no real client does. Of
// responses only the status is read.

import Foundation

extension H2Frame {
  var type: Kind? { Kind(rawValue: kind) }

  /// The error code of a GOAWAY or RST_STREAM.
  var code: UInt32? {
    switch type {
    case .goAway where payload.count >= 8: Self.value(payload[4..<8])
    case .reset where payload.count == 4: Self.value(payload[0..<4])
    default: nil
    }
  }

  /// The status of a response's HEADERS, if it is one of HPACK's static table.
  var status: Int? {
    guard type == .headers, let first = payload.first(where: { $0 & 0xE0 != 0x20 }) else {
      return nil
    }
    let known = [200, 204, 206, 304, 400, 404, 500]
    let index = Int(first & 0x7F) - 8
    return first & 0x80 != 0 && known.indices.contains(index) ? known[index] : nil
  }

  private static func value(_ bytes: ArraySlice<UInt8>) -> UInt32 {
    bytes.reduce(0) { $0 << 8 | UInt32($1) }
  }
}

/// Error codes (RFC 9113 §7).
enum H2Code {
  static let noError: UInt32 = 0
  static let protocolError: UInt32 = 1
  static let flowControlError: UInt32 = 3
  static let streamClosed: UInt32 = 5
  static let cancel: UInt32 = 8
  static let enhanceYourCalm: UInt32 = 11
}

/// A connection that speaks HTTP/2 with prior knowledge.
final class H2Client {
  let raw: RawClient

  /// Connects and sends the preface with `settings`, pairs of identifier and value.
  convenience init(port: UInt16, settings: [(UInt16, UInt32)] = []) throws {
    try self.init(RawClient(port: port), settings: settings)
  }

  /// The same on a connection that was made.
  init(_ raw: RawClient, settings: [(UInt16, UInt32)] = []) throws {
    self.raw = raw
    try raw.send(H2Frame.preface)
    try raw.send(H2Frame.settings(settings))
  }

  /// The bytes of a frame.
  static func frame(
    _ kind: H2Frame.Kind, flags: UInt8 = 0, stream: UInt32 = 0, payload: [UInt8] = []
  ) -> [UInt8] {
    H2Frame(kind, flags: flags, stream: stream, payload).bytes
  }

  func send(
    _ kind: H2Frame.Kind, flags: UInt8 = 0, stream: UInt32 = 0, payload: [UInt8] = []
  ) throws {
    try raw.send(Self.frame(kind, flags: flags, stream: stream, payload: payload))
  }

  /// The header block of a request.
  static func block(
    _ path: String = "/", method: String = "GET", authority: String? = "localhost",
    fields: [(String, String)] = [], protocolName: String? = nil
  ) -> [UInt8] {
    var all = [(":method", method), (":scheme", "http"), (":path", path)]
    if let authority { all.append((":authority", authority)) }
    if let protocolName { all.append((":protocol", protocolName)) }
    return H2Frame.block(all + fields)
  }

  /// Asks for `path`; without `ends` a body follows.
  func request(
    _ stream: UInt32, _ path: String = "/", method: String = "GET", ends: Bool = true,
    authority: String? = "localhost", fields: [(String, String)] = [], protocolName: String? = nil
  ) throws {
    let block = Self.block(
      path, method: method, authority: authority, fields: fields, protocolName: protocolName)
    try send(.headers, flags: ends ? 5 : 4, stream: stream, payload: block)
  }

  /// The next frame; one that is not there as a whole in time stays to be read.
  func frame(within seconds: Double = patience) throws -> H2Frame {
    let head = Array(try raw.peek(count: 9, within: seconds))
    let bytes = try raw.read(count: 9 + H2Frame.length(head: head), within: seconds)
    var frame = H2Frame(head: head)
    frame.payload = Array(bytes[9...])
    return frame
  }

  /// The first frame that `isWanted`, the others passed over.
  func frame(
    within seconds: Double = patience, where isWanted: (H2Frame) -> Bool
  ) throws -> H2Frame {
    let deadline = Deadline(in: seconds)
    while true {
      let frame = try frame(within: max(0.01, Double(deadline.millisecondsLeft) / 1000))
      if isWanted(frame) { return frame }
    }
  }

  /// A whole response: status (of the static table) and body.
  func response(_ stream: UInt32, within seconds: Double = patience) throws -> (
    status: Int?, body: [UInt8]
  ) {
    var status: Int?
    var body: [UInt8] = []
    while true {
      let frame = try frame(within: seconds) { $0.stream == stream }
      switch frame.type {
      case .headers: status = status ?? frame.status
      case .data: body += frame.payload
      case .reset: throw RawClient.Failure.closed(received: "RST_STREAM \(frame.code ?? 0)")
      default: break
      }
      if frame.endsStream && (frame.type == .headers || frame.type == .data) {
        return (status, body)
      }
    }
  }

  /// The code of the GOAWAY that ends the connection, or nil if it closes without one.
  func goAwayCode(within seconds: Double = patience) -> UInt32? {
    let deadline = Deadline(in: seconds)
    var code: UInt32?
    while let frame = try? frame(within: max(0.01, Double(deadline.millisecondsLeft) / 1000)) {
      if frame.type == .goAway { code = frame.code }
    }
    return code
  }
}
