// What the directives about logs amount to.

/// One target of `error_log`.
struct ErrorLogSettings: Sendable, Hashable {
  var path: String
  var level: LogLevel
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
