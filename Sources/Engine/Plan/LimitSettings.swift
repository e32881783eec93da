// Limits of requests and of connections, as the data path reads them. Classes, so that an exchange
// looks at them without copying their parts.

import HTTP

/// A `limit_req_zone` or `limit_conn_zone`.
final class LimitZoneSettings {
  let name: Bytes
  /// What is counted apart; requests with an empty key are not counted.
  let key: Template
  let zone: LimitZone
  /// nil: connections are counted.
  let rate: RequestRate?

  init(name: Bytes, key: Template, zone: LimitZone, rate: RequestRate?) {
    self.name = name
    self.key = key
    self.zone = zone
    self.rate = rate
  }
}

/// One `limit_req`.
final class RequestLimit {
  let settings: LimitZoneSettings
  let rate: RequestRate
  /// How far ahead of the rate requests may be, in parts of a request.
  let burst: Int
  /// How far ahead they may be without waiting.
  let undelayed: Int

  init(_ settings: LimitZoneSettings, _ rate: RequestRate, burst: Int, undelayed: Int) {
    self.settings = settings
    self.rate = rate
    self.burst = burst
    self.undelayed = undelayed
  }
}

/// One `limit_conn`.
final class ConnectionLimit {
  let settings: LimitZoneSettings
  let most: Int

  init(_ settings: LimitZoneSettings, most: Int) {
    self.settings = settings
    self.most = most
  }
}

/// What limits do when they are reached.
struct LimitManner {
  var status = 503
  var level = LogLevel.error
  /// Only the log says what would happen.
  var isDryRun = false
}

/// `$limit_req_status` and `$limit_conn_status`.
enum LimitOutcome {
  /// Nothing was limited.
  case none
  case passed, delayed, rejected, delayedDryRun, rejectedDryRun

  var text: Bytes? {
    switch self {
    case .none: nil
    case .passed: Bytes("PASSED")
    case .delayed: Bytes("DELAYED")
    case .rejected: Bytes("REJECTED")
    case .delayedDryRun: Bytes("DELAYED_DRY_RUN")
    case .rejectedDryRun: Bytes("REJECTED_DRY_RUN")
    }
  }
}
