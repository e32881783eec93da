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
    if isWorkerSentAway && upgrade.child != nil {
      isWorkerSentAway = false
      if worker == nil { startWorker() }
      return
    }
    requestReload()
  }

  /// Ends when everything that was accepted has been served.
  private func quit() {
    if case .stopping = state { return }
    state = .draining
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
    endWorker(.stop)
  }

  private func endWorker(_ order: WorkerOrder) {
    restartAt = nil
    giveUpSuccessor()
    if case .stop = order { for link in retired { try? link.channel.send(.stop) } }
    guard let link = worker else { return finishIfAllEnded() }
    if case .stop = order { worker?.endBy = Clock.monotonic + WorkerLink.endLimitMs }
    worker?.answerBy = nil
    do {
      try link.channel.send(order)
    } catch {
      killWorker()
    }
  }

  /// SIGWINCH: the worker process drains and isn't replaced. A terminal sends this signal when its
  /// size changes, so it counts only for a daemon, or where there is no terminal.
  private func sendWorkerAway() {
    if !current.main.isDaemon && (0...2).contains(where: { linux_is_terminal($0) == 1 }) { return }
    isWorkerSentAway = true
    restartAt = nil
    try? worker?.channel.send(.drain(deadlineMs: current.main.shutdownTimeoutMs))
  }

  /// Opens every log again, here and in the worker process.
  func reopenLogs() {
    current.reopenLogs(options, log: log)
    current.direct(&log, options)
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
