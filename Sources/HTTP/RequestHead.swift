// A request's head as a table of offsets: what the request line says, and the fields.
//
// Made by `RequestHeadParser` (and, for HTTP/2 streams, by whoever decodes their fields), read by
// the router, the framing rules and the exchange. See `Head.swift` for how slices relate to the
// buffer.

/// The form of a request's target (RFC 9112 §3.2).
public enum TargetForm: UInt8, BitwiseCopyable, Sendable {
  /// `/path?query`
  case origin
  /// `http://host/path?query`
  case absolute
  /// `host:port`, for CONNECT only.
  case authority
  /// `*`, for OPTIONS only.
  case asterisk
}

/// The head of a request.
public struct RequestHead: MessageHead, Sendable {
  public var method = Method.other
  /// The method as sent.
  public var methodName = Slice()
  /// The target as sent.
  public var target = Slice()
  public var form = TargetForm.origin
  /// The path as sent, neither query nor fragment with it. Empty if the target has none, which
  /// stands for "/" (absolute form without path, authority form, asterisk form).
  public var path = Slice()
  /// What stands between "?" and the end or a fragment; nil without "?".
  public var query: Slice?
  /// `host[:port]` of an absolute target or of CONNECT, else empty. Valid as `Authority`.
  public var authority = Slice()
  /// 0 for HTTP/1.0, 1 for HTTP/1.1 and for later minor versions, which are taken as 1.1; 1 for
  /// HTTP/2, which means the same by its heads.
  public var minorVersion: UInt8 = 1
  /// Whether the request came by HTTP/2.
  public var isHTTP2 = false
  public var fields: [Field] = []
  public var present = FieldNames()
  public var repeated = FieldNames()
  /// The bytes of the head, the final empty line included; 0 until it is complete.
  public var length = 0

  /// An empty head, with room for the fields of ordinary requests.
  public init() { fields.reserveCapacity(32) }

  /// Empties the head for the next request and keeps the capacity of its table.
  public mutating func reset() {
    method = .other
    methodName = Slice()
    target = Slice()
    form = .origin
    path = Slice()
    query = nil
    authority = Slice()
    minorVersion = 1
    isHTTP2 = false
    length = 0
    removeFields()
  }
}
