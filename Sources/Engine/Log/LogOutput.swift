// Writing to log files: what the error log and the access logs share.
//
// A log that can't be written (full disk, closed pipe) never stops or delays a request: the line is
// lost, and counted by the caller.

import CLinux
import HTTP

/// The one way into a log file.
enum LogOutput {
  /// Writes all of `bytes` with one write(2), or with as many as signals and partial writes ask
  /// for. Returns how many bytes were written; fewer than `bytes.count` means that the rest is
  /// lost.
  static func write(_ bytes: Bytes, to fd: Int32) -> Int {
    var written = 0
    // Bound: a descriptor that takes a few bytes at a time, or is interrupted again and again.
    var tries = 64
    while written < bytes.count && tries > 0 {
      let rest = bytes.dropping(written)
      let result = unsafe linux_write(fd, rest.unsafeBase, rest.count)
      tries -= 1
      if result == -Int64(EINTR) { continue }
      if result <= 0 { break }
      written += Int(result)
    }
    return written
  }
}
