// What the directives of a block amount to, once inherited: plain structures that the data path
// reads.
//
// Each directive row writes one field here. A block begins with a copy of its parent's settings; a
// field's initial value is the directive's default.

import HTTP

/// Settings of the whole program: what stands outside any block, and in `events`.
struct MainSettings: Sendable {
  var user: String?
  var group: String?
  var isDaemon = false
  var hasMasterProcess = true
  /// The number of worker threads; nil: one a processor.
  var workerProcesses: Int? = 1
  var process = ProcessSettings()
  /// nil: a draining worker waits for ever.
  var shutdownTimeoutMs: Int?
  var pidPath = "logs/portico.pid"
  var errorLogs: [ErrorLogSettings] = []
  /// Connections of one worker thread, of clients and upstreams together.
  var workerConnections = 512
  var acceptsMany = false

  /// Where errors are written; without an `error_log`, to the file at `path`.
  func errorLogs(orIn path: String) -> [ErrorLogSettings] {
    errorLogs.isEmpty ? [ErrorLogSettings(path: path, level: .error)] : errorLogs
  }
}

/// A socket to listen on: one address of any number of `listen` directives.
struct ListenSettings: Sendable {
  var address: SocketAddress
  var backlog = 511
  var reusePort = false
  var ipv6Only = true
  var deferredAccept = false
  var receiveBufferBytes: Int?
  var sendBufferBytes: Int?
  /// `so_keepalive`: nil leaves the system's setting.
  var keepAlive: TCPKeepAlive?
  var fastOpen: Int?
}

/// Whether and how TCP asks after a peer that is silent (tcp(7)): nil leaves the system's setting.
struct TCPKeepAlive: Sendable {
  var isOn: Bool
  var idleSeconds: Int?
  var intervalSeconds: Int?
  var probes: Int?
}

/// Settings of one `server`: what holds before a location is known.
struct ServerSettings {
  var headerBufferBytes = 1 << 10
  var largeHeaderBufferCount = 4
  var largeHeaderBufferBytes = 8 << 10
  var headerTimeout: Milliseconds = 60_000
  var mergeSlashes = true
  var ignoresInvalidFields = true
  var allowsUnderscores = false
  var maxFields = 1000
  var http2 = HTTP2Settings()
  var tls = Shared(TLSSettings())

  /// How long a line of a head may be, with its ending. nginx has it fit into one buffer: one of
  /// `large_client_header_buffers`, if not the first.
  var headLineByteLimit: Int { max(headerBufferBytes, largeHeaderBufferBytes) }

  /// How long a head may be. nginx goes on in `large_client_header_buffers` when the first buffer
  /// is full; what stays empty at the end of each, because a line didn't fit, isn't counted here.
  var headByteLimit: Int {
    // Bound: a head's offsets have 32 bits.
    min(headerBufferBytes + largeHeaderBufferCount * largeHeaderBufferBytes, 1 << 30)
  }

  /// What clients may send, until a name has chosen their site. A line may end in a line feed alone
  /// (RFC 9112 §2.2 allows it, nginx's clients rely on it); heads are always written anew, with
  /// CRLF, before anybody else sees them.
  var headLimits: HeadLimits {
    var limits = HeadLimits()
    limits.maxLineBytes = headLineByteLimit
    limits.maxBytes = headByteLimit
    limits.maxFields = maxFields
    limits.allowUnderscores = allowsUnderscores
    limits.ignoreInvalidFields = ignoresInvalidFields
    limits.allowBareLineFeed = true
    return limits
  }
}

/// Settings that a location inherits from its server and `http`.
struct LocationSettings {
  var core = Shared(CoreSettings())
  var realIP = Shared(RealIPSettings())
  var admission = Shared(AdmissionSettings())
  var log = Shared(LogSettings())
  var headers = Shared(HeaderSettings())
  var filters = Shared(FilterSettings())
  var proxy = Shared(ProxySettings())
  var cache = Shared(CacheSettings())
  var upstreamTLS = Shared(UpstreamTLSSettings())
  /// The `grpc_` directives; `inForce` puts them in the place of the proxy's.
  var grpc = Shared(ProxySettings.grpc)
  var grpcTLS = Shared(UpstreamTLSSettings())

  /// Forgets what a location does, which those inside don't inherit.
  mutating func dropContent() {
    if proxy.pass != nil { proxy.pass = nil }
    if grpc.pass != nil { grpc.pass = nil }
    if !core.tryFiles.isEmpty || core.tryFilesStatus != nil || core.tellsStatus || core.isEmptyImage
    {
      core.tellsStatus = false
      core.isEmptyImage = false
      core.tryFiles = []
      core.tryFilesStatus = nil
    }
  }
}
