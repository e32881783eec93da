// One access log of one worker: lines gathered and written together (`buffer=`, `flush=`), or each
// at once.
//
// Each worker has its own buffer of a file and writes whole lines to a descriptor in append mode,
// so that workers need no lock and their lines don't mix. A line that can't be written is lost and
// counted; the error log says so once a minute for as long as it lasts.
//
// With `gzip=` what is written together is one gzip member, so that the file can be read at any
// time.

import CZlib
import HTTP

/// The lines on their way to one file. The owner flushes it before dropping it or closing the file.
final class AccessLogBuffer {
  /// What could not be written.
  private var lost = LostLineCount()
  /// When `flush` is due, or nil: nothing is waiting, or no time was set.
  private(set) var flushDeadline: Milliseconds?

  /// How many lines could not be written.
  var lostLineCount: Int { lost.total }

  private let fd: Int32
  private let path: String
  private let buffer: Buffer?
  private let flushInterval: Milliseconds?
  private let errors: ErrorLog
  private let gzipLevel: Int?
  /// A line was cut off in the file; the next begins on its own.
  private var isTorn = false

  /// A log that gathers up to `bufferBytes` (0: writes each line at once) for at most
  /// `flushInterval`.
  init(
    fd: Int32, path: String, bufferBytes: Int, flushInterval: Milliseconds?, gzipLevel: Int? = nil,
    errors: ErrorLog
  ) {
    self.fd = fd
    self.path = path
    self.flushInterval = flushInterval
    self.gzipLevel = gzipLevel
    self.errors = errors
    buffer = bufferBytes > 0 ? Buffer(capacity: bufferBytes) : nil
  }

  /// Adds a line, which ends in "\n".
  func append(_ line: Bytes, now: Milliseconds) {
    guard let buffer else { return write(line, now: now) }
    if line.count > buffer.room { flush(now: now) }
    guard line.count <= buffer.capacity else { return write(line, now: now) }
    if buffer.isEmpty, let flushInterval { flushDeadline = now + flushInterval }
    buffer.append(line)
  }

  /// Writes what was gathered if its time has come.
  func flushIfDue(now: Milliseconds) {
    if let flushDeadline, flushDeadline <= now { flush(now: now) }
  }

  /// Writes what was gathered.
  func flush(now: Milliseconds) {
    flushDeadline = nil
    guard let buffer, !buffer.isEmpty else { return }
    write(buffer.unread, now: now)
    buffer.reset()
  }

  private func write(_ lines: Bytes, now: Milliseconds) {
    if let gzipLevel { return compress(lines, gzipLevel, now: now) }
    if isTorn && LogOutput.write(Bytes("\n"), to: fd) == 1 { isTorn = false }
    let written = isTorn ? 0 : LogOutput.write(lines, to: fd)
    guard written < lines.count else { return }
    if written > 0 && lines[written - 1] != UInt8(ascii: "\n") { isTorn = true }
    lose(lines.dropping(written), now: now)
  }

  /// Lines written together are lost together: half a gzip member can't be read.
  private func compress(_ lines: Bytes, _ level: Int, now: Milliseconds) {
    let room = Buffer(capacity: portico_gzip_bound(UInt(lines.count)))
    let count = unsafe portico_gzip(
      Int32(level), lines.unsafeBase, UInt32(lines.count), room.free.unsafeBase, UInt32(room.room))
    if count > 0 {
      room.produced(count)
      if LogOutput.write(room.unread, to: fd) == count { return }
    }
    lose(lines, now: now)
  }

  private func lose(_ lines: Bytes, now: Milliseconds) {
    var count = 0
    for index in 0..<lines.count where lines[index] == UInt8(ascii: "\n") { count += 1 }
    lost.add(count, of: path, errors, now: now)
  }
}
