// The ways between the control thread and the worker threads: what it has to say reaches them by
// their mailboxes, and what they want of it by its own.

import Synchronization

/// What the control thread has to say, passed on to worker threads and the error log.
struct ControlNews: ControlSink {
  let mailboxes: WorkerMailboxes
  let errorLog: CurrentErrorLog

  func peers(upstream: String, servers: [ResolvedServer]) {
    mailboxes.post(.peers(upstream: upstream, servers: servers))
  }

  func resolved(_ request: ResolveRequest, _ result: LookupResult) {
    let message: WorkerMessage
    switch result {
    case .addresses(let addresses, _):
      message = .resolved(
        exchange: request.token, name: request.name, addresses: addresses, problem: nil)
    case .services: return
    case .failed(let failure):
      message = .resolved(
        exchange: request.token, name: request.name, addresses: [], problem: failure.text)
    }
    mailboxes.post(message, to: request.worker)
  }

  func stapled(_ question: OCSPQuestion, _ outcome: StapleOutcome) {
    mailboxes.post(.stapled(question, outcome))
  }

  func judged(_ request: StatusRequest, _ verdict: CertificateVerdict) {
    mailboxes.post(.certificateJudged(request.token, verdict), to: request.worker)
  }

  func passwordChecked(_ job: PasswordJob, isRight: Bool) {
    mailboxes.post(.passwordChecked(job.digest, isRight: isRight), to: job.worker)
  }

  func wake(_ waiter: CacheWaiter) {
    mailboxes.post(.cacheReleased(exchange: waiter.exchange), to: waiter.worker)
  }

  func log(_ level: LogLevel, _ text: String) { errorLog.write(level, text) }
}

/// The error log of the plans that hold, for threads that outlive plans.
final class CurrentErrorLog: Sendable {
  private let current = Mutex(ErrorLog([], [:]))

  func set(_ log: ErrorLog) { current.withLock { $0 = log } }

  func write(_ level: LogLevel, _ text: String) {
    current.withLock { $0 }.write(level, text)
  }
}

/// The mailboxes of all worker threads, for the control thread.
final class WorkerMailboxes: Sendable {
  private let list = Mutex<[Int: Mailbox<WorkerMessage>]>([:])

  func add(_ mailbox: Mailbox<WorkerMessage>, _ index: Int) {
    list.withLock { $0[index] = mailbox }
  }
  func remove(_ index: Int) { list.withLock { $0[index] = nil } }

  /// Tells every worker.
  func post(_ message: WorkerMessage) {
    for mailbox in list.withLock({ Array($0.values) }) { mailbox.post(message) }
  }

  /// Tells one worker.
  func post(_ message: WorkerMessage, to index: Int) { list.withLock { $0[index] }?.post(message) }
}

extension ControlThread: ControlPort {
  func fetchStaple(_ question: OCSPQuestion) { post(.staple(question)) }

  func askStatus(_ request: StatusRequest) { post(.askStatus(request)) }

  func wake(_ waiters: [CacheWaiter]) { tell(waiters) }

  func resolve(_ name: String, _ settings: ResolverSettings, token: UInt64, worker: Int) {
    post(.resolve(ResolveRequest(name: name, resolver: settings, token: token, worker: worker)))
  }
}
