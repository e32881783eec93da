// The budgets of an HTTP/2 client, by an injected clock.

import Testing

@testable import Engine

@Suite struct H2FloodGuardTests {
  /// How many of `count` streams may be reset at `now`.
  private func reset(_ count: Int, _ flood: inout H2FloodGuard, now: Milliseconds) -> Int {
    (0..<count).count { _ in flood.noteReset(since: now - 999, now: now) }
  }

  /// Deadlines of clients pass, however many wait.
  @Test func requestsThatWaitedForLongMayBeGivenUp() {
    var flood = H2FloodGuard(now: 5000)
    let forgiven = (0..<10_000).count { _ in flood.noteReset(since: 4000, now: 5000) }
    #expect(forgiven == 10_000)
    #expect(reset(301, &flood, now: 5000) == 300)
  }

  @Test func forgivesAHandfulOfResetsAndSomeEachSecond() {
    var flood = H2FloodGuard(now: 1000)
    #expect(reset(301, &flood, now: 1000) == 300)
    flood = H2FloodGuard(now: 1000)
    #expect(reset(300, &flood, now: 1000) == 300)
    #expect(reset(21, &flood, now: 2000) == 20)
  }

  /// Whoever spends every few milliseconds gains what others gain in a second.
  @Test func fractionsOfATokenArentLost() {
    var flood = H2FloodGuard(now: 0)
    #expect(reset(300, &flood, now: 0) == 300)
    // Four in 270 ms are less than 20 a second.
    var spent = 0
    for step in 1...300 { spent += reset(step % 3 == 0 ? 2 : 1, &flood, now: step * 90) }
    #expect(spent == 400)
  }

  @Test func fourResponsesPayForAReset() {
    var flood = H2FloodGuard(now: 0)
    #expect(reset(300, &flood, now: 0) == 300)
    for _ in 0..<4000 { flood.noteCompletion() }
    #expect(reset(301, &flood, now: 0) == 300)
  }

  /// Calls that are left when their first messages came.
  @Test func streamsThatWereAnsweredAreLeftCheaply() {
    var flood = H2FloodGuard(now: 0)
    func leave(_ count: Int, now: Milliseconds) -> Int {
      (0..<count).count { _ in flood.noteReset(since: now - 999, isAnswered: true, now: now) }
    }
    #expect(leave(6001, now: 0) == 6000)
    // A second forgives four hundred, and each response that is read to its end five.
    flood = H2FloodGuard(now: 0)
    #expect(leave(6000, now: 0) == 6000)
    for _ in 0..<100 { flood.noteCompletion() }
    #expect(leave(1000, now: 1000) == 900)
  }

  /// Readers with small buffers give windows back in small pieces; who gives back more than there
  /// was pays for it.
  @Test func windowsMayBeGivenBackInPieces() {
    var flood = H2FloodGuard(now: 0)
    func update(_ increment: Int32) -> Bool {
      let header = H2FrameHeader(length: 4, type: 8, first: increment, byteCount: 13)
      return flood.noteFrame(header, now: 0)
    }
    flood.noteSent(1 << 20)
    for _ in 0..<1 << 15 { #expect(update(64)) }
    let paid = (0..<3000).count { _ in update(64) }
    #expect(paid == 2000)
  }
}
