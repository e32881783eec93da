// How other threads reach a loop: a locked list of messages and an eventfd that wakes the loop.
// The only lock that a worker thread takes outside OpenSSL, and only when it was woken.

import CLinux
import Synchronization

/// Messages for one loop, posted by any thread.
final class Mailbox<Message: Sendable>: Sendable {
  private let messages = Mutex<[Message]>([])
  /// Becomes readable when messages wait.
  let wakeDescriptor: Int32

  init() throws(SystemError) { wakeDescriptor = Int32(try check(linux_eventfd())) }

  deinit { _ = linux_close(wakeDescriptor) }

  /// Puts a message at the end and wakes the loop.
  func post(_ message: Message) {
    messages.withLock { $0.append(message) }
    var one: UInt64 = 1
    _ = unsafe linux_write(wakeDescriptor, &one, 8)
  }

  /// Takes all messages, in the order in which they were posted.
  func takeAll() -> [Message] {
    var count: UInt64 = 0
    _ = unsafe linux_read(wakeDescriptor, &count, 8)
    return messages.withLock { list in
      let taken = list
      list = []
      return taken
    }
  }
}

/// Carries something that is not Sendable to another thread, once.
///
/// - Safety: the sender gives up every reference. What is carried this way is listed in
///   ARCHITECTURE.md.
struct Handover<Value>: @unchecked Sendable {
  let value: Value
  init(_ value: Value) { self.value = value }
}
