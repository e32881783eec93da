// Output of an HTTP/1 connection on its way to the kernel: what follows when all of it is gone, or
// when the client takes no more at the moment.

import HTTP

extension H1Connection {
  /// What is queued is the end of a response, and the connection ends with it, properly.
  var endsWithOutput: Bool {
    isResponseEnded && !keepsAlive && !endsByReset && state == .exchanging
  }

  /// Everything queued was handed to the kernel.
  func onFlushed() {
    guard state == .exchanging else { return }
    endWaitForRoom()
    if isResponseEnded { return finishExchange() }
    if let exchange, exchange.didSendHead { resumeExchange(exchange) }
  }

  /// Lets the exchange hand over more, and sends that at the next turn.
  func resumeExchange(_ exchange: Exchange) {
    exchange.onClientWritable()
    guard state == .exchanging, isResponseEnded || !client.output.isEmpty,
      client.transport.isWritable
    else { return }
    client.yield()
  }

  /// The client does not take more at the moment, or others have their turn.
  func onBlocked() {
    guard state == .exchanging, let exchange else { return }
    if client.transport.isWritable {
      endWaitForRoom()
      client.yield()
    } else if awaited != .room || sentAtBlock != client.output.sentCount {
      // The deadline begins anew with each byte that is taken, and with nothing else.
      sentAtBlock = client.output.sentCount
      awaited = .room
      loop.setTimer(
        client.timer, after: exchange.location.settings.core.value.sendTimeout, for: client.handle)
    }
    if queuedByteCount < 64 << 10 { resumeExchange(exchange) }
  }

  private func endWaitForRoom() {
    guard awaited == .room else { return }
    if bodyTimeout > 0 { beginBodyDeadline() } else { endDeadline() }
  }
}
