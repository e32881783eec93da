// One worker thread: its loop, its listeners, its connections, its plan. Events arrive here and go
// to what their handle names.
//
//   Worker.run ─► Loop.turn ─► dispatch(handle) ─► listener │ client │ upstream │ mailbox

import CLinux
import HTTP

/// One worker thread.
final class Worker {
  let core: WorkerCore
  let mailbox: Mailbox<WorkerMessage>
  let loop: Loop
  private let shared: WorkerShared
  private var listeners: [AcceptingSocket] = []
  private(set) var clients = Slab<ClientConnection>(kind: .client)
  private let http2 = H2Library()
  private var isRunning = true
  private var retired: [Plan] = []
  private var acceptPausedUntil: Milliseconds = 0
  private var pauseReport = RepeatedReport()
  /// What the kernel lets this process open (RLIMIT_NOFILE).
  let descriptorLimit = Int(clamping: linux_descriptor_limit())
  var descriptors: DescriptorGauge
  var nextReserveSearch: Milliseconds = 0
  var nextRoomSearch: Milliseconds = 0
  var roomReport = RepeatedReport()
  private let housekeeping: TimerWheel.ID
  /// What the pool had freed when the heap was trimmed, and when housekeeping looked last.
  private var freed = (atTrim: 0, atLook: 0)
  // Bound: memory that is free and not the system's.
  private static let trimByteCount = 64 << 20
  private let drainTimer: TimerWheel.ID
  private static let housekeepingHandle = Handle(.logs, slot: 0)
  private static let drainHandle = Handle(.control, slot: 0)

  init(
    index: Int, plan: Plan, logs: [String: Int32], shared: WorkerShared,
    mailbox: Mailbox<WorkerMessage>
  ) throws(SystemError) {
    loop = try Loop()
    descriptors = DescriptorGauge(memory: plan.main.workerCount == 1 ? 60_000 : 5_000)
    self.shared = shared
    self.mailbox = mailbox
    core = WorkerCore(
      loop: loop, index: index, plan: plan, errorLog: shared.errorLog, registry: shared.registry,
      control: shared.control, hostName: shared.hostName, counters: shared.counters)
    housekeeping = loop.makeTimer()
    drainTimer = loop.makeTimer()
    try loop.poller.addReader(mailbox.wakeDescriptor, Handle(.mailbox, slot: 0), exclusive: false)
    core.clientClosed = { [unowned self] handle in self.clientClosed(handle) }
    core.makeRoom = { [unowned self] in makeRoomForConnection() }
    core.install(plan, logs: logs, errorLog: shared.errorLog)
  }

  /// Turns the loop until the worker is stopped or drained. It serves once it is given a plan.
  func run() {
    loop.setTimer(housekeeping, after: core.accessLogs.flushPeriod, for: Self.housekeepingHandle)
    while isRunning {
      loop.turn(
        dispatch: { dispatch($0, $1) }, resume: { resume($0) }, fire: { fire($0) })
      if core.isDraining && clients.count == 0 && core.detachedCount == 0 { break }
    }
    core.accessLogs.flush(now: loop.now)
    for client in clients.objects { client.close() }
    core.upstreams.closeIdle()
    core.h2Upstreams.closeIdle()
  }

  // --- events ------------------------------------------------------------------------------------

  @inline(__always)
  private func dispatch(_ handle: Handle, _ readiness: Readiness) {
    switch handle.kind {
    case .client: clients.resident(handle)?.visit { $0.onEvent(readiness) }
    case .upstream:
      core.upstreams.connection(handle)?.visit { connection in
        if connection.isIdle {
          core.upstreams.onIdleEvent(connection, readiness)
        } else {
          core.exchanges.resident(connection.exchange)?.visit {
            $0.onUpstreamEvent(connection, readiness)
          }
        }
      }
    case .h2Upstream: core.onStreamsReady(handle, readiness)
    case .listener: _ = accept(handle.slot)
    case .mailbox: receiveMessages()
    default: break
    }
  }

  private func resume(_ handle: Handle) {
    switch handle.kind {
    case .client: clients.object(handle)?.onResume()
    case .upstream:
      core.upstreams.connection(handle)?.visit { connection in
        core.exchanges.resident(connection.exchange)?.visit { $0.onUpstreamEvent(connection, []) }
      }
    case .h2Upstream: core.onStreamsResumed(handle)
    case .pipeline: core.exchanges.object(handle)?.onPipelineResume()
    case .listener: _ = accept(handle.slot)
    default: break
    }
  }

  private func fire(_ handle: Handle) {
    switch handle.kind {
    case .client: clients.object(handle)?.onTimeout()
    case .stream: http2.streams.object(handle)?.onTimeout()
    case .upstream:
      core.upstreams.connection(handle)?.visit { connection in
        if connection.isIdle {
          core.upstreams.close(connection)
        } else {
          core.exchanges.object(connection.exchange)?.onUpstreamTimeout(connection)
        }
      }
    case .h2Upstream: core.onStreamsIdle(handle)
    case .exchange: core.exchanges.object(handle)?.onStreamTimeout()
    case .admission: core.exchanges.object(handle)?.onAdmissionTimeout()
    case .pacer: core.exchanges.object(handle)?.onPaceTimeout()
    case .pipeline: core.exchanges.object(handle)?.onFlushTimeout()
    case .logs:
      core.accessLogs.flushDue(now: loop.now)
      if !retired.isEmpty { releaseRetired() }
      trimHeap()
      loop.setTimer(housekeeping, after: core.accessLogs.flushPeriod, for: Self.housekeepingHandle)
    case .listener: resumeAccepting()
    case .control: isRunning = false
    default: break
    }
  }

  /// Gives what a burst needed back to the system, once it has passed: the allocator keeps what is
  /// freed by threads other than the main one.
  private func trimHeap() {
    let count = loop.pool.freedByteCount
    if count == freed.atLook && count - freed.atTrim >= Self.trimByteCount {
      linux_trim_heap()
      freed.atTrim = count
    }
    freed.atLook = count
  }

  private func receiveMessages() {
    for message in mailbox.takeAll() {
      switch message {
      case .plan(let plan, let sockets, let logs, let errorLog):
        install(plan.value, sockets, logs, errorLog)
      case .drain(let deadline): drain(deadline)
      case .stop: isRunning = false
      case .peers(let upstream, let servers): core.update(upstream, servers)
      case .resolved(let exchange, let name, let addresses, let problem):
        guard let exchange = core.exchanges.object(Handle(raw: exchange)) else { continue }
        exchange.onResolved(name, addresses, problem)
        exchange.stream.flush()
      case .passwordChecked(let digest, let isRight):
        core.onPasswordChecked(digest, isRight: isRight)
      case .cacheReleased(let exchange):
        core.exchanges.object(Handle(raw: exchange))?.onCacheReleased()
      case .renewed(let renewals): core.plan.renew(renewals)
      case .stapled(let question, let outcome):
        core.plan.staples.take(question, outcome, now: Int(Clock.wall / 1000))
      case .certificateJudged(let token, let verdict): core.onCertificateJudged(token, verdict)
      case .flushLogs:
        core.accessLogs.flush(now: loop.now)
        shared.reports.post(.logsFlushed(worker: core.index))
      case .close(let sockets): close(sockets)
      }
    }
  }

  // --- plans -------------------------------------------------------------------------------------

  private func install(
    _ plan: Plan, _ sockets: [ListenerSocket], _ logs: [String: Int32], _ errorLog: ErrorLog
  ) {
    emptyQueues(except: Set(sockets.map(\.fd)))
    // The first one it was made with.
    if core.plan !== plan { retired.append(core.plan) }
    core.install(plan, logs: logs, errorLog: errorLog)
    takeServers()
    setListeners(sockets)
    core.retireFormerUpstreams()
    for client in clients.freeObjects { client.forgetFormerPlan() }
    for exchange in core.exchanges.freeObjects { exchange.forgetFormerPlan() }
    endUnverified()
    releaseRetired()
    shared.reports.post(.planTaken(worker: core.index))
  }

  /// Ends connections that the current plan would have speak TLS, or whose clients it would verify
  /// in another way: they have to connect again, and may not do so for a request that is refused.
  private func endUnverified() {
    for client in clients.objects {
      client.noteVerification()
      if client.isOutlived { drain(client, isGraceful: false) }
    }
  }

  /// What DNS said since the plan was made was told to the plan before, or to nobody.
  private func takeServers() {
    for group in core.plan.groups.values where group.settings.hasNames {
      group.update(shared.registry.servers(of: group.settings))
    }
  }

  /// Accepts what waits at sockets that are given up, while their plan holds.
  private func emptyQueues(except staying: Set<Int32>) {
    for slot in listeners.indices where listeners[slot].isOpen {
      // Bound: `worker_connections`, at which accepting stops.
      while !staying.contains(listeners[slot].fd), accept(slot, makingRoom: false) {}
    }
  }

  /// Closes sockets that no thread polls any more. Whoever came since the queues were emptied is
  /// served, if the current plan has a socket for the address.
  private func close(_ sockets: [Int32]) {
    for socket in sockets {
      while core.hasFreeConnection, case .success(let accepted) = Socket.accept(socket) {
        if let listen = core.plan.listen(covering: Socket.localAddress(accepted.fd)) {
          open(accepted.fd, accepted.peer, listen)
        } else {
          Socket.close(accepted.fd)
        }
      }
      Socket.close(socket)
    }
  }

  /// Plans that exchanges may still refer to: handed back once nobody else here does.
  private func releaseRetired() {
    for index in retired.indices.reversed() where isKnownUniquelyReferenced(&retired[index]) {
      let plan = takeRetired(index)
      shared.reports.post(.planRetired(plan, worker: core.index))
    }
  }

  // A function of its own, so that no reference is left here when the report is posted: whoever
  // lets go last frees the plan, and 10,000 servers take 40 ms.
  @inline(never)
  private func takeRetired(_ index: Int) -> RetiredPlan { RetiredPlan(retired.remove(at: index)) }

  /// Takes new listeners in, keeps those that stay, lets go of the others.
  private func setListeners(_ sockets: [ListenerSocket]) {
    let staying = Set(sockets.map(\.fd))
    let plans = Dictionary(
      core.plan.listens.map { ($0.settings.address, $0) }, uniquingKeysWith: { first, _ in first })
    var open: [Int32: AcceptingSocket] = [:]
    for listener in listeners where listener.isOpen {
      open[listener.fd] = listener
      if staying.contains(listener.fd) { continue }
      loop.poller.remove(listener.fd)
      listener.isOpen = false
      listener.listen = nil
    }
    for socket in sockets {
      guard let listen = plans[socket.settings.address] else { continue }
      if let known = open[socket.fd] {
        known.listen = listen
        continue
      }
      let listener = AcceptingSocket(fd: socket.fd, listen: listen)
      listeners.append(listener)
      let handle = Handle(.listener, slot: listeners.count - 1)
      do throws(SystemError) {
        try loop.poller.addReader(socket.fd, handle, exclusive: true)
      } catch {
        core.errorLog.write(.emerg, "epoll_ctl() failed \(error.logText) for a listening socket")
      }
    }
  }

  // --- accepting ---------------------------------------------------------------------------------

  /// Accepts some connections; whether more may wait.
  ///
  /// - Parameter makingRoom: others may have to end for them.
  private func accept(_ slot: Int, makingRoom: Bool = true) -> Bool {
    guard slot < listeners.count, listeners[slot].isOpen, !core.isDraining,
      loop.now >= acceptPausedUntil, let listen = listeners[slot].listen
    else { return false }
    let listener = listeners[slot]
    for _ in 0..<listener.batch.next(turn: loop.turnCount, many: core.plan.main.acceptsMany) {
      guard core.hasFreeConnection || (makingRoom && makeRoomForConnection()) else {
        pauseAccepting("worker_connections are not enough", slot)
        return false
      }
      switch Socket.accept(listener.fd) {
      case .success(let accepted):
        if makingRoom { keepReserve(accepted.fd) }
        open(accepted.fd, accepted.peer, listen)
      case .failure(let error):
        guard [EMFILE, ENFILE, ENOMEM, ENOBUFS].contains(error.code) else { return false }
        if makingRoom && makeRoom(after: error) { return true }
        pauseAccepting("accept4() failed \(error.logText)", slot)
        return false
      }
    }
    return true
  }

  private func open(_ fd: Int32, _ peer: SocketAddress, _ listen: ListenPlan) {
    let (core, http2) = (core, http2)
    let (client, handle) = clients.take { ClientConnection(core: core, library: http2) }
    do throws(SystemError) {
      try loop.poller.add(fd, handle)
    } catch {
      Socket.close(fd)
      clients.giveBack(handle)
      return
    }
    core.clientCount += 1
    core.counters.countAccepted()
    client.open(fd, handle, peer, on: listen)
  }

  /// No descriptor or connection is left, and none can be given up: waits a little instead of
  /// spinning.
  private func pauseAccepting(_ reason: String, _ slot: Int) {
    acceptPausedUntil = loop.now + 500
    if let count = pauseReport.add(1, now: loop.now) {
      let often = count > 1 ? " (\(count) times since this was said)" : ""
      core.errorLog.write(.alert, "\(reason), accepting pauses for 500 ms\(often)")
    }
    for listener in listeners where listener.isOpen { loop.poller.remove(listener.fd) }
    loop.setTimer(core.acceptTimer, after: 500, for: Handle(.listener, slot: slot))
  }

  private func resumeAccepting() {
    acceptPausedUntil = 0
    for (slot, listener) in listeners.enumerated() where listener.isOpen && !core.isDraining {
      try? loop.poller.addReader(listener.fd, Handle(.listener, slot: slot), exclusive: true)
    }
  }

  private func clientClosed(_ handle: Handle) {
    clients.giveBack(handle)
    core.clientCount -= 1
    core.counters.countClosed()
  }

  // --- the end -----------------------------------------------------------------------------------

  // A connection whose first request is on its way when a drain begins gets this long to say it.
  private static let firstRequestGrace: Milliseconds = 1_000

  private func drain(_ deadline: Int?) {
    // What waits in the accept queue was accepted as far as its client knows.
    // Bound: `worker_connections`, at which accepting stops.
    for slot in listeners.indices { while accept(slot, makingRoom: false) {} }
    core.isDraining = true
    for listener in listeners where listener.isOpen {
      loop.poller.remove(listener.fd)
      listener.isOpen = false
    }
    shared.reports.post(.stoppedAccepting(worker: core.index))
    for client in clients.objects { drain(client) }
    core.upstreams.closeIdle()
    core.h2Upstreams.closeIdle()
    core.accessLogs.flush(now: loop.now)
    if let deadline { loop.setTimer(drainTimer, after: deadline, for: Self.drainHandle) }
  }
}

extension Worker {
  /// Closes a connection that waits for its next request.
  ///
  /// - Parameter isGraceful: requests that are on their way by HTTP/2 are still served.
  private func drain(_ client: ClientConnection, isGraceful: Bool = true) {
    if let http2 = client.http2, !http2.isIdle { return http2.goAway(isGraceful: isGraceful) }
    guard client.phase != .open || client.isIdle else { return }
    // A request that has arrived is in flight, whether its event was dispatched or not.
    client.onEvent(.readable)
    if let http2 = client.http2 { return http2.goAway(isGraceful: isGraceful && !http2.isIdle) }
    guard client.phase != .closed, client.phase != .open || client.isIdle else { return }
    if client.facts.requestCount > 0 { return client.http.endIdle() }
    loop.setTimer(client.timer, after: Self.firstRequestGrace, for: client.handle)
  }
}
