// After 101: bytes both ways, uninterpreted (WebSocket). Each direction has one buffer; nobody
// reads more than the other side took.

import HTTP

extension Exchange {
  /// Passes the 101 on and turns both connections into a tunnel.
  func startTunnel() -> Bool {
    response.isUpgrade = true
    keepAlive = false
    startResponse()
    attempt.phase = .tunneling
    state = .tunneling
    stream.startTunnel()
    if let input = attempt.input {
      attempt.input = nil
      if input.isEmpty { loop.pool.giveBack(input) } else { sendBody(input) }
    }
    pumpTunnel()
    return false
  }

  /// Moves bytes both ways as far as they go.
  func pumpTunnel() {
    guard attempt.phase == .tunneling, let connection = attempt.connection else { return }
    let upward = pumpUpward(connection)
    guard attempt.connection === connection else { return }
    let downward = pumpDownward(connection)
    guard attempt.connection === connection else { return }
    if upward == .closed || downward == .closed { return endTunnel() }
    // Whoever doesn't take what waits for him has a deadline: the client its `send_timeout`. The
    // upstream is waited for only while the client takes what it says.
    let settings = location.settings.proxy.value
    var timeout = downward == .held ? Milliseconds.max : settings.readTimeout
    if upward == .held { timeout = min(timeout, settings.sendTimeout) }
    guard timeout < .max else { return loop.clearTimer(connection.timer) }
    loop.setTimer(connection.timer, after: timeout, for: connection.handle)
  }

  private enum Flow {
    case open, closed
    /// The other side doesn't take more at the moment.
    case held
  }

  private func pumpUpward(_ connection: UpstreamConnection) -> Flow {
    while true {
      if let piece = attempt.bodyPiece {
        switch connection.transport.send(piece.unread, more: false) {
        case .bytes(let count):
          piece.consume(count)
          countSent(count)
        case .wouldBlock: return .held
        case .end, .failed: return .closed
        }
        if !piece.isEmpty { continue }
        loop.pool.giveBack(piece)
        attempt.bodyPiece = nil
      }
      let piece = loop.pool.take(.medium)
      switch stream.readBody(into: piece) {
      case .bytes: attempt.bodyPiece = piece
      case .wouldBlock:
        loop.pool.giveBack(piece)
        return .open
      case .complete, .failed:
        loop.pool.giveBack(piece)
        return .closed
      }
    }
  }

  private func pumpDownward(_ connection: UpstreamConnection) -> Flow {
    // Bound: reads per event.
    for _ in 0..<16 {
      guard stream.queuedByteCount < 64 << 10 else { return .held }
      let input = loop.pool.take(.medium)
      switch connection.transport.receive(into: input.free) {
      case .bytes(let count):
        input.produced(count)
        countReceived(count)
        sendBody(input)
      case .wouldBlock:
        loop.pool.giveBack(input)
        return .open
      case .end, .failed:
        loop.pool.giveBack(input)
        return .closed
      }
    }
    loop.yield(connection.handle)
    return .open
  }

  /// One side closed: what is queued for the client is sent, then both are closed.
  func endTunnel() {
    endTry(.success, mayKeep: false)
    completeResponse()
    stream.flush()
  }
}
