// The answer to a health check: received up to a bound, parsed as strictly as any upstream's
// response, held against a `match` block. An answer that is half or garbage is a failure with its
// own reason.

import HTTP

/// What one check found out, with the reason for the log.
enum HealthVerdict: Equatable {
  case passed(String)
  case failed(String)
  /// Nothing was learnt about the server, such as when we had no descriptor left.
  case undecided(String)
}

/// An answer in the making.
struct HealthAnswer {
  // Bound: of a body, the first 256 KiB are looked at, as in NGINX Plus; a head has 64 KiB.
  private static let limit = (256 + 64) << 10

  private let match: MatchSettings?
  private let buffer = Buffer(capacity: HealthAnswer.limit)
  private var parser: ResponseHeadParser
  private var head = ResponseHead()
  private var framing: ResponseFraming?
  private var decoder = ChunkedDecoder()
  private var decodedCount = 0
  private var decoded = Buffer(capacity: 0)

  /// The whole answer is waited for, whatever `match` looks at.
  private let wantsBody: Bool

  init(match: MatchSettings?, wantsBody: Bool = false) {
    self.match = match
    parser = ResponseHeadParser(limits: .upstream)
    self.wantsBody = wantsBody
  }

  /// The status and the body of an answer that is complete.
  var statusCode: Int { head.statusCode }
  var content: [UInt8] { body.array }

  /// Receives what there is. Nil: more has to come.
  mutating func receive(_ transport: inout Transport) -> HealthVerdict? {
    while buffer.room > 0 {
      switch transport.receive(into: buffer.free) {
      case .wouldBlock: return nil
      case .end: return end()
      case .failed(let error): return .failed(error.text.lowercased())
      case .bytes(let count):
        buffer.produced(count)
        if let verdict = advance() { return verdict }
      }
    }
    return framing == nil ? .failed("the head of the answer is too long") : judge()
  }

  /// Looks at what came. Nil: the answer isn't over.
  private mutating func advance() -> HealthVerdict? {
    while framing == nil {
      switch parser.parse(buffer.unread, into: &head) {
      case .incomplete: return nil
      case .failed: return .failed("the answer is not HTTP")
      case .complete: break
      }
      guard
        let found = try? Framing.response(head, buffer.unread, requestMethod: .get)
      else { return .failed("the length of the answer is contradictory") }
      if found.isInterim {
        buffer.skip(head.length)
        head.reset()
        parser.reset()
      } else {
        framing = found
      }
    }
    switch framing?.body {
    case .chunked: return decode()
    case .length(let count): return rawBody.count >= count ? judge() : nil
    case .untilClose: return wantsBody || match?.looksAtBody == true ? nil : judge()
    default: return judge()
    }
  }

  /// The server closed its side.
  private mutating func end() -> HealthVerdict {
    if buffer.isEmpty { return .failed("the connection was closed without an answer") }
    switch framing?.body {
    case nil: return .failed("the connection was closed in the middle of the head")
    case .untilClose: return judge()
    default: return .failed("the connection was closed in the middle of the body")
    }
  }

  private mutating func decode() -> HealthVerdict? {
    if decoded.capacity == 0 { decoded = Buffer(capacity: Self.limit) }
    while true {
      let input = rawBody.dropping(decodedCount)
      switch decoder.next(input) {
      case .data(let start, let count, let consumed):
        decoded.append(input.slice(start, start + count))
        decodedCount += consumed
      case .needMore(let consumed):
        decodedCount += consumed
        return nil
      case .end: return judge()
      case .failed: return .failed("the chunks of the answer are malformed")
      }
    }
  }

  /// The bytes behind the head.
  private var rawBody: Bytes { buffer.unread.dropping(head.length) }

  private var body: Bytes {
    switch framing?.body {
    case .chunked: decoded.unread
    case .length(let count): rawBody.prefix(min(count, rawBody.count))
    case .untilClose: rawBody
    default: Bytes()
    }
  }

  private func judge() -> HealthVerdict {
    let reason = head.reason.of(buffer.unread)
    let text = reason.isEmpty ? "\(head.statusCode)" : "\(head.statusCode) \(reason.printable)"
    guard let match else {
      return (200..<400).contains(head.statusCode) ? .passed(text) : .failed(text)
    }
    let failed = match.firstUnmet(head, buffer.unread, body: body)
    return failed.map { .failed("\(text), but \"\(match.name)\" wants \($0.text)") }
      ?? .passed(text)
  }
}

extension Bytes {
  /// The bytes as text for a log line: control characters can't forge lines there.
  fileprivate var printable: String {
    // Bound: characters of a reason phrase that are shown.
    let shown = prefix(min(count, 80))
    var text = ""
    for index in 0..<shown.count {
      let byte = shown[index]
      text.unicodeScalars.append(
        byte >= 0x20 && byte < 0x7f ? Unicode.Scalar(byte) : Unicode.Scalar(UInt8(ascii: "?")))
    }
    return text
  }
}
