// What all parts of the control thread share: its descriptors, its deadlines, its clock.

/// The poller, the timers and the time of the control loop.
final class ControlCore {
  let poller: Poller
  var wheel: TimerWheel
  /// When the current turn of the loop began.
  var now: Milliseconds

  init() throws(SystemError) {
    poller = try Poller()
    now = Clock.monotonic
    wheel = TimerWheel(now: now)
  }
}
