// The worker process, seen from the supervisor: started, given the configuration, listened to,
// replaced when it dies.

import CLinux

/// A worker process (or the thread in its place, with `master_process off`).
struct WorkerLink {
  let channel: WorkerProcessChannel
  /// nil: a thread of this process.
  let pid: Int32?
  let startedAt: Milliseconds
  /// Tells events of this one from those of an earlier one.
  let incarnation: UInt32
  /// The listening sockets that it has.
  var sockets: Set<UInt64> = []
  var isReady = false
  /// Why it refused the configuration that it was started with.
  var problems: [String] = []
  /// When an answer is overdue.
  var answerBy: Milliseconds?
  /// When its end is overdue.
  var endBy: Milliseconds?

  // Bound: building plans of 10,000 servers takes a second; a minute is a worker that hangs.
  static let answerLimitMs: Milliseconds = 60_000
  // Bound: after `stop` nothing is left to wait for.
  static let endLimitMs: Milliseconds = 5_000
}

extension Supervisor {
  /// Starts a worker process with the current configuration.
  func startWorker() {
    do {
      let link = try makeWorker(for: current)
      worker = link
      if let pid = link.pid { log.write(.notice, "start worker process \(pid)") }
      give(current)
    } catch {
      log.write(.alert, "starting a worker process failed \(error.logText)")
      if case .starting = state { return finish(code: 1) }
      restartAt = Clock.monotonic + backOff.delay(age: 0)
    }
  }

  /// Starts a worker process with the environment of `generation`, and listens to it.
  func makeWorker(for generation: SupervisorGeneration) throws(SystemError) -> WorkerLink {
    let (ours, theirs) = try WorkerProcessChannel.makePair()
    let pid = try startProcess(theirs, generation.main)
    lastIncarnation += 1
    let link = WorkerLink(
      channel: ours, pid: pid, startedAt: Clock.monotonic, incarnation: lastIncarnation)
    try poller.addReader(
      ours.descriptor,
      Handle(.control, slot: Slot.worker, generation: link.incarnation), exclusive: false)
    return link
  }

  private func startProcess(
    _ channel: WorkerProcessChannel, _ main: MainSettings
  ) throws(SystemError) -> Int32? {
    if main.hasMasterProcess {
      return try Process.spawn(
        "/proc/self/exe", arguments: ["portico: worker process", WorkerProcess.argument],
        environment: main.process.environment(over: Process.environment),
        channel: channel.descriptor)
    }
    let inside = try WorkerProcess(channel: channel, isOwnProcess: false)
    let handover = Handover(inside)
    let thread = Thread.start("worker-main") { _ = handover.value.run() }
    if thread == nil { throw SystemError(code: EAGAIN) }
    return nil
  }

  /// Sends what the worker process lacks of a configuration, and the order to take it up.
  func give(_ generation: SupervisorGeneration) {
    guard let link = worker else { return }
    do {
      try send(generation, to: link)
      worker?.answerBy = Clock.monotonic + WorkerLink.answerLimitMs
    } catch {
      // A dead process is reported as such; one that takes nothing is as good as dead.
      log.write(.error, "sending to the worker process failed \(error.logText)")
      killWorker()
    }
  }

  /// Sends what a worker process lacks of a configuration, and the order to take it up.
  func send(_ generation: SupervisorGeneration, to link: WorkerLink) throws(SystemError) {
    var items: [(what: SentDescriptor, fd: Int32)] = [(.bundle, generation.bundle)]
    var sockets: Set<UInt64> = []
    for (key, listener) in generation.listeners.table {
      sockets.insert(listener.id)
      if !link.sockets.contains(listener.id) {
        items.append((.listener(id: listener.id, key), listener.fd))
      }
    }
    for (path, fd) in generation.logs { items.append((.log(path: path), fd)) }
    // Bound: ids of eight bytes in packets of 128 KiB.
    let gone = Array(link.sockets.subtracting(sockets))
    try link.channel.send(items)
    for start in stride(from: 0, to: gone.count, by: 1000) {
      try link.channel.send(.forget(Array(gone[start..<min(start + 1000, gone.count)])))
    }
    try link.channel.send(
      .apply(
        generation: generation.number, identity: generation.identity,
        settings: generation.main.process))
    generation.dropPlan()
  }

  /// Takes the worker process's next answer, or its end.
  func onWorkerReadable(incarnation: UInt32) {
    guard
      let link = [worker, successor].compactMap({ $0 }).first(where: {
        $0.incarnation & 0xff_ffff == incarnation
      })
    else { return }
    switch link.channel.receive() {
    case .packet(let bytes, let descriptors):
      for fd in descriptors { _ = linux_close(fd) }
      guard let answer = WorkerAnswer(decoding: bytes) else { return }
      if link.incarnation == successor?.incarnation {
        onSuccessorAnswer(answer)
      } else {
        onAnswer(answer)
      }
    case .end:
      poller.remove(link.channel.descriptor)
      // A process is gone when it has been reaped; a thread is gone now.
      if link.pid == nil { onWorkerEnded(.code(0)) }
    }
  }

  private func onAnswer(_ answer: WorkerAnswer) {
    worker?.answerBy = nil
    switch answer {
    case .lackedLogs: reportMissingLogs()
    case .ready(let number):
      let wasReady = worker?.isReady ?? false
      worker?.isReady = true
      if number == reloads.next?.number { return commitReload() }
      worker?.sockets = Set(current.listeners.table.values.map(\.id))
      if case .starting = state {
        onStarted()
      } else if !wasReady {
        log.write(.notice, "the new worker process serves")
      }
    case .failed(let number, let problems):
      if number == reloads.next?.number { return refuseReload(problems) }
      worker?.problems = problems
    }
  }

  private func reportMissingLogs() {
    log.write(
      .alert,
      """
      the worker process has no file descriptors left (see worker_rlimit_nofile): it writes to the \
      old files of logs until they are reopened once more
      """)
  }

  /// Reaps every child that has ended.
  func reapChildren() {
    while let (pid, end) = Process.nextEnded() {
      if pid == worker?.pid {
        takeLastAnswers()
        onWorkerEnded(end)
      } else if pid == successor?.pid {
        onSuccessorEnded(end)
      } else if forgetRetired(pid, end) {
        continue
      } else if pid == upgrade.child {
        onUpgradeEnded(end)
      }
    }
  }

  /// What a worker process said before it ended is still in the socket.
  private func takeLastAnswers() {
    guard let channel = worker?.channel else { return }
    while case .packet(let bytes, _) = channel.receive() {
      if let answer = WorkerAnswer(decoding: bytes) { onAnswer(answer) }
    }
  }

  private func onWorkerEnded(_ end: Process.End) {
    guard let link = worker else { return }
    worker = nil
    let name = link.pid.map { "worker process \($0)" } ?? "the worker"
    if case .signal = end {
      log.write(.alert, "\(name) \(end.text)")
    } else {
      log.write(.notice, "\(name) \(end.text)")
    }
    for problem in link.problems { log.write(.emerg, problem) }
    if reloads.next != nil {
      refuseReload(["\(name) \(end.text) while it took the configuration up"])
    }
    switch state {
    case .starting: finish(code: 1)
    case .draining, .stopping: finishIfAllEnded()
    case .ended: break
    case .serving:
      if isWorkerSentAway { return }
      if link.pid == nil { return finish(code: 0) }
      restart(after: backOff.delay(age: Clock.monotonic - link.startedAt))
    }
  }

  private func restart(after delay: Milliseconds) {
    if delay == 0 { return startWorker() }
    log.write(.error, "the next worker process starts in \(delay) ms")
    restartAt = Clock.monotonic + delay
  }

  /// Ends the worker process without asking. A thread can't be ended so: then all ends.
  func killWorker() {
    guard let link = worker else { return }
    if let pid = link.pid { _ = linux_kill(pid, SIGKILL) } else { finish(code: 1) }
  }
}
