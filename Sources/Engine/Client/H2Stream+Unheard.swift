// A request that is carried out although its client reset the stream, where the location says so
// (https://nginx.org/r/proxy_ignore_client_abort). What comes of it is dropped; when it is complete
// the stream ends like any other. The end of the whole connection ends such requests, too.

import HTTP

extension H2Stream {
  /// Whether the client reset the stream, but its request is carried out all the same.
  var goesOnUnheard: Bool {
    guard isClosed, isRequestEnded, !didEndResponse, !isAborted, !isBodyEnded,
      let exchange, exchange.state == .attempting
    else { return false }
    return exchange.location.settings.proxy.value.ignoresClientAbort
  }

  /// Nobody reads: what waits makes room for what comes.
  func dropQueued() {
    loop.clearTimer(timer)
    awaited = .nothing
    dropQueue()
    exchange?.onClientWritable()
  }

  /// The response of a stream that the client had reset is complete, or broken off.
  func finishUnheard() {
    isBodyEnded = true
    h2.touch(self)
    h2.schedule()
  }
}
