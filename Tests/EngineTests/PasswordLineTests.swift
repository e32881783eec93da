// Whose password is checked next, and what becomes of checks whose clients have left.

import HTTP
import Testing

@testable import Engine

@Suite struct PasswordLineTests {
  private func address(_ number: Int) -> IPAddress { IPAddress(v4: UInt32(number)) }

  private func handle(_ number: Int) -> Handle {
    Handle(.exchange, slot: number, generation: 1)
  }

  private func job(
    _ number: Int, _ password: String = "", _ stored: String = ""
  ) -> PasswordJob {
    PasswordJob(
      password: Array(password.utf8), stored: Array(stored.utf8),
      digest: CredentialDigest(high: 0, low: UInt64(number)), worker: 0)
  }

  @Test func eachClientHasOneJobAtTheThread() {
    var checks = PasswordChecks()
    let jobs = (0..<6).map { job($0) }
    for number in 0..<5 {
      let admission = checks.wait(handle(number), at: address(1), for: jobs[number])
      #expect(admission == (number == 0 ? .asks : .waits))
    }
    #expect(checks.wait(handle(5), at: address(2), for: jobs[5]) == .asks)
    // In the order in which they came.
    for number in 0..<5 {
      let (exchanges, next) = checks.conclude(jobs[number].digest, isRight: false)
      #expect(exchanges == [handle(number)])
      #expect(next === (number < 4 ? jobs[number + 1] : nil))
    }
    #expect(checks.conclude(jobs[5].digest, isRight: false).next == nil)
  }

  @Test func whatNobodyWaitsForIsWithdrawn() {
    var checks = PasswordChecks()
    let jobs = (0..<4).map { job($0) }
    for number in 0..<4 { _ = checks.wait(handle(number), at: address(1), for: jobs[number]) }
    // Somebody else waits for the first one, too.
    #expect(checks.wait(handle(9), at: address(2), for: jobs[0]) == .waits)
    #expect(checks.leave(handle(0)) == nil && jobs[0].isWanted)
    // One in the middle leaves its place.
    #expect(checks.leave(handle(1)) == nil && !jobs[1].isWanted)
    #expect(checks.leave(handle(1)) == nil && checks.leave(handle(77)) == nil)
    // The thread is told of the one behind the first.
    #expect(checks.leave(handle(9)) === jobs[2] && !jobs[0].isWanted && jobs[2].isWanted)
    // The thread had begun with it; what was right is remembered for whoever asks next.
    let late = checks.conclude(jobs[0].digest, isRight: true)
    #expect(late.exchanges.isEmpty && late.next == nil && checks.isVerified(jobs[0].digest))
    #expect(checks.conclude(jobs[2].digest, isRight: false).next === jobs[3])
    #expect(checks.leave(handle(3)) == nil && !jobs[3].isWanted)
    // All places are free.
    #expect(checks.wait(handle(4), at: address(1), for: job(10)) == .asks)
  }

  @Test func linesHaveBounds() {
    var checks = PasswordChecks()
    func admissions(_ range: Range<Int>, _ address: (Int) -> IPAddress) -> [Int] {
      var counts = [0, 0, 0]
      for number in range {
        switch checks.wait(handle(number), at: address(number), for: job(number)) {
        case .asks: counts[0] += 1
        case .waits: counts[1] += 1
        case .isTooMany: counts[2] += 1
        }
      }
      return counts
    }
    #expect(admissions(0..<40) { _ in address(1) } == [1, 31, 8])
    // Whoever has an IPv6 address has many; IPv4 addresses may be written as such.
    let network = IPAddress(high: 0x2001_0db8_0000_0000, low: 0)
    #expect(
      admissions(100..<140) { IPAddress(high: network.high, low: UInt64($0)) } == [1, 31, 8])
    #expect(
      admissions(200..<210) { IPAddress(high: 0, low: 0xffff_0000_0000 | UInt64($0)) }
        == [10, 0, 0])
    #expect(admissions(1_000..<1_200) { address($0) } == [116, 0, 84])
    // Places become free one by one.
    #expect(checks.leave(handle(1_000)) == nil)
    #expect(admissions(2_000..<2_002) { address($0) } == [1, 0, 1])
  }

  @Test func manyUsersMayShareAnAddress() {
    var checks = PasswordChecks()
    func admitted(_ range: Range<Int>, at client: Int, stored: (Int) -> String) -> Int {
      range.count { number in
        let job = job(number, "", stored(number))
        return checks.wait(handle(number), at: address(client), for: job) != .isTooMany
      }
    }
    #expect(admitted(0..<300, at: 1) { "user \($0)" } == 256)
    // Who guesses at one user keeps none of the others out.
    #expect(admitted(1_000..<1_100, at: 2) { _ in "one" } == 32)
    #expect(admitted(2_000..<2_300, at: 3) { "user \($0)" } == 512 - 256 - 32)
    // Nor do long lines keep out who has a short one.
    #expect(admitted(3_000..<3_040, at: 4) { "user \($0)" } == 32)
  }

  @Test func theThreadPassesOverWhatWasWithdrawn() async throws {
    // Takes 0.2 s to check.
    let slow = "$2b$12$abcdefghijklmnopqrstuut8eXPatx3twAPJa78BFnmw/6pro63MO"
    let (outcomes, report) = AsyncStream.makeStream(of: (number: UInt64, isRight: Bool).self)
    let thread = try PasswordThread { job, isRight in report.yield((job.digest.low, isRight)) }
    let begin = Clock.monotonic
    let jobs = (0..<500).map { job($0, $0 == 0 ? "opensesame" : "wrong", slow) }
    for job in jobs { #expect(thread.post(job)) }
    for job in jobs[2..<499] { job.withdraw() }
    let withdrawing = Clock.monotonic - begin
    var count = 0
    for await outcome in outcomes {
      count += 1
      #expect(outcome.isRight == (outcome.number == 0))
      if outcome.number == 499 { break }
    }
    // The thread may have begun with one before it was withdrawn, or with more if this one was held
    // up.
    #expect(count <= 4 + withdrawing / 20)
  }
}
