// The loop of the control thread: messages, events, deadlines. It hands each to the part that it is
// meant for (Resolver, ResolverNames, HealthChecks) and carries news between them: a name that
// moved changes who is checked and what workers are told.

/// The control thread's loop; all of it runs on that thread.
final class ControlLoop {
  private static let recyclePeriod: Milliseconds = 30_000
  /// The slot of the loop's own timer; others of its kind are names that are followed.
  private static let recycleSlot = 0

  private let core: ControlCore
  private let mailbox: Mailbox<ControlMessage>
  private let registry: PeerRegistry
  private let sink: any ControlSink
  private let progress: ControlProgress
  private let resolver: Resolver
  private let names: ResolverNames
  private let checks: HealthChecks
  private let responders: OCSPFetches
  private let recycleTimer: TimerWheel.ID
  private var upstreams: [String: UpstreamSettings] = [:]
  private var configuration = 0
  private var isStopped = false
  private var fired: [Handle] = []

  init(
    _ core: ControlCore, _ mailbox: Mailbox<ControlMessage>, _ registry: PeerRegistry,
    _ sink: any ControlSink, _ progress: ControlProgress
  ) {
    self.core = core
    self.mailbox = mailbox
    self.registry = registry
    self.sink = sink
    self.progress = progress
    resolver = Resolver(core)
    names = ResolverNames(core, resolver, registry, sink)
    checks = HealthChecks(core, sink)
    responders = OCSPFetches(core, resolver, sink)
    recycleTimer = core.wheel.makeEntry()
  }

  /// Runs until `.stop` comes.
  func run() {
    do {
      try core.poller.addReader(mailbox.wakeDescriptor, Handle(.mailbox, slot: 0), exclusive: false)
    } catch {
      sink.log(.error, "the control thread can't poll \(error.logText)")
      return
    }
    armRecycling()
    while !isStopped { turn() }
    checks.close()
    responders.close()
    resolver.close()
  }

  private func turn() {
    let timeout = core.wheel.timeout(now: Clock.monotonic)
    core.poller.wait(timeout) { handle, readiness in
      onEvent(handle, readiness)
    } woken: {
      core.now = Clock.monotonic
    }
    core.wheel.advance(now: core.now, &fired)
    let timers = fired
    fired.removeAll(keepingCapacity: true)
    for handle in timers { onTimer(handle) }
    deliverAnswers()
  }

  private func onEvent(_ handle: Handle, _ readiness: Readiness) {
    switch handle.kind {
    case .mailbox:
      for message in mailbox.takeAll() { receive(message) }
    case .resolver:
      resolver.onEvent(
        socket: Int32(handle.slot), channel: Int(handle.generation), readiness)
    case .healthCheck:
      checks.onEvent(handle, readiness)
    case .ocsp:
      responders.onEvent(handle, readiness)
    default: break
    }
  }

  private func onTimer(_ handle: Handle) {
    switch handle.kind {
    case .control where handle.slot == Self.recycleSlot:
      registry.recycle(keeping: Array(upstreams.values), now: core.now)
      armRecycling()
    case .control:
      names.onTimer(handle.slot)
    case .resolver where handle.slot == Resolver.sweepSlot:
      resolver.onSweep()
    case .resolver:
      resolver.onTimer(channel: handle.slot)
    case .healthCheck:
      checks.onTimer(handle)
    case .ocsp:
      responders.onTimer(handle)
    default: break
    }
  }

  private func receive(_ message: ControlMessage) {
    switch message {
    case .configure(let plan, let number): configure(plan, number)
    case .resolve(let request):
      resolver.ask(
        request.name, family: request.family, request.resolver, for: .request(request))
    case .staple(let question): responders.ask(question)
    case .askStatus(let request): responders.ask(request)
    case .perform(let body): body()
    case .stop: isStopped = true
    }
  }

  private func configure(_ plan: ControlPlan, _ number: Int) {
    configuration = number
    upstreams = [:]
    for upstream in plan.upstreams { upstreams[upstream.name] = upstream }
    responders.configure(plan.statusCaches)
    resolver.startAfresh()
    names.configure(plan.upstreams)
    checks.begin()
    for upstream in plan.upstreams { checks.add(upstream, registry.servers(of: upstream)) }
    checks.end()
    registry.recycle(keeping: plan.upstreams, now: core.now)
    deliverAnswers()
  }

  /// Hands answers of DNS to those who asked; that may lead to further ones.
  private func deliverAnswers() {
    while true {
      let answers = resolver.takeAnswers()
      if answers.isEmpty { break }
      var changed: Set<String> = []
      for (asker, result) in answers {
        switch asker {
        case .request(let request): sink.resolved(request, result)
        case .ocsp(let number): responders.onAnswer(number, result)
        case .watch(let number):
          if let upstream = names.onAnswer(number, result) { changed.insert(upstream) }
        case .watchTarget(let number, let target):
          if let upstream = names.onAnswer(number, result, for: target) {
            changed.insert(upstream)
          }
        }
      }
      for name in changed.sorted() { publish(name) }
    }
    if names.areAnswered { progress.reach(configuration) }
  }

  /// Tells everybody about the servers of an upstream.
  private func publish(_ name: String) {
    guard let upstream = upstreams[name] else { return }
    let servers = registry.servers(of: upstream)
    checks.update(upstream, servers)
    sink.peers(upstream: name, servers: servers)
  }

  private func armRecycling() {
    let handle = Handle(.control, slot: Self.recycleSlot)
    core.wheel.set(recycleTimer, at: core.now + Self.recyclePeriod, for: handle)
  }
}
