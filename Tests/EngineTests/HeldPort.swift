// A port that is a test's own, whether something listens at it or not.

import CLinux

@testable import Engine

/// A port that nobody else is given: bound, but not listening, which keeps no listener from it.
final class HeldPort: Sendable {
  let number: UInt16
  private let fd: Int32

  init() throws {
    fd = Int32(try check(linux_stream_socket(AF_INET)))
    _ = linux_set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1)
    let (fd, any) = (fd, SocketAddress(literal: "127.0.0.1", port: 0)!)
    _ = try check(any.withSockaddr { unsafe linux_bind(fd, $0, $1) })
    number = Socket.localAddress(fd).port
  }

  /// Has the kernel take connections.
  func listen() throws { _ = try check(linux_listen(fd, 16)) }

  deinit { _ = linux_close(fd) }
}
