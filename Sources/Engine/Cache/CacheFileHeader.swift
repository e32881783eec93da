// The beginning of a file in a cache. The format is our own: what is older, newer, nginx's or torn
// is recognised, and counts as absent.
//
//   0    "PORTICO\n"                           88   status
//   8    version                               92   0
//   12   128                                   96   digest of the request fields that Vary names
//   16   hash of all from 24 to the body       112  digest of the key
//   24   fresh until │ 32 stored               128  key │ Vary │ head │ body
//   40   seconds that it may be used when it is stale, while it is updated │ 48 if that fails
//   56   Last-Modified, or the least number
//   64   count of the body │ 72 of all before it │ 76 of the key │ 80 of Vary │ 84 of the head
//
// Numbers are little-endian, of 8 bytes up to 64 and of 4 from 72; times are seconds since 1970.
// The head is that of the upstream's response as lines of HTTP/1, without what belongs to its
// connection.

import HTTP

/// What a file says of the response that it holds.
struct CacheFileHeader {
  static let fixedCount = 128
  private static var magic: Bytes { Bytes("PORTICO\n") }
  private static let version = 1
  private static let seed: UInt64 = 0x706f_7274_6963_6f63

  // Bound: how much stands before the body; a key of 32 KiB, a head of twice `proxy_buffer_size`'s
  // default.
  static let limit = 256 << 10
  // Bound: the longest key that anything is stored by.
  static let longestKey = 32 << 10
  // Bound: the longest Vary, as in nginx. What names more fields varies by anything.
  static let longestVary = 128
  static let noMoment = Int.min

  var freshUntil = 0
  var storedAt = 0
  var staleWhileUpdating = 0
  var staleIfError = 0
  var lastModified = noMoment
  var bodyCount = 0
  var status = 0
  var variant = CacheKey(high: 0, low: 0)
  var digest = CacheKey(high: 0, low: 0)
  private(set) var key = Bytes()
  private(set) var vary = Bytes()
  private(set) var head = Bytes()

  /// Where the body begins.
  var count: Int { Self.fixedCount + key.count + vary.count + head.count }

  init(key: Bytes, vary: Bytes, head: Bytes) {
    self.key = key
    self.vary = vary
    self.head = head
  }

  /// How much stands before the body, by the first 128 bytes; nil if this is no such file.
  static func count(of bytes: Bytes) -> Int? {
    guard bytes.count >= fixedCount, bytes.prefix(8) == magic, bytes.number(8, 4) == version,
      bytes.number(12, 4) == fixedCount
    else { return nil }
    let count = bytes.number(72, 4)
    guard count >= fixedCount, count <= limit else { return nil }
    return count
  }

  /// Reads a header, which begins `bytes`; nil if it isn't whole or sound. What it names lies in
  /// `bytes`.
  init?(_ bytes: Bytes) {
    guard let count = Self.count(of: bytes), bytes.count >= count,
      Self.hash(bytes.prefix(count)) == UInt64(bitPattern: Int64(bytes.number(16, 8)))
    else { return nil }
    let (keyCount, varyCount, headCount) = (
      bytes.number(76, 4), bytes.number(80, 4), bytes.number(84, 4)
    )
    guard Self.fixedCount + keyCount + varyCount + headCount == count else { return nil }
    freshUntil = bytes.number(24, 8)
    storedAt = bytes.number(32, 8)
    staleWhileUpdating = bytes.number(40, 8)
    staleIfError = bytes.number(48, 8)
    lastModified = bytes.number(56, 8)
    bodyCount = bytes.number(64, 8)
    status = bytes.number(88, 4)
    variant = bytes.digest(96)
    digest = bytes.digest(112)
    guard bodyCount >= 0 else { return nil }
    key = bytes.slice(Self.fixedCount, Self.fixedCount + keyCount)
    vary = bytes.slice(Self.fixedCount + keyCount, Self.fixedCount + keyCount + varyCount)
    head = bytes.slice(count - headCount, count)
  }

  /// Writes `count` bytes.
  func write(into out: MutableBytes) {
    out.copy(Self.magic, at: 0)
    out.put(Self.version, 8, 4)
    out.put(Self.fixedCount, 12, 4)
    for (index, value) in [
      freshUntil, storedAt, staleWhileUpdating, staleIfError, lastModified, bodyCount,
    ].enumerated() { out.put(value, 24 + index * 8, 8) }
    for (index, value) in [count, key.count, vary.count, head.count, status, 0].enumerated() {
      out.put(value, 72 + index * 4, 4)
    }
    out.put(variant, 96)
    out.put(digest, 112)
    out.copy(key, at: Self.fixedCount)
    out.copy(vary, at: Self.fixedCount + key.count)
    out.copy(head, at: count - head.count)
    out.put(Int(Int64(bitPattern: Self.hash(out.readOnly.prefix(count)))), 16, 8)
  }

  static func hash(_ header: Bytes) -> UInt64 {
    header.dropping(24).hash64(seed: seed)
  }

  /// Whether `table`, which was read from the head, is that of a response that is stored.
  func holds(_ table: ResponseHead) -> Bool {
    table.length == head.count && table.statusCode == status && Self.isStored(status)
  }

  /// Whether responses of `status` are stored: a part is no whole, and a 304 that nobody asked for
  /// has no body.
  static func isStored(_ status: Int) -> Bool { status >= 200 && status != 206 && status != 304 }

  /// Whether the response is fresh, in seconds since 1970.
  func isFresh(at now: Int) -> Bool { freshUntil >= now }

  /// Whether it may be used `seconds` after it became stale.
  func isUsable(at now: Int, for seconds: Int) -> Bool {
    let (end, isHuge) = freshUntil.addingReportingOverflow(seconds)
    return isHuge || end >= now
  }
}

extension Bytes {
  /// A little-endian number of `count` bytes.
  fileprivate func number(_ position: Int, _ count: Int) -> Int {
    var value: UInt64 = 0
    for index in 0..<count { value |= UInt64(self[position + index]) << UInt64(8 * index) }
    return Int(Int64(bitPattern: value))
  }

  fileprivate func digest(_ position: Int) -> CacheKey {
    CacheKey(
      high: UInt64(bitPattern: Int64(number(position, 8))),
      low: UInt64(bitPattern: Int64(number(position + 8, 8))))
  }
}

extension MutableBytes {
  fileprivate func put(_ value: Int, _ position: Int, _ count: Int) {
    for index in 0..<count {
      self[position + index] = UInt8(truncatingIfNeeded: value >> (8 * index))
    }
  }

  fileprivate func put(_ key: CacheKey, _ position: Int) {
    put(Int(Int64(bitPattern: key.high)), position, 8)
    put(Int(Int64(bitPattern: key.low)), position + 8, 8)
  }
}
