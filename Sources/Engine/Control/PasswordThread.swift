// The thread that checks passwords whose hashes are made to cost time, one a process: a worker that
// did it itself would let all its clients wait, and anybody could make it, by guessing.
//
// It is started by the first check and takes jobs in order, but for those that nobody wants any
// more. Workers bound how many wait (`PasswordChecks`), ask for the same credentials only once, and
// for one of a client's at a time.

import HTTP

/// A queue of checks and the thread that works it off. May be called from any thread.
final class PasswordThread: Sendable {
  private let thread: ServiceThread<PasswordJob>

  /// Outcomes go to `report`, on this thread; jobs that were withdrawn have none.
  init(_ report: @escaping @Sendable (PasswordJob, Bool) -> Void) throws(SystemError) {
    thread = try ServiceThread("passwords") { inbox in
      while true {
        for job in inbox.wait() where job.isWanted { report(job, Self.check(job)) }
      }
    }
  }

  /// Queues a check; false if there is no thread for it.
  func post(_ job: PasswordJob) -> Bool { thread.post(job) }

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
