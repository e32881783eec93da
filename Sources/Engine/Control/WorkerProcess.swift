// The main thread of the worker process: takes orders from the supervisor, builds plans from
// bundles, starts worker threads and hands plans to them. It serves no connection itself.
//
//   starting ──apply──► serving ──drain, SIGQUIT, supervisor gone──► draining ──threads ended──► 0
//       │ failed           └──────────── stop, SIGTERM ────────────► stopping ──────────────────► 0
//       └─► 2
//
// With `master_process off` the same code runs on a second thread of the supervisor's own process,
// at the other end of the same socketpair; only privileges and signals are left alone.

import CLinux

/// The worker process, seen from inside.
final class WorkerProcess {
  /// The private first argument that makes a `portico` the worker process of its parent.
  static let argument = "--worker-process"
  /// The descriptor at which the worker process finds its end of the socketpair.
  static let channelDescriptor: Int32 = 3
  /// What the process exits with when its first configuration was no good: there is no point in
  /// starting another one.
  static let failedStartCode: Int32 = 2

  enum State {
    case starting, serving, ending
    case ended(Int32)
  }

  let channel: WorkerProcessChannel
  let isOwnProcess: Bool
  let reports: Mailbox<WorkerReport>
  let logs = LogFiles()
  var logUses = LogUses()
  let registry = PeerRegistry()
  let ticketKeys = TLSTicketKeyRing()
  let limitZones = ZoneRegistry<LimitZone>()
  let cacheZones = CacheZones()
  let sessionZones = ZoneRegistry<TLSSessionZone>()
  let caches: CacheSweeper
  /// The folders of the caches in use, by the names of their zones.
  var cacheFolders: [String: CacheFolder] = [:]
  let counters = CounterBlocks()
  let mailboxes = WorkerMailboxes()
  var control: ControlThread?
  /// Where the control thread's news go.
  let controlLog = CurrentErrorLog()
  var errorLogPath = ""
  var state = State.starting
  /// Worker threads by number, those that drain included.
  var threads: [Int: WorkerThread] = [:]
  /// The numbers of those that serve, in the order of their plans.
  var serving: [Int] = []
  var staged = StagedDescriptors()
  /// Logs that were opened again, until no worker holds lines back for the old ones.
  var reopened: (logs: [String: Int32], unflushed: Set<Int>) = ([:], [])
  /// The listening sockets. One that is given up is closed when no thread polls it any more.
  var listeners: [BoundListener.Key: HeldListener] = [:]
  /// What of the process's settings couldn't be had, until there is a log to say it in.
  var shortfalls: [String] = []
  var shutdownTimeoutMs: Int?
  /// When ending: the threads that may still poll listening sockets.
  private var accepting: Set<Int> = []
  /// The reload that threads are taking up.
  var pending: PendingPlans?

  private let poller: Poller
  private let signals: ProcessSignals?

  private enum Slot { static let channel = 0, signals = 1, reports = 2 }

  /// - Parameter isOwnProcess: whether this process exists for this; otherwise it is a thread of
  /// the
  ///   supervisor, which takes the signals.
  init(channel: WorkerProcessChannel, isOwnProcess: Bool) throws(SystemError) {
    self.channel = channel
    self.isOwnProcess = isOwnProcess
    poller = try Poller()
    reports = try Mailbox()
    caches = try CacheSweeper()
    // The signals of the supervisor reach the worker too when they come from a terminal: all are
    // blocked, and those that end a process are understood.
    signals = isOwnProcess ? try ProcessSignals(Signal.allCases.map(\.number)) : nil
    try poller.addReader(channel.descriptor, Handle(.control, slot: Slot.channel), exclusive: false)
    try poller.addReader(
      reports.wakeDescriptor, Handle(.control, slot: Slot.reports), exclusive: false)
    if let signals {
      try poller.addReader(
        signals.descriptor, Handle(.control, slot: Slot.signals), exclusive: false)
    }
  }

  /// What `portico --worker-process` runs: never returns.
  public static func main() -> Never {
    var code: Int32 = 1
    // It was started as /proc/self/exe, which top and ss would show.
    Thread.name("portico")
    if let worker = try? WorkerProcess(
      channel: WorkerProcessChannel(channelDescriptor), isOwnProcess: true)
    {
      _ = linux_set_close_on_exec(channelDescriptor, 1)
      code = worker.run()
    }
    // Not exit(): that would take libraries down while threads still use them.
    linux_exit_at_once(code)
    preconditionFailure("the process outlived its end")
  }

  /// Serves until it is told to end; gives the exit code.
  func run() -> Int32 {
    while true {
      if case .ended(let code) = state { return code }
      poller.wait(-1) { handle, _ in
        switch handle.slot {
        case Slot.channel: takeOrder()
        case Slot.signals: takeSignals()
        default: takeReports()
        }
      } woken: {
      }
    }
  }

  private func takeOrder() {
    guard case .packet(let bytes, let descriptors) = channel.receive() else {
      // The supervisor is gone. What was accepted is served to its end; nothing new is taken.
      poller.remove(channel.descriptor)
      return drain(deadlineMs: shutdownTimeoutMs)
    }
    guard let order = WorkerOrder(decoding: bytes) else {
      for fd in descriptors { _ = linux_close(fd) }
      return
    }
    carryOut(order, descriptors)
  }

  private func carryOut(_ order: WorkerOrder, _ descriptors: [Int32] = []) {
    switch order {
    case .descriptors([.order]):
      for fd in descriptors {
        if let bytes = try? BundleReader.readAll(fd), let large = WorkerOrder(decoding: bytes) {
          carryOut(large)
        }
        _ = linux_close(fd)
      }
    case .descriptors(let items): staged.add(items, descriptors)
    case .forget(let ids): staged.forgotten += ids
    case .apply(let generation, let identity, let settings):
      apply(generation, identity: identity, settings)
    case .reopened:
      // What was buffered goes to the old files, as nginx's documentation has it.
      takeUpReopened()
      if staged.isIncomplete { try? channel.send(.lackedLogs) }
      reopened = (staged.logs, Set(threads.keys))
      staged.logs = [:]
      staged.drop()
      for thread in threads.values { thread.mailbox.post(.flushLogs) }
      if threads.isEmpty { takeUpReopened() }
    case .renew(let renewals):
      for thread in threads.values { thread.mailbox.post(.renewed(renewals)) }
    case .drain(let deadlineMs): drain(deadlineMs: deadlineMs)
    case .stop: stop()
    }
  }

  private func takeSignals() {
    while let (number, _) = signals?.next() {
      switch Signal(number: number) {
      case .quit: drain(deadlineMs: shutdownTimeoutMs)
      case .terminate, .interrupt: stop()
      default: break
      }
    }
  }

  func takeReports() {
    for report in reports.takeAll() {
      switch report {
      case .planTaken(let worker): noteTaken(worker)
      case .planRetired(let plan, let worker):
        logUses.end(plan.id, thread: worker)
        plan.free()
        giveLogsUp()
      case .logsFlushed(let worker): noteFlushed(worker)
      case .stoppedAccepting(let worker): noteStoppedAccepting(worker)
      case .ended(let worker):
        noteStoppedAccepting(worker)
        noteFlushed(worker)
        mailboxes.remove(worker)
        if let ended = threads.removeValue(forKey: worker) {
          ended.thread.join()
        }
        logUses.end(thread: worker)
        giveLogsUp()
        noteTaken(worker)
        if threads.isEmpty, case .ending = state { state = .ended(0) }
      }
    }
  }

  private func noteFlushed(_ worker: Int) {
    reopened.unflushed.remove(worker)
    if reopened.unflushed.isEmpty { takeUpReopened() }
  }

  private func noteTaken(_ worker: Int) {
    pending?.threads.remove(worker)
    finishPending()
  }

  /// Closes what only this thread still polled; when all end and none polls, every listening
  /// socket, so that clients are refused (or served by a new binary) instead of waiting in vain.
  private func noteStoppedAccepting(_ worker: Int) {
    for fd in threads[worker]?.closing ?? [] { _ = linux_close(fd) }
    threads[worker]?.closing = []
    accepting.remove(worker)
    guard case .ending = state, accepting.isEmpty else { return }
    for listener in listeners.values { _ = linux_close(listener.fd) }
    listeners = [:]
  }

  /// Lets every thread finish what it has, up to the deadline.
  func drain(deadlineMs: Int?) { end(.drain(deadlineMs: deadlineMs)) }

  /// Ends every thread at once.
  func stop() { end(.stop) }

  private func end(_ message: WorkerMessage) {
    if threads.isEmpty {
      state = .ended(0)
      return
    }
    state = .ending
    accepting = Set(threads.keys)
    for thread in threads.values { thread.mailbox.post(message) }
  }
}

/// A worker thread, seen from the main thread.
struct WorkerThread {
  let mailbox: Mailbox<WorkerMessage>
  let thread: Thread
  /// Sockets to close when it polls them no more.
  var closing: [Int32] = []
}

/// Plans that threads have been given and not all have taken up.
struct PendingPlans {
  let generation: Int
  /// The threads that still use the plan before.
  var threads: Set<Int>
  /// Sockets to close when none does.
  var closing: [Int32]
}

/// A listening socket that the worker process received.
struct HeldListener {
  let id: UInt64
  let fd: Int32
}
