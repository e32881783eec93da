// Reload: a new configuration is read and validated beside the one that serves, its sockets and
// logs are opened, and the worker process is asked to take it up. Only its "ready" makes the new
// one current; anything else leaves all as it was. One reload at a time; requests that come
// meanwhile are answered by the next one.

import CLinux

/// Reloads under way and asked for.
struct ReloadQueue {
  /// The configuration that the worker process is taking up.
  var next: SupervisorGeneration?
  /// Who waits for its outcome.
  var askers: [Int32] = []
  /// Whether another reload has to follow.
  var isWanted = false
  /// Who waits for that one.
  var waiting: [Int32] = []
  /// Whether logs have to be reopened when the reload is over.
  var reopensLogs = false
}

extension Supervisor {
  /// Reloads now, or after the start or the reload that is under way. `asker` is told the outcome.
  func requestReload(asker: Int32? = nil) {
    if let asker { reloads.waiting.append(asker) }
    reloads.isWanted = true
    if case .starting = state { return }
    if reloads.next == nil { beginReload() }
  }

  private func beginReload() {
    reloads.isWanted = false
    reloads.askers = reloads.waiting
    reloads.waiting = []
    guard case .serving = state else {
      log.write(.warn, "reload refused, portico is ending")
      return answer(isAccepted: false, "portico is ending\n")
    }
    do {
      let next = try SupervisorGeneration.make(
        lastNumber + 1, options, keeping: current.listeners, serving: current, log: log)
      lastNumber += 1
      noteWhatNeedsRestart(next)
      reloads.next = next
    } catch {
      for problem in error.problems { log.write(.emerg, problem) }
      log.write(.error, "reload refused, generation \(current.number) goes on")
      return answer(isAccepted: false, error.report)
    }
    if isWorkerSentAway { setDrainingAside() }
    guard worker != nil, let next = reloads.next else {
      // Nobody serves right now (back-off, SIGWINCH): the next worker process starts with it.
      return commitReload(by: "a new worker process")
    }
    if needsSuccessor(next) { startSuccessor(next) } else { give(next) }
  }

  /// What a running supervisor can't become.
  private func noteWhatNeedsRestart(_ next: SupervisorGeneration) {
    if next.main.hasMasterProcess != current.main.hasMasterProcess {
      log.write(.warn, "a changed \"master_process\" takes effect at the next start")
    }
  }

  /// The worker process serves the new configuration: the old one is given up.
  func commitReload(by server: String = "the same worker process") {
    guard let next = reloads.next else { return }
    let old = current
    reloads.next = nil
    current = next
    next.dropPlan()
    next.direct(&log, options)
    old.close(except: next)
    worker?.sockets = Set(next.listeners.table.values.map(\.id))
    movePidFile(to: next.pidFile)
    log.write(.notice, "reload done, generation \(next.number) is served by \(server)")
    for warning in next.warnings { log.write(.warn, warning) }
    answer(isAccepted: true, next.report)
    goOn()
    if worker == nil && (isWorkerSentAway || restartAt != nil) {
      isWorkerSentAway = false
      restartAt = nil
      startWorker()
    }
  }

  /// The worker process couldn't take the new configuration up: it is given up.
  func refuseReload(_ problems: [String]) {
    guard let next = reloads.next else { return }
    reloads.next = nil
    giveUpSuccessor()
    next.close(except: current)
    for problem in problems { log.write(.emerg, problem) }
    log.write(.error, "reload refused, generation \(current.number) goes on")
    answer(isAccepted: false, problems.map { "portico: [emerg] \($0)\n" }.joined())
    goOn()
  }

  /// Does what was asked for meanwhile.
  func goOn() {
    if reloads.reopensLogs {
      reloads.reopensLogs = false
      reopenLogs()
    }
    if reloads.isWanted { beginReload() }
  }

  private func answer(isAccepted: Bool, _ text: String) {
    for asker in reloads.askers { ReloadSocket.answer(asker, isAccepted: isAccepted, text) }
    reloads.askers = []
  }

  private func movePidFile(to next: PidFile) {
    if next.path == pidFile.path || upgrade.child != nil { return }
    do {
      try next.write()
      pidFile.remove()
      pidFile = next
      openReloadSocket()
    } catch {
      log.write(.alert, "writing \"\(next.path)\" failed \(error.logText)")
    }
  }

  /// Takes a `-s reload` in.
  func onReloadRequest() {
    guard let asker = reloadSocket?.accept() else { return }
    // Bound: more than this many people don't wait for one reload.
    if reloads.waiting.count >= 64 {
      return ReloadSocket.answer(asker, isAccepted: false, "too many reloads wait\n")
    }
    log.write(.notice, "reload asked for, reconfiguring")
    requestReload(asker: asker)
  }

  /// Opens the socket for `-s reload` next to the pid file; without it, SIGHUP still works.
  func openReloadSocket() {
    reloadSocket?.close()
    reloadSocket = nil
    // Beside a device nobody would look for it.
    guard pidFile.isFile else { return }
    do {
      let socket = try ReloadSocket(path: pidFile.path + ReloadSocket.suffix)
      try poller.addReader(
        socket.descriptor, Handle(.control, slot: Slot.reload), exclusive: false)
      reloadSocket = socket
    } catch {
      log.write(
        .warn, "\"-s reload\" can't report: \(pidFile.path)\(ReloadSocket.suffix) \(error.logText)")
    }
  }
}
