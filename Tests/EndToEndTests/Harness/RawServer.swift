// A listening socket whose connections the test itself serves, step by step: for what
// TestUpstream's scripts can't say, such as an answer before the request has come whole.

import Foundation
import TestSupport

/// An upstream server that does nothing by itself.
final class RawServer: @unchecked Sendable {
  var port: UInt16 { held.number }
  private let held = HeldPort()
  private let listener: Int32

  /// With `receiveRoom` the kernel takes about as many bytes of a connection as that before they
  /// are read.
  init(receiveRoom: Int32? = nil) { listener = held.listen(receiveRoom: receiveRoom) }

  deinit { close(listener) }

  /// The address as configurations write it.
  var address: String { "127.0.0.1:\(port)" }

  /// The next connection.
  func accept(within seconds: Double = patience) throws -> RawClient {
    guard waits(within: seconds) else { throw DeadlinePassed(what: "no connection came") }
    let descriptor = Glibc.accept(listener, nil, nil)
    guard descriptor >= 0 else { throw RawClient.Failure.connect(errno) }
    // What is sent is on its way: a reset would take what waits for an acknowledgement along.
    var on: Int32 = 1
    setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, 4)
    return RawClient(descriptor: descriptor)
  }

  /// Whether a connection comes; it stays in the queue.
  func waits(within seconds: Double) -> Bool {
    var waiting = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
    return poll(&waiting, 1, Int32(seconds * 1000)) > 0
  }
}
