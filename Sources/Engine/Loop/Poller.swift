// epoll, edge-triggered. Each descriptor is registered once, for both directions, with a handle;
// readiness is remembered by the object that owns the descriptor.

import CLinux

/// Which directions an event reported.
struct Readiness: OptionSet, BitwiseCopyable {
  let rawValue: UInt32
  /// Bytes, a connection or the end of the stream can be read.
  static var readable: Readiness { Readiness(rawValue: LINUX_EPOLL_IN) }
  /// The socket takes bytes again, or a connect has ended.
  static var writable: Readiness { Readiness(rawValue: LINUX_EPOLL_OUT) }
  /// The peer closed its side of the connection.
  static var peerClosed: Readiness { Readiness(rawValue: LINUX_EPOLL_RDHUP) }
  /// The connection is broken.
  static var broken: Readiness { Readiness(rawValue: LINUX_EPOLL_ERR | LINUX_EPOLL_HUP) }
}

/// A set of descriptors and the wait for their events.
@safe
final class Poller {
  private let fd: Int32
  // Bound: events taken from the kernel by one wait; more stay queued there.
  private static let batchCount = 256
  private let events: UnsafeMutablePointer<epoll_event>

  init() throws(SystemError) {
    fd = Int32(try check(linux_epoll_create()))
    unsafe events = .allocate(capacity: Self.batchCount)
  }

  deinit {
    _ = linux_close(fd)
    unsafe events.deallocate()
  }

  /// Watches both directions of `descriptor`, edge-triggered.
  func add(_ descriptor: Int32, _ handle: Handle) throws(SystemError) {
    let mask = LINUX_EPOLL_IN | LINUX_EPOLL_OUT | LINUX_EPOLL_RDHUP | LINUX_EPOLL_ET
    _ = try check(linux_epoll_add(fd, descriptor, mask, handle.raw))
  }

  /// Watches a descriptor that is only read, level-triggered; `exclusive` wakes one of the loops
  /// that share it (EPOLLEXCLUSIVE).
  func addReader(_ descriptor: Int32, _ handle: Handle, exclusive: Bool) throws(SystemError) {
    let mask = LINUX_EPOLL_IN | (exclusive ? LINUX_EPOLL_EXCLUSIVE : 0)
    _ = try check(linux_epoll_add(fd, descriptor, mask, handle.raw))
  }

  /// Watches a descriptor for the given directions, level-triggered (for libraries that own it).
  func set(_ descriptor: Int32, _ handle: Handle, read: Bool, write: Bool, isNew: Bool) {
    let mask = (read ? LINUX_EPOLL_IN : 0) | (write ? LINUX_EPOLL_OUT : 0)
    if isNew {
      _ = linux_epoll_add(fd, descriptor, mask, handle.raw)
    } else {
      _ = linux_epoll_modify(fd, descriptor, mask, handle.raw)
    }
  }

  /// Stops watching. Closing a descriptor does the same, unless it is shared.
  func remove(_ descriptor: Int32) { _ = linux_epoll_remove(fd, descriptor) }

  /// Waits up to `timeout` milliseconds (-1: for ever) and calls `body` for each event.
  @inline(__always)
  func wait(_ timeout: Milliseconds, _ body: (Handle, Readiness) -> Void, woken: () -> Void) {
    let count = unsafe linux_epoll_wait(
      fd, events, Int32(Self.batchCount), Int32(clamping: timeout))
    woken()
    guard count > 0 else { return }
    for index in 0..<Int(count) {
      let event = unsafe events[index]
      unsafe body(Handle(raw: event.data.u64), Readiness(rawValue: event.events))
    }
  }
}
