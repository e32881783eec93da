// The PROXY protocol: what a load balancer in front of us says about the client before the client's
// own bytes (HAProxy's "The PROXY protocol", versions 1 and 2).
//
//   v1: "PROXY TCP4 192.0.2.1 198.51.100.1 4711 443" CR LF, at most 107 bytes
//   v2: 12 bytes signature │ version, command │ family │ length │ addresses │ TLVs
//
// Called with everything that has come so far, from its first byte; nothing is consumed. LOCAL
// connections (a balancer's health checks) and families other than TCP over IP have no addresses,
// as in nginx. Fields of version 2 (TLV) are checked when the header is read and looked up later.

/// Why a PROXY protocol header is refused; the connection closes.
public enum ProxyHeaderError: Error, Equatable {
  /// Neither signature: the sender doesn't speak the protocol.
  case missing
  /// A line of version 1 that isn't one (§2.1).
  case malformedLine
  /// A version or command that version 2 doesn't have (§2.2).
  case malformedHeader
  /// The addresses are shorter than their family wants.
  case shortAddresses
  /// Fields of version 2 don't fill the header exactly (§2.2.7).
  case malformedFields
  /// Longer than `ProxyHeader.maxLength`.
  case tooLong
}

/// One PROXY protocol header.
public struct ProxyHeader: Equatable {
  /// Whether the protocol's end can be told.
  public enum Progress: Equatable {
    case incomplete
    case complete(ProxyHeader)
    case failed(ProxyHeaderError)
  }

  /// The client and what it connected to; nil where the sender doesn't say.
  public var source: IPEndpoint?
  public var destination: IPEndpoint?
  /// The fields of version 2.
  public var fields = Slice()
  /// Bytes of the header: the client's own begin behind them.
  public var length = 0

  // Bound: what nginx takes. All known senders stay below 600 bytes; a header is peeked at as a
  // whole.
  public static let maxLength = 4096
  /// The longest line of version 1, with CR LF (§2.1).
  static let maxLineLength = 107
  private static var signature: Bytes { Bytes("\r\n\r\n\0\r\nQUIT\n") }
  private static var word: Bytes { Bytes("PROXY ") }

  public init() {}

  /// Reads the header that `bytes` begin with.
  public static func parse(_ bytes: Bytes) -> Progress {
    let isBinary = bytes.count > 0 && bytes[0] == signature[0]
    let wanted = isBinary ? signature : word
    let count = min(bytes.count, wanted.count)
    guard bytes.prefix(count) == wanted.prefix(count) else { return .failed(.missing) }
    if bytes.count < wanted.count { return .incomplete }
    return isBinary ? parseBinary(bytes) : parseLine(bytes)
  }

  // --- version 1 ---------------------------------------------------------------------------------

  private static func parseLine(_ bytes: Bytes) -> Progress {
    let window = bytes.prefix(min(bytes.count, maxLineLength))
    guard let end = window.firstIndex(of: UInt8(ascii: "\n")) else {
      return bytes.count >= maxLineLength ? .failed(.malformedLine) : .incomplete
    }
    guard window[end - 1] == UInt8(ascii: "\r") else { return .failed(.malformedLine) }
    var header = ProxyHeader()
    header.length = end + 1
    var words = WordReader(window.slice(word.count, end - 1))
    let family = words.next()
    // Whatever follows UNKNOWN is to be ignored.
    if family == Bytes("UNKNOWN") { return .complete(header) }
    guard family == Bytes("TCP4") || family == Bytes("TCP6"),
      let source = IPAddress(words.next()), let destination = IPAddress(words.next()),
      source.isV6 == (family == Bytes("TCP6")), destination.isV6 == source.isV6,
      let sourcePort = IPEndpoint.port(words.next()),
      let destinationPort = IPEndpoint.port(words.next()), words.isAtEnd
    else { return .failed(.malformedLine) }
    header.source = IPEndpoint(source, port: sourcePort)
    header.destination = IPEndpoint(destination, port: destinationPort)
    return .complete(header)
  }

  /// Words with exactly one space between them.
  private struct WordReader {
    private var rest: Bytes
    private(set) var isAtEnd = false

    init(_ line: Bytes) { rest = line }

    mutating func next() -> Bytes {
      guard let space = rest.firstIndex(of: UInt8(ascii: " ")) else {
        defer { rest = Bytes() }
        isAtEnd = true
        return rest
      }
      defer { rest = rest.dropping(space + 1) }
      return rest.prefix(space)
    }
  }

  // --- version 2 ---------------------------------------------------------------------------------

  private static func parseBinary(_ bytes: Bytes) -> Progress {
    let start = 16
    if bytes.count < start { return .incomplete }
    let (version, command) = (bytes[12] >> 4, bytes[12] & 15)
    let (family, transport) = (bytes[13] >> 4, bytes[13] & 15)
    guard version == 2, command <= 1 else { return .failed(.malformedHeader) }
    var header = ProxyHeader()
    header.length = start + Int(bytes[14]) << 8 + Int(bytes[15])
    if header.length > maxLength { return .failed(.tooLong) }
    if bytes.count < header.length { return .incomplete }
    // Only PROXY (not LOCAL) over TCP says something that we understand.
    guard command == 1, transport == 1, family == 1 || family == 2 else { return .complete(header) }
    let width = family == 1 ? 4 : 16
    let end = start + 2 * width + 4
    guard end <= header.length else { return .failed(.shortAddresses) }
    let ports = bytes.slice(end - 4, end)
    guard let source = IPAddress(bytes: bytes.slice(start, start + width)),
      let destination = IPAddress(bytes: bytes.slice(start + width, start + 2 * width))
    else { return .failed(.shortAddresses) }
    header.source = IPEndpoint(source, port: UInt16(ports[0]) << 8 | UInt16(ports[1]))
    header.destination = IPEndpoint(destination, port: UInt16(ports[2]) << 8 | UInt16(ports[3]))
    header.fields = Slice(end, header.length)
    guard ProxyField.areSound(header.fields.of(bytes)) else { return .failed(.malformedFields) }
    return .complete(header)
  }
}

/// Which field (TLV) of a header of version 2 is meant.
public struct ProxyField: BitwiseCopyable, Equatable, Sendable {
  public var type: UInt8
  /// A field inside the SSL field.
  public var isInsideSSL = false
  /// The verification result of the SSL field: a number, not a field.
  public var isVerifyResult = false

  /// The field called `alpn`, `ssl_cn`, `0xEA`, `ssl_0x21`, `ssl_verify` …; nil if there is none.
  public init?(name: String) {
    if let known = Self.names[name] {
      self.init(type: known)
    } else if name == "ssl_verify" {
      self.init(type: Self.ssl, isVerifyResult: true)
    } else if name.hasPrefix("ssl_"), let known = Self.namesInsideSSL[String(name.dropFirst(4))] {
      self.init(type: known, isInsideSSL: true)
    } else {
      let isInside = name.hasPrefix("ssl_")
      let number = isInside ? name.dropFirst(4) : Substring(name)
      guard number.hasPrefix("0x"), number.dropFirst(2).allSatisfy(\.isHexDigit),
        let type = UInt8(number.dropFirst(2), radix: 16)
      else { return nil }
      self.init(type: type, isInsideSSL: isInside)
    }
  }

  init(type: UInt8, isInsideSSL: Bool = false, isVerifyResult: Bool = false) {
    self.type = type
    self.isInsideSSL = isInsideSSL
    self.isVerifyResult = isVerifyResult
  }

  static let ssl: UInt8 = 0x20
  /// The SSL field begins with a byte of flags and four of the verification result (§2.2.6).
  static let sslHeadLength = 5
  public static let names: [String: UInt8] = [
    "alpn": 0x01, "authority": 0x02, "unique_id": 0x05, "ssl": 0x20, "netns": 0x30,
  ]
  public static let namesInsideSSL: [String: UInt8] = [
    "version": 0x21, "cn": 0x22, "cipher": 0x23, "sig_alg": 0x24, "key_alg": 0x25,
  ]

  /// The value in `fields`; nil if they have none such. Not for `isVerifyResult`.
  public func value(in fields: Bytes) -> Bytes? {
    guard isInsideSSL else { return Self.find(type, in: fields) }
    guard let outer = Self.find(Self.ssl, in: fields), outer.count >= Self.sslHeadLength else {
      return nil
    }
    return Self.find(type, in: outer.dropping(Self.sslHeadLength))
  }

  /// The sender's verification of the client's certificate: 0 is good. Nil without an SSL field.
  public static func verifyResult(in fields: Bytes) -> UInt32? {
    guard let outer = find(ssl, in: fields), outer.count >= sslHeadLength else { return nil }
    var number: UInt32 = 0
    for index in 1..<sslHeadLength { number = number << 8 | UInt32(outer[index]) }
    return number
  }

  private static func find(_ type: UInt8, in fields: Bytes) -> Bytes? {
    var position = 0
    while position + 3 <= fields.count {
      let end = position + 3 + Int(fields[position + 1]) << 8 + Int(fields[position + 2])
      guard end <= fields.count else { return nil }
      if fields[position] == type { return fields.slice(position + 3, end) }
      position = end
    }
    return nil
  }

  /// Whether fields fill `bytes` exactly, those inside an SSL field too.
  static func areSound(_ bytes: Bytes) -> Bool {
    var position = 0
    while position < bytes.count {
      guard position + 3 <= bytes.count else { return false }
      let end = position + 3 + Int(bytes[position + 1]) << 8 + Int(bytes[position + 2])
      guard end <= bytes.count else { return false }
      if bytes[position] == ssl {
        let inner = bytes.slice(position + 3, end)
        guard inner.count >= sslHeadLength, areInnerSound(inner.dropping(sslHeadLength)) else {
          return false
        }
      }
      position = end
    }
    return true
  }

  private static func areInnerSound(_ bytes: Bytes) -> Bool {
    var position = 0
    while position < bytes.count {
      guard position + 3 <= bytes.count else { return false }
      position += 3 + Int(bytes[position + 1]) << 8 + Int(bytes[position + 2])
    }
    return position == bytes.count
  }
}
