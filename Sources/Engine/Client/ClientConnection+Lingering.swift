// The end of a connection whose last bytes are sent: what its client still sends is read and
// dropped until it has seen them and closes, or a reset would take them away from it (RFC 9112
// §9.6).

extension ClientConnection {
  /// Reads and drops what is there, and goes on until the client closes, sends nothing for
  /// `pause`, or `end` has come.
  func linger(until end: Milliseconds, pause: Milliseconds) {
    let scratch = loop.pool.take(.medium)
    defer { loop.pool.giveBack(scratch) }
    var didRead = false
    // Bound: reads per turn.
    for _ in 0..<64 {
      switch transport.receive(into: scratch.free) {
      case .bytes: didRead = true
      case .wouldBlock:
        if loop.now > end { return close() }
        if didRead { loop.setTimer(timer, after: min(pause, end - loop.now), for: handle) }
        return
      case .end, .failed: return close()
      }
    }
    if loop.now > end { close() } else { yield() }
  }
}
