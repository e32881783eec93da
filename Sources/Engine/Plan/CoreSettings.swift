// What the directives of ngx_http_core_module and ngx_http_index_module amount to in a location.

import HTTP

/// `alias`: a folder in the place of the part of the path that a location matched. Locations inside
/// inherit it, and with it what it replaces.
struct Alias {
  let path: Template
  /// What is replaced; nil: all of the path, as an expression matched it.
  let prefix: Bytes?
}

/// Settings of ngx_http_core_module and ngx_http_index_module.
struct CoreSettings {
  var root = Template(literal: Bytes("html"))
  var alias: Alias?
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
  /// Whose connections aren't kept: old Explorers' after a POST, Safari's at all.
  var keepaliveDisabled = BrowserSet.oldExplorer
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

  /// Where files are: `alias`, else `root`.
  var folder: Template { alias?.path ?? root }
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
  /// A path, the name of a location with its `@`, or a URL.
  var target: Template
}
