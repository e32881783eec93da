// The supervisor's own lines: what happened to processes and configurations. Written to the targets of
// `error_log` in the main context, in nginx's form, and while starting to standard error too:
//
//   2026/11/22 12:00:00 [notice] 123#0: signal 1 (SIGHUP) received, reconfiguring

import CLinux

/// Writes the supervisor's log lines.
struct SupervisorLog {
  /// A descriptor and the least severe level that it takes.
  struct Target {
    var fd: Int32
    var level: LogLevel
  }

  var targets: [Target] = []
  /// Whether somebody waits at the terminal for how the start ends.
  var isStarting = true

  /// Writes a line to every target that takes `level`; errors go to the terminal as well while
  /// starting.
  func write(_ level: LogLevel, _ message: String) {
    record(level, message)
    if isStarting && level.rawValue >= LogLevel.warn.rawValue && !targets.contains(where: { $0.fd == 2 }) {
      Self.say("portico: [\(level)] \(message)\n")
    }
  }

  /// Writes a line to the log files only.
  func record(_ level: LogLevel, _ message: String) {
    var line: [UInt8]?
    for target in targets where level.rawValue >= target.level.rawValue {
      let bytes = line ?? Self.line(level, message)
      line = bytes
      // A full disk must not stop the supervisor: the line is lost.
      try? ProcessFiles.writeAll(target.fd, bytes)
    }
  }

  /// Writes to standard error.
  static func say(_ text: String) { try? ProcessFiles.writeAll(2, Array(text.utf8)) }

  private static func line(_ level: LogLevel, _ message: String) -> [UInt8] {
    let text = timestamp(seconds: Int64(Clock.wall / 1000))
    // One event is one line, whatever the message holds.
    let flat = message.split(separator: "\n").joined(separator: " ")
    return Array("\(text) [\(level)] \(Process.identifier)#0: \(flat)\n".utf8)
  }

  /// Local time as nginx writes it: 2026/11/22 12:00:00.
  static func timestamp(seconds: Int64) -> String {
    let local = seconds + linux_zone_offset_seconds(seconds)
    let day = local >= 0 ? local / 86_400 : (local - 86_399) / 86_400
    let second = local - day * 86_400
    let date = civil(day)
    return "\(pad(date.year, 4))/\(pad(date.month, 2))/\(pad(date.day, 2)) "
      + "\(pad(second / 3600, 2)):\(pad(second / 60 % 60, 2)):\(pad(second % 60, 2))"
  }

  /// The Gregorian date of a day since 1970, counted in eras of 400 years that begin in March.
  private static func civil(_ day: Int64) -> (year: Int64, month: Int64, day: Int64) {
    let shifted = day + 719_468
    let era = shifted / 146_097
    let dayOfEra = shifted % 146_097
    let yearOfEra =
      (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let month = (5 * dayOfYear + 2) / 153
    let isNextYear = month >= 10
    return (
      yearOfEra + era * 400 + (isNextYear ? 1 : 0), isNextYear ? month - 9 : month + 3,
      dayOfYear - (153 * month + 2) / 5 + 1
    )
  }

  private static func pad(_ number: Int64, _ width: Int) -> String {
    let text = String(number)
    return String(repeating: "0", count: max(0, width - text.utf8.count)) + text
  }
}
