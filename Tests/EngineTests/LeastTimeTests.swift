// `least_time`: who is asked when servers differ in their times, loads and weights.

import Testing

@testable import Engine

struct LeastTimeTests {
  /// A bench whose servers answered in `times` milliseconds, to the head and to the last byte.
  private func bench(
    _ times: [(head: Int, last: Int)], weights: [Int]? = nil, _ time: LeastTime = LeastTime()
  ) -> BalancerBench {
    let bench = BalancerBench(
      weights: weights ?? times.map { _ in 1 }, .leastTime(time))
    for (peer, time) in zip(bench.group.peers, times) {
      peer.state.recordLatency(microseconds: time.head * 1000, now: bench.now)
      peer.state.recordBodyLatency(microseconds: time.last * 1000)
    }
    return bench
  }

  @Test func whatWaitsAtAServerTakesItsTimeToo() {
    let bench = bench([(10, 0), (30, 0)])
    let letters = (0..<4).map { _ in bench.letter(bench.open()) }
    // 11, 22, 31 and 33 milliseconds: one more than measured, for each request.
    #expect(letters.joined() == "aaba")
  }

  @Test func aWeightStandsForSoMuchMoreTime() {
    #expect(bench([(10, 0), (30, 0)], weights: [1, 3]).request() == "b")
  }

  @Test func theLastByteCountsIfThatIsAskedFor() {
    #expect(bench([(10, 90), (30, 40)]).request() == "a")
    #expect(bench([(10, 90), (30, 40)], LeastTime(isToLastByte: true)).request() == "b")
  }

  @Test func equalsTakeTurns() {
    #expect(bench([(0, 0), (0, 0), (9, 0)]).requests(4) == "a b a b")
    #expect(bench([(0, 0), (0, 0)], weights: [2, 2]).requests(4) == "a b a b")
  }

  @Test func aServerThatWasSlowIsAskedAgainAfterAWhile() {
    let bench = bench([(10, 0), (80, 0)])
    for _ in 0..<4 {
      #expect(bench.request() == "a")
      bench.now += 10_000
      bench.group.peers[0].state.recordLatency(microseconds: 10_000, now: bench.now)
    }
    #expect(bench.request() == "b")
  }

  @Test func requestsWithoutAResponseCountByTheirAge() {
    for (countsPending, letter) in [(false, "a"), (true, "b")] {
      let bench = bench([(10, 0), (30, 0)], LeastTime(countsPending: countsPending))
      let state = bench.group.peers[0].state
      state.beginPending(at: bench.now - 100)
      state.beginPending(at: bench.now - 50)
      #expect(state.pendingAge(now: bench.now) == 75)
      #expect(bench.request() == letter)
      state.endPending(at: bench.now - 100)
      state.endPending(at: bench.now - 50)
      #expect(state.pendingAge(now: bench.now) == 0 && bench.request() == "a")
    }
  }

  @Test func ofTwoByChanceTheFasterOne() {
    let bench = BalancerBench(weights: [1, 1], .random(two: true, time: LeastTime()))
    bench.group.peers[0].state.recordLatency(microseconds: 90_000, now: bench.now)
    #expect(Set(bench.requests(50).split(separator: " ")) == ["b"])
  }

  @Test func anUnusableServerIsPassedOver() {
    let bench = bench([(10, 0), (30, 0)])
    #expect(bench.request(broken: "a") == "ab")
    #expect(bench.request() == "b")
  }
}
