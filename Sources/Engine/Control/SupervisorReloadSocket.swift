// How `portico -s reload` learns what came of it: a Unix socket next to the pid file, for its owner
// only. To connect is to ask; the answer is "ok\n" or "refused\n", then text for people, then the
// end.

import CLinux

/// The supervisor's end of `-s reload`.
final class ReloadSocket {
  static let suffix = ".sock"

  let descriptor: Int32
  private let path: String

  init(path: String) throws(SystemError) {
    guard let address = SocketAddress(unixPath: path) else {
      throw SystemError(code: ENAMETOOLONG)
    }
    self.path = path
    let fd = Int32(try check(linux_stream_socket(AF_UNIX)))
    do {
      // A socket that is there belongs to a supervisor that died: the pid file's path is ours.
      if ListenerSockets.isSocket(path) { _ = unsafe linux_unlink(path) }
      let mask = linux_umask(0o177)
      let bound = unsafe address.withSockaddr { unsafe linux_bind(fd, $0, $1) }
      _ = linux_umask(mask)
      _ = try check(bound)
      _ = try check(linux_listen(fd, 16))
    } catch {
      _ = linux_close(fd)
      throw error
    }
    descriptor = fd
  }

  deinit { _ = linux_close(descriptor) }

  /// Leaves the file system.
  func close() { _ = unsafe linux_unlink(path) }

  /// Somebody who asks for a reload.
  func accept() -> Int32? {
    let fd = linux_accept(descriptor, nil, nil)
    return fd < 0 ? nil : Int32(fd)
  }

  /// Tells the outcome and closes.
  static func answer(_ asker: Int32, isAccepted: Bool, _ text: String) {
    _ = linux_set_blocking(asker, 1)
    linux_send_timeout(asker, 1000)
    try? ProcessFiles.writeAll(asker, Array(((isAccepted ? "ok\n" : "refused\n") + text).utf8))
    _ = linux_close(asker)
  }

  /// What a supervisor answered.
  enum Outcome: Equatable {
    case accepted(String)
    case refused(String)
    /// It ended, or took longer than anybody waits.
    case lost
  }

  /// Asks the supervisor behind `path` to reload and waits; nil when nobody listens there.
  static func ask(path: String) -> Outcome? {
    guard let address = SocketAddress(unixPath: path) else { return nil }
    let fd = Int32(linux_blocking_socket(AF_UNIX))
    guard fd >= 0 else { return nil }
    defer { _ = linux_close(fd) }
    guard Socket.connect(fd, to: address) == nil else { return nil }
    linux_receive_timeout(fd, 120_000)
    guard let bytes = try? ProcessFiles.readAll(fd) else { return .lost }
    let text = String(decoding: bytes, as: UTF8.self)
    if text.hasPrefix("ok\n") { return .accepted(String(text.dropFirst(3))) }
    if text.hasPrefix("refused\n") { return .refused(String(text.dropFirst(8))) }
    return .lost
  }
}
