// How the worker process takes up a configuration: descriptors are staged as they come, plans are
// built from the bundle, and only when all of them are whole does anything change.

import CLinux
import Synchronization

/// Descriptors that came for a configuration that isn't applied yet.
struct StagedDescriptors {
  var bundle: Int32?
  var listeners: [BoundListener.Key: HeldListener] = [:]
  var logs: [String: Int32] = [:]
  var forgotten: [UInt64] = []
  /// Some that were sent didn't come: this process may have no more.
  private(set) var isIncomplete = false

  /// Takes descriptors in with what the supervisor says they are.
  mutating func add(_ items: [SentDescriptor], _ descriptors: [Int32]) {
    isIncomplete = isIncomplete || descriptors.count < items.count
    for (item, fd) in zip(items, descriptors) {
      switch item {
      case .bundle:
        if let old = bundle { _ = linux_close(old) }
        bundle = fd
      case .listener(let id, let key): listeners[key] = HeldListener(id: id, fd: fd)
      case .log(let path):
        if let old = logs.updateValue(fd, forKey: path) { _ = linux_close(old) }
      case .order: _ = linux_close(fd)
      }
    }
    for fd in descriptors.dropFirst(items.count) { _ = linux_close(fd) }
  }

  /// Closes everything.
  mutating func drop() {
    if let bundle { _ = linux_close(bundle) }
    for listener in listeners.values { _ = linux_close(listener.fd) }
    for fd in logs.values { _ = linux_close(fd) }
    self = StagedDescriptors()
  }
}

/// Why a configuration couldn't be taken up.
struct ApplyFailure: Error {
  let problems: [String]

  init(_ problems: [String]) { self.problems = problems }
  init(_ what: String, _ error: SystemError) { problems = ["\(what) failed \(error.logText)"] }
}

extension WorkerProcess {
  /// Takes up what was staged, or changes nothing and reports why.
  func apply(_ generation: Int, identity: Identity?, _ settings: ProcessSettings) {
    do {
      if case .starting = state {
        try prepareProcess(identity, settings)
        try takeUp(generation)
        for shortfall in shortfalls { controlLog.write(.alert, shortfall) }
        shortfalls = []
        state = .serving
      } else {
        try takeUp(generation)
      }
    } catch {
      staged.drop()
      // What couldn't be had may be why.
      let problems = error.problems + shortfalls
      try? channel.send(.failed(generation: generation, problems: problems))
      if case .starting = state { state = .ended(Self.failedStartCode) }
    }
  }

  /// What happens once: limits first, because a plain user can't raise them.
  private func prepareProcess(
    _ identity: Identity?, _ settings: ProcessSettings
  ) throws(ApplyFailure) {
    guard isOwnProcess else { return }
    raise(settings)
    if let identity, Identity.canChange {
      do {
        try identity.become()
      } catch {
        throw ApplyFailure("changing to user \(identity.user)", error)
      }
    }
    // Linux writes no core of a process that changed its user, since it may hold the other's
    // secrets.
    if settings.coreBytes != nil { _ = linux_allow_core_files() }
    if let folder = settings.workingFolder {
      try verify(unsafe linux_change_folder(folder), "chdir(\"\(folder)\")")
    }
  }

  private func verify(_ result: Int64, _ what: String) throws(ApplyFailure) {
    guard result < 0 else { return }
    throw ApplyFailure(what, SystemError(code: Int32(truncatingIfNeeded: -result)))
  }

  /// What only the supervisor's user may. It is served with less, as nginx does.
  private func raise(_ settings: ProcessSettings) {
    var hasLimit = false
    if let limit = settings.descriptorLimit {
      hasLimit = attempt(
        linux_set_descriptor_limit(UInt64(clamping: limit)), "setrlimit(RLIMIT_NOFILE, \(limit))")
    }
    if !hasLimit { _ = linux_raise_descriptor_limit() }
    if let bytes = settings.coreBytes {
      _ = attempt(linux_set_core_limit(UInt64(clamping: bytes)), "setrlimit(RLIMIT_CORE, \(bytes))")
    }
    // Threads that are started later inherit it.
    if settings.priority != 0 {
      let priority = Int32(settings.priority)
      _ = attempt(linux_set_priority(priority), "setpriority(\(priority))")
    }
  }

  /// Whether a setting could be had; if not, it is said when there is a log.
  private func attempt(_ result: Int64, _ what: String) -> Bool {
    guard result < 0 else { return true }
    let error = SystemError(code: Int32(truncatingIfNeeded: -result))
    shortfalls.append("\(what) failed \(error.logText)")
    return false
  }

  private func takeUp(_ generation: Int) throws(ApplyFailure) {
    // The bundle and the tree of the configuration are gone by then.
    defer { linux_trim_heap() }
    try takeUpBundle(generation)
  }

  private func takeUpBundle(_ generation: Int) throws(ApplyFailure) {
    if staged.isIncomplete { throw ApplyFailure(Self.noDescriptors) }
    guard let fd = staged.bundle, let bundle = Bundle(descriptor: fd) else {
      throw ApplyFailure(["the bundle can't be read"])
    }
    let plans = try ReplayedFiles(bundle).makePlans(
      registry, ticketKeys, limitZones, cacheZones, sessionZones)
    let table = listeners.merging(staged.listeners) { _, new in new }
    let assigned = try plans.enumerated().map { index, plan throws(ApplyFailure) in
      try sockets(for: plan, index, table)
    }
    try startControl(plans[0])
    let started = try startThreads(plans)
    if !caches.configure(Array(plans[0].caches.values)) {
      end(started)
      throw ApplyFailure("starting the thread of the caches", SystemError(code: EAGAIN))
    }
    // Nothing fails from here on.
    threads.merge(started) { $1 }
    serving += started.keys.sorted()
    replaceLogs()
    errorLogPath = bundle.options.errorLogPath
    noteCaches(plans[0])
    resolveNames(plans)
    // Until here their plans are this thread's; from here on they hear what changes.
    for (number, thread) in started { mailboxes.add(thread.mailbox, number) }
    shutdownTimeoutMs = plans[0].main.shutdownTimeoutMs
    let closing = takeListeners(table)
    handOver(plans, assigned, PendingPlans(generation: generation, threads: [], closing: closing))
    staged.drop()
  }

  /// What is said when descriptors were sent and couldn't be received.
  private static let noDescriptors = [
    "no file descriptors are left for sockets and logs (see worker_rlimit_nofile)"
  ]

  /// The sockets that a thread listens on under `plan`.
  private func sockets(
    for plan: Plan, _ index: Int, _ table: [BoundListener.Key: HeldListener]
  ) throws(ApplyFailure) -> [ListenerSocket] {
    try plan.listens.map { listen throws(ApplyFailure) in
      let settings = listen.settings
      let isShared = !settings.reusePort || settings.address.isUnix
      let key = BoundListener.Key(
        address: settings.address.description, index: isShared ? 0 : index)
      guard let held = table[key] else {
        throw ApplyFailure(["no socket for \(settings.address.description)"])
      }
      return ListenerSocket(settings: settings, fd: held.fd)
    }
  }

  /// Makes `table` the listening sockets, without those that are forgotten; gives what is to be
  /// closed.
  private func takeListeners(_ table: [BoundListener.Key: HeldListener]) -> [Int32] {
    let forgotten = Set(staged.forgotten)
    let old = listeners
    listeners = table.filter { !forgotten.contains($0.value.id) }
    staged.listeners = [:]
    let kept = Set(listeners.values.map(\.fd))
    return Set(old.values.map(\.fd) + table.values.map(\.fd)).filter { !kept.contains($0) }
  }

  /// Gives each thread its plan, and drains those that are too many.
  private func handOver(
    _ plans: [Plan], _ assigned: [[ListenerSocket]], _ pending: PendingPlans
  ) {
    var pending = pending
    let paths = Set(plans[0].logPaths + plans[0].main.errorLogs.map(\.path))
    for (index, plan) in plans.enumerated() {
      let number = serving[index]
      logUses.begin(ObjectIdentifier(plan), paths, thread: number)
      threads[number]?.mailbox.post(
        .plan(
          Handover(plan), listeners: assigned[index], logs: logs.numbers,
          errorLog: errorLog(plan)))
      pending.threads.insert(number)
    }
    for number in serving.dropFirst(plans.count) {
      threads[number]?.mailbox.post(.drain(deadlineMs: shutdownTimeoutMs))
      // A thread that drains may poll them a moment longer than the others.
      threads[number]?.closing += pending.closing
      pending.closing = []
    }
    serving.removeLast(serving.count - plans.count)
    self.pending = pending
    finishPending()
  }

  /// Reports that the configuration is served, when no thread uses the one before.
  func finishPending() {
    guard let pending, pending.threads.isEmpty else { return }
    self.pending = nil
    if let thread = serving.first.flatMap({ threads[$0] }), !pending.closing.isEmpty {
      thread.mailbox.post(.close(pending.closing))
    } else {
      for fd in pending.closing { _ = linux_close(fd) }
    }
    try? channel.send(.ready(generation: pending.generation))
  }

  private func startControl(_ plan: Plan) throws(ApplyFailure) {
    guard control == nil else { return }
    do throws(SystemError) {
      control = try ControlThread(
        registry: registry, sink: ControlNews(mailboxes: mailboxes, errorLog: controlLog))
    } catch {
      throw ApplyFailure("starting the control thread", error)
    }
  }

  /// Tells the control thread of the upstreams, and waits a little for their names and first
  /// checks.
  private func resolveNames(_ plans: [Plan]) {
    controlLog.set(errorLog(plans[0]))
    control?.configure(
      ControlPlan(upstreams: plans[0].upstreams, statusCaches: plans[0].statusCaches))
    // Bound: how long names may hold a start or a reload up; those that come later are sent.
    _ = control?.waitUntilResolved(timeout: 2_000)
    for plan in plans {
      for group in plan.groups.values { group.update(registry.servers(of: group.settings)) }
    }
  }

  /// Says which caches of `plan` begin anew.
  private func noteCaches(_ plan: Plan) {
    for (name, zone) in plan.caches.sorted(by: { $0.key < $1.key }) {
      if let former = cacheFolders[name], former != zone.folder {
        errorLog(plan).write(
          .notice,
          """
          cache "\(name)" begins anew: it has other files than before, in "\(zone.folder.path)"
          """
        )
      }
    }
    cacheFolders = plan.caches.mapValues(\.folder)
  }

  /// The error log of the main context.
  private func errorLog(_ plan: Plan) -> ErrorLog {
    ErrorLog(plan.main.errorLogs(orIn: errorLogPath), logs.numbers)
  }

  /// Starts the threads that `plans` want and that are missing. They do nothing, and leave their
  /// plans alone, before they are given them; if one of them can't be had, there are none.
  private func startThreads(_ plans: [Plan]) throws(ApplyFailure) -> [Int: WorkerThread] {
    var started: [Int: WorkerThread] = [:]
    do {
      for plan in plans.dropFirst(serving.count) {
        // One that drains keeps its number to its end.
        let number = (0...).first { threads[$0] == nil && started[$0] == nil } ?? 0
        started[number] = try startThread(number, plan)
      }
    } catch {
      end(started)
      throw error
    }
    return started
  }

  /// Ends threads that were started for nothing.
  private func end(_ started: [Int: WorkerThread]) {
    for thread in started.values { thread.mailbox.post(.stop) }
    for thread in started.values { thread.thread.join() }
    // That they have ended is no news of the threads that get their numbers.
    takeReports()
  }

  private func startThread(_ number: Int, _ plan: Plan) throws(ApplyFailure) -> WorkerThread {
    do throws(SystemError) {
      let reports = reports
      let mailbox = try Mailbox<WorkerMessage>()
      let worker = try Worker(
        index: number, plan: plan, logs: logs.numbers,
        shared: WorkerShared(
          errorLog: errorLog(plan), registry: registry, control: control,
          hostName: HostName.current, counters: counters, reports: reports), mailbox: mailbox)
      let handover = Handover(worker)
      let thread = Thread.start("worker-\(number)") {
        handover.value.run()
        reports.post(.ended(worker: number))
      }
      guard let thread else { throw SystemError(code: EAGAIN) }
      return WorkerThread(mailbox: mailbox, thread: thread)
    } catch {
      throw ApplyFailure("starting worker \(number)", error)
    }
  }

  /// Puts newly opened logs in the place of the old ones, under the same descriptor numbers:
  /// writers keep theirs and never see a descriptor that is closed.
  private func replaceLogs() {
    takeUpReopened()
    adopt(staged.logs)
    staged.logs = [:]
  }

  /// The same with what was opened again for a rotation.
  func takeUpReopened() {
    adopt(reopened.logs)
    reopened = ([:], [])
  }

  private func adopt(_ opened: [String: Int32]) {
    // A file that can't be put under its number leaves the old one there.
    for (path, fd) in opened { try? logs.adopt(fd, as: path) }
  }

  /// Closes the files of logs that no plan names any more.
  func giveLogsUp() { logs.giveUp(except: logUses.all.union([errorLogPath])) }
}
