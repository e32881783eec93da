// How an HTTP/2 connection ends: idle, by GOAWAY, thrown out, or lingering until the client has
// seen why.

import CNGHTTP2
import HTTP

extension H2Connection {
  func onTimeout() {
    switch state {
    case .lingering: client.close()
    case .open, .draining:
      if !client.output.isEmpty {
        client.core.errorLog.write(
          .info,
          "client timed out while sending a response, client: \(client.facts.peerAddress.host)",
          connection: client.facts.serial)
        let settings = client.address.defaultSite.root.settings.core.value
        return client.close(reset: settings.resetsTimedOut)
      }
      guard streams.isEmpty else { return }
      if state == .open && loop.now < idleUntil { return trim() }
      goAway()
      client.yield()
    case .closed: break
    }
  }

  /// Nothing has been going on for a while: keeps only what the connection needs to go on.
  private func trim() {
    if !wantsToWrite { memory.fold() }
    releaseRoom()
    client.output.releaseRoom()
    loop.setTimer(client.timer, after: idleUntil - loop.now, for: client.handle)
  }

  /// Something happens after all. A request stops the deadline; what begins none (PING) lets the
  /// session be folded again.
  func unfold() {
    memory.unfold()
    if sentAtBlock < 0 { awaitTrim() }
  }

  /// Lets an idle connection be looked at, in a while or when its time is up.
  func awaitTrim() {
    guard state == .open && streams.isEmpty else { return }
    let delay = min(Self.trimDelay, max(0, idleUntil - loop.now))
    loop.setTimer(client.timer, after: delay, for: client.handle)
  }

  /// Whether nothing is going on: such a connection may be closed without harm.
  var isIdle: Bool { streams.isEmpty && client.output.isEmpty }

  /// Takes no new requests; what is open finishes (RFC 9113 §6.8).
  ///
  /// - Parameter isGraceful: requests that are on their way are still served.
  func goAway(isGraceful: Bool = false) {
    guard state == .open else { return }
    state = .draining
    if isGraceful {
      unsafe nghttp2_submit_shutdown_notice(session)
    } else {
      submitLastGoAway()
    }
    client.yield()
  }

  private func submitLastGoAway(_ code: nghttp2_error_code = NGHTTP2_NO_ERROR) {
    didSendLastGoAway = true
    unsafe nghttp2_submit_goaway(
      session, UInt8(NGHTTP2_FLAG_NONE.rawValue), nghttp2_session_get_last_proc_stream_id(session),
      code.rawValue, nil, 0)
  }

  /// The client reset a stream that it hadn't begun, as gRPC clients do with a call that is given
  /// up before anything of it was sent. That is an error of the connection (RFC 9113 §5.1), but
  /// other calls have no part in it: they finish, and new ones take another connection.
  func goAwayOverIdleStream() {
    guard state == .open else { return }
    client.core.errorLog.write(
      .info,
      "client reset a stream that it had not begun, client: \(client.facts.peerAddress.host)",
      connection: client.facts.serial)
    state = .draining
    submitLastGoAway(NGHTTP2_PROTOCOL_ERROR)
    client.yield()
  }

  /// Sends the client away for what it does; streams end with the connection.
  func terminate(_ code: nghttp2_error_code, _ why: String) {
    guard !isSessionBroken, state == .open || state == .draining else { return }
    isSessionBroken = true
    client.core.errorLog.write(
      .info, "\(why), client: \(client.facts.peerAddress.host)", connection: client.facts.serial)
    unsafe nghttp2_session_terminate_session(session, code.rawValue)
  }

  /// Closes when the library wants neither to read nor to write, or a drain has nothing left to
  /// wait for.
  func endIfDone() {
    let isDone =
      isSessionBroken || (state == .draining && streams.isEmpty) || !wantsToRead
    guard isDone else { return }
    if state == .draining && !isSessionBroken && !didSendLastGoAway {
      submitLastGoAway()
      return client.yield()
    }
    startLingering()
  }

  func startLingering() {
    let settings = client.address.defaultSite.root.settings.core.value
    for stream in streams { stream.cancel() }
    // Whoever was told to go has nothing under way; a stopping worker doesn't wait for it.
    if client.core.isDraining && !isSessionBroken { return client.close() }
    state = .lingering
    client.transport.shutdownWrite()
    lingerUntil = loop.now + settings.lingeringTime
    let pause = min(settings.lingeringTimeout, settings.lingeringTime)
    loop.setTimer(client.timer, after: pause, for: client.handle)
    linger()
  }

  func linger() {
    let settings = client.address.defaultSite.root.settings.core.value
    client.linger(until: lingerUntil, pause: settings.lingeringTimeout)
  }
}
