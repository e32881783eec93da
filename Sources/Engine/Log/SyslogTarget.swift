// A syslog receiver as logs write to it: one datagram a line, in the form of RFC 3164 as nginx has
// it (https://nginx.org/en/docs/syslog.html):
//
//   <187>Nov  6 08:49:37 host tag: 2026/11/06 08:49:37 [error] 4711#4713: *52 it broke
//
// The socket is made by the first line, never waits and is never connected: each datagram finds its
// receiver anew, so that one that comes back (a Unix socket made again, another route) gets lines
// at once. A datagram that isn't taken is lost and counted; who wrote it is told what to say in
// another log, at once and then once a minute.

import CLinux
import HTTP
import Synchronization

/// What `syslog:` parameters amount to.
struct SyslogSettings: Sendable, Hashable {
  var address = SocketAddress()
  /// As the configuration names the server.
  var server = ""
  /// 0 to 23.
  var facility = 23
  /// Of access logs; the lines of error logs have their own.
  var severity = LogLevel.info
  /// At most `maxTagBytes`.
  var tag = "nginx"
  var sendsHostName = true

  // Bound: RFC 3164 §4.1.3.
  static let maxTagBytes = 32
}

/// A receiver of this process; equal settings are the same receiver.
///
/// - Safety: the block lives as long as the process, and holds constants and atomics. Nor is its
///   socket ever closed, so that a log of a former configuration can't write into another
///   descriptor of that number.
// Bound: a block of half a KiB, and a descriptor once it is written to, for each `syslog:` that
// configurations of this process differ in.
@safe
struct SyslogTarget: @unchecked Sendable, Hashable, BitwiseCopyable {
  private struct Block: ~Copyable {
    let settings: SyslogSettings
    /// What stands between time and message.
    let name: InlineArray<320, UInt8>
    let nameByteCount: Int
    let fd = Atomic<Int32>(-1)
    let lostCount = Atomic<Int>(0)
    let nextReport = Atomic<Int>(.min)
  }

  private let block: UnsafeMutablePointer<Block>

  // Bound: what a datagram over IPv4 holds.
  private static let maxDatagramBytes = 65_507
  // Bound: how often other logs hear of lost lines.
  private static let reportInterval: Milliseconds = 60_000
  private static let known = Mutex<[SyslogSettings: SyslogTarget]>([:])

  /// The receiver with these settings.
  static func of(_ settings: SyslogSettings) -> SyslogTarget {
    known.withLock { known in
      if let target = known[settings] { return target }
      let target = SyslogTarget(settings)
      known[settings] = target
      return target
    }
  }

  private init(_ settings: SyslogSettings) {
    let host = settings.sendsHostName ? " \(HostName.current)" : ""
    var name = InlineArray<320, UInt8>(repeating: 0)
    var count = 0
    for byte in "\(host) \(settings.tag): ".utf8.prefix(320) {
      name[count] = byte
      count += 1
    }
    let made = UnsafeMutablePointer<Block>.allocate(capacity: 1)
    unsafe made.initialize(to: Block(settings: settings, name: name, nameByteCount: count))
    unsafe block = made
  }

  static func == (a: SyslogTarget, b: SyslogTarget) -> Bool { unsafe a.block == b.block }
  func hash(into hasher: inout Hasher) { hasher.combine(unsafe UInt(bitPattern: block)) }

  /// The severity of access log lines.
  var severity: LogLevel { unsafe block.pointee.settings.severity }

  /// Sends a line without its line feed; what doesn't fit into a datagram is cut off. `time` is in
  /// the form of `HTTPDate.writeSyslog`. Returns what another log is to be told, if anything.
  func send(_ line: Bytes, _ level: LogLevel, time: Bytes) -> String? {
    let error = unsafe withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 384) { room in
      guard let base = room.baseAddress else { return SystemError?.none }
      let head = unsafe MutableBytes(base: base, count: room.count)
      return transmit(head.readOnly.prefix(writeHead(head, level, time)), line)
    }
    if let error {
      _ = unsafe block.pointee.lostCount.add(1, ordering: .relaxed)
      return report(error)
    }
    // A plain load: nearly always nothing was lost.
    return unsafe block.pointee.lostCount.load(ordering: .relaxed) > 0 ? report(nil) : nil
  }

  private func writeHead(_ room: MutableBytes, _ level: LogLevel, _ time: Bytes) -> Int {
    // RFC 3164 counts severities from the worst.
    let priority = unsafe block.pointee.settings.facility * 8 + 7 - level.rawValue
    var count = 0
    func put(_ byte: UInt8) {
      room[count] = byte
      count += 1
    }
    put(UInt8(ascii: "<"))
    if priority >= 100 { put(UInt8(ascii: "0") + UInt8(priority / 100)) }
    if priority >= 10 { put(UInt8(ascii: "0") + UInt8(priority / 10 % 10)) }
    put(UInt8(ascii: "0") + UInt8(priority % 10))
    put(UInt8(ascii: ">"))
    room.copy(time, at: count)
    count += time.count
    for index in unsafe 0..<block.pointee.nameByteCount { put(unsafe block.pointee.name[index]) }
    return count
  }

  private func transmit(_ head: Bytes, _ line: Bytes) -> SystemError? {
    let body = line.prefix(min(line.count, Self.maxDatagramBytes - head.count))
    let (fd, failure) = socket()
    if let failure { return failure }
    return unsafe block.pointee.settings.address.withSockaddr { address, length in
      func send() -> Int64 {
        unsafe linux_send_datagram(
          fd, address, length, head.unsafeBase, head.count, body.unsafeBase, body.count)
      }
      let result = send()
      if result >= 0 { return nil }
      let error = SystemError(code: Int32(-result))
      guard unsafe !block.pointee.settings.address.isUnix else { return error }
      // What UDP says is of a datagram before, and this one wasn't sent: it is sent now, and that
      // one counts as lost.
      _ = linux_drop_datagram_errors(fd)
      _ = send()
      return error
    }
  }

  private func socket() -> (Int32, SystemError?) {
    let known = unsafe block.pointee.fd.load(ordering: .acquiring)
    if known >= 0 { return (known, nil) }
    let result = unsafe linux_datagram_socket(block.pointee.settings.address.family)
    if result < 0 { return (-1, SystemError(code: Int32(-result))) }
    let made = Int32(result)
    let (isFirst, winner) = unsafe block.pointee.fd.compareExchange(
      expected: -1, desired: made, ordering: .acquiringAndReleasing)
    if isFirst { return (made, nil) }
    // Another thread was faster.
    _ = linux_close(made)
    return (winner, nil)
  }

  private func report(_ error: SystemError?) -> String? {
    let now = Clock.monotonic
    let due = unsafe block.pointee.nextReport.load(ordering: .relaxed)
    guard now >= due else { return nil }
    let (isMine, _) = unsafe block.pointee.nextReport.compareExchange(
      expected: due, desired: now + Self.reportInterval, ordering: .relaxed)
    guard isMine else { return nil }
    let lost = unsafe block.pointee.lostCount.exchange(0, ordering: .relaxed)
    guard lost > 0 else { return nil }
    let reason = error.map { ": \($0.logText)" } ?? ""
    let server = unsafe block.pointee.settings.server
    return "\(lost) \(lost == 1 ? "line" : "lines") to syslog server \"\(server)\" lost\(reason)"
  }
}
