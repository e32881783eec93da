// The log files of a process: each path is opened once and has one descriptor for life.
//
// Whoever writes keeps the number. Reopening (USR1, logrotate) opens the path anew and puts the new
// file under the old number with dup2(2), so that all threads follow without being told. A path
// that can't be opened then keeps its old file: lines go to the renamed file rather than nowhere.

import CLinux

/// Paths to descriptors that stay the same.
final class LogFiles {
  /// Those that were opened or adopted here; the process's own aren't among them.
  private var descriptors: [String: Int32] = [:]

  /// `path` opened for appending, created with mode 0644 if need be. `stderr`, `/dev/stderr` and
  /// `/dev/stdout` are the process's own: opening those paths fails where they are sockets, as
  /// under systemd.
  func open(_ path: String) throws(SystemError) -> Int32 {
    if let known = descriptors[path] { return known }
    if let standard = Self.standardDescriptor(path) { return standard }
    let fd = try Self.openForAppending(path)
    descriptors[path] = fd
    return fd
  }

  /// Takes over an open file: under a new path as it is, under a known one by putting it under the
  /// number that the path has (`descriptor` is closed then). Returns the path's number.
  func adopt(_ descriptor: Int32, as path: String) throws(SystemError) -> Int32 {
    if let standard = Self.standardDescriptor(path) {
      if descriptor != standard { _ = linux_close(descriptor) }
      return standard
    }
    guard let known = descriptors[path], known != descriptor else {
      descriptors[path] = descriptor
      return descriptor
    }
    try Self.replace(known, by: descriptor)
    return known
  }

  /// Opens each path anew under its old number. Returns those that couldn't be opened.
  func reopen() -> [(path: String, error: SystemError)] {
    var failures: [(path: String, error: SystemError)] = []
    for (path, fd) in descriptors.sorted(by: { $0.key < $1.key }) {
      do throws(SystemError) {
        try Self.replace(fd, by: try Self.openForAppending(path))
      } catch {
        failures.append((path, error))
      }
    }
    return failures
  }

  private static func standardDescriptor(_ path: String) -> Int32? {
    switch path {
    case "stderr", "/dev/stderr": 2
    case "/dev/stdout": 1
    default: nil
    }
  }

  private static func openForAppending(_ path: String) throws(SystemError) -> Int32 {
    let flags = O_WRONLY | O_APPEND | O_CREAT | O_NOCTTY
    return Int32(try check(unsafe linux_open(path, flags, 0o644)))
  }

  private static func replace(_ old: Int32, by new: Int32) throws(SystemError) {
    let result = linux_duplicate_onto(new, old)
    _ = linux_close(new)
    _ = try check(result)
    // dup2(2) doesn't keep the flag.
    _ = linux_set_close_on_exec(old, 1)
  }
}
