// The supervisor's own lines: what happened to processes and configurations. Written to the targets
// of `error_log` in the main context, in nginx's form, and while starting to standard error too:
//
//   2026/11/22 12:00:00 [notice] 123#0: signal 1 (SIGHUP) received, reconfiguring

/// Writes the supervisor's log lines.
struct SupervisorLog {
  private var files = ErrorLog([])
  private var isOnTerminal = false
  /// Whether somebody waits at the terminal for how the start ends.
  var isStarting = true

  /// Lets lines go to `targets`; `isOnTerminal` if one of them is standard error.
  mutating func setTargets(_ targets: ErrorLog, isOnTerminal: Bool) {
    files = targets
    self.isOnTerminal = isOnTerminal
  }

  /// Writes a line to every target that takes `level`; while starting, warnings and errors go to
  /// the terminal as well.
  func write(_ level: LogLevel, _ message: String) {
    record(level, message)
    if isStarting && !isOnTerminal && level >= .warn {
      Self.say("portico: [\(level.name)] \(message)\n")
    }
  }

  /// Writes a line to the log files only.
  func record(_ level: LogLevel, _ message: String) { files.write(level, message) }

  /// Tells what is wrong with a configuration: people see `report`, log files get a line for each
  /// problem. A log that is the terminal doesn't say it twice.
  func tell(_ level: LogLevel, _ problems: [String], report: String) {
    Self.say(report)
    if !isOnTerminal { for problem in problems { record(level, problem) } }
  }

  /// Writes to standard error.
  static func say(_ text: String) { try? ProcessFiles.writeAll(2, Array(text.utf8)) }
}
