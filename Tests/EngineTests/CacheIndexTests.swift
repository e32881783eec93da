// What a cache knows of its keys: who may fetch, who waits, what is there and for how long.

import Testing

@testable import Engine

@Suite struct CacheIndexTests {
  @Test func oneHasTheRightToFetchAtATime() {
    var index = CacheIndex(capacity: 10)
    let first = index.claim(cacheKey(1), until: 100, now: 0)
    #expect(first != nil)
    #expect(index.claim(cacheKey(1), until: 200, now: 99) == nil)
    // When its time is up another one has it, and the first one's return changes nothing.
    let second = index.claim(cacheKey(1), until: 200, now: 100)
    #expect(second != nil && second != first)
    _ = index.wait(waiter(5), for: cacheKey(1), now: 100)
    #expect(index.release(cacheKey(1), first ?? 0, keepsUses: false).isEmpty)
    #expect(index.claim(cacheKey(1), until: 300, now: 150) == nil)
    let woken = index.release(cacheKey(1), second ?? 0, keepsUses: false)
    #expect(woken == [waiter(5)])
    #expect(index.count == 0)
  }

  /// Whoever was too slow for his right may still bring what others wait for.
  @Test func allAreToldOfWhatCameLate() {
    var index = CacheIndex(capacity: 10)
    let first = index.claim(cacheKey(1), until: 100, now: 0) ?? 0
    let second = index.claim(cacheKey(1), until: 200, now: 100) ?? 0
    let places = (0..<2).map { index.wait(waiter($0), for: cacheKey(1), now: 100) }
    index.store(cacheKey(1), byteCount: 1, now: 150)
    #expect(index.release(cacheKey(1), first, keepsUses: false) == [waiter(0), waiter(1)])
    #expect(index.claim(cacheKey(1), until: 300, now: 150) == nil)
    for place in places { #expect(index.leave(place) == nil) }
    #expect(index.release(cacheKey(1), second, keepsUses: false).isEmpty)
  }

  private func waiter(_ number: Int) -> CacheWaiter {
    CacheWaiter(worker: 0, exchange: UInt64(number))
  }

  @Test func allAreToldOfWhatCame() {
    for stores in [true, false] {
      var index = CacheIndex(capacity: 10)
      let ticket = index.claim(cacheKey(1), until: 100, now: 0) ?? 0
      let places = (0..<3).map { index.wait(waiter($0), for: cacheKey(1), now: 0) }
      _ = index.wait(waiter(9), for: cacheKey(2), now: 0)
      if stores {
        index.store(cacheKey(1), byteCount: 1, now: 0)
      } else {
        index.fail(cacheKey(1), 502, until: 9, now: 0)
      }
      let told = index.release(cacheKey(1), ticket, keepsUses: false)
      #expect(told == [waiter(0), waiter(1), waiter(2)])
      for place in places { #expect(index.leave(place) == nil) }
      #expect(index.waiterCount == 1)
    }
  }

  @Test func ofNothingOneIsTold() {
    var index = CacheIndex(capacity: 10)
    var ticket = index.claim(cacheKey(1), until: 100, now: 0) ?? 0
    let places = (0..<4).map { index.wait(waiter($0), for: cacheKey(1), now: 0) }
    #expect(index.release(cacheKey(1), ticket, keepsUses: false) == [waiter(0)])
    // It leaves without having fetched: the next one is told, and fetches.
    #expect(index.leave(places[0]) == waiter(1))
    ticket = index.claim(cacheKey(1), until: 100, now: 0) ?? 0
    #expect(index.leave(places[1]) == nil)
    // One that wasn't told leaves from the middle of the line.
    #expect(index.leave(places[2]) == nil)
    #expect(index.release(cacheKey(1), ticket, keepsUses: false) == [waiter(3)])
    #expect(index.leave(places[3]) == nil)
    #expect(index.waiterCount == 0 && index.count == 0)
  }

  @Test func whatSomebodyWaitsForStays() {
    var index = CacheIndex(capacity: 10)
    let ticket = index.claim(cacheKey(1), until: 100, now: 0) ?? 0
    let places = (0..<2).map { index.wait(waiter($0), for: cacheKey(1), now: 0) }
    _ = index.release(cacheKey(1), ticket, keepsUses: false)
    #expect(index.removeOldest(usedBefore: .max) == false)
    for place in places { _ = index.leave(place) }
    #expect(index.removeOldest(usedBefore: .max) == true)
  }

  /// Whoever leaves is forgotten at once, in whatever order, and at the same cost whoever else
  /// waits.
  @Test func leavingIsImmediate() throws {
    var index = CacheIndex(capacity: 10)
    _ = index.claim(cacheKey(1), until: 100, now: 0)
    let count = 100_000
    let duration = ContinuousClock().measure {
      let places = (0..<count).map { index.wait(waiter($0), for: cacheKey(1), now: 0) }
      #expect(index.waiterCount == count)
      var left = 0
      // 31 is no factor of their number: each is met once.
      for number in 0..<count {
        #expect(index.leave(places[number * 31 % count]) == nil)
        left += 1
        if left % 1_000 == 0 { #expect(index.waiterCount == count - left) }
      }
    }
    #expect(index.waiterCount == 0)
    // A walk along the line for each of them would be five thousand million steps.
    #expect(duration < .seconds(10), "\(duration)")
  }

  @Test func whatIsStoredCountsOnce() {
    var index = CacheIndex(capacity: 10)
    index.store(cacheKey(1), byteCount: 1, now: 0)
    index.store(cacheKey(1), byteCount: 4097, now: 0)
    #expect(index.byteCount == 8192)
    index.lose(cacheKey(1))
    index.lose(cacheKey(1))
    #expect(index.byteCount == 0 && index.entry(cacheKey(1))?.isStored == false)
  }

  @Test func theOldestGoesFirst() {
    var index = CacheIndex(capacity: 4)
    for number in 1...4 { index.store(cacheKey(number), byteCount: 1, now: number) }
    _ = index.use(cacheKey(1), counts: true, now: 5)
    #expect(index.watermark == .max)
    index.store(cacheKey(5), byteCount: 1, now: 6)
    #expect(index.watermark == 4)
    #expect(index.count == 4 && index.entry(cacheKey(2)) == nil && index.byteCount == 4 * 4096)
    #expect(index.removeOldest(usedBefore: 4) == true)
    #expect(index.entry(cacheKey(3)) == nil)
    #expect(index.removeOldest(usedBefore: 4) == false)
    #expect(Set(index.takeDoomed()) == [cacheKey(2), cacheKey(3)])
    #expect(index.takeDoomed().isEmpty)
  }

  @Test func manyKeysKeepTheirEntries() {
    var index = CacheIndex(capacity: 20_000)
    for number in 0..<20_000 { index.store(cacheKey(number), byteCount: 1, now: number) }
    #expect(index.count == 20_000)
    for number in [0, 1, 1023, 1024, 1025, 19_999] {
      #expect(index.entry(cacheKey(number))?.usedAt == number)
    }
    for _ in 0..<10_000 { #expect(index.removeOldest(usedBefore: 10_000) == true) }
    #expect(index.count == 10_000 && index.entry(cacheKey(9_999)) == nil)
    for number in 0..<10_000 { index.store(cacheKey(number), byteCount: 1, now: 30_000) }
    #expect(index.count == 20_000 && index.byteCount == 20_000 * 4096)
    #expect(index.oldestUse == 10_000)
  }

  @Test func whatIsFetchedIsPassedOver() {
    var index = CacheIndex(capacity: 100)
    for number in 1...22 { _ = index.claim(cacheKey(number), until: .max, now: number) }
    index.store(cacheKey(23), byteCount: 1, now: 23)
    // Bound: twenty are looked at.
    #expect(index.removeOldest(usedBefore: .max) == false)
    _ = index.release(cacheKey(2), 2, keepsUses: true)
    #expect(index.removeOldest(usedBefore: .max) == true)
    #expect(index.entry(cacheKey(2)) == nil && index.entry(cacheKey(23)) != nil)
  }

  @Test func aKeyThatIsStoredAnewKeepsItsFile() {
    var index = CacheIndex(capacity: 4)
    index.store(cacheKey(1), byteCount: 1, now: 0)
    #expect(index.removeOldest(usedBefore: .max) == true)
    index.store(cacheKey(1), byteCount: 1, now: 1)
    #expect(index.takeDoomed().isEmpty)
  }

  @Test func usesOfWhatIsNotThereAreKeptWhereTheyCount() {
    var index = CacheIndex(capacity: 4)
    #expect(index.use(cacheKey(1), counts: true, now: 0).uses == 1)
    _ = index.release(cacheKey(1), 0, keepsUses: true)
    #expect(index.use(cacheKey(1), counts: true, now: 0).uses == 2)
    #expect(index.use(cacheKey(1), counts: false, now: 0).uses == 2)
    _ = index.release(cacheKey(1), 0, keepsUses: false)
    #expect(index.count == 0)
  }

  @Test func whatAFormerLifeLeftMakesNoRoomForItself() {
    var index = CacheIndex(capacity: 2)
    index.store(cacheKey(1), byteCount: 1, now: 5)
    index.adopt(cacheKey(1), byteCount: 1 << 20, now: 6)
    #expect(index.byteCount == 4096)
    index.adopt(cacheKey(2), byteCount: 1, now: 6)
    index.adopt(cacheKey(3), byteCount: 1, now: 6)
    #expect(index.entry(cacheKey(3)) == nil && index.takeDoomed() == [cacheKey(3)])
  }
}
