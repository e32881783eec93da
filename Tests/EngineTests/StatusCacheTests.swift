// What is kept of OCSP answers about clients' certificates.

import Testing

@testable import Engine

@Suite struct StatusCacheTests {
  @Test func keepsVerdictsUntilTheyEnd() {
    var cache = StatusCache(byteCount: 32 << 10)
    cache.keep([1], .revoked, until: 100)
    #expect(cache.verdict([1], now: 99) == .revoked)
    #expect(cache.verdict([1], now: 100) == nil)
    #expect(cache.verdict([2], now: 0) == nil)
    cache.keep([1], .good, until: 200)
    #expect(cache.verdict([1], now: 100) == .good)
  }

  @Test func holdsNoMoreThanItsSizeAndWhatIsUsedLongest() {
    var cache = StatusCache(byteCount: 32 << 10)
    for number in 0..<10_000 {
      cache.keep(digest(number), .good, until: 100)
      #expect(cache.count <= 256)
      #expect(cache.verdict(digest(0), now: 0) == .good)
    }
    #expect(cache.verdict(digest(9_999), now: 0) == .good)
    #expect(cache.verdict(digest(5_000), now: 0) == nil)
  }

  private func digest(_ number: Int) -> [UInt8] { [UInt8(number >> 8), UInt8(number & 0xff)] }

  @Test func keepsTheCachesOfAConfigurationThatStays() {
    var caches = StatusCaches()
    let one = StatusCacheSettings(name: "one", byteCount: 32 << 10)
    let two = StatusCacheSettings(name: "two", byteCount: 32 << 10)
    caches.configure([one])
    caches.keep([1], in: one, .good, until: 100)
    caches.keep([1], in: two, .good, until: 100)
    caches.configure([one, two])
    #expect(caches.verdict([1], in: one, now: 0) == .good)
    #expect(caches.verdict([1], in: two, now: 0) == nil)
    caches.configure([two])
    caches.configure([one])
    #expect(caches.verdict([1], in: one, now: 0) == nil)
  }
}
