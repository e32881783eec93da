// What a client of HTTP/2 has to do in time: complete a head, send more of a body, open its window
// for a response. One deadline a stream, moved by what the stream waits for (`H2Stream.Awaited`).

import CNGHTTP2
import HTTP

extension H2Stream {
  // Bound: progress that a client must make within `send_timeout`: a window that opens byte by byte
  // holds a response for ever.
  private static let progressByteCount = 4 << 10

  func onTimeout() {
    guard let exchange else { return }
    switch awaited {
    case .nothing: break
    case .head:
      exchange.log(.info, "client timed out while reading client request headers")
      exchange.response.status = 408
      // A request all the same: the connection may wait for the next one as for any.
      h2.client.facts.requestCount += 1
      reset(NGHTTP2_PROTOCOL_ERROR)
    case .body:
      guard !isRequestEnded, !didSendHead else { return }
      exchange.log(.info, "client timed out while reading a client request body")
      exchange.refuseBody(408)
    case .window:
      if !isClientLate { return awaitWindow(exchange) }
      exchange.log(.info, "client timed out while sending a response")
      reset(NGHTTP2_CANCEL)
    }
    h2.settle()
    h2.schedule()
  }

  /// Whether it is the client who kept the response from going on. It isn't if other streams were
  /// served meanwhile; that it takes nothing from the socket is the connection's deadline.
  private var isClientLate: Bool {
    if sentBodyCount - sentBodyAtDeadline.own >= Self.progressByteCount { return false }
    if h2.windowLeft(of: self) <= 0 { return true }
    return h2.isWindowShut && h2.sentBodyCount - sentBodyAtDeadline.all < Self.progressByteCount
  }

  /// The client has `send_timeout` to make progress, counted from here.
  func awaitWindow(_ exchange: Exchange) {
    awaited = .window
    sentBodyAtDeadline = (sentBodyCount, h2.sentBodyCount)
    let timeout = exchange.location.settings.core.value.sendTimeout
    loop.setTimer(timer, after: timeout, for: handle)
  }
}
