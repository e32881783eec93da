// What the directives of a block amount to, once inherited: plain structures that the data path reads.
//
// Each directive row writes one field here. A block begins with a copy of its parent's settings; a
// field's initial value is the directive's default.

import Configuration
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
}

/// One target of `error_log`.
struct ErrorLogSettings: Sendable, Hashable {
  var path: String
  var level: LogLevel
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
  /// TCP keep-alive (so_keepalive): nil leaves the system's setting.
  var keepAlive: Bool?
  var fastOpen: Int?
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
}

/// The `ssl_` directives of a server.
struct TLSSettings {
  var certificates: [Word] = []
  var keys: [Word] = []
  var protocols: [String] = ["TLSv1.2", "TLSv1.3"]
  /// nil: what the protocols take.
  var ciphers: String?
  var prefersServerCiphers = false
  var confCommands: [(name: Word, value: Word)] = []
  var sessionTimeoutSeconds = 300
  var usesTickets = true
  var sessionCache = TLSSessionCache.none
  var ticketKeys: [Word] = []
  var clientCertificates: Word?
  var trustedCertificates: Word?
  var crl: Word?
  var verify = ClientVerification.off
  var verifyDepth = 1
  var clientStatus = ClientStatus.off
  var statusResponder: OCSPQuestion.Responder?
  var statusCache: StatusCacheSettings?
  var rejectsHandshake = false
  var bufferBytes = 16 << 10
  var takesEarlyData = false
  var staples = false
  var stapleFile: Word?
  var stapleResponder: OCSPQuestion.Responder?
  var verifiesStaples = false
  var curves: String?
  var dhparam: Word?
  var passwords: Word?
  /// `http2 on`: ALPN names h2.
  var offersHTTP2 = false
  var certificateCache: CertificateCacheSettings?
  var compressesCertificates = false
  var isWatched = true
  var handshakeTimeout: Milliseconds = 60_000

  /// `ssl_ocsp`.
  enum ClientStatus: String, CaseIterable {
    case on, off, leaf
  }

  enum ClientVerification: String, CaseIterable {
    case off, on, optional, optional_no_ca

    /// The same, as the TLS layer says it.
    var mode: TLSClientVerification {
      switch self {
      case .off: .off
      case .on: .on
      case .optional: .optional
      case .optional_no_ca: .optionalNoCA
      }
    }
  }
}

/// Settings that a location inherits from its server and `http`.
struct LocationSettings {
  /// Forgets what a location does, which those inside don't inherit.
  mutating func dropContent() {
    if proxy.pass != nil { proxy.pass = nil }
    if grpc.pass != nil { grpc.pass = nil }
    if !core.tryFiles.isEmpty || core.isInternal || core.alias != nil
      || core.tryFilesStatus != nil || core.tellsStatus || core.isEmptyImage
    {
      core.tellsStatus = false
      core.isEmptyImage = false
      core.tryFiles = []
      core.tryFilesStatus = nil
      core.isInternal = false
      core.alias = nil
    }
  }

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
}

/// Settings of ngx_http_core_module and ngx_http_index_module.
struct CoreSettings {
  var root = Template(literal: Bytes("html"))
  /// `alias`: replaces the part of the path that the location matched.
  var alias: Template?
  var index: [Template] = [Template(literal: Bytes("index.html"))]
  var types = MediaTypes.standard()
  var defaultType = Bytes("text/plain")
  var maxBodyBytes = 1 << 20
  var bodyBufferBytes = 16 << 10
  var bodyInFileOnly = BodyInFileOnly.off
  var bodyTemporaryPath = "client_body_temp"
  var bodyTimeout: Milliseconds = 60_000
  var sendTimeout: Milliseconds = 60_000
  var keepaliveTimeout: Milliseconds = 75_000
  /// How long at least an idle connection is kept, even by a worker that stops.
  var keepaliveLeast: Milliseconds = 0
  var keepaliveHeaderSeconds: Int?
  var keepaliveRequests = 1000
  var keepaliveTime: Milliseconds = 3_600_000
  var http2ChunkBytes = 16 << 10
  var lingeringClose = LingeringClose.on
  var lingeringTime: Milliseconds = 30_000
  var lingeringTimeout: Milliseconds = 5_000
  var usesSendfile = true
  var usesNoPush = false
  var usesNoDelay = true
  var etag = true
  var ifModifiedSince = IfModifiedSince.exact
  var maxRanges = Int.max
  var symlinks = SymlinkPolicy.Mode.all
  /// `disable_symlinks … from=`.
  var trustedPath: Template?
  var fileCache: FileCacheSettings?
  var fileCacheValid: Milliseconds = 60_000
  var fileCacheMinUses = 1
  var cachesFileErrors = false
  var resolver: ResolverSettings?
  var resolverTimeout: Milliseconds = 30_000
  var listing = ListingSettings()
  /// `server_tokens`: what stands in the place of our name without a version.
  var signature: Template?
  var errorPages: [ErrorPage] = []
  var recursiveErrorPages = false
  var isInternal = false
  /// `stub_status`.
  var tellsStatus = false
  /// `empty_gif`.
  var isEmptyImage = false
  var tryFiles: [TryFile] = []
  /// The status that `try_files` ends with (`=404`), if its last word is one.
  var tryFilesStatus: Int?
  var absoluteRedirect = true
  var serverNameInRedirect = false
  var portInRedirect = true
  var chunkedTransferEncoding = true
  var logsNotFound = true
  var resetsTimedOut = false
  /// `early_hints`: interim responses are passed on if one of these holds.
  var earlyHints: [Template] = []
  var mirror = MirrorSettings()
  var limitRate = ByteRate()
  var limitRateAfter = ByteRate()

  /// How files are cached, for `OpenFileCache`.
  var filePolicy: OpenFilePolicy {
    OpenFilePolicy(
      valid: fileCacheValid, minUses: fileCacheMinUses, keepsErrors: cachesFileErrors,
      links: SymlinkPolicy(mode: symlinks))
  }

  enum BodyInFileOnly: String, CaseIterable { case off, on, clean }
  enum LingeringClose: String, CaseIterable { case off, on, always }
  enum IfModifiedSince: String, CaseIterable { case off, exact, before }
}

/// A number of bytes (a second): known when the configuration is read, or computed per exchange.
struct ByteRate {
  var constant = 0
  var template: Template?
}

/// `open_file_cache max= inactive=`.
struct FileCacheSettings: Hashable {
  var maxEntries: Int
  var inactive: Milliseconds = 60_000
}

/// One word of `try_files`: a folder if it ends in a slash, whatever its variables hold.
struct TryFile {
  /// Without that slash.
  var path: Template
  var isFolder: Bool
}

/// One `error_page` line.
struct ErrorPage {
  var statuses: [Int]
  /// nil: the status of the error; 0: the status of what the page answers (`=`).
  var responseStatus: Int?
  var target: Template
  /// A named location, without its `@`.
  var named: String?
}

/// `access_log` and `error_log` of a block.
struct LogSettings {
  var accessLogs: [AccessLogSettings] = []
  var errorLogs: [ErrorLogSettings]?
  /// Requests that others make are logged like those of clients.
  var logsInner = false
  var fileCache: LogFileCacheSettings?
}

/// One `access_log` line.
struct AccessLogSettings {
  var path: String
  /// The path of a log whose file only requests know.
  var computedPath: Template?
  var format: LogFormat
  var condition: Template?
}

/// How the lines of one file are gathered: `buffer=`, `flush=`, `gzip=`.
struct LogBuffering: Sendable, Hashable {
  /// 0: each line is written at once.
  var byteCount = 0
  var flush: Milliseconds?
  /// 1 to 9; nil: the file isn't compressed.
  var gzipLevel: Int?
}

/// `open_log_file_cache`.
struct LogFileCacheSettings: Hashable {
  var max: Int
  var inactive: Milliseconds = 10_000
  var minUses = 1
  var valid: Milliseconds = 60_000
}

/// A compiled `log_format`.
final class LogFormat {
  let template: Template
  let escape: LogEscape
  init(template: Template, escape: LogEscape) {
    self.template = template
    self.escape = escape
  }
}

/// `add_header`, `add_trailer`, `expires`.
struct HeaderSettings {
  /// `add_header_inherit` and its like: what becomes of the lines of the block around.
  enum Inheritance: String, CaseIterable {
    /// They hold unless this block has lines of its own.
    case on
    /// They don't hold.
    case off
    /// They hold behind those of this block.
    case merge
  }

  var addedInheritance = Inheritance.on
  var trailerInheritance = Inheritance.on
  var added: [AddedHeader] = []
  var trailers: [AddedHeader] = []
  var expires = Expires.off
  var userID = UserIDSettings()
}

/// One `add_header`.
struct AddedHeader {
  var name: Bytes
  var value: Template
  var always: Bool
}

/// `expires`.
enum Expires {
  case off, epoch, max
  /// Seconds from now, or from the file's modification.
  case after(Int, modified: Bool)
  /// Seconds after midnight.
  case daily(Int)
  /// Computed per exchange: from now, or from the file's modification.
  case variable(Template, modified: Bool)
}

/// The `proxy_` directives.
struct ProxySettings {
  var pass: ProxyPass?
  var setFields: [AddedHeader] = []
  var hiddenFields: [Bytes] = []
  var passedFields: [Bytes] = []
  var httpMinorVersion = 1
  /// HTTP/2, by prior knowledge or by ALPN.
  var speaksHTTP2 = false
  /// What `grpc_pass` asks for: trailers and streams in both directions are passed.
  var isGRPC = false
  var socketKeepalive = false
  var buffering = true
  /// The limit for a response head; generous unless the directive says otherwise.
  var bufferBytes: Int = 64 << 10
  var bufferCount = 8
  var bufferUnitBytes = 8 << 10
  var busyBytes: Int?
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
  /// Whether the configuration asks for `Connection: close`.
  var closesUpstream = false
  /// How much of a response may wait in memory for its client.
  var memoryLimit = 64 << 10
}

/// What `proxy_pass` says. A class, so that an exchange looks at it without copying its parts.
final class ProxyPass {
  enum Destination {
    case upstream(UpstreamReference)
    /// The address is known only per exchange.
    case variable(Template)
  }
  let destination: Destination
  /// The servers, unless they are known only per exchange: what most requests look at.
  let upstream: UpstreamReference?
  let isTLS: Bool
  /// The part of the URL after the address: replaces what the location matched.
  let uri: Bytes?
  /// `$proxy_host`.
  let host: Bytes
  let port: Bytes
  /// As written, for `proxy_redirect default`.
  let url: Bytes

  init(destination: Destination, isTLS: Bool, uri: Bytes?, host: Bytes, port: Bytes, url: Bytes) {
    self.destination = destination
    upstream = if case .upstream(let reference) = destination { reference } else { nil }
    self.isTLS = isTLS
    self.uri = uri
    self.host = host
    self.port = port
    self.url = url
  }
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
  case regex(Regex, Template)
}

/// The `proxy_ssl_` directives.
struct UpstreamTLSSettings {
  var name: Template?
  var sendsServerName = false
  var verifies = false
  var verifyDepth = 1
  var trustedCertificates: Word?
  var crl: Word?
  var certificate: Word?
  var key: Word?
  var protocols: [String] = ["TLSv1.2", "TLSv1.3"]
  var ciphers = "DEFAULT"
  var reusesSessions = true
  var confCommands: [(name: Word, value: Word)] = []
  var passwords: Word?
  var certificateCache: CertificateCacheSettings?
}
