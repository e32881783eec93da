// The checks of one server over time: when the next is due, how many failed or passed in a row, and
// what that makes of the server. A change is written to the shared state, where all workers see it
// with their next choice, and to the log.
//
//   unchecked ──(a pass)──► healthy ──(`fails` failures in a row)──► unhealthy
//   (mandatory)                ▲                                        │
//                              └────────(`passes` passes in a row)──────┘

/// The checks of one server.
final class HealthCheck {
  /// Where the check stands.
  enum Phase {
    /// Waits for its time.
    case waiting
    /// Its time has come, but too many are under way.
    case queued
    case probing(HealthProbe)
  }

  let number: Int
  let settings: HealthCheckSettings
  let server: SocketAddress
  let host: String
  let timer: TimerWheel.ID
  var displayName: String
  /// The shared states of the server; several if lines of the upstream name it twice.
  var states: [PeerState]
  var phase = Phase.waiting
  /// Tells the events of this probe from those of former ones.
  var generation: UInt32 = 0
  /// When the last probe began.
  var startedAt: Milliseconds = 0

  private var health: PeerHealth
  private var failsInARow = 0
  private var passesInARow = 0
  private var lastReason = ""

  /// The checks of `servers`, which have one address.
  init(
    _ number: Int, of servers: [ResolvedServer], in upstream: UpstreamSettings,
    _ settings: HealthCheckSettings, _ timer: TimerWheel.ID
  ) {
    self.number = number
    self.settings = settings
    self.timer = timer
    server = servers[0].address
    displayName = upstream.displayName
    host = settings.requestHost.isEmpty ? upstream.displayName : settings.requestHost
    states = servers.map(\.state)
    health = states[0].health
  }

  /// Where the probe connects to.
  var address: SocketAddress {
    var address = server
    if let port = settings.port { address.port = port }
    return address
  }

  /// Writes what is known to the shared states.
  func publish() {
    for state in states { state.health = health }
  }

  /// Lets a server that has not been checked yet get no requests.
  func requireFirstPass() {
    if health == .healthy { health = .unchecked }
    publish()
  }

  /// Lets go of the server: without checks it counts as healthy.
  func release() {
    health = .healthy
    publish()
  }

  /// Lets a verdict count. Returns what there is to say in the log.
  func record(_ verdict: HealthVerdict) -> (level: LogLevel, text: String)? {
    switch verdict {
    case .passed(let reason): return recordPass(reason)
    case .failed(let reason): return recordFailure(reason)
    case .undecided(let reason):
      return (.error, "\(subject) could not be done: \(reason)")
    }
  }

  private func recordPass(_ reason: String) -> (level: LogLevel, text: String)? {
    failsInARow = 0
    lastReason = ""
    if health == .healthy { return nil }
    passesInARow += 1
    let needed = health == .unchecked ? 1 : settings.passes
    let line = "\(subject) passed: \(reason) (\(passesInARow) of \(needed))"
    if passesInARow < needed { return (.info, line) }
    let isFirst = health == .unchecked
    health = .healthy
    publish()
    for state in states { state.clearFails() }
    return (.notice, "\(line); it gets requests\(isFirst ? "" : " again")")
  }

  private func recordFailure(_ reason: String) -> (level: LogLevel, text: String)? {
    passesInARow = 0
    failsInARow += 1
    let count = "\(min(failsInARow, settings.fails)) of \(settings.fails)"
    let line = "\(subject) failed: \(reason) (\(count))"
    defer { lastReason = reason }
    if health == .healthy && failsInARow >= settings.fails {
      health = .unhealthy
      publish()
      return (.warn, "\(line); it gets no requests until it passes")
    }
    if health == .unchecked && failsInARow == 1 { return (.warn, line) }
    return reason == lastReason && health != .healthy ? nil : (.info, line)
  }

  private var subject: String {
    let port = settings.port.map { " at port \($0)" } ?? ""
    return "health check of \(server.description)\(port) in upstream \"\(displayName)\""
  }
}
