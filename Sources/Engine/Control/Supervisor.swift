// The supervisor: one thread that never reads a byte from the network. It holds what must outlive a
// worker process (sockets, logs, the bundle), starts the worker process, replaces it when it dies,
// takes signals, and decides whether a new configuration is served.
//
//   Supervisor.start ─► run: one poll loop ─┬─ signals            Supervisor+Signals
//                                           ├─ the worker process Supervisor+Worker
//                                           ├─ `-s reload`        Supervisor+Reload
//                                           └─ deadlines          onDeadlines
//
// It must not die: whatever the worker process does, the answer here is a log line and a decision.

import CLinux

/// The first process, after it has started.
final class Supervisor {
  enum State {
    case starting, serving, draining, stopping
    case ended(Int32)
  }

  let options: StartOptions
  var log: SupervisorLog
  var state = State.starting
  /// The configuration that is served, and restarted from.
  var current: SupervisorGeneration
  var lastNumber = 1
  var pidFile: PidFile
  var worker: WorkerLink?
  /// The worker process that is to take its place: a reload changes `user`.
  var successor: WorkerLink?
  /// Worker processes whose place was taken, and that drain.
  var retired: [WorkerLink] = []
  var backOff = RestartBackOff()
  /// When to start the next worker process.
  var restartAt: Milliseconds?
  /// When to look at certificates on disk.
  var watchAt: Milliseconds = 0
  /// Whether SIGWINCH has sent the worker process away.
  var isWorkerSentAway = false
  var reloads = ReloadQueue()
  var reloadSocket: ReloadSocket?
  var upgrade = Upgrade.State()
  /// Tells the process that waits for a daemon to start.
  var daemonStart: DaemonStart?
  /// What the terminal is told when the door serves.
  var greeting: String?
  /// Sockets of an older binary; those that this configuration doesn't use are closed when it
  /// serves.
  var adopted = Listeners()
  /// The file that this process was started from.
  var executable = "/proc/self/exe"
  var failedStart = false
  var lastIncarnation: UInt32 = 0

  let poller: Poller
  private let signals: ProcessSignals

  enum Slot { static let signals = 0, worker = 1, reload = 2 }

  init(
    _ options: StartOptions, _ generation: SupervisorGeneration, _ log: SupervisorLog
  ) throws(SystemError) {
    self.options = options
    self.log = log
    current = generation
    pidFile = generation.pidFile
    poller = try Poller()
    signals = try ProcessSignals(Signal.allCases.map(\.number))
    try poller.addReader(
      signals.descriptor, Handle(.control, slot: Slot.signals), exclusive: false)
  }

  /// Starts the worker process and serves until told to end; gives the exit code.
  func run() -> Int32 {
    startWorker()
    while true {
      if case .ended(let code) = state { return code }
      poller.wait(nextDeadline()) { handle, _ in
        switch handle.slot {
        case Slot.signals: takeSignals()
        case Slot.worker: onWorkerReadable(incarnation: handle.generation)
        default: onReloadRequest()
        }
      } woken: {
      }
      onDeadlines()
    }
  }

  private func takeSignals() {
    while let (number, sender) = signals.next() {
      if let signal = Signal(number: number) { onSignal(signal, sender: sender) }
    }
  }

  /// How long the loop may sleep.
  private func nextDeadline() -> Milliseconds {
    let watch = current.certificates.isEmpty ? nil : watchAt
    let deadlines = [restartAt, worker?.answerBy, worker?.endBy, successor?.answerBy, watch]
    guard let next = (deadlines + retired.map(\.endBy)).compactMap({ $0 }).min() else { return -1 }
    // The clock counts whole milliseconds: one more, so that the deadline has passed by then.
    return max(0, next - Clock.monotonic) + 1
  }

  private func onDeadlines() {
    let now = Clock.monotonic
    if watchAt <= now {
      watchAt = now + Self.watchPeriodMs
      lookAtCertificates()
    }
    if let at = restartAt, at <= now {
      restartAt = nil
      startWorker()
    }
    if let by = worker?.answerBy, by <= now {
      worker?.answerBy = nil
      log.write(.alert, "the worker process doesn't answer, killing it")
      killWorker()
    }
    if let by = successor?.answerBy, by <= now {
      refuseReload(["the new worker process doesn't answer"])
    }
    if let by = worker?.endBy, by <= now {
      worker?.endBy = nil
      log.write(.alert, "the worker process doesn't end, killing it")
      killWorker()
    }
    killOverdueRetired(now)
  }

  /// Everything that is left to do when the worker process has ended for good.
  func finish(code: Int32) {
    reloadSocket?.close()
    pidFile.remove()
    if upgrade.othersServe {
      current.listeners.closeLeavingPaths()
    } else {
      current.listeners.close(except: nil)
    }
    log.write(.notice, "exit")
    state = .ended(failedStart ? 1 : code)
  }
}

/// How long to wait before a worker process is started again: not at all if the last one lived,
/// longer and longer if it died young.
struct RestartBackOff {
  private var youngDeaths = 0

  // A worker process that lived less than this did no good.
  static let youngMs: Milliseconds = 1000
  // Bound: an operator who repairs the cause doesn't want to wait longer.
  static let limitMs: Milliseconds = 10_000

  /// The delay after a worker process that lived for `age`.
  mutating func delay(age: Milliseconds) -> Milliseconds {
    youngDeaths = age < Self.youngMs ? youngDeaths + 1 : 0
    // The first death may be an accident.
    if youngDeaths <= 1 { return 0 }
    return min(100 << min(youngDeaths - 2, 10), Self.limitMs)
  }
}
