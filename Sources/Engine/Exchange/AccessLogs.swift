// Access log lines of one worker: each format evaluated for an exchange, escaped, and appended to
// the buffer of its file (https://nginx.org/en/docs/http/ngx_http_log_module.html).

import HTTP

/// The access logs that one worker writes to.
struct AccessLogs {
  /// Descriptors by path, of the plan's logs.
  var files: [String: Int32]
  private var buffers: [String: AccessLogBuffer] = [:]
  private let errorLog: ErrorLog

  init(files: [String: Int32], errorLog: ErrorLog) {
    self.files = files
    self.errorLog = errorLog
  }

  /// Writes the lines that the exchange's location asks for.
  mutating func write(_ exchange: Exchange) {
    let logs = exchange.location.settings.log.value.accessLogs
    if logs.isEmpty || exchange.response.status == 0 { return }
    for log in logs {
      if let condition = log.condition {
        let value = exchange.evaluate(condition)
        if value.isEmpty || value == Bytes("0") { continue }
      }
      guard let buffer = buffer(for: log, exchange) else { continue }
      buffer.append(line(log.format, exchange), now: exchange.loop.now)
    }
  }

  private mutating func buffer(for log: AccessLogSettings, _ exchange: Exchange) -> AccessLogBuffer? {
    if let buffer = buffers[log.path] { return buffer }
    guard let fd = files[log.path] else { return nil }
    let buffer = AccessLogBuffer(
      fd: fd, path: log.path, bufferBytes: log.bufferBytes ?? 0, flushInterval: log.flush, errors: errorLog)
    buffers[log.path] = buffer
    return buffer
  }

  /// One line, its values escaped, its literals not; ends with a line feed.
  private func line(_ format: LogFormat, _ exchange: Exchange) -> Bytes {
    let parts = format.template.parts
    return unsafe withUnsafeTemporaryAllocation(of: Bytes.self, capacity: parts.count) { pieces in
      var total = 1
      for (index, part) in parts.enumerated() {
        let piece: Bytes
        switch part {
        case .literal(let bytes):
          piece = bytes
          total += bytes.count
        case .variable(let variable):
          let value = exchange.value(of: variable)
          // As in nginx, an empty value is empty; "-" stands for one that isn't there.
          piece = value ?? (format.escape == .default ? Bytes("-") : Bytes())
          total += format.escape.worstCaseCount(of: piece.count)
        case .capture(let group):
          piece = exchange.captures.capture(group) ?? Bytes()
          total += format.escape.worstCaseCount(of: piece.count)
        }
        unsafe pieces.initializeElement(at: index, to: piece)
      }
      let room = exchange.arena.allocate(total)
      var position = 0
      for (index, part) in parts.enumerated() {
        let piece = unsafe pieces[index]
        if case .literal = part {
          room.copy(piece, at: position)
          position += piece.count
        } else {
          position += LogEscape.write(piece, format.escape, into: room.slice(position, total))
        }
      }
      room[position] = UInt8(ascii: "\n")
      return room.readOnly.prefix(position + 1)
    }
  }

  /// Writes what waited long enough.
  func flushDue(now: Milliseconds) {
    for buffer in buffers.values { buffer.flushIfDue(now: now) }
  }

  /// Writes everything that waits.
  func flush(now: Milliseconds) {
    for buffer in buffers.values { buffer.flush(now: now) }
  }
}
