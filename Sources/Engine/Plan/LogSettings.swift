// What the directives about logs amount to.

/// One target of `error_log`.
struct ErrorLogSettings: Sendable, Hashable {
  /// A path, or `syslog:…` as it was written.
  var path: String
  var level: LogLevel
  var syslog: SyslogTarget?
}

extension ErrorLog {
  /// The log that `settings` ask for, with the descriptors of files by their paths.
  init(_ settings: some Sequence<ErrorLogSettings>, _ files: [String: Int32]) {
    let targets = settings.compactMap { entry in
      if let receiver = entry.syslog { return Target(syslog: receiver, level: entry.level) }
      return files[entry.path].map { Target(fd: $0, level: entry.level) }
    }
    self.init(Array(targets.prefix(Self.capacity)))
  }
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
  var syslog: SyslogTarget?
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
