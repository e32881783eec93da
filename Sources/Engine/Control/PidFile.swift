// The pid file: how `portico -s` and service managers find the supervisor. It is written when all
// sockets listen and the worker process said that it serves, so that it doubles as the ready
// signal.

import CLinux

/// A pid file of this process.
struct PidFile {
  let path: String

  /// The name that the file of an old binary gets while a new one starts (as nginx does).
  var oldBinaryPath: String { path + ".oldbin" }

  /// Whether the path is a file's, there or not. A device such as /dev/null takes no pid and stays.
  var isFile: Bool {
    guard case .success(let status) = unsafe FileStatus.of(path: path) else { return true }
    return status.kind != .other
  }

  /// Writes the pid of this process. A file that a dead process left is replaced.
  func write() throws(SystemError) {
    guard isFile else { return }
    if let folder = ProcessFiles.parent(of: path) {
      try ProcessFiles.makeFolders(folder, mode: 0o755)
    }
    // By rename, so that nobody reads a file that is there but empty.
    let temporary = path + ".new"
    let text = Array("\(Process.identifier)\n".utf8)
    do {
      try ProcessFiles.write(temporary, text, mode: 0o644)
      _ = try check(unsafe linux_rename(temporary, path))
    } catch {
      _ = unsafe linux_unlink(temporary)
      throw error
    }
  }

  /// Removes the file, if it still names this process.
  func remove() {
    if isFile, (try? Self.read(path)) == Process.identifier { _ = unsafe linux_unlink(path) }
  }

  /// Why the sockets of a start may be taken, if the file at `path` names a process that runs.
  static func remark(_ path: String) -> String? {
    guard let pid = try? read(path), pid != Process.identifier, linux_kill(pid, 0) != -Int64(ESRCH)
    else { return nil }
    return "\"\(path)\" names process \(pid), which runs: is portico running already?"
  }

  /// Why a pid file gave no process to signal.
  enum ReadFailure: Error {
    case unreadable(SystemError)
    case invalid(String)
  }

  /// The pid that a file holds.
  static func read(_ path: String) throws(ReadFailure) -> Int32 {
    // Nobody waits for who writes into a pipe.
    guard PidFile(path: path).isFile else { throw .invalid("") }
    let bytes: [UInt8]
    do {
      bytes = try ProcessFiles.read(path)
    } catch {
      throw .unreadable(error)
    }
    let text = String(decoding: bytes.prefix(64), as: UTF8.self)
    let line = text.split(whereSeparator: \.isWhitespace).first ?? ""
    guard let pid = Int32(line), pid > 0 else { throw .invalid(String(line)) }
    return pid
  }
}
