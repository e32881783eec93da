// Opening what log lines are written to, so that writing never waits: a pipe, terminal or socket
// whose reader has stopped loses lines (which are counted), and holds up no request.

import CLinux

/// Descriptors for `LogOutput`.
enum LogFile {
  // Bytes that a pipe holds for a reader that is slow for a moment: what a process without
  // privileges may ask for on an ordinary system, instead of 64 KiB.
  private static let pipeBytes: Int32 = 1 << 20

  /// Opens the file at `path` to append to, and makes it if there is none. A FIFO without a reader
  /// is an error (ENXIO).
  static func open(_ path: String) throws(SystemError) -> Int32 {
    // Regular files take no notice of O_NONBLOCK.
    let flags = O_WRONLY | O_APPEND | O_CREAT | O_NOCTTY | O_NONBLOCK
    let fd = Int32(try check(unsafe linux_open(path, flags, 0o644)))
    _ = linux_grow_pipe(fd, pipeBytes)
    return fd
  }

  /// A descriptor of what standard output (1) or error (2) is.
  ///
  /// A pipe or a terminal is opened anew: whether a write waits is a matter of the open file, which
  /// other processes may share. A socket (systemd's journal) can't be opened again: that one is set
  /// not to wait. What is another user's stays as it is, and may wait.
  static func openStandard(_ standard: Int32) throws(SystemError) -> Int32 {
    var status = stat()
    _ = try check(unsafe linux_fstat(standard, &status))
    let isPipe = unsafe linux_is_fifo(&status) != 0
    let isDevice = unsafe linux_is_character_device(&status) != 0
    if isPipe || isDevice {
      // Not O_CREAT: sticky folders (/dev) refuse it for what exists and is another user's.
      let flags = O_WRONLY | O_APPEND | O_NOCTTY | O_NONBLOCK
      let result = unsafe linux_open("/proc/self/fd/\(standard)", flags, 0)
      if result >= 0 {
        _ = linux_grow_pipe(Int32(result), pipeBytes)
        return Int32(result)
      }
    }
    let fd = Int32(try check(linux_duplicate(standard)))
    if unsafe linux_is_socket(&status) != 0 { _ = linux_set_blocking(fd, 0) }
    return fd
  }
}
