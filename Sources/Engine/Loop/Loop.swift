// What every part of a worker shares: the poller, the deadlines, the buffers and the time.
//
// A loop belongs to one thread. `Worker` (and the control thread) turn it: wait, dispatch, fire.

import CLinux

/// The event loop's own state; who turns it dispatches events by their handles.
final class Loop {
  let poller: Poller
  let pool = BufferPool()
  private(set) var timers: TimerWheel
  /// Milliseconds of the monotonic clock, read once per turn.
  private(set) var now: Milliseconds
  /// Milliseconds since 1970, read once per turn.
  private(set) var wallTime: Milliseconds

  /// How often the loop has turned.
  private(set) var turnCount = 0

  /// Objects that stopped in the middle of work to let others have a turn.
  private var ready: [Handle] = []
  private var running: [Handle] = []
  private var fired: [Handle] = []

  init() throws(SystemError) {
    poller = try Poller()
    now = Clock.monotonic
    wallTime = Clock.wall
    timers = TimerWheel(now: now)
    ready.reserveCapacity(256)
    running.reserveCapacity(256)
    fired.reserveCapacity(256)
  }

  /// Waits for events and calls `dispatch` for each, then `resume` for each object that had asked
  /// to go on, then `fire` for each deadline that passed.
  @inline(__always)
  func turn(
    dispatch: (Handle, Readiness) -> Void, resume: (Handle) -> Void, fire: (Handle) -> Void
  ) {
    turnCount += 1
    let timeout = ready.isEmpty ? timers.timeout(now: now) : 0
    poller.wait(timeout, dispatch, woken: readClocks)
    if !ready.isEmpty {
      swap(&ready, &running)
      for handle in running { resume(handle) }
      running.removeAll(keepingCapacity: true)
    }
    timers.advance(now: now, &fired)
    if !fired.isEmpty {
      for handle in fired { fire(handle) }
      fired.removeAll(keepingCapacity: true)
    }
  }

  /// Lets `handle` go on after everybody else had a turn.
  func yield(_ handle: Handle) { ready.append(handle) }

  private func readClocks() {
    now = Clock.monotonic
    wallTime = Clock.wall
  }

  // --- deadlines, forwarded so that the wheel stays private --------------------------------------

  func makeTimer() -> TimerWheel.ID { timers.makeEntry() }

  /// Lets `timer` fire for `handle` in `delay` milliseconds.
  @inline(__always)
  func setTimer(_ timer: TimerWheel.ID, after delay: Milliseconds, for handle: Handle) {
    timers.set(timer, at: now + delay, for: handle)
  }

  @inline(__always)
  func clearTimer(_ timer: TimerWheel.ID) { timers.clear(timer) }
}
