// How long tests wait. What a test waits for is an event, and it goes on as soon as that is there; the
// deadline only says when it is given up, and is generous: everything may run at once on one core.

import Foundation

/// Seconds after which an event that must come is given up, where a test has no reason for less.
let patience: Double = 40

/// Something took too long.
struct DeadlinePassed: Error, CustomStringConvertible {
  let what: String
  var description: String { "deadline passed: \(what)" }
}

/// A moment in the future, by a clock that nobody sets.
struct Deadline {
  private let moment: ContinuousClock.Instant

  init(in seconds: Double) { moment = .now + .seconds(seconds) }

  var hasPassed: Bool { moment < .now }

  /// Milliseconds until then, as poll(2) takes them; 0 when it has passed.
  var millisecondsLeft: Int32 {
    let left = ContinuousClock.now.duration(to: moment) / .milliseconds(1)
    return Int32(min(max(0, left.rounded(.up)), Double(Int32.max)))
  }
}

/// Measures how many seconds pass.
struct Stopwatch {
  private let begin = ContinuousClock.now
  var seconds: Double { begin.duration(to: .now) / .seconds(1) }
}

/// Looks again and again until `condition` holds.
func waitUntil(
  _ what: @autoclosure () -> String, within seconds: Double = patience,
  _ condition: () throws -> Bool
) throws {
  let deadline = Deadline(in: seconds)
  while try !condition() {
    if deadline.hasPassed { throw DeadlinePassed(what: what()) }
    usleep(5_000)
  }
}
