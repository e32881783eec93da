// Room for others: a connection on which no request is being served may end before its time, when
// `worker_connections` or descriptors run out.

import HTTP

extension ClientConnection {
  /// What speaks against giving a connection up; who has less goes first.
  struct Claim: Comparable {
    /// A request, or a handshake, has begun.
    let hasBegun: Bool
    /// When the connection ends if nothing happens.
    let deadline: Milliseconds

    static func < (a: Claim, b: Claim) -> Bool {
      a.hasBegun == b.hasBegun ? a.deadline < b.deadline : b.hasBegun
    }
  }

  /// The claim of a connection on which no request is being served; nil: it can't be given up.
  var claim: Claim? {
    switch phase {
    case .introducing, .peeking: Claim(hasBegun: false, deadline: loop.deadline(of: timer))
    case .handshaking: Claim(hasBegun: true, deadline: loop.deadline(of: timer))
    case .open: http2 == nil ? http.claim : http2?.claim
    case .closed: nil
    }
  }

  /// Ends a connection that has this claim, unless something of a request has arrived meanwhile.
  /// Whether it ends; HTTP/2 says so to its client first, and takes until the next turn.
  func giveUp(_ claim: Claim) -> Bool {
    // What has arrived is in flight, whether its event was dispatched or not.
    onEvent(.readable)
    guard phase != .closed else { return true }
    guard self.claim == claim else { return false }
    if let http2, phase == .open {
      http2.giveUp()
    } else if phase == .open {
      http.giveUp()
    } else {
      close()
    }
    return true
  }
}

extension H1Connection {
  fileprivate var claim: ClientConnection.Claim? {
    let deadline = loop.deadline(of: client.timer)
    return switch state {
    // `keepalive_min_timeout` promised to take a request for a while.
    case .waiting: keptUntil > loop.now ? nil : .init(hasBegun: !isIdle, deadline: deadline)
    case .head: .init(hasBegun: true, deadline: deadline)
    case .lingering: .init(hasBegun: false, deadline: deadline)
    case .exchanging, .discarding, .breaking, .closed: nil
    }
  }

  fileprivate func giveUp() {
    guard state == .head else { return client.close() }
    endHead("closed for other clients while reading client request headers")
  }
}

extension H2Connection {
  fileprivate var claim: ClientConnection.Claim? {
    switch state {
    case .open where isIdle: .init(hasBegun: false, deadline: idleUntil)
    case .lingering: .init(hasBegun: false, deadline: lingerUntil)
    case .open, .draining, .closed: nil
    }
  }

  fileprivate func giveUp() { if state == .lingering { client.close() } else { goAway() } }
}
