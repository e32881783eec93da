// The control thread as others see it: what it is told, what it tells, how it starts and stops. It
// owns what must be done once for all workers: DNS, active health checks, states of servers.
// Workers and the supervisor's side post messages; answers go to a sink, which posts them to
// workers.

import CLinux
import Synchronization

/// What the control thread is told.
enum ControlMessage: Sendable {
  /// The configuration, at start and after each reload.
  case configure(ControlPlan, number: Int)
  /// A worker needs a name resolved.
  case resolve(ResolveRequest)
  /// A worker wants to staple.
  case staple(OCSPQuestion)
  /// A worker has a client whose certificate is to be asked about.
  case askStatus(StatusRequest)
  /// Something is to be done on the control thread.
  case perform(@Sendable () -> Void)
  /// The thread is to end.
  case stop
}

/// What of the configuration concerns the control thread.
struct ControlPlan: Sendable {
  var upstreams: [UpstreamSettings] = []
  var statusCaches: Set<StatusCacheSettings> = []
}

/// Where the control thread's news go. Called on the control thread.
protocol ControlSink: Sendable {
  /// The servers of an upstream have changed, all of them as of now.
  func peers(upstream: String, servers: [ResolvedServer])
  /// The answer to a `ResolveRequest`; addresses have port 0.
  func resolved(_ request: ResolveRequest, _ result: LookupResult)
  /// What an OCSP responder said, for all workers.
  func stapled(_ question: OCSPQuestion, _ outcome: StapleOutcome)
  /// What is known of a client's certificate.
  func judged(_ request: StatusRequest, _ verdict: CertificateVerdict)
  /// The password of a job was checked. Called on the thread for that.
  func passwordChecked(_ job: PasswordJob, isRight: Bool)
  /// What an exchange waits for in a cache was stored, or wasn't. Called on any thread.
  func wake(_ waiter: CacheWaiter)
  /// A line for the error log.
  func log(_ level: LogLevel, _ text: String)
}

/// The control thread. All its functions may be called from any thread.
final class ControlThread: Sendable {
  /// The states of all servers, and what names were last resolved to.
  let registry: PeerRegistry
  private let mailbox: Mailbox<ControlMessage>
  private let progress: ControlProgress
  private let thread: Thread
  private let passwords: PasswordThread
  private let sink: any ControlSink

  /// Starts the thread. Its news go to `sink`.
  init(registry: PeerRegistry, sink: any ControlSink) throws(SystemError) {
    let mailbox = try Mailbox<ControlMessage>()
    let progress = try ControlProgress()
    self.registry = registry
    self.mailbox = mailbox
    self.progress = progress
    self.sink = sink
    passwords = try PasswordThread { sink.passwordChecked($0, isRight: $1) }
    // The descriptors of the loop are made here, so that a lack of them is an error of the start.
    let core = Handover(try ControlCore())
    let started = Thread.start("control") {
      let loop = ControlLoop(core.value, mailbox, registry, sink, progress)
      loop.run()
    }
    guard let started else { throw SystemError(code: EAGAIN) }
    thread = started
  }

  /// Posts a message; messages are handled in order.
  func post(_ message: ControlMessage) { mailbox.post(message) }

  /// Tells the configuration. Servers, names and checks that are in the former one too go on
  /// undisturbed.
  func configure(_ plan: ControlPlan) {
    mailbox.post(.configure(plan, number: progress.nextNumber()))
  }

  /// Has a password checked on a thread of its own; false if there is none.
  func check(_ job: PasswordJob) -> Bool { passwords.post(job) }

  /// Tells exchanges that wait for a cache to go on, whichever worker they belong to.
  func tell(_ waiters: [CacheWaiter]) { for waiter in waiters { sink.wake(waiter) } }

  /// Waits until each name of the last configuration was resolved or has failed to be; false if
  /// that takes longer than `timeout`. Then `registry.servers(of:)` is as good as it gets for a
  /// start.
  func waitUntilResolved(timeout: Milliseconds) -> Bool { progress.wait(timeout) }

  /// Ends the thread and waits for it. To be called once.
  func stop() {
    mailbox.post(.stop)
    thread.join()
  }
}

/// How far the control thread is with configurations: those who start wait for it.
final class ControlProgress: Sendable {
  private let told = Atomic<Int>(0)
  private let resolved = Atomic<Int>(0)
  private let wakeDescriptor: Int32

  init() throws(SystemError) { wakeDescriptor = Int32(try check(linux_eventfd())) }

  deinit { _ = linux_close(wakeDescriptor) }

  /// The number of the next configuration.
  func nextNumber() -> Int { told.wrappingAdd(1, ordering: .relaxed).newValue }

  /// The names of configuration `number` have their first answers.
  func reach(_ number: Int) {
    if resolved.load(ordering: .relaxed) >= number { return }
    resolved.store(number, ordering: .releasing)
    var one: UInt64 = 1
    _ = unsafe linux_write(wakeDescriptor, &one, 8)
  }

  /// Waits until the last configuration was reached, at most `timeout` milliseconds.
  func wait(_ timeout: Milliseconds) -> Bool {
    guard let poller = try? Poller() else { return false }
    guard (try? poller.addReader(wakeDescriptor, .none, exclusive: false)) != nil else {
      return false
    }
    let number = told.load(ordering: .relaxed)
    let deadline = Clock.monotonic + timeout
    while resolved.load(ordering: .acquiring) < number {
      let rest = deadline - Clock.monotonic
      if rest <= 0 { return false }
      poller.wait(rest, { _, _ in }, woken: {})
      var count: UInt64 = 0
      _ = unsafe linux_read(wakeDescriptor, &count, 8)
    }
    return true
  }
}
