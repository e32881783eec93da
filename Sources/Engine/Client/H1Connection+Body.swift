// The bytes of a request body as they come from the connection, behind its head or by themselves,
// and out of their chunks (RFC 9112 §§6, 7.1).

import HTTP

extension H1Connection {
  /// Bytes as they come: first those that came with the head.
  func readRaw(into buffer: Buffer, limit: Int) -> BodyRead {
    for source in [input, bodyInput] {
      guard let source, !source.isEmpty else { continue }
      let count = min(source.count, limit)
      buffer.append(source.unread.prefix(count))
      source.skip(count)
      return .bytes(count)
    }
    switch client.transport.receive(into: buffer.free.slice(0, limit)) {
    case .bytes(let count):
      buffer.produced(count)
      return .bytes(count)
    case .wouldBlock: return .wouldBlock
    case .end: return .complete
    case .failed: return .failed(0)
    }
  }

  func readChunked(into buffer: Buffer) -> BodyRead {
    while true {
      if let source = chunkSource, !source.isEmpty {
        let before = buffer.count
        guard decode(source, into: buffer) else { return .failed(400) }
        if buffer.count > before { return .bytes(buffer.count - before) }
        if isBodyComplete { return .complete }
        continue
      }
      if bodyInput == nil { bodyInput = loop.pool.take(.medium) }
      guard let bodyInput else { return .failed(0) }
      bodyInput.reset()
      switch client.transport.receive(into: bodyInput.free) {
      case .bytes(let count): bodyInput.produced(count)
      case .wouldBlock:
        loop.pool.giveBack(bodyInput)
        self.bodyInput = nil
        return .wouldBlock
      case .end, .failed: return .failed(0)
      }
    }
  }

  var chunkSource: Buffer? { input?.isEmpty == false ? input : bodyInput }

  /// Decodes as much of `source` as `buffer` takes; false if it is malformed.
  func decode(_ source: Buffer, into buffer: Buffer) -> Bool {
    while !source.isEmpty && buffer.room > 0 {
      let window = source.unread.prefix(min(source.count, buffer.room))
      switch decoder.next(window) {
      case .data(let start, let count, let consumed):
        buffer.append(window.slice(start, start + count))
        source.skip(consumed)
      case .needMore(let consumed): source.skip(consumed)
      case .end(let consumed):
        source.skip(consumed)
        isBodyComplete = true
        return true
      case .failed:
        exchange?.log(.info, "client sent invalid chunked body")
        return false
      }
    }
    return true
  }

  func timedOutWhileExchanging() {
    guard let exchange else { return client.close() }
    if awaited == .body {
      exchange.log(.info, "client timed out while reading a client request body")
      if !exchange.didSendHead {
        exchange.refuseBody(408)
        return flush()
      }
    } else {
      exchange.log(.info, "client timed out while sending a response")
    }
    // Where only the connection's end tells of a body's, half of one must not look whole.
    let isHalf = endsByClose && !isResponseEnded
    client.close(reset: isHalf || exchange.location.settings.core.value.resetsTimedOut)
  }

  func readableWhileExchanging() {
    guard let exchange else { return }
    if !isBodyComplete || isTunnel {
      exchange.onBodyReadable()
      if state == .exchanging { flush() }
      if state == .exchanging, !isTunnel { checkForDeparture() }
    } else {
      checkForDeparture()
    }
  }

  /// The client closed although its answer is on its way: 499, unless the location ignores it.
  func checkForDeparture() {
    guard let exchange, client.transport.sawPeerClose || client.transport.isBroken else { return }
    // What is paced would notice at its next piece only.
    if exchange.state == .sending && client.transport.isBroken { return onBroken() }
    guard
      exchange.state == .attempting || exchange.state == .resolving
        || exchange.state == .readingBody || exchange.state == .waiting
        || exchange.include != nil
    else { return }
    if exchange.state == .waiting || client.transport.isBroken
      || !exchange.location.settings.proxy.value.ignoresClientAbort
    {
      exchange.log(.info, "client prematurely closed connection")
      client.close()
    }
  }
}
