// What comes behind a response: the next request, a body that nobody read, or the end, lingering
// until the client has read its answer.

import HTTP

extension H1Connection {
  func finishExchange() {
    guard let exchange = exchange.take() else { return }
    let settings = exchange.location.settings.core.value
    let (keepaliveTimeout, lingering) = (settings.keepaliveTimeout, settings.lingeringClose)
    keptUntil = loop.now + min(settings.keepaliveLeast, keepaliveTimeout)
    let lingeringTime = settings.lingeringTime
    lingeringPause = settings.lingeringTimeout
    exchange.finish(isAnswered: true)
    if keepsAlive && isBodyComplete { return waitForNext(keepaliveTimeout) }
    let hasUnread =
      input?.isEmpty == false || bodyInput?.isEmpty == false || client.transport.isReadable
      || !isBodyComplete || client.transport.awaitsHandshake
    lingerUntil = loop.now + lingeringTime
    if endsByReset { return breakConnection() }
    loop.setTimer(client.timer, after: min(lingeringPause, lingeringTime), for: client.handle)
    if keepsAlive {
      state = .discarding
      nextKeepalive = keepaliveTimeout
      return discard()
    }
    if lingering == .always || (lingering == .on && hasUnread) {
      state = .lingering
      client.transport.shutdownWrite()
      giveBackInput()
      return client.linger(until: lingerUntil, pause: lingeringPause)
    }
    client.close()
  }

  /// Resets the connection once the client's kernel has what was sent, which a reset would take
  /// along.
  func breakConnection() {
    state = .breaking
    giveBackInput()
    let isOver = loop.now >= lingerUntil || client.transport.isBroken
    if isOver || Socket.unacknowledgedCount(client.transport.fd) == 0 {
      return client.close(reset: true)
    }
    // Nothing tells when the last byte is acknowledged.
    loop.setTimer(client.timer, after: 20, for: client.handle)
  }

  func waitForNext(_ timeout: Milliseconds) {
    state = .waiting
    client.quietSince = loop.now
    if let rest = bodyInput.take() {
      loop.pool.reclaim(&input)
      input = rest
    }
    if input?.isEmpty == true { loop.pool.reclaim(&input) } else { input?.compact() }
    client.facts.isPipelined = input != nil
    if client.endsWithRequest && input == nil { return endIdle() }
    loop.setTimer(client.timer, after: timeout, for: client.handle)
    if input != nil || client.transport.isReadable { client.yield() }
  }

  /// The worker stops, or has no place for the connection any more: closes it, which waits for a
  /// request, unless `keepalive_min_timeout` promised to take one for a while.
  func endIdle() {
    guard keptUntil > loop.now else { return client.close() }
    loop.setTimer(client.timer, after: keptUntil - loop.now, for: client.handle)
    if client.transport.isReadable { client.yield() }
  }

  /// Reads and drops what is left of a request body, so that the next request can be found.
  func discard() {
    let scratch = loop.pool.take(.medium)
    defer { loop.pool.giveBack(scratch) }
    var didRead = false
    // Bound: a body that nobody wants is read for `lingering_time` at most, in turns.
    for _ in 0..<64 {
      scratch.reset()
      switch readBody(into: scratch) {
      case .bytes: didRead = true
      case .wouldBlock:
        if loop.now > lingerUntil { return client.close() }
        if didRead {
          let pause = min(lingeringPause, lingerUntil - loop.now)
          loop.setTimer(client.timer, after: pause, for: client.handle)
        }
        return
      case .complete: return waitForNext(nextKeepalive)
      case .failed: return client.close()
      }
    }
    if loop.now > lingerUntil { client.close() } else { client.yield() }
  }

  /// Whether nothing is going on: such a connection may be closed without harm.
  var isIdle: Bool { state == .waiting && (input == nil || input?.isEmpty == true) }
}
