// The log files of a process: a path has one descriptor for as long as a plan writes to it.
//
// Whoever writes keeps the number. A file that was opened anew (USR1, logrotate) is put under the
// old number with dup2(2), so that all threads follow without being told. The number of a path that
// nothing writes to any more is never closed, since a writer who is late must not write into
// another's connection: it leads to /dev/null until the next new path gets it.

import CLinux

/// Paths to descriptors that stay the same.
final class LogFiles {
  /// Descriptors by path.
  private(set) var numbers: [String: Int32] = [:]
  /// Numbers of paths that were given up.
  private var spare: [Int32] = []

  /// Takes over an open file: under a path that has a number by putting it there, under a new one
  /// as it is, or under a number that was given up (`descriptor` is closed then).
  func adopt(_ descriptor: Int32, as path: String) throws(SystemError) {
    guard let number = numbers[path] ?? spare.popLast(), number != descriptor else {
      numbers[path] = descriptor
      return
    }
    numbers[path] = number
    try Self.replace(number, by: descriptor)
  }

  /// Closes the files of all paths but `used`.
  func giveUp(except used: Set<String>) {
    for (path, number) in numbers where !used.contains(path) {
      numbers[path] = nil
      let nowhere = unsafe linux_open("/dev/null", O_WRONLY, 0)
      // A disk that is full, or no descriptor left: the file stays open, the number in use.
      if nowhere >= 0 { try? Self.replace(number, by: Int32(nowhere)) }
      spare.append(number)
    }
  }

  private static func replace(_ old: Int32, by new: Int32) throws(SystemError) {
    let result = linux_duplicate_onto(new, old)
    _ = linux_close(new)
    _ = try check(result)
    // dup2(2) doesn't keep the flag.
    _ = linux_set_close_on_exec(old, 1)
  }
}

/// Which logs the plans that threads may still use write to.
struct LogUses {
  private var paths: [Int: [ObjectIdentifier: Set<String>]] = [:]

  /// Every log that a plan in use names.
  var all: Set<String> { paths.values.flatMap(\.values).reduce(into: []) { $0.formUnion($1) } }

  /// A thread has been given a plan.
  mutating func begin(_ plan: ObjectIdentifier, _ logs: Set<String>, thread: Int) {
    paths[thread, default: [:]][plan] = logs
  }

  /// A thread is done with a plan.
  mutating func end(_ plan: ObjectIdentifier, thread: Int) { paths[thread]?[plan] = nil }

  /// A thread has ended.
  mutating func end(thread: Int) { paths[thread] = nil }
}
