// Zones of limits: the table against a dictionary, rates against arithmetic, both under many
// threads.

import Foundation
import Synchronization
import TestSupport
import Testing

@testable import Engine
@testable import HTTP

private func take(
  _ zone: LimitZone, _ key: String, _ perMinute: Int, burst: Int = 0, at now: Milliseconds
) -> RequestVerdict {
  key.withBytes {
    zone.take(
      $0, RequestRate(perMinute: perMinute), burst: burst * RequestRate.request, now: now)
  }
}

@Suite struct LimitZoneTests {

  /// Keys of every length around the borders of cells.
  private static let keys = (0..<400).map { number in
    let length = [1, 4, 15, 16, 17, 75, 76, 77, 136, 137, 1_000][number % 11]
    return String("\(number)" + String(repeating: "-", count: length)).prefix(max(length, 4))
  }.map(String.init)

  @Test(arguments: 0..<10)
  func aTableHoldsWhatADictionaryHolds(seed: UInt64) throws {
    var dice = Dice(seed: seed)
    guard var table = ZoneTable(byteCount: 32 << 10) else { throw SystemError(code: ENOMEM) }
    defer { table.unmap() }
    var known: [String: (index: ZoneTable.Index, count: Int32)] = [:]
    /// By use, the oldest first.
    var order: [String] = []
    func forget(_ key: String) {
      known[key] = nil
      order.removeAll { $0 == key }
    }
    for round in 0..<4_000 as Range<Int32> {
      let key = Self.keys.randomElement(using: &dice) ?? ""
      // Few hashes, so that chains are long.
      let hash = UInt64(key.utf8.count % 7) | UInt64(key.utf8.count % 3) << 40
      let found = key.withBytes { table.find(hash, $0) }
      #expect(found == known[key]?.index, "\(key)")
      switch Int.random(in: 0..<4, using: &dice) {
      case 0 where found != nil:
        table.remove(found!)
        forget(key)
      case 1 where found != nil:
        #expect(table[found!].count == known[key]?.count)
        table.touch(found!)
        order.removeAll { $0 == key }
        order.append(key)
      default:
        guard found == nil else { continue }
        let evicts = Bool.random(using: &dice)
        let before = table.recordCount
        let index = key.withBytes { table.insert(hash, $0, evicts: evicts) }
        guard let index else {
          #expect(!evicts && before == table.recordCount)
          continue
        }
        // The oldest made room, and no more than were needed.
        for _ in 0..<(before + 1 - table.recordCount) { forget(order[0]) }
        table[index].count = round
        known[key] = (index, round)
        order.append(key)
      }
      #expect(table.recordCount == known.count)
    }
    for key in order { forget(key) }
  }

  @Test func aMegabyteHoldsFifteenThousandAddresses() throws {
    guard var table = ZoneTable(byteCount: 1 << 20) else { throw SystemError(code: ENOMEM) }
    defer { table.unmap() }
    var count = 0
    while true {
      let key = IPAddress(v4: UInt32(count))
      let text = "\(key.low)"
      guard text.withBytes({ table.insert(UInt64(count), $0, evicts: false) }) != nil else { break }
      count += 1
    }
    #expect(count > 15_000 && count < 16_384)
    // No key is larger than the zone.
    let huge = String(repeating: "x", count: 65_535)
    guard var small = ZoneTable(byteCount: 32 << 10) else { throw SystemError(code: ENOMEM) }
    defer { small.unmap() }
    #expect(huge.withBytes { small.insert(1, $0, evicts: true) } == nil)
    #expect(huge.withBytes { table.insert(1, $0, evicts: true) } != nil)
  }

  @Test func requestsComeNoFasterThanTheirRate() throws {
    let zone = try #require(LimitZone(byteCount: 32 << 10))
    defer { zone.free() }
    // Ten a second: one each 100 ms.
    #expect(take(zone, "a", 600, at: 1_000) == .admitted(excess: 0))
    #expect(take(zone, "a", 600, at: 1_099) == .rejected(excess: 600))
    #expect(take(zone, "b", 600, at: 1_099) == .admitted(excess: 0))
    // What was rejected doesn't count.
    #expect(take(zone, "a", 600, at: 1_100) == .admitted(excess: 0))
    // Another thread's clock is behind.
    #expect(take(zone, "a", 600, at: 1_050) == .rejected(excess: 60_000))
    // A burst of two, which a rate of one a minute works off in two minutes.
    #expect(take(zone, "c", 1, burst: 2, at: 0) == .admitted(excess: 0))
    #expect(take(zone, "c", 1, burst: 2, at: 0) == .admitted(excess: 60_000))
    #expect(take(zone, "c", 1, burst: 2, at: 0) == .admitted(excess: 120_000))
    #expect(take(zone, "c", 1, burst: 2, at: 0) == .rejected(excess: 180_000))
    #expect(take(zone, "c", 1, burst: 2, at: 59_999) == .rejected(excess: 120_001))
    #expect(take(zone, "c", 1, burst: 2, at: 60_000) == .admitted(excess: 120_000))
    "c".withBytes { zone.giveBack($0) }
    #expect(take(zone, "c", 1, burst: 2, at: 60_000) == .admitted(excess: 120_000))
    // A new key, and one that was idle: as if the request had never been.
    for moment in [0, 200_000] {
      for _ in 0..<3 {
        #expect(take(zone, "d", 1, at: moment) == .admitted(excess: 0))
        "d".withBytes { zone.giveBack($0) }
      }
      #expect(take(zone, "d", 1, at: moment) == .admitted(excess: 0))
      #expect(take(zone, "d", 1, at: moment) == .rejected(excess: 60_000))
    }
    // All that was spent comes back, however long that takes.
    for _ in 0..<601 { _ = take(zone, "e", 1, burst: 600, at: 0) }
    #expect(take(zone, "e", 1, burst: 600, at: 600 * 60_000) == .admitted(excess: 60_000))
    // Idle for longer than any number would bear.
    #expect(take(zone, "c", 60_000_000_000, at: .max / 2) == .admitted(excess: 0))
    let rate = RequestRate(perMinute: 600)
    #expect(rate.delay(60_000, over: 0) == 100 && rate.delay(60_001, over: 0) == 101)
    #expect(rate.delay(60_000, over: 60_000) == 0 && RequestRate.thousandths(90_000) == 1_500)
  }

  @Test func theKeyUsedLongestAgoMakesRoom() throws {
    let zone = try #require(LimitZone(byteCount: 32 << 10))
    defer { zone.free() }
    for number in 0..<10_000 {
      #expect(take(zone, "\(number)", 1, at: 0) == .admitted(excess: 0))
      // One that is asked for all the time stays.
      if number % 100 == 0 {
        let verdict = take(zone, "kept", 1, at: 0)
        #expect((verdict == .admitted(excess: 0)) == (number == 0))
      }
    }
    #expect(zone.count < 512)
    #expect(take(zone, "0", 1, at: 0) == .admitted(excess: 0))
    #expect(take(zone, "9999", 1, at: 0) == .rejected(excess: 60_000))
  }

  private final class Counts: Sendable {
    let admitted = Atomic<Int>(0)
    let most = Atomic<Int>(0)
    let inside = Atomic<Int>(0)
  }

  @Test func manyThreadsTogetherGetWhatOneWould() async throws {
    let zone = try #require(LimitZone(byteCount: 64 << 10))
    defer { zone.free() }
    let counts = Counts()
    await withTaskGroup(of: Void.self) { group in
      for _ in 0..<8 {
        group.addTask {
          for round in 0..<2_000 {
            if case .admitted = take(zone, "key", 1, burst: 99, at: 0) {
              counts.admitted.wrappingAdd(1, ordering: .relaxed)
            }
            // Others come and go, and move the queue of use.
            _ = take(zone, "\(round % 50)", 1, at: 0)
            let verdict = "connections".withBytes { zone.enter($0, limit: 3) }
            guard case .entered(let index) = verdict else { continue }
            let now = counts.inside.wrappingAdd(1, ordering: .sequentiallyConsistent).newValue
            counts.most.max(now, ordering: .relaxed)
            counts.inside.wrappingSubtract(1, ordering: .sequentiallyConsistent)
            zone.leave(index)
          }
        }
      }
    }
    #expect(counts.admitted.load(ordering: .relaxed) == 100)
    #expect((1...3).contains(counts.most.load(ordering: .relaxed)))
    #expect(zone.count == 51)
  }

  // --- sessions ----------------------------------------------------------------------------------

  private func bind(
    _ zone: LimitZone, _ session: String, _ binding: UInt64, creates: Bool = true,
    at now: Milliseconds
  ) {
    session.withBytes {
      zone.bind($0, to: binding, creates: creates, timeout: 100, now: now)
    }
  }

  private func binding(_ zone: LimitZone, _ session: String, at now: Milliseconds) -> UInt64? {
    session.withBytes { zone.binding(of: $0, timeout: 100, now: now) }
  }

  @Test func aSessionIsBoundUntilItsTimeIsUp() throws {
    let zone = try #require(LimitZone(byteCount: 32 << 10))
    defer { zone.free() }
    bind(zone, "one", .max, at: 1_000)
    #expect(binding(zone, "one", at: 1_099) == .max)
    // Looking doesn't lengthen its time.
    #expect(binding(zone, "one", at: 1_100) == nil)
    // A session is made only where that is said, also one whose time is up.
    bind(zone, "one", 2, creates: false, at: 1_100)
    bind(zone, "two", 2, creates: false, at: 1_100)
    #expect(binding(zone, "one", at: 1_100) == nil && binding(zone, "two", at: 1_100) == nil)
    bind(zone, "one", 3, at: 1_100)
    bind(zone, "one", 4, creates: false, at: 1_199)
    #expect(binding(zone, "one", at: 1_298) == 4)
    #expect(binding(zone, "", at: 1_298) == nil)
  }

  @Test func sessionsTakeOneCellAndOldOnesMakeRoom() throws {
    let zone = try #require(LimitZone(byteCount: 1 << 20))
    defer { zone.free() }
    let long = String(repeating: "s", count: 5_000)
    for number in 0..<15_400 { bind(zone, "\(long)\(number)", UInt64(number), at: 0) }
    #expect(zone.count == 15_400)
    for number in [0, 1, 15_399] {
      #expect(binding(zone, "\(long)\(number)", at: 0) == UInt64(number))
    }
    for number in 15_400..<17_000 { bind(zone, "\(number)", 1, at: 0) }
    #expect(binding(zone, "\(long)0", at: 0) == nil && binding(zone, "16999", at: 0) == 1)
    // Each new one clears two away whose time is up.
    let before = zone.count
    for number in 0..<100 { bind(zone, "new\(number)", 1, at: 1_000) }
    #expect(zone.count == before - 100)
  }

  @Test func aZoneLivesAsLongAsOnePlanHasIt() {
    let zones = ZoneRegistry<LimitZone>()
    let key = LimitZone.Key(
      kind: .requests, name: "one", keyText: "$uri", byteCount: 32 << 10)
    var first = zones.lease(key)
    var second = zones.lease(key)
    #expect(first?.zone == second?.zone && zones.count == 1)
    let other = zones.lease(
      LimitZone.Key(kind: .requests, name: "one", keyText: "$uri", byteCount: 64 << 10))
    #expect(other?.zone != first?.zone && zones.count == 2)
    first = nil
    #expect(zones.count == 2)
    second = nil
    #expect(zones.count == 1 && other != nil)
  }
}
