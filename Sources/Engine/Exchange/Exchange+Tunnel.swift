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
    loop.setTimer(
      connection.timer, after: location.settings.proxy.value.readTimeout, for: connection.handle)
  }

  private enum Flow { case open, closed }

  private func pumpUpward(_ connection: UpstreamConnection) -> Flow {
    while true {
      if let piece = attempt.bodyPiece {
        switch connection.transport.send(piece.unread, more: false) {
        case .bytes(let count): piece.consume(count)
        case .wouldBlock: return .open
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
      guard stream.queuedByteCount < 64 << 10 else { return .open }
      let input = loop.pool.take(.medium)
      switch connection.transport.receive(into: input.free) {
      case .bytes(let count):
        input.produced(count)
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
