// Lines of access logs that could not be written: the error log hears of them.

import HTTP

/// The lines that one writer lost. The error log hears of the first at once, then once a minute for
/// as long as it lasts.
struct LostLineCount {
  private(set) var total = 0
  private var reportedCount = 0
  private var nextReport = Milliseconds.min

  // Bound: how often the error log hears of lost lines.
  private static let reportInterval: Milliseconds = 60_000

  /// Counts `count` lines of the log at `path`.
  mutating func add(
    _ count: Int, of path: @autoclosure () -> String, _ errors: ErrorLog, now: Milliseconds
  ) {
    total += count
    guard now >= nextReport else { return }
    nextReport = now + Self.reportInterval
    errors.write(
      .alert, "\(total - reportedCount) lines of \"\(path())\" were lost, it can't be written")
    reportedCount = total
  }
}
