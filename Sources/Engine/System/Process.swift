// Processes: starting one, hearing of its end, and the signals that this one takes. Only the
// supervisor and the main thread of the worker process use this, and only one thread of either.

import CLinux

/// Starts and reaps child processes.
enum Process {
  /// The pid of this process.
  static var identifier: Int32 { Int32(linux_pid()) }

  /// The environment of this process, one `NAME=value` each.
  static var environment: [String] {
    var result: [String] = []
    guard var entry = unsafe linux_environment() else { return [] }
    while let text = unsafe entry.pointee {
      unsafe result.append(String(cString: text))
      unsafe entry += 1
    }
    return result
  }

  /// Starts `path` with all descriptors closed that close on exec, and `channel` as descriptor 3.
  /// Throws what `execve` says, too.
  static func spawn(
    _ path: String, arguments: [String], environment: [String], channel: Int32?
  ) throws(SystemError) -> Int32 {
    let result = unsafe withCStrings(arguments) { arguments in
      unsafe withCStrings(environment) { environment in
        unsafe linux_spawn(path, arguments, environment, channel ?? -1)
      }
    }
    return Int32(try check(result))
  }

  /// How a child ended.
  enum End: Equatable {
    case code(Int32)
    case signal(Int32)

    /// As nginx says it: "exited with code 0", "exited on signal 9".
    var text: String {
      switch self {
      case .code(let code): "exited with code \(code)"
      case .signal(let number): "exited on signal \(number)"
      }
    }
  }

  /// A child that has ended and was not reported before, or nil.
  static func nextEnded() -> (pid: Int32, end: End)? {
    var status: Int32 = 0
    let pid = unsafe linux_wait_any(&status)
    guard pid > 0 else { return nil }
    return (Int32(pid), end(status))
  }

  /// Waits for one child.
  static func wait(_ pid: Int32) -> End {
    var status: Int32 = 0
    while unsafe linux_wait_child(pid, &status) == -Int64(EINTR) {}
    return end(status)
  }

  private static func end(_ status: Int32) -> End {
    let signal = linux_status_signal(status)
    return signal != 0 ? .signal(signal) : .code(linux_status_code(status))
  }

  /// Calls `body` with a nil-terminated array of C strings.
  private static func withCStrings<R>(
    _ strings: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> R
  ) -> R {
    let copies = unsafe strings.map { unsafe strdup($0) } + [nil]
    defer { for index in unsafe copies.indices { unsafe free(copies[index]) } }
    return unsafe copies.withUnsafeBufferPointer { unsafe body($0.baseAddress!) }
  }
}

/// Signals as something to read, instead of something that interrupts.
final class ProcessSignals {
  /// Becomes readable when a signal waits.
  let descriptor: Int32

  /// Blocks `numbers` and reads them from a descriptor. SIGPIPE and SIGXFSZ are ignored: sends say
  /// EPIPE, writes EFBIG.
  init(_ numbers: [Int32]) throws(SystemError) {
    linux_ignore_signal(SIGPIPE)
    linux_ignore_signal(SIGXFSZ)
    descriptor = Int32(try check(unsafe linux_signal_descriptor(numbers, numbers.count)))
  }

  deinit { _ = linux_close(descriptor) }

  /// Has signals wait until somebody reads them.
  static func block(_ numbers: [Int32]) { _ = unsafe linux_block_signals(numbers, numbers.count) }

  /// The next signal that waits and the process that sent it (0: the kernel), or nil.
  func next() -> (number: Int32, sender: Int32)? {
    var sender: Int32 = 0
    let number = unsafe linux_next_signal(descriptor, &sender)
    return number == 0 ? nil : (number, sender)
  }
}
