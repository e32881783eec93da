// The field names that a proxy knows, as one-byte tokens.
//
// The parser looks each name up once, when it makes the field table; everything after that compares
// integers. A name that isn't here is `.other` and is compared as bytes. `name` is the one table;
// `FieldName+Lookup.swift` only narrows it down to one candidate.

/// A well-known field name (RFC 9110 and its neighbours), or `.other`.
public enum FieldName: UInt8, BitwiseCopyable, CaseIterable, Sendable {
  case other = 0
  case host
  case connection
  case contentLength
  case contentType
  case transferEncoding
  case te
  case trailer
  case upgrade
  case expect
  case keepAlive
  case proxyConnection
  case proxyAuthorization
  case proxyAuthenticate
  case authorization
  case cookie
  case setCookie
  case date
  case server
  case location
  case refresh
  case etag
  case lastModified
  case ifModifiedSince
  case ifUnmodifiedSince
  case ifMatch
  case ifNoneMatch
  case ifRange
  case range
  case contentRange
  case acceptRanges
  case acceptEncoding
  case accept
  case acceptLanguage
  case acceptCharset
  case contentEncoding
  case contentLanguage
  case contentLocation
  case contentDisposition
  case vary
  case cacheControl
  case expires
  case pragma
  case age
  case via
  case forwarded
  case xForwardedFor
  case xForwardedProto
  case xForwardedHost
  case xForwardedPort
  case xRealIP
  case xAccelRedirect
  case xAccelExpires
  case xAccelBuffering
  case xAccelCharset
  case xAccelLimitRate
  case userAgent
  case referer
  case origin
  case link
  case allow
  case wwwAuthenticate
  case strictTransportSecurity
  case xRequestID
  case secWebSocketKey
  case secWebSocketAccept
  case secWebSocketVersion
  case secWebSocketProtocol
  case secWebSocketExtensions
  case proxy
  case http2Settings
  case status
  case xPoweredBy
  case grpcStatus
  case grpcMessage
  case retryAfter
  case altSvc
  case accessControlAllowOrigin
  case contentSecurityPolicy
  case xFrameOptions
  case xContentTypeOptions
  case earlyData
  case priority
  case maxForwards
  case depth
  case destination
  case overwrite
  case warning
  case traceparent
}

extension FieldName {
  /// Whether the field speaks of one connection only and isn't forwarded (RFC 9110 §7.6.1). Fields
  /// that Connection names are so, too: `RequestFraming` knows them.
  public var isHopByHop: Bool {
    switch self {
    case .connection, .transferEncoding, .te, .trailer, .keepAlive, .proxyConnection, .upgrade,
      .http2Settings, .proxyAuthenticate, .proxyAuthorization:
      return true
    default:
      return false
    }
  }

  /// The name as it is usually written, empty for `.other`. A literal, valid for ever.
  public var name: Bytes {
    switch self {
    case .other: return Bytes()
    case .host: return Bytes("Host")
    case .connection: return Bytes("Connection")
    case .contentLength: return Bytes("Content-Length")
    case .contentType: return Bytes("Content-Type")
    case .transferEncoding: return Bytes("Transfer-Encoding")
    case .te: return Bytes("TE")
    case .trailer: return Bytes("Trailer")
    case .upgrade: return Bytes("Upgrade")
    case .expect: return Bytes("Expect")
    case .keepAlive: return Bytes("Keep-Alive")
    case .proxyConnection: return Bytes("Proxy-Connection")
    case .proxyAuthorization: return Bytes("Proxy-Authorization")
    case .proxyAuthenticate: return Bytes("Proxy-Authenticate")
    case .authorization: return Bytes("Authorization")
    case .cookie: return Bytes("Cookie")
    case .setCookie: return Bytes("Set-Cookie")
    case .date: return Bytes("Date")
    case .server: return Bytes("Server")
    case .location: return Bytes("Location")
    case .refresh: return Bytes("Refresh")
    case .etag: return Bytes("ETag")
    case .lastModified: return Bytes("Last-Modified")
    case .ifModifiedSince: return Bytes("If-Modified-Since")
    case .ifUnmodifiedSince: return Bytes("If-Unmodified-Since")
    case .ifMatch: return Bytes("If-Match")
    case .ifNoneMatch: return Bytes("If-None-Match")
    case .ifRange: return Bytes("If-Range")
    case .range: return Bytes("Range")
    case .contentRange: return Bytes("Content-Range")
    case .acceptRanges: return Bytes("Accept-Ranges")
    case .acceptEncoding: return Bytes("Accept-Encoding")
    case .accept: return Bytes("Accept")
    case .acceptLanguage: return Bytes("Accept-Language")
    case .acceptCharset: return Bytes("Accept-Charset")
    case .contentEncoding: return Bytes("Content-Encoding")
    case .contentLanguage: return Bytes("Content-Language")
    case .contentLocation: return Bytes("Content-Location")
    case .contentDisposition: return Bytes("Content-Disposition")
    case .vary: return Bytes("Vary")
    case .cacheControl: return Bytes("Cache-Control")
    case .expires: return Bytes("Expires")
    case .pragma: return Bytes("Pragma")
    case .age: return Bytes("Age")
    case .via: return Bytes("Via")
    case .forwarded: return Bytes("Forwarded")
    case .xForwardedFor: return Bytes("X-Forwarded-For")
    case .xForwardedProto: return Bytes("X-Forwarded-Proto")
    case .xForwardedHost: return Bytes("X-Forwarded-Host")
    case .xForwardedPort: return Bytes("X-Forwarded-Port")
    case .xRealIP: return Bytes("X-Real-IP")
    case .xAccelRedirect: return Bytes("X-Accel-Redirect")
    case .xAccelExpires: return Bytes("X-Accel-Expires")
    case .xAccelBuffering: return Bytes("X-Accel-Buffering")
    case .xAccelCharset: return Bytes("X-Accel-Charset")
    case .xAccelLimitRate: return Bytes("X-Accel-Limit-Rate")
    case .userAgent: return Bytes("User-Agent")
    case .referer: return Bytes("Referer")
    case .origin: return Bytes("Origin")
    case .link: return Bytes("Link")
    case .allow: return Bytes("Allow")
    case .wwwAuthenticate: return Bytes("WWW-Authenticate")
    case .strictTransportSecurity: return Bytes("Strict-Transport-Security")
    case .xRequestID: return Bytes("X-Request-ID")
    case .secWebSocketKey: return Bytes("Sec-WebSocket-Key")
    case .secWebSocketAccept: return Bytes("Sec-WebSocket-Accept")
    case .secWebSocketVersion: return Bytes("Sec-WebSocket-Version")
    case .secWebSocketProtocol: return Bytes("Sec-WebSocket-Protocol")
    case .secWebSocketExtensions: return Bytes("Sec-WebSocket-Extensions")
    case .proxy: return Bytes("Proxy")
    case .http2Settings: return Bytes("HTTP2-Settings")
    case .status: return Bytes("Status")
    case .xPoweredBy: return Bytes("X-Powered-By")
    case .grpcStatus: return Bytes("Grpc-Status")
    case .grpcMessage: return Bytes("Grpc-Message")
    case .retryAfter: return Bytes("Retry-After")
    case .altSvc: return Bytes("Alt-Svc")
    case .accessControlAllowOrigin: return Bytes("Access-Control-Allow-Origin")
    case .contentSecurityPolicy: return Bytes("Content-Security-Policy")
    case .xFrameOptions: return Bytes("X-Frame-Options")
    case .xContentTypeOptions: return Bytes("X-Content-Type-Options")
    case .earlyData: return Bytes("Early-Data")
    case .priority: return Bytes("Priority")
    case .maxForwards: return Bytes("Max-Forwards")
    case .depth: return Bytes("Depth")
    case .destination: return Bytes("Destination")
    case .overwrite: return Bytes("Overwrite")
    case .warning: return Bytes("Warning")
    case .traceparent: return Bytes("Traceparent")
    }
  }
}
