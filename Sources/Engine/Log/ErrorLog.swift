// The error log: `error_log` lines of one scope, one or several files or syslog receivers with a
// level each.
//
//   2026/11/22 12:00:00 [error] 4711#4713: *52 connect() to 10.0.0.3:8080 failed ...
//
// A plain value without references, so that each thread has its own copy; files are opened with
// O_APPEND and a line is one write(2), so that lines of several threads don't mix. The message is
// made only if a file takes its level. Control characters in it are escaped: what a client sends
// can neither break a line nor drive a terminal. Lines that can't be written are counted per
// descriptor, and the next line that can is followed by one that says how many were lost.

import CLinux
import HTTP
import Synchronization

/// Where a scope's errors go.
struct ErrorLog: Sendable {
  /// A file, or a syslog receiver, and the least severe level that it takes.
  struct Target: BitwiseCopyable, Sendable {
    /// -1 where `syslog` isn't nil.
    let fd: Int32
    let syslog: SyslogTarget?
    let level: LogLevel

    init(fd: Int32, level: LogLevel) {
      self.fd = fd
      self.level = level
      syslog = nil
    }

    init(syslog: SyslogTarget, level: LogLevel) {
      fd = -1
      self.level = level
      self.syslog = syslog
    }
  }

  // Bound: `error_log` lines of one scope.
  static let capacity = 8
  // Bound: bytes of a line, as in nginx; less than a pipe takes at once.
  static let lineBytes = 2048

  private var targets = InlineArray<8, Target>(repeating: Target(fd: -1, level: .emerg))
  private let count: Int
  /// The least severe level that any file takes.
  private let lowest: LogLevel

  /// A log that writes to each of `targets`; with none, nothing is written.
  ///
  /// - Precondition: at most `capacity` targets.
  init(_ targets: [Target]) {
    precondition(targets.count <= Self.capacity)
    count = targets.count
    lowest = targets.map(\.level).min() ?? .emerg
    for (index, target) in targets.enumerated() { self.targets[index] = target }
  }

  /// Whether a line of this level goes anywhere.
  func takes(_ level: LogLevel) -> Bool { count > 0 && level >= lowest }

  /// Writes one line; `connection` is its number, 0 for none.
  func write(_ level: LogLevel, _ message: @autoclosure () -> String, connection: UInt64 = 0) {
    guard takes(level) else { return }
    write(level, message(), connection, except: nil)
  }

  /// Writes what is wrong with a syslog receiver to every target but that one.
  func report(_ problem: String, of receiver: SyslogTarget) {
    if takes(.error) { write(.error, problem, 0, except: receiver) }
  }

  private func write(
    _ level: LogLevel, _ text: String, _ connection: UInt64, except excluded: SyslogTarget?
  ) {
    unsafe withUnsafeTemporaryAllocation(of: UInt8.self, capacity: Self.lineBytes) { room in
      guard let base = room.baseAddress else { return }
      var line = LogLine(room: unsafe MutableBytes(base: base, count: room.count))
      line.begin(level)
      if connection != 0 { line.append("*\(connection) ") }
      line.append(text)
      line.end()
      for index in 0..<count where level >= targets[index].level {
        guard let receiver = targets[index].syslog else {
          write(line.bytes, to: targets[index].fd)
          continue
        }
        if receiver != excluded { send(line.bytes, level, to: receiver) }
      }
    }
  }

  /// Sends a line, and tells the others if it is time to say what was lost. They can't go on and on
  /// telling each other: a receiver complains once a minute.
  private func send(_ line: Bytes, _ level: LogLevel, to receiver: SyslogTarget) {
    let problem = unsafe withUnsafeTemporaryAllocation(
      of: UInt8.self, capacity: HTTPDate.syslogLength
    ) { room -> String? in
      guard let base = room.baseAddress else { return nil }
      let time = unsafe MutableBytes(base: base, count: room.count)
      let seconds = Clock.wall / 1000
      let offset = Int(linux_zone_offset_seconds(Int64(seconds))) / 60
      HTTPDate.writeSyslog(seconds, offsetMinutes: offset, into: time)
      return receiver.send(line.prefix(line.count - 1), level, time: time.readOnly)
    }
    if let problem { report(problem, of: receiver) }
  }

  private func write(_ line: Bytes, to fd: Int32) {
    guard LogOutput.write(line, to: fd) == line.count else {
      LostLines.add(1, for: fd)
      return
    }
    let lost = LostLines.take(for: fd)
    guard lost > 0 else { return }
    unsafe withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 128) { room in
      guard let base = room.baseAddress else { return }
      var line = LogLine(room: unsafe MutableBytes(base: base, count: room.count))
      line.begin(.alert)
      line.append("\(lost) log lines were lost")
      line.end()
      if LogOutput.write(line.bytes, to: fd) < line.bytes.count { LostLines.add(lost, for: fd) }
    }
  }
}

/// A line being put together; what doesn't fit is cut off, its end always fits.
private struct LogLine {
  let room: MutableBytes
  private var count = 0

  init(room: MutableBytes) { self.room = room }

  var bytes: Bytes { room.readOnly.prefix(count) }

  /// Time, level, process and thread.
  mutating func begin(_ level: LogLevel) {
    let seconds = Clock.wall / 1000
    let offset = Int(linux_zone_offset_seconds(Int64(seconds))) / 60
    HTTPDate.writeErrorLog(seconds, offsetMinutes: offset, into: room)
    count = HTTPDate.errorLogLength
    append(" [\(level.name)] \(linux_pid())#\(linux_tid()): ")
  }

  mutating func append(_ text: String) {
    for byte in text.utf8 {
      if byte >= 0x20 && byte != 0x7f {
        put(byte)
      } else {
        put(UInt8(ascii: "\\"))
        put(UInt8(ascii: "x"))
        put(ASCII.hexDigit(byte >> 4))
        put(ASCII.hexDigit(byte & 15))
      }
    }
  }

  mutating func end() {
    room[count] = UInt8(ascii: "\n")
    count += 1
  }

  private mutating func put(_ byte: UInt8) {
    // One byte is kept for the line's end.
    guard count < room.count - 1 else { return }
    room[count] = byte
    count += 1
  }
}

/// Lines that could not be written, by descriptor, for all threads.
private enum LostLines {
  // Descriptors that share a slot share a count: then a line says how many were lost, but not
  // where.
  private static let counts = InlineArray<64, Atomic<Int>> { _ in Atomic(0) }

  static func add(_ count: Int, for fd: Int32) {
    counts[slot(fd)].add(count, ordering: .relaxed)
  }

  static func take(for fd: Int32) -> Int {
    // A plain load first: nearly always there is nothing, and nothing need be written.
    guard counts[slot(fd)].load(ordering: .relaxed) > 0 else { return 0 }
    return counts[slot(fd)].exchange(0, ordering: .relaxed)
  }

  private static func slot(_ fd: Int32) -> Int { Int(fd & 63) }
}
