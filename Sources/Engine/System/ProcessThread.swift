// Threads: the control thread and one for each worker. They live as long as what they run; signals are
// blocked in all of them, because the main thread reads signals from a descriptor.

import CLinux

/// A thread that runs one function to its end.
@safe
struct ProcessThread: Sendable {
  private let thread: pthread_t

  /// Starts a thread with a name for ps and gdb (15 bytes at most are seen).
  static func start(
    named name: String, _ body: @escaping @Sendable () -> Void
  ) throws(SystemError) -> ProcessThread {
    // Safety: the retain taken here is the one that the thread's first line gives back.
    let task = unsafe Unmanaged.passRetained(Task(name: name, body: body))
    var thread = pthread_t()
    let result = unsafe linux_thread_start(
      &thread,
      { argument in
        guard let argument = unsafe argument else { return nil }
        let task = unsafe Unmanaged<Task>.fromOpaque(argument).takeRetainedValue()
        unsafe linux_thread_name(task.name)
        task.body()
        return nil
      }, unsafe task.toOpaque())
    if result < 0 { unsafe task.release() }
    _ = try check(result)
    return ProcessThread(thread: thread)
  }

  /// Waits until the thread has ended.
  func join() { _ = pthread_join(thread, nil) }

  private final class Task: Sendable {
    let name: String
    let body: @Sendable () -> Void
    init(name: String, body: @escaping @Sendable () -> Void) {
      self.name = name
      self.body = body
    }
  }
}
