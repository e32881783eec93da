// Access log lines of one worker: each format evaluated for an exchange, escaped, and appended to
// the buffer of its file (https://nginx.org/en/docs/http/ngx_http_log_module.html).

import HTTP

/// The access logs that one worker writes to.
struct AccessLogs {
  /// Descriptors by path, of the plan's logs.
  private var files: [String: Int32] = [:]
  private var buffering: [String: LogBuffering] = [:]
  private var buffers: [String: AccessLogBuffer] = [:]
  private var caches: [LogFileCacheSettings: LogFileCache] = [:]
  /// Lines of files whose path depends on the request.
  private var lost = LostLineCount()
  private var errorLog: ErrorLog
  /// How often `flushDue` is to be called.
  private(set) var flushPeriod: Milliseconds = 1000

  init(errorLog: ErrorLog) { self.errorLog = errorLog }

  /// Takes the files of a new plan. What waits is written out: the new plan may write a file
  /// differently, or complain elsewhere.
  mutating func install(
    _ files: [String: Int32], _ buffering: [String: LogBuffering], _ errorLog: ErrorLog,
    now: Milliseconds
  ) {
    self.errorLog = errorLog
    flush(now: now)
    buffers = [:]
    self.files = files
    self.buffering = buffering
    // Bound: a worker that writes often wakes up twenty times a second.
    flushPeriod = max(50, min(1000, buffering.values.compactMap(\.flush).min() ?? 1000))
  }

  /// Writes the lines that the exchange's location asks for.
  mutating func write(_ exchange: Exchange) {
    let settings = exchange.location.settings.log.value
    if settings.accessLogs.isEmpty || exchange.response.status == 0 { return }
    for log in settings.accessLogs {
      if let condition = log.condition {
        let value = exchange.evaluate(condition)
        if value.isEmpty || value == Bytes("0") { continue }
      }
      if let receiver = log.syslog {
        send(line(log.format, exchange), exchange, to: receiver)
        continue
      }
      if let path = log.computedPath {
        write(line(log.format, exchange), exchange, to: path)
        continue
      }
      guard let buffer = buffer(for: log) else { continue }
      buffer.append(line(log.format, exchange), now: exchange.loop.now)
    }
  }

  private func send(_ line: Bytes, _ exchange: Exchange, to receiver: SyslogTarget) {
    let text = line.prefix(line.count - 1)
    let time = exchange.core.clock.syslogTime
    if let problem = receiver.send(text, receiver.severity, time: time) {
      exchange.core.errorLog.report(problem, of: receiver)
    }
  }

  private mutating func buffer(for log: AccessLogSettings) -> AccessLogBuffer? {
    if let buffer = buffers[log.path] { return buffer }
    guard let fd = files[log.path] else { return nil }
    let settings = buffering[log.path] ?? LogBuffering()
    let buffer = AccessLogBuffer(
      fd: fd, path: log.path, bufferBytes: settings.byteCount, flushInterval: settings.flush,
      gzipLevel: settings.gzipLevel, errors: errorLog)
    buffers[log.path] = buffer
    return buffer
  }

  /// Writes to a file whose path depends on the request, unless the folder that the request is
  /// served from does not exist: else a client could fill the disk with logs of any name.
  private mutating func write(_ line: Bytes, _ exchange: Exchange, to path: Template) {
    guard let target = exchange.computedLogPath(path) else { return }
    let result: Result<Bool, SystemError>
    if let settings = exchange.location.settings.log.value.fileCache {
      let cache = caches[settings] ?? LogFileCache(settings)
      caches[settings] = cache
      result = cache.write(line, to: target, now: exchange.loop.now)
    } else {
      result = LogFileCache.writeOnce(line, to: target)
    }
    switch result {
    case .success(true): break
    case .success(false): lost.add(1, of: target.string, errorLog, now: exchange.loop.now)
    case .failure(let error):
      exchange.log(.crit, "open() \"\(target.string)\" failed \(error.logText)")
    }
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

  /// Writes what waited long enough, closes what was not used for long.
  func flushDue(now: Milliseconds) {
    for buffer in buffers.values { buffer.flushIfDue(now: now) }
    for cache in caches.values { cache.closeInactive(now: now) }
  }

  /// Writes everything that waits, and lets go of files that may have been renamed.
  func flush(now: Milliseconds) {
    for buffer in buffers.values { buffer.flush(now: now) }
    for cache in caches.values { cache.closeAll() }
  }
}

extension Exchange {
  /// Where `path` leads for this request, ended by NUL; nil if it is not to be logged.
  fileprivate func computedLogPath(_ path: Template) -> Bytes? {
    let settings = location.settings.core.value
    let root = absolutePath(evaluate(settings.folder))
    guard fileKind(root) == .directory else {
      log(.error, "testing \"\(root.string)\" existence failed")
      return nil
    }
    let target = absolutePath(evaluate(path))
    guard target.firstIndex(of: 0) == nil, !climbs(target, path) else {
      log(.error, "\"\(lineSafe(target).string)\" can't be the path of a log")
      return nil
    }
    return concatenate(target, Bytes("\0")).prefix(target.count)
  }
}
