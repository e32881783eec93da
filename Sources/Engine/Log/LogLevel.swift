// How serious a line of the error log is, in nginx's words.

/// The severity of a log line, or the least one that a log takes.
enum LogLevel: Int, Comparable, CaseIterable, Sendable {
  case debug, info, notice, warn, error, crit, alert, emerg

  /// The level that `error_log` names, or nil.
  init?(name: String) {
    guard let level = Self.allCases.first(where: { $0.name == name }) else { return nil }
    self = level
  }

  /// As it stands in the configuration and, in brackets, in the log.
  var name: String {
    switch self {
    case .debug: "debug"
    case .info: "info"
    case .notice: "notice"
    case .warn: "warn"
    case .error: "error"
    case .crit: "crit"
    case .alert: "alert"
    case .emerg: "emerg"
    }
  }

  static func < (left: LogLevel, right: LogLevel) -> Bool { left.rawValue < right.rawValue }
}
