// The fields behind a chunked body (RFC 9112 §7.1.2), and which of them may be passed on.
//
// `ChunkedDecoder` has checked the bytes as they came; here they become fields by the rules of
// heads.

/// Iterates over the lines of a trailer section that has come whole.
public struct TrailerSection: BitwiseCopyable {
  private let bytes: Bytes
  private var position = 0

  /// The fields of `bytes`, which the empty line ends.
  public init(_ bytes: Bytes) { self.bytes = bytes }

  /// The next field, its slices relative to the start of the section; nil behind the last. Lines
  /// that can't be fields are passed over.
  public mutating func next() -> Field? {
    while position < bytes.count, let feed = bytes.firstIndex(of: 0x0A, from: position) {
      let start = position
      position = feed + 1
      let end = feed > start && bytes[feed - 1] == 0x0D ? feed - 1 : feed
      if start == end { return nil }
      if case .field(let field) = FieldLine.parse(bytes, start, end, limits: .response) {
        return field
      }
    }
    return nil
  }
}

extension FieldName {
  /// Whether a field may be trailing metadata of gRPC, whose names are the application's choice:
  /// all but what frames a message, or belongs to the hop or to the client.
  public var mayBeMetadata: Bool {
    if isHopByHop { return false }
    switch self {
    case .contentLength, .host, .cookie, .setCookie: return false
    default: return true
    }
  }

  /// Whether a field may stand behind a body. What frames or routes a message, says who may have it
  /// or what its body is must be known before the body (RFC 9110 §6.5.1): late, it would change
  /// what others have decided already.
  public var mayTrail: Bool {
    if isHopByHop { return false }
    switch self {
    case .contentLength, .contentType, .contentEncoding, .contentRange, .host, .expect,
      .maxForwards,
      .authorization, .wwwAuthenticate, .cookie, .setCookie, .range, .ifMatch, .ifNoneMatch,
      .ifModifiedSince, .ifUnmodifiedSince, .ifRange, .location, .refresh, .cacheControl, .vary,
      .forwarded, .xForwardedFor, .xForwardedProto, .xForwardedHost, .xForwardedPort, .xRealIP,
      .proxy,
      .xAccelRedirect, .xAccelExpires, .xAccelBuffering, .xAccelCharset, .xAccelLimitRate:
      return false
    default:
      return true
    }
  }
}
