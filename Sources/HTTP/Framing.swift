// Where a message ends: every rule about body lengths and smuggling, on one page (RFC 9112 §6).
//
// The parsers have refused what is malformed as a line. Here the fields are read together: which
// host is meant, how long the body is, whether the connection lives on. A message that two readers
// could cut differently is refused, never repaired: of a request by its `FramingError.status`, of a
// response by 502. Who forwards a message writes the framing fields anew from what this page
// decided, and never copies Content-Length, Transfer-Encoding or Connection.

/// How the end of a body is found.
public enum BodyFraming: BitwiseCopyable, Equatable, Sendable {
  /// There is no body.
  case none
  /// Exactly so many bytes; may be 0.
  case length(Int)
  /// Chunks (RFC 9112 §7.1).
  case chunked
  /// All until the connection closes; responses only.
  case untilClose
}

/// What the fields of a request say together.
public struct RequestFraming: BitwiseCopyable, Sendable {
  public var body = BodyFraming.none
  /// Whether the client wants the connection to live on.
  public var keepAlive = false
  /// Whether the client waits for "100 Continue" before it sends its body.
  public var expectsContinue = false
  /// Whether the client asks to switch protocols: Upgrade, and Connection that names it.
  public var upgrade = false
  /// `host[:port]`: the target's if it names one, else Host's. Valid as `Authority`, or empty in
  /// HTTP/1.0.
  public var host = Slice()
  /// Whether Connection names fields beside the ones that never are forwarded: only then need
  /// `connectionNames` be asked.
  public var namesFields = false
}

/// What the fields of a response say together.
public struct ResponseFraming: BitwiseCopyable, Sendable {
  public var body = BodyFraming.none
  /// Whether the connection may carry another request after this response.
  public var keepAlive = false
  /// 101 to a request that asked for it, or 2xx to CONNECT: what follows the head is another
  /// protocol.
  public var isUpgrade = false
  /// Any other 1xx: the response is still to come.
  public var isInterim = false
  /// Whether Connection names fields beside the ones that never are forwarded.
  public var namesFields = false
}

/// Why the fields of a message contradict each other or mean nothing.
public enum FramingError: Error, BitwiseCopyable, Equatable, CaseIterable, Sendable {
  /// Both Content-Length and Transfer-Encoding (RFC 9112 §6.1): 400.
  case lengthAndCoding
  /// More than one Content-Length, equal or not (RFC 9112 §6.3): 400.
  case repeatedLength
  /// A Content-Length that isn't digits only, or that overflows (RFC 9112 §6.3): 400.
  case invalidLength
  /// More than one Transfer-Encoding field (RFC 9112 §6.1; one is enough for everybody): 400.
  case repeatedCoding
  /// A Transfer-Encoding in which chunked isn't last, is repeated, or nothing is (RFC 9112 §6.1):
  /// 400.
  case malformedCoding
  /// A transfer coding other than chunked (RFC 9112 §6.1): 501.
  case unknownCoding
  /// Transfer-Encoding in HTTP/1.0 (RFC 9112 §6.1): 400.
  case codingInHTTP10
  /// HTTP/1.1 without Host (RFC 9112 §3.2): 400.
  case missingHost
  /// More than one Host (RFC 9112 §3.2): 400.
  case repeatedHost
  /// A Host that isn't `host[:port]` (RFC 9112 §3.2): 400.
  case invalidHost
  /// Two of a field of which the second could override what the first permits (nginx's list): 400.
  case repeatedField
  /// CONNECT with a body (RFC 9110 §9.3.6): 400.
  case bodyOfConnect
  /// More Connection options than `Framing.maxConnectionOptions`: 400.
  case tooManyConnectionOptions
  /// A field of one connection in a message of HTTP/2 (RFC 9113 §8.2.2): 400.
  case connectionField
  /// 101 to a request that didn't ask for it (RFC 9110 §15.2.2); responses only.
  case unrequestedUpgrade

  /// The status that a client is answered with.
  public var status: Int { self == .unknownCoding ? 501 : 400 }

  /// What was sent, for a log: the rest of a sentence such as "client sent …".
  public var reason: StaticString {
    switch self {
    case .lengthAndCoding: "\"Content-Length\" and \"Transfer-Encoding\" headers at the same time"
    case .repeatedLength: "duplicate \"Content-Length\" headers"
    case .invalidLength: "invalid \"Content-Length\" header"
    case .repeatedCoding: "duplicate \"Transfer-Encoding\" headers"
    case .malformedCoding: "\"Transfer-Encoding\" header that doesn't end with one \"chunked\""
    case .unknownCoding: "unknown \"Transfer-Encoding\""
    case .codingInHTTP10: "\"Transfer-Encoding\" header in HTTP/1.0"
    case .missingHost: "HTTP/1.1 or later without \"Host\" header"
    case .repeatedHost: "duplicate \"Host\" headers"
    case .invalidHost: "invalid \"Host\" header"
    case .repeatedField: "a header twice that may stand once"
    case .bodyOfConnect: "CONNECT with a body"
    case .tooManyConnectionOptions: "too many options in \"Connection\" headers"
    case .connectionField: "a header in HTTP/2 that only HTTP/1 has"
    case .unrequestedUpgrade: "101 that wasn't asked for"
    }
  }
}

// In place, and mutating for that alone: a head that is a part of an object is copied when it is
// passed on, which counts references and costs as much as reading a field line.

extension RequestHead {
  /// `Framing.request` of this head.
  public mutating func framing(_ bytes: Bytes) throws(FramingError) -> RequestFraming {
    try Framing.request(self, bytes)
  }
}

extension ResponseHead {
  /// `Framing.response` of this head.
  public mutating func framing(
    _ bytes: Bytes, requestMethod: Method, upgradeRequested: Bool
  ) throws(FramingError) -> ResponseFraming {
    try Framing.response(
      self, bytes, requestMethod: requestMethod, upgradeRequested: upgradeRequested)
  }
}

/// The rules.
public enum Framing {
  /// Bound: options in Connection. Real messages have up to three; each costs a comparison a field.
  public static let maxConnectionOptions = 64

  /// Fields that a request has once or not at all, Host and the lengths apart.
  private static let uniqueFields = FieldNames(
    .ifModifiedSince, .ifUnmodifiedSince, .ifMatch, .ifNoneMatch, .ifRange, .contentRange,
    .expect, .authorization, .proxyAuthorization)

  /// Reads the framing of a complete request head.
  ///
  /// - Parameter bytes: the buffer that begins with this head.
  public static func request(
    _ head: RequestHead, _ bytes: Bytes
  ) throws(FramingError) -> RequestFraming {
    var framing = RequestFraming()
    framing.host = try host(head, bytes)
    if head.repeated.intersects(uniqueFields) { throw .repeatedField }
    framing.body = try declaredLength(head, bytes, isHTTP10: head.minorVersion == 0) ?? .none
    if head.method == .connect, framing.body != .none, framing.body != .length(0) {
      throw .bodyOfConnect
    }
    let options = try connectionOptions(head, bytes)
    framing.keepAlive = !options.close && (head.minorVersion == 1 || options.keepAlive)
    framing.namesFields = options.namesFields
    framing.upgrade = head.minorVersion == 1 && options.upgrade && head.present.contains(.upgrade)
    if head.minorVersion == 1, framing.body != .none,
      let expect = head.value(.expect, in: bytes)
    {
      framing.expectsContinue = expect.equalsIgnoringCase(Bytes("100-continue"))
    }
    return framing
  }

  /// Reads the framing of a request that came by HTTP/2, whose frames say where its body ends
  /// (RFC 9113 §8.1.1); `.chunked` then stands for a length that nobody declared.
  ///
  /// - Parameters:
  ///   - bytes: the bytes that the head's slices are relative to.
  ///   - endsWithHead: the stream ended with the head: there is no body.
  ///   - isEmpty: it ended since, without a byte of body.
  public static func requestOfHTTP2(
    _ head: RequestHead, _ bytes: Bytes, endsWithHead: Bool, isEmpty: Bool
  ) throws(FramingError) -> RequestFraming {
    var framing = RequestFraming()
    framing.host = try host(head, bytes)
    framing.keepAlive = true
    if head.repeated.intersects(uniqueFields) { throw .repeatedField }
    if head.present.intersects(connectionFields) { throw .connectionField }
    let declared = try declaredLength(head, bytes, isHTTP10: false)
    if endsWithHead || isEmpty {
      if let declared, declared != .length(0) { throw .invalidLength }
      // An empty body isn't none: servers of HTTP/1 want to be told (RFC 9110 §8.6).
      framing.body = declared ?? (endsWithHead ? .none : .length(0))
      return framing
    }
    framing.body = declared ?? .chunked
    if let expect = head.value(.expect, in: bytes) {
      framing.expectsContinue = expect.equalsIgnoringCase(Bytes("100-continue"))
    }
    return framing
  }

  /// Fields that HTTP/2 has no use for (RFC 9113 §8.2.2).
  private static let connectionFields = FieldNames(
    .connection, .keepAlive, .proxyConnection, .transferEncoding, .upgrade)

  /// Reads the framing of a complete response head.
  ///
  /// - Parameters:
  ///   - bytes: the buffer that begins with this head.
  ///   - requestMethod: the method of the request that is answered.
  ///   - upgradeRequested: whether that request asked to switch protocols.
  public static func response(
    _ head: ResponseHead, _ bytes: Bytes, requestMethod: Method, upgradeRequested: Bool = false
  ) throws(FramingError) -> ResponseFraming {
    var framing = ResponseFraming()
    let declared = try declaredLength(head, bytes, isHTTP10: head.minorVersion == 0)
    let options = try connectionOptions(head, bytes)
    framing.keepAlive = !options.close && (head.minorVersion == 1 || options.keepAlive)
    framing.namesFields = options.namesFields

    // The order is that of RFC 9112 §6.3.
    switch head.statusCode {
    case 101:
      guard upgradeRequested else { throw .unrequestedUpgrade }
      framing.isUpgrade = true
      framing.keepAlive = false
    case 100..<200:
      framing.isInterim = true
    case 204:
      // A 204 that announces a body may be followed by one: nothing after it can be trusted.
      if let declared, declared != .length(0) { framing.keepAlive = false }
    case 304:
      break
    case 200..<300 where requestMethod == .connect:
      framing.isUpgrade = true
      framing.keepAlive = false
    default:
      if requestMethod == .head { break }
      framing.body = declared ?? .untilClose
      if framing.body == .untilClose { framing.keepAlive = false }
    }
    return framing
  }

  /// The host that a request is for (RFC 9112 §3.2): the target's wins, but Host must be right too.
  private static func host(
    _ head: RequestHead, _ bytes: Bytes
  ) throws(FramingError) -> Slice {
    if head.repeated.contains(.host) { throw .repeatedHost }
    guard let field = head.first(.host) else {
      if head.minorVersion == 1 { throw .missingHost }
      return head.authority
    }
    if Authority(field.value.of(bytes)) == nil { throw .invalidHost }
    return head.authority.isEmpty ? field.value : head.authority
  }

  /// What Content-Length or Transfer-Encoding declare, nil if there is neither (RFC 9112
  /// §§6.1–6.2).
  private static func declaredLength(
    _ head: some MessageHead, _ bytes: Bytes, isHTTP10: Bool
  ) throws(FramingError) -> BodyFraming? {
    if head.repeated.contains(.contentLength) { throw .repeatedLength }
    if head.repeated.contains(.transferEncoding) { throw .repeatedCoding }
    if let coding = head.value(.transferEncoding, in: bytes) {
      if head.present.contains(.contentLength) { throw .lengthAndCoding }
      if isHTTP10 { throw .codingInHTTP10 }
      try checkCoding(coding)
      return .chunked
    }
    guard let length = head.value(.contentLength, in: bytes) else { return nil }
    guard let count = length.decimal else { throw .invalidLength }
    return .length(count)
  }

  /// Accepts "chunked" and nothing else; tells what is wrong from what we merely don't know.
  private static func checkCoding(_ value: Bytes) throws(FramingError) {
    let chunked = Bytes("chunked")
    if value.equalsIgnoringCase(chunked) { return }
    var list = HeaderList(value)
    var isLastChunked = false
    var codings = 0
    while let coding = list.nextToken() {
      if isLastChunked { throw .malformedCoding }
      isLastChunked = coding.equalsIgnoringCase(chunked)
      codings += 1
    }
    if codings == 0 || (codings == 1 && isLastChunked) { throw .malformedCoding }
    throw .unknownCoding
  }

  /// What the Connection fields say.
  private struct ConnectionOptions {
    var close = false
    var keepAlive = false
    var upgrade = false
    var namesFields = false
  }

  private static func connectionOptions(
    _ head: some MessageHead, _ bytes: Bytes
  ) throws(FramingError) -> ConnectionOptions {
    var options = ConnectionOptions()
    guard head.present.contains(.connection) else { return options }
    var count = 0
    for index in 0..<head.fields.count where head.fields[index].token == .connection {
      let value = head.fields[index].value.of(bytes)
      // Nearly every Connection field there is.
      if value == Bytes("keep-alive") {
        count += 1
        if count > maxConnectionOptions { throw .tooManyConnectionOptions }
        options.keepAlive = true
        continue
      }
      var list = HeaderList(value)
      while let option = list.nextToken() {
        count += 1
        if count > maxConnectionOptions { throw .tooManyConnectionOptions }
        switch FieldName.lookup(option) {
        case .keepAlive: options.keepAlive = true
        case .upgrade: options.upgrade = true
        case let name where name.isHopByHop: break
        default:
          if option.equalsIgnoringCase(Bytes("close")) {
            options.close = true
          } else {
            options.namesFields = true
          }
        }
      }
    }
    return options
  }
}
