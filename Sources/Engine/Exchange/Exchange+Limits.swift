// limit_req and limit_conn: how fast requests of one key may come, and how many may be under way.
//
// A request is counted once, where it comes first: internal redirects don't count again, as in
// nginx. Where several limits hold and a later one rejects, those before it take their count back,
// so that no thread ever lets more through than the configuration says.

import HTTP

/// A connection that a zone counts.
struct CountedConnection: BitwiseCopyable {
  let zone: LimitZone
  let index: ZoneTable.Index
}

extension Exchange {
  // --- limit_req ---------------------------------------------------------------------------------

  /// Asks every `limit_req` of the location.
  func limitRequests() -> AdmissionVerdict {
    let settings = location.settings.admission.value
    let count = settings.requestLimits.count
    guard count > 0, requestLimitOutcome == .none else { return .abstains }
    let manner = settings.requestManner
    var (delay, hasCounted): (Milliseconds, Bool) = (0, false)
    var slowest: (limit: RequestLimit, excess: Int)?
    for position in 0..<count {
      let limit = settings.requestLimits[position]
      guard let key = limitKey(limit.settings) else { continue }
      hasCounted = true
      switch limit.settings.zone.take(key, limit.rate, burst: limit.burst, now: loop.now) {
      case .admitted(let excess):
        let wanted = limit.rate.delay(excess, over: limit.undelayed)
        if wanted > delay { (delay, slowest) = (wanted, (limit, excess)) }
      case .rejected(let excess):
        giveBackRequests(before: position)
        logLimit(
          manner.level, "limiting requests", manner, limit.settings, excess: excess, separator: "")
        return rejectRequest(manner)
      case .full:
        giveBackRequests(before: position)
        logFull(limit.settings)
        return rejectRequest(manner)
      }
    }
    guard hasCounted else { return .abstains }
    guard delay > 0, let slowest else {
      requestLimitOutcome = .passed
      return .abstains
    }
    // As in nginx, waiting is told one level below refusing.
    logLimit(
      manner.level == .info ? .info : LogLevel(rawValue: manner.level.rawValue - 1) ?? .info,
      "delaying request", manner, slowest.limit.settings, excess: slowest.excess, separator: ",")
    requestLimitOutcome = manner.isDryRun ? .delayedDryRun : .delayed
    if manner.isDryRun { return .abstains }
    wait(for: .delay(delay))
    return .waits
  }

  private func rejectRequest(_ manner: LimitManner) -> AdmissionVerdict {
    requestLimitOutcome = manner.isDryRun ? .rejectedDryRun : .rejected
    return manner.isDryRun ? .abstains : .fails(manner.status)
  }

  private func giveBackRequests(before position: Int) {
    let limits = location.settings.admission.value.requestLimits
    for limit in limits.prefix(position) {
      if let key = limitKey(limit.settings) { limit.settings.zone.giveBack(key) }
    }
  }

  // --- limit_conn --------------------------------------------------------------------------------

  /// Asks every `limit_conn` of the location. What is counted is given back by `leaveConnections`.
  func limitConnections() -> AdmissionVerdict {
    let settings = location.settings.admission.value
    let count = settings.connectionLimits.count
    guard count > 0, connectionLimitOutcome == .none else { return .abstains }
    let manner = settings.connectionManner
    var hasCounted = false
    for position in 0..<count {
      let limit = settings.connectionLimits[position]
      guard let key = limitKey(limit.settings) else { continue }
      hasCounted = true
      let verdict = limit.settings.zone.enter(key, limit: limit.most)
      if case .entered(let index) = verdict {
        countedConnections.append(CountedConnection(zone: limit.settings.zone, index: index))
        continue
      }
      leaveConnections()
      if verdict == .full {
        logFull(limit.settings)
      } else {
        logLimit(manner.level, "limiting connections", manner, limit.settings)
      }
      connectionLimitOutcome = manner.isDryRun ? .rejectedDryRun : .rejected
      return manner.isDryRun ? .abstains : .fails(manner.status)
    }
    if hasCounted { connectionLimitOutcome = .passed }
    return .abstains
  }

  /// Counts this request out everywhere; when it is over.
  func leaveConnections() {
    for counted in countedConnections { counted.zone.leave(counted.index) }
    countedConnections.removeAll(keepingCapacity: true)
  }

  // --- both --------------------------------------------------------------------------------------

  /// What this request is counted by; nil: it isn't.
  private func limitKey(_ settings: LimitZoneSettings) -> Bytes? {
    let key = evaluate(settings.key)
    if key.isEmpty { return nil }
    if key.count > LimitZone.longestKey {
      log(.error, "a key of zone \"\(settings.name.string)\" has more than 65535 bytes")
      return nil
    }
    return key
  }

  private func logFull(_ settings: LimitZoneSettings) {
    log(.error, "zone \"\(settings.name.string)\" is full")
  }

  private func logLimit(
    _ level: LogLevel, _ what: String, _ manner: LimitManner, _ settings: LimitZoneSettings,
    excess: Int? = nil, separator: String = ""
  ) {
    log(level, limitText(what, manner, settings, excess, separator))
  }

  private func limitText(
    _ what: String, _ manner: LimitManner, _ settings: LimitZoneSettings, _ excess: Int?,
    _ separator: String
  ) -> String {
    var text = what + (manner.isDryRun ? ", dry run" : "")
    if let excess {
      let thousandths = RequestRate.thousandths(excess)
      let digits = String(1000 + thousandths % 1000).dropFirst()
      text += ", excess: \(thousandths / 1000).\(digits)\(separator)"
    }
    return text + " by zone \"\(settings.name.string)\""
  }
}
