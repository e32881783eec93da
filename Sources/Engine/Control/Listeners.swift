// The listening sockets. The supervisor owns them for as long as their address is configured:
// worker processes come and go, the accept queues stay. A reload works by difference: what stays is
// the same socket, so that no connection that waits in its queue is lost.
//
// A table is a value. `next` makes the table of a new configuration without touching the one in
// use; then one of the two is given up: `close(except:)` closes what only it holds.

import CLinux

/// A listening socket that the supervisor holds.
struct BoundListener: Sendable {
  /// Names the socket between supervisor and worker process; never used twice.
  let id: UInt64
  let fd: Int32
  var settings: ListenSettings

  /// Which address, and which of its sockets (`reuseport` has one for each worker thread).
  struct Key: Hashable, Sendable {
    let address: String
    let index: Int
  }
}

/// Why sockets could not be had, in nginx's words, one line each.
struct ListenerFailure: Error {
  var problems: [String]
}

/// All listening sockets of one configuration.
struct Listeners {
  private(set) var table: [BoundListener.Key: BoundListener] = [:]
  private var nextID: UInt64 = 1

  // Bound: an address that another process is just giving up becomes free within this time.
  static let tryCount = 5
  static let pauseMs: Int32 = 500

  init() {}

  /// Takes over sockets that listen already (inherited from an older binary).
  init(adopting descriptors: [Int32]) {
    for fd in descriptors {
      let address = Socket.localAddress(fd)
      guard address.family != 0 else {
        _ = linux_close(fd)
        continue
      }
      _ = linux_set_close_on_exec(fd, 1)
      var index = 0
      while table[BoundListener.Key(address: address.description, index: index)] != nil {
        index += 1
      }
      add(
        BoundListener.Key(address: address.description, index: index), fd: fd,
        ListenSettings(address: address))
    }
  }

  /// The table for `settings`: sockets of this one where address and index are the same, new ones
  /// otherwise. If an address can't be had, new sockets are closed again and this table is as it
  /// was. `onRetry` says whether waiting makes sense.
  func next(
    for settings: [ListenSettings], workerCount: Int, onRetry: ([String]) -> Bool
  ) throws(ListenerFailure) -> Listeners {
    var result = Listeners()
    result.nextID = nextID
    var problems: [String] = []
    for attempt in 1...Self.tryCount {
      problems = result.open(settings, workerCount: workerCount, keeping: table)
      if problems.isEmpty { return result }
      // Only a taken address can become free by waiting.
      let canWait = problems.contains { $0.contains("(\(EADDRINUSE):") }
      if !canWait || attempt == Self.tryCount { break }
      if !onRetry(problems) { break }
      linux_pause_ms(Self.pauseMs)
    }
    result.close(except: self)
    throw ListenerFailure(problems: problems)
  }

  /// Closes what `other` doesn't hold. Unix sockets also leave the file system.
  func close(except other: Listeners?) {
    let kept = Set(other?.table.values.map(\.id) ?? [])
    for (_, listener) in table where !kept.contains(listener.id) {
      let path = listener.settings.address.unixPath
      if !path.isEmpty && listener.settings.address.isUnix { _ = unsafe linux_unlink(path) }
      _ = linux_close(listener.fd)
    }
  }

  /// Closes the descriptors only, of what `other` doesn't hold: another process serves these
  /// sockets.
  func closeLeavingPaths(except other: Listeners? = nil) {
    let kept = Set(other?.table.values.map(\.id) ?? [])
    for (_, listener) in table where !kept.contains(listener.id) { _ = linux_close(listener.fd) }
  }

  /// Whether no `listen` wants the address of an old socket any more.
  private func isGivenUp(_ key: BoundListener.Key, _ wanted: Set<String>) -> Bool {
    !wanted.contains(key.address)
  }

  private mutating func add(_ key: BoundListener.Key, fd: Int32, _ settings: ListenSettings) {
    table[key] = BoundListener(id: nextID, fd: fd, settings: settings)
    nextID += 1
  }

  /// Opens or keeps what `settings` asks for and isn't held yet; gives what failed.
  private mutating func open(
    _ settings: [ListenSettings], workerCount: Int, keeping old: [BoundListener.Key: BoundListener]
  ) -> [String] {
    var problems: [String] = []
    let wanted = Set(settings.map { $0.address.description })
    for listen in settings {
      for index in 0..<(listen.reusePort && !listen.address.isUnix ? workerCount : 1) {
        let key = BoundListener.Key(address: listen.address.description, index: index)
        if table[key] != nil { continue }
        if let kept = old[key] {
          table[key] = BoundListener(id: kept.id, fd: kept.fd, settings: listen)
          ListenerSockets.adjust(kept.fd, from: kept.settings, to: listen)
          continue
        }
        do {
          let leaving = old.filter {
            isGivenUp($0.key, wanted) && $0.value.settings.overlaps(listen)
          }
          add(key, fd: try ListenerSockets.open(listen, beside: leaving.values.map(\.fd)), listen)
        } catch {
          problems.append(
            "\(error.call) to \(listen.address.description) failed \(error.error.logText)")
        }
      }
    }
    return problems
  }
}

extension ListenSettings {
  /// Whether the kernel takes the sockets of both for one: the same port, and one of them has every
  /// address.
  fileprivate func overlaps(_ other: ListenSettings) -> Bool {
    address.port == other.address.port && !address.isUnix && !other.address.isUnix
      && (address.isWildcard || other.address.isWildcard)
  }
}
