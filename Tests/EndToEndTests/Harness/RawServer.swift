// A listening socket whose connections the test itself serves, step by step: for what TestUpstream's
// scripts can't say, such as an answer before the request has come whole.

import Foundation

/// An upstream server that does nothing by itself.
final class RawServer: @unchecked Sendable {
  let port: UInt16
  private let listener: Int32

  /// With `receiveRoom` the kernel takes about as many bytes of a connection as that before they are
  /// read.
  init(receiveRoom: Int32? = nil) {
    listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0)
    if var receiveRoom { setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &receiveRoom, 4) }
    var on: Int32 = 1
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, 4)
    port = bindLoopback(listener)
    listen(listener, 128)
  }

  deinit { close(listener) }

  /// The address as configurations write it.
  var address: String { "127.0.0.1:\(port)" }

  /// The next connection.
  func accept(within seconds: Double = 20) throws -> RawClient {
    guard waits(within: seconds) else { throw DeadlinePassed(what: "no connection came") }
    let descriptor = Glibc.accept(listener, nil, nil)
    guard descriptor >= 0 else { throw RawClient.Failure.connect(errno) }
    _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
    return RawClient(descriptor: descriptor)
  }

  /// Whether a connection comes; it stays in the queue.
  func waits(within seconds: Double) -> Bool {
    var waiting = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
    return poll(&waiting, 1, Int32(seconds * 1000)) > 0
  }
}
