// Logs whose path has variables in it: opened for each line, or kept open by `open_log_file_cache`
// (https://nginx.org/r/open_log_file_cache). A worker opens them itself, with its own rights.
//
// Paths end in NUL behind their last byte, so that the kernel takes them as they are.

import CLinux
import HTTP

/// The open logs of one worker and one `open_log_file_cache`.
final class LogFileCache {
  private struct Entry {
    var path: [UInt8]
    var hash: UInt64
    /// -1: counted, but not open.
    var fd: Int32 = -1
    var inode: UInt64 = 0
    var useCount = 1
    /// Orders entries by their last use.
    var turn: Int
    var used: Milliseconds
    var checked: Milliseconds
  }

  private let settings: LogFileCacheSettings
  private var entries: [Entry] = []
  private var turn = 0

  init(_ settings: LogFileCacheSettings) { self.settings = settings }

  deinit { closeAll() }

  /// Appends a line to the file at `path`, which is opened unless it is open. False: the file could
  /// not be written.
  func write(_ line: Bytes, to path: Bytes, now: Milliseconds) -> Result<Bool, SystemError> {
    turn += 1
    guard let index = find(path) else {
      return Self.open(path).map { fd in write(line, fd, at: insert(path, now), now) }
    }
    entries[index].useCount += 1
    entries[index].used = now
    entries[index].turn = turn
    if entries[index].fd >= 0 && now - entries[index].checked >= settings.valid {
      check(index, path, now)
    }
    if entries[index].fd < 0 {
      return Self.open(path).map { fd in write(line, fd, at: index, now) }
    }
    return .success(LogOutput.write(line, to: entries[index].fd) == line.count)
  }

  /// Appends a line to a file that was just opened, and keeps the file if it is used often enough.
  private func write(_ line: Bytes, _ fd: Int32, at index: Int, _ now: Milliseconds) -> Bool {
    let isWritten = LogOutput.write(line, to: fd) == line.count
    guard entries[index].useCount >= settings.minUses else {
      _ = linux_close(fd)
      return isWritten
    }
    entries[index].fd = fd
    entries[index].checked = now
    var status = stat()
    if unsafe linux_fstat(fd, &status) >= 0 { entries[index].inode = UInt64(status.st_ino) }
    return isWritten
  }

  /// Appends a line to a file that is opened and closed for it. False: it could not be written.
  static func writeOnce(_ line: Bytes, to path: Bytes) -> Result<Bool, SystemError> {
    open(path).map { fd in
      defer { _ = linux_close(fd) }
      return LogOutput.write(line, to: fd) == line.count
    }
  }

  /// Closes what nobody wrote to for `inactive`.
  func closeInactive(now: Milliseconds) {
    for index in entries.indices.reversed() where now - entries[index].used > settings.inactive {
      remove(index)
    }
  }

  func closeAll() {
    for entry in entries where entry.fd >= 0 { _ = linux_close(entry.fd) }
    entries.removeAll()
  }

  private func find(_ path: Bytes) -> Int? {
    let hash = path.hash64(seed: 0)
    for index in entries.indices where entries[index].hash == hash {
      if path == entries[index].path { return index }
    }
    return nil
  }

  /// A new entry; the one that was not used for longest gives way to it.
  private func insert(_ path: Bytes, _ now: Milliseconds) -> Int {
    if entries.count >= settings.max {
      var oldest = 0
      for index in entries.indices where entries[index].turn < entries[oldest].turn {
        oldest = index
      }
      remove(oldest)
    }
    let copy = path.array
    entries.append(
      Entry(path: copy, hash: path.hash64(seed: 0), turn: turn, used: now, checked: now))
    return entries.count - 1
  }

  /// Lets go of a file that another one has taken the name of.
  private func check(_ index: Int, _ path: Bytes, _ now: Milliseconds) {
    entries[index].checked = now
    var status = stat()
    let result = unsafe path.withCString { unsafe linux_stat($0, &status) }
    if result >= 0 && UInt64(status.st_ino) == entries[index].inode { return }
    _ = linux_close(entries[index].fd)
    entries[index].fd = -1
  }

  private func remove(_ index: Int) {
    if entries[index].fd >= 0 { _ = linux_close(entries[index].fd) }
    entries.swapAt(index, entries.count - 1)
    entries.removeLast()
  }

  private static func open(_ path: Bytes) -> Result<Int32, SystemError> {
    let flags = O_WRONLY | O_APPEND | O_CREAT | O_NOCTTY | O_NONBLOCK
    let result = unsafe path.withCString { unsafe linux_open($0, flags, 0o644) }
    return result < 0 ? .failure(SystemError(code: Int32(-result))) : .success(Int32(result))
  }
}

extension Bytes {
  /// The bytes as a C string, which the NUL that the caller put behind them ends.
  @unsafe
  fileprivate func withCString<R>(_ body: (UnsafePointer<CChar>) -> R) -> R {
    unsafe unsafeBase.withMemoryRebound(to: CChar.self, capacity: count + 1) { unsafe body($0) }
  }
}
