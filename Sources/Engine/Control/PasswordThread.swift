// The thread that checks passwords whose hashes are made to cost time, one a process: a worker that
// did it itself would let all its clients wait, and anybody could make it, by guessing.
//
// It is started by the first check and takes jobs in order, but for those that nobody wants any
// more. Workers bound how many wait (`PasswordChecks`), ask for the same credentials only once, and
// for one of a client's at a time.

import CLinux
import HTTP
import Synchronization

/// A queue of checks and the thread that works it off. May be called from any thread.
final class PasswordThread: Sendable {
  private let mailbox: Mailbox<PasswordJob>
  private let poller: Handover<Poller>
  private let isStarted = Mutex(false)
  private let report: @Sendable (PasswordJob, Bool) -> Void

  /// Outcomes go to `report`, on this thread; jobs that were withdrawn have none.
  init(_ report: @escaping @Sendable (PasswordJob, Bool) -> Void) throws(SystemError) {
    mailbox = try Mailbox()
    let poller = try Poller()
    try poller.addReader(mailbox.wakeDescriptor, .none, exclusive: false)
    self.poller = Handover(poller)
    self.report = report
  }

  /// Queues a check; false if there is no thread for it.
  func post(_ job: PasswordJob) -> Bool {
    let isRunning = isStarted.withLock { isStarted in
      if !isStarted { isStarted = Thread.start("passwords") { self.run() } != nil }
      return isStarted
    }
    if isRunning { mailbox.post(job) }
    return isRunning
  }

  /// Works for as long as the process lives.
  private func run() {
    while true {
      poller.value.wait(-1, { _, _ in }, woken: {})
      for job in mailbox.takeAll() where job.isWanted { report(job, Self.check(job)) }
    }
  }

  private static func check(_ job: PasswordJob) -> Bool {
    unsafe job.password.withUnsafeBufferPointer { password in
      unsafe job.stored.withUnsafeBufferPointer { stored in
        PasswordHash.matches(unsafe Bytes(password), unsafe Bytes(stored))
      }
    }
  }
}

extension Bytes {
  @unsafe
  fileprivate init(_ buffer: UnsafeBufferPointer<UInt8>) {
    guard let base = buffer.baseAddress else {
      self.init()
      return
    }
    unsafe self.init(base: base, count: buffer.count)
  }
}
