// What a worker knows of the descriptors of its process, and how often it tells of what goes on.

import Testing

@testable import Engine

@Suite struct RoomCountTests {
  @Test func othersAreWhatTheHighestNumberLeaves() {
    var gauge = DescriptorGauge(memory: 60_000)
    gauge.note(number: 20, among: 1, now: 0)
    #expect(gauge.others == 20)
    gauge.note(number: 60, among: 31, now: 10)
    #expect(gauge.others == 30)
    // A gap below was filled: nothing is learnt from a low number.
    gauge.note(number: 25, among: 31, now: 20)
    #expect(gauge.others == 30)
    // Others may have closed theirs meanwhile.
    gauge.note(number: 40, among: 31, now: 60_010)
    #expect(gauge.others == 10)
    gauge.note(number: 5, among: 31, now: 200_000)
    #expect(gauge.others == 0)
  }

  @Test func reportsAtOnceAndThenOnceAMinute() {
    var report = RepeatedReport()
    #expect(report.add(3, now: 5) == 3)
    #expect(report.add(2, now: 6) == nil)
    #expect(report.add(2, now: 60_004) == nil)
    #expect(report.add(1, now: 60_005) == 5)
    #expect(report.add(1, now: 60_006) == nil)
  }
}
