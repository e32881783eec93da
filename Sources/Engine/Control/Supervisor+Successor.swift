// A reload that changes `user`, or a limit or the environment of worker processes: a process can't
// become another user, or raise its limits as a plain one, so a second worker process takes the
// new configuration up. When it serves, the first one drains, as nginx's workers do at every
// reload; until then, and if the second one fails, the first serves on.
//
//   worker ───serves───────────────ready──► drains ──► ended
//   successor ──started, takes up──┘└────► worker

import CLinux

extension Supervisor {
  /// Whether `next` needs another worker process.
  func needsSuccessor(_ next: SupervisorGeneration) -> Bool {
    guard worker?.pid != nil, next.main.hasMasterProcess else { return false }
    return Identity.canChange && next.identity != current.identity
      || next.main.process != current.main.process
  }

  /// Starts a worker process that takes `next` up.
  func startSuccessor(_ next: SupervisorGeneration) {
    do {
      var link = try makeWorker(for: next)
      link.answerBy = link.startedAt + WorkerLink.answerLimitMs
      successor = link
      log.write(.notice, "start worker process \(link.pid ?? 0), its user or limits have changed")
      try send(next, to: link)
    } catch {
      refuseReload(["starting a worker process failed \(error.logText)"])
    }
  }

  /// Takes the successor's answer, or what it said before it ended.
  func onSuccessorAnswer(_ answer: WorkerAnswer) {
    switch answer {
    case .ready(let number):
      guard number == reloads.next?.number, let link = successor else { return }
      let former = worker
      successor = nil
      worker = link
      worker?.answerBy = nil
      worker?.isReady = true
      // First of all: a reload that was asked for meanwhile may want its sockets.
      if let former { retire(former) }
      commitReload(by: "worker process \(link.pid ?? 0)")
    case .failed(_, let problems): refuseReload(problems)
    case .lackedLogs: break
    }
  }

  /// Ends a successor whose reload is refused.
  func giveUpSuccessor() {
    guard let link = successor else { return }
    successor = nil
    poller.remove(link.channel.descriptor)
    if let pid = link.pid { _ = linux_kill(pid, SIGKILL) }
  }

  /// The successor has ended before it served.
  func onSuccessorEnded(_ end: Process.End) {
    guard let link = successor else { return }
    while case .packet(let bytes, _) = link.channel.receive() {
      if let answer = WorkerAnswer(decoding: bytes) { onSuccessorAnswer(answer) }
    }
    guard successor != nil else { return }
    successor = nil
    refuseReload(["worker process \(link.pid ?? 0) \(end.text) while it took the configuration up"])
  }

  /// Listens no more to a worker process that drains.
  func setAside(_ link: WorkerLink) {
    poller.remove(link.channel.descriptor)
    retired.append(link)
  }

  /// Lets a worker process finish what it has.
  private func retire(_ link: WorkerLink) {
    setAside(link)
    do {
      try link.channel.send(.drain(deadlineMs: current.main.shutdownTimeoutMs))
    } catch {
      if let pid = link.pid { _ = linux_kill(pid, SIGKILL) }
    }
  }

  /// Ends processes that drain at once.
  func stopRetired() {
    for index in retired.indices {
      retired[index].endBy = Clock.monotonic + WorkerLink.endLimitMs
      try? retired[index].channel.send(.stop)
    }
  }

  /// Kills those of them whose end is overdue at `now`.
  func killOverdueRetired(_ now: Milliseconds) {
    for index in retired.indices {
      guard let by = retired[index].endBy, by <= now, let pid = retired[index].pid else { continue }
      retired[index].endBy = nil
      log.write(.alert, "worker process \(pid) doesn't end, killing it")
      _ = linux_kill(pid, SIGKILL)
    }
  }

  /// Forgets a process that was retired. False: it is none of them.
  func forgetRetired(_ pid: Int32, _ end: Process.End) -> Bool {
    guard let index = retired.firstIndex(where: { $0.pid == pid }) else { return false }
    retired.remove(at: index)
    let level = if case .signal = end { LogLevel.alert } else { LogLevel.notice }
    log.write(level, "worker process \(pid) \(end.text)")
    finishIfAllEnded()
    return true
  }

  /// Ends when told to and no worker process is left.
  func finishIfAllEnded() {
    guard worker == nil, retired.isEmpty else { return }
    switch state {
    case .draining, .stopping: finish(code: 0)
    case .starting, .serving, .ended: break
    }
  }
}
