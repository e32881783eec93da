// What a cache is made of, one by one: names of files, their headers, zones, what fields of
// responses say.

import CLinux
import HTTP
import Testing

@testable import Engine

func cacheKey(_ number: Int) -> CacheKey { CacheKey(high: 0, low: UInt64(number)) }

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

@Suite struct CacheZoneTests {
  private func settings(_ path: String, size: Int = 1 << 20) -> CacheZoneSettings {
    CacheZoneSettings(
      name: "one", folder: CacheFolder(path: path, levels: []), byteCount: size)
  }

  @Test func aZoneOfTheSameFolderGoesOn() {
    let zones = CacheZones()
    var zone: CacheZone? = zones.zone(for: settings("/a"))
    zone?.store(cacheKey(1), byteCount: 1, now: 0)
    let same = zones.zone(for: settings("/a", size: 2 << 20))
    #expect(same === zone && same.settings.byteCount == 2 << 20)
    let other = zones.zone(for: settings("/b"))
    #expect(other !== zone && other.extent.count == 0)
    zone = nil
  }

  @Test func anErrorStandsForAResponseForItsTime() {
    let zone = CacheZone(settings("/a"))
    zone.fail(cacheKey(1), 502, until: 10, now: 0)
    #expect(zone.look(cacheKey(1), counts: true, leastUses: 1, now: 0, seconds: 10) == .failed(502))
    #expect(zone.look(cacheKey(1), counts: true, leastUses: 1, now: 0, seconds: 11) == .absent)
    zone.fail(cacheKey(1), 502, until: 100, now: 0)
    zone.store(cacheKey(1), byteCount: 1, now: 0)
    #expect(
      zone.look(cacheKey(1), counts: true, leastUses: 1, now: 0, seconds: 11)
        == .stored(version: 1, uses: 3))
    zone.renew(cacheKey(1))
    #expect(
      zone.look(cacheKey(1), counts: false, leastUses: 1, now: 0, seconds: 11)
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
