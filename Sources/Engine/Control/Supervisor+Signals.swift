// What each signal does, as nginx has them.

import CLinux

extension Supervisor {
  /// Does what a signal asks for.
  func onSignal(_ signal: Signal, sender: Int32) {
    if signal != .child {
      let from = sender > 0 ? " from \(sender)" : ""
      log.write(
        .notice, "signal \(signal.number) (\(signal.name)) received\(from), \(signal.meaning)")
    }
    switch signal {
    case .child: reapChildren()
    case .reload: onHangup()
    case .quit: quit()
    case .terminate, .interrupt: terminate()
    case .reopen: if reloads.next == nil { reopenLogs() } else { reloads.reopensLogs = true }
    case .upgrade: startUpgrade()
    case .stopWorker: sendWorkerAway()
    }
  }

  /// Reloads; while a new binary runs beside this one, takes up serving again instead (the way back
  /// from an upgrade that turned out wrong).
  private func onHangup() {
    if isWorkerSentAway && upgrade.child != nil { return serveAgain() }
    requestReload()
  }

  /// Starts a worker process in the place of the one that SIGWINCH sent away, which may still
  /// drain.
  func serveAgain() {
    guard isWorkerSentAway else { return }
    isWorkerSentAway = false
    setDrainingAside()
    startWorker()
  }

  /// Makes room for another worker process beside one that drains.
  func setDrainingAside() {
    guard let link = worker else { return }
    worker = nil
    setAside(link)
  }

  /// Ends when everything that was accepted has been served.
  private func quit() {
    if case .stopping = state { return }
    state = .draining
    giveUpReload()
    stopListening()
    endWorker(.drain(deadlineMs: current.main.shutdownTimeoutMs))
  }

  /// Gives the listening sockets up; the worker process does the same when it has emptied their
  /// queues.
  private func stopListening() {
    if upgrade.othersServe {
      current.listeners.closeLeavingPaths()
    } else {
      current.listeners.close(except: nil)
    }
    current.listeners = Listeners()
  }

  /// Ends at once.
  private func terminate() {
    state = .stopping
    giveUpReload()
    endWorker(.stop)
  }

  /// What a reload under way has opened would stay open until the end.
  private func giveUpReload() {
    if reloads.next != nil { refuseReload(["portico is ending"]) }
  }

  private func endWorker(_ order: WorkerOrder) {
    restartAt = nil
    giveUpSuccessor()
    if case .stop = order { stopRetired() }
    guard let link = worker else { return finishIfAllEnded() }
    if case .stop = order { worker?.endBy = Clock.monotonic + WorkerLink.endLimitMs }
    worker?.answerBy = nil
    do {
      try link.channel.send(order)
    } catch {
      killWorker()
    }
  }

  /// SIGWINCH: the worker process drains and isn't replaced. Terminals, and `docker run` for them,
  /// send this signal when their size changes, so it counts only for a daemon, as in nginx, or
  /// while a new binary serves.
  private func sendWorkerAway() {
    guard current.main.hasMasterProcess, current.main.isDaemon || upgrade.child != nil else {
      return log.write(.notice, "SIGWINCH is ignored: portico is no daemon")
    }
    isWorkerSentAway = true
    restartAt = nil
    try? worker?.channel.send(.drain(deadlineMs: current.main.shutdownTimeoutMs))
  }

  /// Opens every log again, here and in the worker process.
  func reopenLogs() {
    let problems = current.reopenLogs(options)
    current.direct(&log, options)
    for problem in problems { log.write(.alert, problem) }
    for link in [worker].compactMap({ $0 }) + retired {
      do {
        try link.channel.send(current.logs.map { (.log(path: $0.key), $0.value) })
        try link.channel.send(.reopened)
      } catch {
        log.write(.alert, "sending logs to the worker process failed \(error.logText)")
      }
    }
  }
}
