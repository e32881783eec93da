// All active health checks: which servers are checked, when each is due, which probes are under
// way. Runs on the control thread, once for all workers. After a reload, checks whose settings are
// the same go on with their schedule and what they know; so a reload can't bring a sick server
// back.

/// The active health checks of all upstreams.
final class HealthChecks {
  // Bound: probes under way, each of which holds a descriptor and 64 KiB.
  private static let probeLimit = 256

  private let core: ControlCore
  private let sink: any ControlSink
  private var checks: [Int: HealthCheck] = [:]
  /// The number of each check, by upstream and address.
  private var numbers: [String: [SocketAddress: Int]] = [:]
  private var next = 1
  private var queue: [Int] = []
  private var probeCount = 0
  private var configured: Set<String> = []
  /// OpenSSL's state of the control thread.
  private lazy var library = TLSLibrary()
  private var contexts: [TLSClientOptions: TLSClientContext] = [:]

  init(_ core: ControlCore, _ sink: any ControlSink) {
    self.core = core
    self.sink = sink
  }

  // MARK: Configuration

  /// Begins a configuration: upstreams that are not added before `end` are checked no more.
  func begin() { configured = [] }

  /// Adds an upstream with its servers as of now.
  func add(_ upstream: UpstreamSettings, _ servers: [ResolvedServer]) {
    configured.insert(upstream.name)
    update(upstream, servers)
  }

  /// Ends a configuration.
  func end() {
    for (name, numbers) in numbers where !configured.contains(name) {
      for number in numbers.values { remove(number) }
      self.numbers[name] = nil
    }
    let used = Set(checks.values.compactMap { $0.settings.tls?.options })
    contexts = contexts.filter { used.contains($0.key) }
    startQueued()
  }

  /// Follows a change of an upstream's servers.
  func update(_ upstream: UpstreamSettings, _ servers: [ResolvedServer]) {
    defer { startQueued() }
    var wanted: [SocketAddress: [ResolvedServer]] = [:]
    if upstream.healthCheck != nil {
      for server in servers where !server.server.isDown {
        wanted[server.address, default: []].append(server)
      }
    }
    for (address, number) in numbers[upstream.name] ?? [:] where wanted[address] == nil {
      remove(number)
      numbers[upstream.name]?[address] = nil
    }
    guard let settings = upstream.healthCheck else { return }
    // In the order of the configuration, so that first checks begin in that order.
    for server in servers {
      guard let same = wanted.removeValue(forKey: server.address) else { continue }
      follow(same, upstream, settings)
    }
  }

  private func follow(
    _ servers: [ResolvedServer], _ upstream: UpstreamSettings, _ settings: HealthCheckSettings
  ) {
    let address = servers[0].address
    let former = numbers[upstream.name]?[address].flatMap { checks[$0] }
    if let former, former.settings == settings {
      former.displayName = upstream.displayName
      former.states = servers.map(\.state)
      former.publish()
      return
    }
    if let former {
      // The settings changed; what the former check found out holds until the new one knows better.
      stop(former)
      core.wheel.removeEntry(former.timer)
      checks[former.number] = nil
    }
    let check = HealthCheck(next, of: servers, in: upstream, settings, core.wheel.makeEntry())
    next += 1
    checks[check.number] = check
    numbers[upstream.name, default: [:]][address] = check.number
    if settings.isMandatory && !(settings.isPersistent && former != nil) {
      check.requireFirstPass()
    } else {
      check.publish()
    }
    arm(check, at: core.now + delay(settings))
  }

  /// Ends a check for good; the caller forgets its number.
  private func remove(_ number: Int) {
    guard let check = checks.removeValue(forKey: number) else { return }
    stop(check)
    core.wheel.removeEntry(check.timer)
    check.release()
  }

  /// Drops the probe that is under way, if any.
  private func stop(_ check: HealthCheck) {
    if case .probing = check.phase { probeCount -= 1 }
    check.phase = .waiting
  }

  /// Drops all probes.
  func close() {
    for check in checks.values { stop(check) }
  }

  // MARK: Events

  /// The socket of a probe is ready.
  func onEvent(_ handle: Handle, _ readiness: Readiness) {
    guard let check = checks[handle.slot], check.generation == handle.generation,
      case .probing(let probe) = check.phase
    else { return }
    if let verdict = probe.onEvent(readiness) { finish(check, verdict) }
  }

  /// A check is due, or its probe has taken too long.
  func onTimer(_ handle: Handle) {
    guard let check = checks[handle.slot] else { return }
    switch check.phase {
    case .waiting:
      if probeCount < Self.probeLimit {
        start(check)
      } else {
        check.phase = .queued
        queue.append(check.number)
      }
    case .queued: break
    case .probing(let probe): finish(check, probe.lateness)
    }
  }

  private func start(_ check: HealthCheck) {
    check.startedAt = core.now
    check.generation = (check.generation + 1) & 0xff_ffff
    let handle = Handle(.healthCheck, slot: check.number, generation: check.generation)
    let context: TLSClientContext?
    do throws(TLSConfigurationError) {
      context = try check.settings.tls.map { tls throws(TLSConfigurationError) in
        try self.context(tls.options)
      }
    } catch {
      return conclude(check, .undecided(error.message))
    }
    switch HealthProbe.start(check, context, core.poller, handle) {
    case .success(let probe):
      probeCount += 1
      check.phase = .probing(probe)
      arm(check, at: core.now + check.settings.effectiveTimeout)
    case .failure(let end): conclude(check, end.verdict)
    }
  }

  /// The context of all checks with these options, made when one first needs it.
  private func context(
    _ options: TLSClientOptions
  ) throws(TLSConfigurationError) -> TLSClientContext {
    if let made = contexts[options] { return made }
    let made = try TLSClientContext(library: library, options: options)
    contexts[options] = made
    return made
  }

  private func finish(_ check: HealthCheck, _ verdict: HealthVerdict) {
    stop(check)
    conclude(check, verdict)
    startQueued()
  }

  /// Lets checks that are due have the room that others left, by their end or because they are
  /// configured no more.
  private func startQueued() {
    while probeCount < Self.probeLimit, !queue.isEmpty {
      let waiting = checks[queue.removeFirst()]
      if let waiting, case .queued = waiting.phase { start(waiting) }
    }
  }

  private func conclude(_ check: HealthCheck, _ verdict: HealthVerdict) {
    check.phase = .waiting
    if let line = check.record(verdict) { sink.log(line.level, line.text) }
    let due = check.startedAt + check.settings.interval
    arm(check, at: max(due, core.now) + delay(check.settings))
  }

  private func arm(_ check: HealthCheck, at moment: Milliseconds) {
    core.wheel.set(check.timer, at: moment, for: Handle(.healthCheck, slot: check.number))
  }

  private func delay(_ settings: HealthCheckSettings) -> Milliseconds {
    settings.jitter > 0 ? Int.random(in: 0...settings.jitter) : 0
  }
}
