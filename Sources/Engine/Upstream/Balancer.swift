// Choosing a server for a request, and learning from how it went. The order is nginx's, to the
// request: primary servers, then backups, each by the group's method. Two things are ours: what
// active health checks say counts, and when every server is out, the one that may be back soonest
// is tried before the client gets a 502.

import HTTP

/// How a request to a server ended, as far as the server is to blame.
enum PeerOutcome: BitwiseCopyable {
  /// It answered.
  case success
  /// It failed: refused, timed out, broke off, or answered what `proxy_next_upstream` calls an
  /// error.
  case failure
  /// It refused the request, as a server that is full for a moment does: the third time in a row
  /// that is a failure.
  case refusal
  /// Nothing was learnt, such as when the client went away.
  case neutral
}

/// What an outcome changed.
enum PeerChange: BitwiseCopyable {
  /// The server is out, as `max_fails` and `fail_timeout` say.
  case out
  /// It was, and has answered.
  case back
}

extension UpstreamGroup {
  /// Chooses a server that is not in `tried`, adds it there, and counts the request in. What is
  /// chosen must be given to `release(_:_:now:)` once. Nil: there is nobody to ask.
  ///
  /// - Parameters:
  ///   - key: what `hash` and `ip_hash` choose by.
  ///   - route: the server that the request is bound to; where it can't be asked, any other one is.
  func choose(
    _ tried: inout TriedSet, now: Milliseconds, key: Bytes = Bytes(), route: Route = .none
  ) -> Peer? {
    if isSingle { return chooseOnly(&tried) }
    // Bound: a choice is repeated only if another thread took the last place or the trial between
    // looking and taking.
    for _ in 0..<4 {
      if let index = primary.pick(route, settings.method, tried, now: now, key: key) {
        if primary.seats[index].claim(now: now) { return primary.take(index, &tried) }
      } else if let index = backup.pick(route, settings.method, tried, now: now, key: key) {
        if backup.seats[index].claim(now: now) { return backup.take(index, &tried) }
      } else {
        break
      }
    }
    return chooseLastResort(&tried, now: now, route)
  }

  /// Counts a request to `peer` out, and lets its outcome count.
  ///
  /// Returns what changed for the server, for a line in the log: one when it fails, whatever else
  /// is tried there while it is out, and one when it is well again.
  @discardableResult
  func release(_ peer: Peer, _ outcome: PeerOutcome, now: Milliseconds) -> PeerChange? {
    peer.state.leave()
    switch outcome {
    case .neutral:
      return nil
    case .success:
      let fails = peer.state.recordSuccess()
      return fails > 0 && peer.server.maxFails > 0 && fails >= peer.server.maxFails ? .back : nil
    case .refusal: return peer.state.recordRefusal() >= 3 ? countFailure(of: peer, now) : nil
    case .failure: return countFailure(of: peer, now)
    }
  }

  private func countFailure(of peer: Peer, _ now: Milliseconds) -> PeerChange? {
    let fails = peer.state.recordFailure(now: now)
    if isSingle {
      // Without an alternative a server is never out.
      peer.state.clearFails()
      return nil
    }
    let maxFails = peer.server.maxFails
    if maxFails > 0 {
      if peer.isBackup { backup.penalise(peer.slot) } else { primary.penalise(peer.slot) }
    }
    return maxFails > 0 && fails == maxFails ? .out : nil
  }

  /// The only server of a group: failures don't matter, there is nobody else.
  private func chooseOnly(_ tried: inout TriedSet) -> Peer? {
    let isBackup = primary.seats.isEmpty
    let seat = isBackup ? backup.seats[0] : primary.seats[0]
    if seat.isDown || tried.contains(seat.slot) || seat.state.health == .unchecked { return nil }
    guard seat.state.enter(limit: seat.maxConnections) else { return nil }
    tried.insert(seat.slot)
    return isBackup ? backup.peers[0] : primary.peers[0]
  }

  /// The server that may be back soonest, though it is out. Servers that are `down`, full or
  /// waiting for their first mandatory check stay out; a server whose checks fail comes after those
  /// that only failed requests.
  private func chooseLastResort(
    _ tried: inout TriedSet, now: Milliseconds, _ route: Route
  ) -> Peer? {
    var best: (tier: Tier, index: Int, moment: Milliseconds)?
    for tier in [primary, backup] {
      for (index, seat) in tier.seats.enumerated() {
        if seat.isDown || tried.contains(seat.slot) || !seat.hasRoom { continue }
        if seat.state.health == .unchecked { continue }
        if seat.isDraining && !seat.isBound(by: route) { continue }
        var moment = seat.state.checkedAt + seat.failTimeout
        if seat.state.health == .unhealthy { moment += .max / 2 }
        if best == nil || moment < best!.moment { best = (tier, index, moment) }
      }
    }
    guard let best else { return nil }
    let seat = best.tier.seats[best.index]
    guard seat.state.enter(limit: seat.maxConnections) else { return nil }
    seat.state.claimEarlyTrial(now: now)
    return best.tier.take(best.index, &tried)
  }
}

extension UpstreamGroup.Tier {
  /// The index of the server whose turn it is, or nil if none may be asked.
  @inline(__always)
  mutating func pick(
    _ route: Route, _ method: UpstreamSettings.Method, _ tried: borrowing TriedSet,
    now: Milliseconds, key: Bytes
  ) -> Int? {
    if seats.isEmpty { return nil }
    if route != .none, let index = pickBound(by: route, tried, now: now) { return index }
    return switch method {
    case .roundRobin: pickByTurns(tried, now: now)
    case .leastConnections: pickLeastBusy(tried, now: now)
    case .addressHash: pickByAddress(key, tried, now: now)
    case .keyHash(false): pickByHash(key, tried, now: now)
    case .keyHash(true): pickOnRing(key, tried, now: now)
    case .leastTime(let time): pickFastest(time, tried, now: now)
    case .random(let two, let time): pickByChance(two: two, time, tried, now: now)
    }
  }

  /// The peer at `index`, which is from here on tried.
  @inline(__always)
  func take(_ index: Int, _ tried: inout TriedSet) -> Peer {
    tried.insert(seats[index].slot)
    return peers[index]
  }

  /// Lowers the weight of the server in `slot` after a failure.
  mutating func penalise(_ slot: Int) {
    guard let index = seats.firstIndex(where: { $0.slot == slot }) else { return }
    let seat = seats[index]
    let lowered = seat.effectiveWeight - seat.weight / seat.maxFails
    seats[index].effectiveWeight = max(0, lowered)
  }
}
