// What the `proxy_` directives amount to, and the `grpc_` directives, which write the same
// structure.

import HTTP

/// The `proxy_` directives.
struct ProxySettings {
  var pass: ProxyPass?
  var setFields: [AddedHeader] = []
  var hiddenFields: [Bytes] = []
  var passedFields: [Bytes] = []
  var version = UpstreamVersion.http11
  /// What `grpc_pass` asks for: trailers and streams in both directions are passed.
  var isGRPC = false
  var socketKeepalive = false
  var buffering = true
  /// The limit for a response head; generous unless the directive says otherwise.
  var bufferBytes: Int = 64 << 10
  var bufferCount = 8
  var bufferUnitBytes = 8 << 10
  var maxTemporaryFileBytes = 1 << 30
  var temporaryPath = "proxy_temp"
  var requestBuffering = true
  var connectTimeout: Milliseconds = 60_000
  var readTimeout: Milliseconds = 60_000
  var sendTimeout: Milliseconds = 60_000
  var nextUpstream: NextUpstream = [.error, .timeout]
  var nextUpstreamTries = 0
  var nextUpstreamTimeout: Milliseconds = 0
  /// Bytes a second.
  var limitRate: Template?
  /// The local address of connections; empty or nil: the system chooses.
  var bind: Template?
  var redirects = [ProxyRedirect.standard]
  var cookies = ProxyCookieSettings()
  var interceptsErrors = false
  var passesTrailers = false
  var forcesRanges = false
  /// `proxy_ignore_headers`: fields of responses that have no effect here.
  var ignoredFields = FieldNames()
  var ignoresClientAbort = false
  var store = StoreSettings()
  var forwarded = false
  var passesRequestBody = true
  var passesRequestHeaders = true
  var method: Template?
  var body: Template?

  // What follows from the above, computed by `settle`.
  /// Which fields of requests are not passed on.
  var droppedRequestFields = FieldNames()
  /// Which fields of responses are not passed on.
  var hiddenTokens = FieldNames()
  /// The same of fields that have no token.
  var hiddenNames: [Bytes] = []
  var setsHost = false
  var setsConnection = false
  var setsUpgrade = false
  var setsTE = false
  /// Whether the configuration asks for `Connection: close`.
  var closesUpstream = false
  /// How much of a response may wait in memory for its client.
  var memoryLimit = 64 << 10
}

/// What is spoken to servers; HTTP/2 by prior knowledge or by ALPN.
enum UpstreamVersion: String, CaseIterable {
  case http10 = "1.0"
  case http11 = "1.1"
  case http2 = "2"
}

/// What `proxy_pass` says. A class, so that an exchange looks at it without copying its parts.
final class ProxyPass {
  enum Destination {
    case upstream(UpstreamURL)
    /// The address is known only per exchange.
    case variable(Template)
  }
  let destination: Destination

  init(_ destination: Destination) { self.destination = destination }

  /// What is written where nothing is known only per exchange.
  var url: UpstreamURL? {
    if case .upstream(let url) = destination { url } else { nil }
  }
}

/// The URL of servers that are known from the start.
struct UpstreamURL {
  let upstream: UpstreamReference
  let isTLS: Bool
  /// The part of the URL after the address: replaces what the location matched.
  let uri: Bytes?
  /// `$proxy_host`.
  let host: Bytes
  let port: Bytes
  /// As written, for `proxy_redirect default`.
  let text: Bytes
}

/// Which group of servers: resolved to the worker's group when the plan is complete.
final class UpstreamReference {
  let name: String
  var group: UpstreamGroup?
  init(name: String) { self.name = name }
}

/// `proxy_next_upstream`.
struct NextUpstream: OptionSet {
  let rawValue: Int
  static let error = NextUpstream(rawValue: 1)
  static let timeout = NextUpstream(rawValue: 2)
  static let invalidHeader = NextUpstream(rawValue: 4)
  static let http500 = NextUpstream(rawValue: 8)
  static let http502 = NextUpstream(rawValue: 16)
  static let http503 = NextUpstream(rawValue: 32)
  static let http504 = NextUpstream(rawValue: 64)
  static let http403 = NextUpstream(rawValue: 128)
  static let http404 = NextUpstream(rawValue: 256)
  static let http429 = NextUpstream(rawValue: 512)
  static let nonIdempotent = NextUpstream(rawValue: 1024)
}

/// One `proxy_redirect`.
enum ProxyRedirect {
  case standard
  case prefix(Template, Template)
  case regex(BoundRegex, Template)
}
