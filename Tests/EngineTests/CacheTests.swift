// What a cache is made of, one by one: names of files, their headers, what is known of keys, what
// fields of responses say.

import CLinux
import HTTP
import Testing

@testable import Engine

private func key(_ number: Int) -> CacheKey { CacheKey(high: 0, low: UInt64(number)) }

/// A store that lives as long as the test's process.
private func store() -> ByteStore {
  Unmanaged.passRetained(ByteStore()).takeUnretainedValue()
}

private func bytes(_ text: String) -> Bytes { store().append(text) }

@Suite struct CacheKeyTests {
  @Test func filesLieWhereNginxPutsThem() {
    // The example of nginx's documentation.
    let name = "b7f54b2df7773722d382f4809d65029c"
    let key = CacheKey(fileName: name)
    let folder = CacheFolder(path: "/data/nginx/cache", levels: [1, 2])
    #expect(key.map { folder.file(of: $0) } == "/data/nginx/cache/c/29/\(name)")
    #expect(CacheKey(of: [Bytes("ab"), Bytes("c")]).fileName == "900150983cd24fb0d6963f7d28e17f72")
  }

  @Test(arguments: [
    "", "..", "b7f54b2df7773722d382f4809d65029", "B7F54b2df7773722d382f4809d65029c",
    "b7f54b2df7773722d382f4809d65029/", "+7f54b2df7773722-382f4809d65029c",
  ])
  func noOtherNameIsAKey(name: String) {
    #expect(CacheKey(fileName: name) == nil)
  }

  @Test func whatStandsForAVariantIsNoDigestOfAKey() {
    let key = CacheKey(of: [Bytes("a")])
    #expect(key.ofVariant != key && key.ofVariant.ofVariant == key)
    // Not even of a key that holds all that the variant's is made of.
    #expect(CacheKey(of: [Bytes("ab")]) == CacheKey(of: [Bytes("a"), Bytes("b")]))
    #expect(CacheKey(of: [Bytes("ab")]) != CacheKey(of: [Bytes("a"), Bytes("b")]).ofVariant)
  }

  @Test func draftsOfProcessesThatAreGoneAreNobodys() {
    let mine = CacheDraftName(worker: 1, number: 2)
    let now = Clock.wall / 1000
    #expect(CacheDraftName(mine.text)?.mayBeInUse(now) == true)
    #expect(CacheDraftName(mine.text)?.mayBeInUse(now - 601) == false)
    // Another process had the same number, as in a container that was started again.
    #expect(CacheDraftName(".\(getpid())-7-1-2")?.mayBeInUse(now) == false)
    #expect(CacheDraftName(".\(getppid())-7-1-2")?.mayBeInUse(now) == true)
    #expect(CacheDraftName(".0-1-1-2")?.mayBeInUse(now) == false)
    #expect(CacheDraftName(".99999999999-1-1-2")?.mayBeInUse(now) == false)
    for name in ["", ".", "1-1-1-1", ".a-1-1-2", ".1-1-1", ".1-1-1-1-1", ".1-1--1"] {
      #expect(CacheDraftName(name) == nil, "\(name)")
    }
  }
}

@Suite struct CacheFileHeaderTests {
  private func header() -> CacheFileHeader {
    var header = CacheFileHeader(
      key: bytes("http://a/\u{0}\r\nb"), vary: bytes("Accept"),
      head: bytes("HTTP/1.1 200 OK\r\nA: b\r\n\r\n"))
    header.freshUntil = 1 << 40
    header.storedAt = -5
    header.staleWhileUpdating = 7
    header.staleIfError = .max
    header.lastModified = 1_234
    header.bodyCount = 99
    header.status = 404
    header.variant = CacheKey(high: 1, low: .max)
    header.digest = CacheKey(of: [header.key])
    return header
  }

  private func written(_ header: CacheFileHeader) -> MutableBytes {
    let room = store().allocate(header.count)
    header.write(into: room)
    return room
  }

  @Test func whatIsWrittenIsRead() throws {
    let header = header()
    let bytes = written(header).readOnly
    #expect(CacheFileHeader.count(of: bytes) == header.count)
    let read = try #require(CacheFileHeader(bytes))
    #expect(read.key == header.key && read.vary == header.vary && read.head == header.head)
    #expect(read.freshUntil == 1 << 40 && read.storedAt == -5 && read.staleIfError == .max)
    #expect(read.staleWhileUpdating == 7 && read.lastModified == 1_234 && read.bodyCount == 99)
    #expect(read.status == 404 && read.variant == header.variant && read.digest == header.digest)
    #expect(read.isFresh(at: 1 << 40) && !read.isFresh(at: (1 << 40) + 1))
    #expect(read.isUsable(at: (1 << 40) + 7, for: 7) && !read.isUsable(at: (1 << 40) + 8, for: 7))
    #expect(read.isUsable(at: .max, for: .max))
  }

  @Test(arguments: [
    ("HTTP/1.1 404 No\r\nA: b\r\n\r\n", 404, true), ("HTTP/1.1 404 No\r\nA: b\r\n\r\n", 200, false),
    ("HTTP/1.1 404 No\r\nA: b\r\n\r\nC: d\r\n\r\n", 404, false), ("nonsense", 200, false),
    ("HTTP/1.1 101 Up\r\n\r\n", 101, false), ("HTTP/1.1 304 No\r\n\r\n", 304, false),
    ("HTTP/1.1 200 OK\r\nA b\r\n\r\n", 200, false), ("", 0, false),
  ])
  func onlyAResponseIsOne(head: String, status: Int, isOne: Bool) {
    var header = CacheFileHeader(key: bytes("a"), vary: bytes(""), head: bytes(head))
    header.status = status
    var table = ResponseHead()
    var parser = ResponseHeadParser(limits: .upstream)
    _ = parser.parse(header.head, into: &table)
    #expect(header.holds(table) == isOne)
  }

  @Test func noByteOfItCanBeAnotherOne() {
    let whole = written(header())
    for index in 0..<whole.count where !(8 + 8..<24).contains(index) {
      let before = whole[index]
      whole[index] = before ^ 1
      #expect(CacheFileHeader(whole.readOnly) == nil, "byte \(index)")
      whole[index] = before
    }
    for count in 0..<whole.count {
      #expect(CacheFileHeader(whole.readOnly.prefix(count)) == nil, "\(count) bytes")
    }
    #expect(CacheFileHeader(whole.readOnly) != nil)
  }

  @Test func filesOfOthersAreNone() {
    let other = store().allocate(4096)
    for index in 0..<other.count { other[index] = UInt8(truncatingIfNeeded: index &* 7) }
    #expect(CacheFileHeader.count(of: other.readOnly) == nil)
    #expect(CacheFileHeader(bytes("")) == nil)
    // A count that no buffer has room for isn't believed.
    let huge = written(header())
    for index in 72..<76 { huge[index] = 0xff }
    #expect(CacheFileHeader.count(of: huge.readOnly) == nil)
  }
}

@Suite struct CacheIndexTests {
  @Test func oneHasTheRightToFetchAtATime() {
    var index = CacheIndex(capacity: 10)
    let first = index.claim(key(1), until: 100, now: 0)
    #expect(first != nil)
    #expect(index.claim(key(1), until: 200, now: 99) == nil)
    // When its time is up another one has it, and the first one's return changes nothing.
    let second = index.claim(key(1), until: 200, now: 100)
    #expect(second != nil && second != first)
    _ = index.wait(waiter(5), for: key(1), now: 100)
    #expect(index.release(key(1), first ?? 0, keepsUses: false).isEmpty)
    #expect(index.claim(key(1), until: 300, now: 150) == nil)
    let woken = index.release(key(1), second ?? 0, keepsUses: false)
    #expect(woken == [waiter(5)])
    #expect(index.count == 0)
  }

  /// Whoever was too slow for his right may still bring what others wait for.
  @Test func allAreToldOfWhatCameLate() {
    var index = CacheIndex(capacity: 10)
    let first = index.claim(key(1), until: 100, now: 0) ?? 0
    let second = index.claim(key(1), until: 200, now: 100) ?? 0
    let places = (0..<2).map { index.wait(waiter($0), for: key(1), now: 100) }
    index.store(key(1), byteCount: 1, now: 150)
    #expect(index.release(key(1), first, keepsUses: false) == [waiter(0), waiter(1)])
    #expect(index.claim(key(1), until: 300, now: 150) == nil)
    for place in places { #expect(index.leave(place) == nil) }
    #expect(index.release(key(1), second, keepsUses: false).isEmpty)
  }

  private func waiter(_ number: Int) -> CacheWaiter {
    CacheWaiter(worker: 0, exchange: UInt64(number))
  }

  @Test func allAreToldOfWhatCame() {
    for stores in [true, false] {
      var index = CacheIndex(capacity: 10)
      let ticket = index.claim(key(1), until: 100, now: 0) ?? 0
      let places = (0..<3).map { index.wait(waiter($0), for: key(1), now: 0) }
      _ = index.wait(waiter(9), for: key(2), now: 0)
      if stores {
        index.store(key(1), byteCount: 1, now: 0)
      } else {
        index.fail(key(1), 502, until: 9, now: 0)
      }
      let told = index.release(key(1), ticket, keepsUses: false)
      #expect(told == [waiter(0), waiter(1), waiter(2)])
      for place in places { #expect(index.leave(place) == nil) }
      #expect(index.waiterCount == 1)
    }
  }

  @Test func ofNothingOneIsTold() {
    var index = CacheIndex(capacity: 10)
    var ticket = index.claim(key(1), until: 100, now: 0) ?? 0
    let places = (0..<4).map { index.wait(waiter($0), for: key(1), now: 0) }
    #expect(index.release(key(1), ticket, keepsUses: false) == [waiter(0)])
    // It leaves without having fetched: the next one is told, and fetches.
    #expect(index.leave(places[0]) == waiter(1))
    ticket = index.claim(key(1), until: 100, now: 0) ?? 0
    #expect(index.leave(places[1]) == nil)
    // One that wasn't told leaves from the middle of the line.
    #expect(index.leave(places[2]) == nil)
    #expect(index.release(key(1), ticket, keepsUses: false) == [waiter(3)])
    #expect(index.leave(places[3]) == nil)
    #expect(index.waiterCount == 0 && index.count == 0)
  }

  @Test func whatSomebodyWaitsForStays() {
    var index = CacheIndex(capacity: 10)
    let ticket = index.claim(key(1), until: 100, now: 0) ?? 0
    let places = (0..<2).map { index.wait(waiter($0), for: key(1), now: 0) }
    _ = index.release(key(1), ticket, keepsUses: false)
    #expect(index.removeOldest(usedBefore: .max) == false)
    for place in places { _ = index.leave(place) }
    #expect(index.removeOldest(usedBefore: .max) == true)
  }

  /// Whoever leaves is forgotten at once, in whatever order, and at the same cost whoever else
  /// waits.
  @Test func leavingIsImmediate() throws {
    var index = CacheIndex(capacity: 10)
    _ = index.claim(key(1), until: 100, now: 0)
    let count = 100_000
    let duration = ContinuousClock().measure {
      let places = (0..<count).map { index.wait(waiter($0), for: key(1), now: 0) }
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
    index.store(key(1), byteCount: 1, now: 0)
    index.store(key(1), byteCount: 4097, now: 0)
    #expect(index.byteCount == 8192)
    index.lose(key(1))
    index.lose(key(1))
    #expect(index.byteCount == 0 && index.entry(key(1))?.isStored == false)
  }

  @Test func theOldestGoesFirst() {
    var index = CacheIndex(capacity: 4)
    for number in 1...4 { index.store(key(number), byteCount: 1, now: number) }
    _ = index.use(key(1), counts: true, now: 5)
    #expect(index.watermark == .max)
    index.store(key(5), byteCount: 1, now: 6)
    #expect(index.watermark == 4)
    #expect(index.count == 4 && index.entry(key(2)) == nil && index.byteCount == 4 * 4096)
    #expect(index.removeOldest(usedBefore: 4) == true)
    #expect(index.entry(key(3)) == nil)
    #expect(index.removeOldest(usedBefore: 4) == false)
    #expect(Set(index.takeDoomed()) == [key(2), key(3)])
    #expect(index.takeDoomed().isEmpty)
  }

  @Test func manyKeysKeepTheirEntries() {
    var index = CacheIndex(capacity: 20_000)
    for number in 0..<20_000 { index.store(key(number), byteCount: 1, now: number) }
    #expect(index.count == 20_000)
    for number in [0, 1, 1023, 1024, 1025, 19_999] {
      #expect(index.entry(key(number))?.usedAt == number)
    }
    for _ in 0..<10_000 { #expect(index.removeOldest(usedBefore: 10_000) == true) }
    #expect(index.count == 10_000 && index.entry(key(9_999)) == nil)
    for number in 0..<10_000 { index.store(key(number), byteCount: 1, now: 30_000) }
    #expect(index.count == 20_000 && index.byteCount == 20_000 * 4096)
    #expect(index.oldestUse == 10_000)
  }

  @Test func whatIsFetchedIsPassedOver() {
    var index = CacheIndex(capacity: 100)
    for number in 1...22 { _ = index.claim(key(number), until: .max, now: number) }
    index.store(key(23), byteCount: 1, now: 23)
    // Bound: twenty are looked at.
    #expect(index.removeOldest(usedBefore: .max) == false)
    _ = index.release(key(2), 2, keepsUses: true)
    #expect(index.removeOldest(usedBefore: .max) == true)
    #expect(index.entry(key(2)) == nil && index.entry(key(23)) != nil)
  }

  @Test func aKeyThatIsStoredAnewKeepsItsFile() {
    var index = CacheIndex(capacity: 4)
    index.store(key(1), byteCount: 1, now: 0)
    #expect(index.removeOldest(usedBefore: .max) == true)
    index.store(key(1), byteCount: 1, now: 1)
    #expect(index.takeDoomed().isEmpty)
  }

  @Test func usesOfWhatIsNotThereAreKeptWhereTheyCount() {
    var index = CacheIndex(capacity: 4)
    #expect(index.use(key(1), counts: true, now: 0).uses == 1)
    _ = index.release(key(1), 0, keepsUses: true)
    #expect(index.use(key(1), counts: true, now: 0).uses == 2)
    #expect(index.use(key(1), counts: false, now: 0).uses == 2)
    _ = index.release(key(1), 0, keepsUses: false)
    #expect(index.count == 0)
  }

  @Test func whatAFormerLifeLeftMakesNoRoomForItself() {
    var index = CacheIndex(capacity: 2)
    index.store(key(1), byteCount: 1, now: 5)
    index.adopt(key(1), byteCount: 1 << 20, now: 6)
    #expect(index.byteCount == 4096)
    index.adopt(key(2), byteCount: 1, now: 6)
    index.adopt(key(3), byteCount: 1, now: 6)
    #expect(index.entry(key(3)) == nil && index.takeDoomed() == [key(3)])
  }
}

@Suite struct CacheZoneTests {
  private func settings(_ path: String, size: Int = 1 << 20) -> CacheZoneSettings {
    CacheZoneSettings(
      name: "one", folder: CacheFolder(path: path, levels: []), byteCount: size)
  }

  @Test func aZoneOfTheSameFolderGoesOn() {
    let zones = CacheZones()
    var zone: CacheZone? = zones.zone(for: settings("/a"))
    zone?.store(key(1), byteCount: 1, now: 0)
    let same = zones.zone(for: settings("/a", size: 2 << 20))
    #expect(same === zone && same.settings.byteCount == 2 << 20)
    let other = zones.zone(for: settings("/b"))
    #expect(other !== zone && other.extent.count == 0)
    zone = nil
  }

  @Test func anErrorStandsForAResponseForItsTime() {
    let zone = CacheZone(settings("/a"))
    zone.fail(key(1), 502, until: 10, now: 0)
    #expect(zone.look(key(1), counts: true, leastUses: 1, now: 0, seconds: 10) == .failed(502))
    #expect(zone.look(key(1), counts: true, leastUses: 1, now: 0, seconds: 11) == .absent)
    zone.fail(key(1), 502, until: 100, now: 0)
    zone.store(key(1), byteCount: 1, now: 0)
    #expect(
      zone.look(key(1), counts: true, leastUses: 1, now: 0, seconds: 11)
        == .stored(version: 1, uses: 3))
    zone.renew(key(1))
    #expect(
      zone.look(key(1), counts: false, leastUses: 1, now: 0, seconds: 11)
        == .stored(version: 2, uses: 3))
  }

  @Test func thePromisedNumberOfKeysFits() {
    #expect(settings("/a").capacity == 8128)
    #expect(settings("/a", size: 16 << 10).capacity == 64)
    #expect(settings("/a", size: 8 << 10).capacity == 16)
  }
}

@Suite struct CacheControlTests {
  private func read(_ values: [String]) -> CacheControl {
    var control = CacheControl()
    for value in values { control.read(bytes(value)) }
    return control
  }

  @Test(
    arguments: [
      ("max-age=60", 60), ("s-maxage=5, max-age=60", 5), ("max-age=60,s-maxage=5", 5),
      ("MAX-AGE = 7", 7), ("public, max-age=\"8\"", 8), ("max-age=9; x", 9),
      ("max-age=99999999999999999999", Int.max), ("x-max-age=60", nil), ("public", nil), ("", nil),
    ] as [(String, Int?)])
  func says(value: String, age: Int?) {
    let control = read([value])
    #expect(control.age == age && !control.forbids && !control.isMalformed)
  }

  @Test(arguments: [
    "no-cache", "No-Store", "private", "private=\"Set-Cookie\", max-age=5", "max-age=0",
  ])
  func forbids(value: String) {
    #expect(read([value]).forbids)
    #expect(read(["max-age=60", value]).forbids)
    #expect(read([value, "max-age=60"]).forbids)
  }

  @Test(arguments: ["max-age=x", "max-age=", "max-age", "s-maxage=-1", "stale-if-error=1x"])
  func whatIsNoNumberIsMalformed(value: String) {
    #expect(read([value]).isMalformed)
  }

  @Test func extensionsAreNumbersOfTheirOwn() {
    let control = read(["max-age=1, stale-while-revalidate=2", "stale-if-error=3"])
    #expect(control.age == 1 && control.staleWhileRevalidate == 2 && control.staleIfError == 3)
  }

  @Test(arguments: [
    ("0", AccelExpires.never), ("60", .after(60)), ("@60", .at(60)), ("@", .invalid),
    ("off", .invalid), ("-1", .invalid), ("", .invalid),
  ])
  func readsAccelExpires(value: String, meaning: AccelExpires) {
    #expect(AccelExpires(bytes(value)) == meaning)
  }
}
