// `daemon on`: the process that was started waits until the daemon serves, so that errors reach the
// terminal and the exit code tells the truth; then it leaves the daemon alone.

import CLinux

/// The daemon's end of the wait for its start.
final class DaemonStart {
  private var pipe: Int32

  private init(pipe: Int32) { self.pipe = pipe }

  /// Thrown in the process that the user started, once it knows what became of the daemon.
  struct Ended: Error {
    let code: Int32
  }

  /// Goes on in a grandchild in a session of its own; the caller's process waits and throws
  /// `Ended`.
  static func fork() throws -> DaemonStart {
    var ends: [Int32] = [-1, -1]
    _ = try check(unsafe linux_pipe(&ends))
    if try check(linux_fork()) > 0 {
      _ = linux_close(ends[1])
      let report = try ProcessFiles.readAll(ends[0])
      // No byte: the daemon died before it could say anything.
      throw Ended(code: Int32(report.first ?? 1))
    }
    _ = linux_close(ends[0])
    _ = try check(linux_setsid())
    // The second fork: a process that leads no session can't get a terminal by opening one.
    if try check(linux_fork()) > 0 { linux_exit_at_once(0) }
    return DaemonStart(pipe: ends[1])
  }

  /// Tells the waiting process, once, to exit with `code`, and lets go of its terminal.
  func report(_ code: Int32) {
    guard pipe >= 0 else { return }
    try? ProcessFiles.writeAll(pipe, [UInt8(truncatingIfNeeded: code)])
    _ = linux_close(pipe)
    pipe = -1
    let null = linux_open_null()
    guard null >= 0 else { return }
    for standard in Int32(0)...2 { _ = linux_duplicate_onto(Int32(null), standard) }
    if null > 2 { _ = linux_close(Int32(null)) }
  }
}
