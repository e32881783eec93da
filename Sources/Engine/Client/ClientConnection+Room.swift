// Room for others: a connection on which no request is being served may end before its time, when
// `worker_connections` or descriptors run out.

import CLinux
import HTTP

extension ClientConnection {
  /// What speaks against giving a connection up; who has less goes first.
  struct Claim: Comparable {
    /// A request, or a handshake, has begun.
    let hasBegun: Bool
    /// Since when nothing was served on it.
    let quietSince: Milliseconds

    static func < (a: Claim, b: Claim) -> Bool {
      a.hasBegun == b.hasBegun ? a.quietSince < b.quietSince : b.hasBegun
    }
  }

  /// The claim of a connection on which no request is being served; nil: it can't be given up.
  var claim: Claim? {
    guard !hasYielded, let hasBegun else { return nil }
    return Claim(hasBegun: hasBegun, quietSince: quietSince)
  }

  private var hasBegun: Bool? {
    switch phase {
    case .introducing, .peeking: false
    case .handshaking: true
    case .open: http2 == nil ? http.hasBegun : http2?.hasBegun
    case .closed: nil
    }
  }

  /// Ends a connection that has a claim, unless something has arrived that nobody has read yet.
  /// Whether it has ended.
  func giveUp() -> Bool {
    var byte: UInt8 = 0
    // What has arrived is in flight, whether its event was dispatched or not.
    if case .bytes = unsafe IOResult(linux_peek(transport.fd, &byte, 1), zeroIsEnd: true) {
      return false
    }
    if let http2 {
      http2.giveUp()
    } else if phase == .open {
      http.giveUp()
    }
    close()
    return true
  }
}

extension H1Connection {
  /// Whether a request has; nil: one is being served.
  fileprivate var hasBegun: Bool? {
    switch state {
    // `keepalive_min_timeout` promised to take a request for a while.
    case .waiting: keptUntil > loop.now ? nil : !isIdle
    case .head: true
    case .lingering: false
    case .exchanging, .discarding, .breaking, .closed: nil
    }
  }

  fileprivate func giveUp() {
    guard state == .head else { return }
    endHead("closed for other clients while reading client request headers")
  }
}

extension H2Connection {
  fileprivate var hasBegun: Bool? {
    switch state {
    case .open: isIdle ? false : nil
    case .lingering: false
    case .draining, .closed: nil
    }
  }

  /// Says that it ends, as far as the socket takes it.
  fileprivate func giveUp() {
    guard state == .open else { return }
    goAway()
    client.onResume()
  }
}
