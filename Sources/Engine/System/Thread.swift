// Threads of the process: the control thread and the workers. Each runs one loop until it ends.

import CLinux

/// A thread of its own, for a loop.
@safe
struct Thread: @unchecked Sendable {
  // Safety: a pthread_t may be joined from any thread, once.
  private let thread: pthread_t

  /// Starts `body` on a new thread that tools show as `name` (at most 15 bytes count).
  static func start(_ name: String, _ body: @escaping @Sendable () -> Void) -> Thread? {
    let box = unsafe Unmanaged.passRetained(Body(name: name, run: body))
    var thread = pthread_t()
    let failure = unsafe pthread_create(
      &thread, nil,
      { argument in
        guard let argument = unsafe argument else { return nil }
        let body = unsafe Unmanaged<Body>.fromOpaque(argument).takeRetainedValue()
        Thread.name(body.name)
        body.run()
        return nil
      }, box.toOpaque())
    if failure != 0 {
      unsafe box.release()
      return nil
    }
    return Thread(thread: thread)
  }

  /// Waits until the thread has ended. To be called once.
  func join() { pthread_join(thread, nil) }

  /// Names the calling thread. What fails here only costs the name.
  static func name(_ name: String) {
    let file = unsafe linux_open("/proc/thread-self/comm", O_WRONLY, 0)
    guard file >= 0 else { return }
    var text = String(decoding: name.utf8.prefix(15), as: UTF8.self)
    _ = text.withUTF8 { unsafe linux_write(Int32(file), $0.baseAddress, $0.count) }
    _ = linux_close(Int32(file))
  }

  private final class Body: Sendable {
    let name: String
    let run: @Sendable () -> Void
    init(name: String, run: @escaping @Sendable () -> Void) {
      self.name = name
      self.run = run
    }
  }
}
