// A thread that works beside the loops, at what may block: started by the first message, asleep
// while it has none.

import Synchronization

/// A thread of its own for messages of one kind. May be called from any thread.
final class ServiceThread<Message: Sendable>: Sendable {
  /// Where the thread finds its messages.
  final class Inbox: Sendable {
    fileprivate let mailbox: Mailbox<Message>
    private let poller: Handover<Poller>

    fileprivate init() throws(SystemError) {
      mailbox = try Mailbox()
      let poller = try Poller()
      try poller.addReader(mailbox.wakeDescriptor, .none, exclusive: false)
      self.poller = Handover(poller)
    }

    /// The messages that came, in order, once there are any or `timeout` has passed (-1: never).
    func wait(_ timeout: Milliseconds = -1) -> [Message] {
      poller.value.wait(timeout, { _, _ in }, woken: {})
      return mailbox.takeAll()
    }
  }

  private let name: String
  private let inbox: Inbox
  private let isStarted = Mutex(false)
  private let work: @Sendable (Inbox) -> Void

  /// `work` is what the thread does for as long as the process lives; tools show it as `name`.
  init(_ name: String, _ work: @escaping @Sendable (Inbox) -> Void) throws(SystemError) {
    self.name = name
    self.work = work
    inbox = try Inbox()
  }

  /// Whether there was a message so far, and a thread for it.
  var isRunning: Bool { isStarted.withLock { $0 } }

  /// Queues a message; false if there is no thread for it.
  func post(_ message: Message) -> Bool {
    let isRunning = isStarted.withLock { isStarted in
      if !isStarted {
        isStarted = Thread.start(name) { [inbox, work] in work(inbox) } != nil
      }
      return isStarted
    }
    if isRunning { inbox.mailbox.post(message) }
    return isRunning
  }
}
