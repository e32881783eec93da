// What happens when `worker_connections` or descriptors run out: a sixteenth of both is kept free
// for upstreams and files, as long as there are connections on which no request is being served.
// Those end before their time, the ones that have been quiet for longest first.

import CLinux
import HTTP

/// Tells the log of what happens over and over: at once, and then once a minute.
struct RepeatedReport {
  // Bound: how often the log hears of it.
  private static let interval: Milliseconds = 60_000
  private var next: Milliseconds = .min
  private var count = 0

  /// Counts `more`; the number to tell of, if it is time to.
  mutating func add(_ more: Int, now: Milliseconds) -> Int? {
    count += more
    guard now >= next else { return nil }
    next = now + Self.interval
    defer { count = 0 }
    return count
  }
}

/// How many descriptors of the process are not connections of this thread, as far as can be seen:
/// the kernel gives a new one the lowest free number, so that all below are in use.
struct DescriptorGauge {
  /// How long others are taken for as many as they were: not for long where other threads have
  /// connections that they may close.
  private let memory: Milliseconds
  private var forgetAt: Milliseconds = .max
  private(set) var others = 0

  init(memory: Milliseconds) { self.memory = memory }

  /// A descriptor was given this number, while this thread has so many connections, that one
  /// included.
  mutating func note(number: Int, among connections: Int, now: Milliseconds) {
    let seen = number + 1 - connections
    guard seen > others || now >= forgetAt else { return }
    others = max(0, seen)
    forgetAt = now + memory
  }
}

extension Worker {
  // Bound: a search that found nothing isn't repeated at once.
  private static let searchInterval: Milliseconds = 100

  // Bound: a look at so many connections takes about a tenth of a millisecond.
  private static let connectionsPerMillisecond = 4096

  /// Keeps a reserve for what a connection that was accepted as descriptor `fd` may ask for.
  func keepReserve(_ fd: Int32) {
    descriptors.note(number: Int(fd), among: core.connectionCount + 1, now: loop.now)
    guard loop.now >= nextReserveSearch else { return }
    nextReserveSearch = loop.now + clients.count / Self.connectionsPerMillisecond
    if isNearly(descriptors.others + core.connectionCount + 1, descriptorLimit) {
      makeRoom("\(descriptorLimit) descriptors are nearly used up")
    } else if isNearly(core.connectionCount + 1, core.plan.main.workerConnections) {
      makeRoom("\(core.plan.main.workerConnections) worker_connections are nearly used up")
    }
  }

  /// The kernel had no descriptor, or no memory, for another connection. Whether it may have now.
  func makeRoom(after error: SystemError) -> Bool {
    if error.code == EMFILE {
      descriptors.note(number: descriptorLimit - 1, among: core.connectionCount, now: loop.now)
    }
    return makeRoom("accept4() failed \(error.logText)") || closeKeptUpstreams()
  }

  private func isNearly(_ count: Int, _ limit: Int) -> Bool { count > limit - limit / 16 }

  /// Keeps a connection from being refused as long as something else can end. Whether there may be
  /// another one.
  func makeRoomForConnection() -> Bool {
    core.hasFreeConnection
      || makeRoom("\(core.plan.main.workerConnections) worker_connections are used up")
      || closeKeptUpstreams()
  }

  /// Gives up a sixteenth of the client connections that serve nothing. Whether there were any.
  @discardableResult
  func makeRoom(_ reason: @autoclosure () -> String) -> Bool {
    guard loop.now >= nextRoomSearch else { return false }
    var candidates: [(client: ClientConnection, claim: ClientConnection.Claim)] = []
    for client in clients.objects {
      if let claim = client.claim { candidates.append((client, claim)) }
    }
    candidates.sort { $0.claim < $1.claim }
    var count = 0
    // Bound: as nginx, so that a crowd doesn't lose all it has kept.
    let wanted = min(32, max(1, candidates.count / 16))
    for candidate in candidates where candidate.client.giveUp() {
      count += 1
      if count == wanted { break }
    }
    guard count > 0 else {
      nextRoomSearch = loop.now + Self.searchInterval
      return false
    }
    if let count = roomReport.add(count, now: loop.now) {
      core.errorLog.write(
        .warn, "\(reason()), \(count) client connections without a request were closed for others")
    }
    return true
  }

  /// Kept connections to upstreams make room too, when nothing else does.
  private func closeKeptUpstreams() -> Bool {
    let count = core.connectionCount
    core.upstreams.closeIdle()
    core.h2Upstreams.closeIdle()
    return core.connectionCount < count
  }
}
