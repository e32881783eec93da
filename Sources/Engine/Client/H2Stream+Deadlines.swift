// What a client of HTTP/2 has to do in time: complete a head, send more of a body, open its window
// for a response. One deadline a stream, moved by what the stream waits for (`H2Stream.Awaited`).

import CNGHTTP2
import HTTP

extension H2Stream {
  // Bound: progress that a client must make within `send_timeout`: a window that opens byte by byte
  // holds a response for ever.
  private static let progressByteCount = 4 << 10

  /// How long the rest of a request that was answered already is waited for, in milliseconds: what
  /// is on its way ends the stream as clients like it best, without a reset that races with it.
  private static let restDelay: Milliseconds = 100

  /// The response is out, the request isn't in: its rest isn't needed, and is told so if it doesn't
  /// come at once (RFC 9113 §8.1). Meanwhile its window stays shut.
  func awaitRest() {
    guard awaited != .restOfRequest else { return }
    awaited = .restOfRequest
    if h2.state == .open {
      loop.setTimer(timer, after: Self.restDelay, for: handle)
    } else {
      giveUpRest()
    }
  }

  private func giveUpRest() {
    guard let session = unsafe h2.session else { return }
    unsafe nghttp2_submit_rst_stream(
      session, UInt8(NGHTTP2_FLAG_NONE.rawValue), id, NGHTTP2_NO_ERROR.rawValue)
    h2.schedule()
  }

  func onTimeout() {
    if awaited == .restOfRequest { return giveUpRest() }
    guard let exchange else { return }
    switch awaited {
    case .nothing, .restOfRequest: break
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

  /// The end of a body needs no room in the window (RFC 9113 §6.9.1), but the library sends no DATA
  /// into one that is shut. Fields behind the body, though there be none, end the stream as well.
  func endsInShutWindow() -> Bool {
    guard queue.isEmpty, didSendHead, let exchange, let session = unsafe h2.session,
      h2.windowLeft(of: self) <= 0 || h2.isWindowShut,
      unsafe H2ResponseHead.submitTrailers(session, id, exchange.response.trailers)
    else { return false }
    h2.schedule()
    return true
  }
}
