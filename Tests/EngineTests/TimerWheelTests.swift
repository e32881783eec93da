// The timer wheel: deadlines fire once, never early, at most two ticks late, wherever they fall.

import Testing

@testable import Engine

struct TimerWheelTests {
  @Test(arguments: [0, 1, 15, 16, 17, 100, 1_000, 65_535, 65_536, 65_537, 200_000])
  func firesOnceAndNeverEarly(delay: Int) {
    let start = 1_000_003
    var wheel = TimerWheel(now: start)
    let entry = wheel.makeEntry()
    let handle = Handle(.client, slot: 7, generation: 3)
    wheel.set(entry, at: start + delay, for: handle)
    var firedAt: [Int] = []
    for now in stride(from: start, through: start + delay + 100, by: 1) {
      var fired: [Handle] = []
      wheel.advance(now: now, &fired)
      for each in fired {
        #expect(each == handle)
        firedAt.append(now)
      }
    }
    #expect(firedAt.count == 1)
    #expect(firedAt[0] >= start + delay)
    #expect(firedAt[0] <= start + delay + 3 * TimerWheel.tick)
  }

  @Test func followsADeadlineThatMovesLaterAndEarlier() {
    var wheel = TimerWheel(now: 0)
    let entry = wheel.makeEntry()
    let handle = Handle(.client, slot: 1, generation: 1)
    wheel.set(entry, at: 100, for: handle)
    wheel.set(entry, at: 5_000, for: handle)
    var fired: [Handle] = []
    wheel.advance(now: 4_000, &fired)
    #expect(fired.isEmpty)
    wheel.set(entry, at: 4_100, for: handle)
    wheel.advance(now: 4_200, &fired)
    #expect(fired == [handle])
    wheel.advance(now: 100_000, &fired)
    #expect(fired.count == 1)
  }

  @Test func saysHowLongToSleep() {
    var wheel = TimerWheel(now: 0)
    #expect(wheel.timeout(now: 0) == -1)
    let entry = wheel.makeEntry()
    wheel.set(entry, at: 1_000, for: .none)
    let wait = wheel.timeout(now: 0)
    #expect(wait >= 1_000 && wait <= 1_000 + 3 * TimerWheel.tick)
  }

  @Test func survivesAJumpOfTheClockOfManyRevolutions() {
    var wheel = TimerWheel(now: 0)
    var entries: [TimerWheel.ID] = []
    for slot in 0..<1_000 {
      let entry = wheel.makeEntry()
      wheel.set(entry, at: slot * 100, for: Handle(.client, slot: slot, generation: 1))
      entries.append(entry)
    }
    var fired: [Handle] = []
    wheel.advance(now: 10_000_000, &fired)
    #expect(Set(fired.map(\.slot)).count == 1_000)
  }

  /// Limits and logs count milliseconds: a clock of ticks would take several for one.
  @Test func theClockCountsEachMillisecond() {
    let steps = (0..<40).map { _ in
      let start = Clock.monotonic
      var next = start
      while next == start { next = Clock.monotonic }
      return next - start
    }
    #expect(steps.contains(1))
  }
}
