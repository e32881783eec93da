// Fuzzes what is believed of a file in a cache's folder, which anybody may have put there meanwhile.
// with: Cache/CacheKey.swift Cache/CacheFileHeader.swift
//
// The bytes as they are, then with counts and a hash that fit, since whoever writes a file can do so
// too: behind the hash nothing may be taken for granted.

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzCacheFile(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  let bytes = unsafe Bytes(base: start, count: count)
  check(bytes)
  _ = CacheKey(fileName: bytes.prefix(min(count, 40)).string)
  guard count >= CacheFileHeader.fixedCount else { return 0 }
  let room = unsafe UnsafeMutablePointer<UInt8>.allocate(capacity: count)
  defer { unsafe room.deallocate() }
  let file = unsafe MutableBytes(base: room, count: count)
  file.copy(bytes, at: 0)
  file.copy(Bytes("PORTICO\n"), at: 0)
  put(1, 4, into: file, at: 8)
  put(UInt64(CacheFileHeader.fixedCount), 4, into: file, at: 12)
  sign(file, count)
  check(file.readOnly)
  // Three parts that fill the file.
  let rest = count - CacheFileHeader.fixedCount
  let first = Int(bytes[76]) % (rest + 1)
  let second = Int(bytes[80]) % (rest - first + 1)
  for (value, position) in [
    (count, 72), (first, 76), (second, 80), (rest - first - second, 84),
    (200 + Int(bytes[88]) % 100, 88),
  ] { put(UInt64(value), 4, into: file, at: position) }
  sign(file, count)
  check(file.readOnly)
  precondition(CacheFileHeader(file.readOnly) != nil || bytes[71] & 0x80 != 0)
  return 0
}

private func sign(_ file: MutableBytes, _ count: Int) {
  let length = CacheFileHeader.count(of: file.readOnly) ?? count
  put(CacheFileHeader.hash(file.readOnly.prefix(min(length, count))), 8, into: file, at: 16)
}

private func put(_ value: UInt64, _ count: Int, into file: MutableBytes, at position: Int) {
  for index in 0..<count {
    file[position + index] = UInt8(truncatingIfNeeded: value >> UInt64(8 * index))
  }
}

/// All that is done with a file that is found.
private func check(_ bytes: Bytes) {
  let count = CacheFileHeader.count(of: bytes)
  guard let header = CacheFileHeader(bytes) else { return }
  precondition(count == header.count && header.count <= bytes.count)
  precondition(header.bodyCount >= 0)
  let parts = header.key.count + header.vary.count + header.head.count
  precondition(CacheFileHeader.fixedCount + parts == header.count)
  for moment in [Int.min, -1, 0, 1 << 40, .max] {
    _ = header.isFresh(at: moment)
    for seconds in [header.staleIfError, header.staleWhileUpdating, 0, .max] {
      _ = header.isUsable(at: moment, for: seconds)
    }
  }
  for name in HeaderList(header.vary) { precondition(!name.isEmpty) }
  var head = ResponseHead()
  var parser = ResponseHeadParser()
  if case .complete = parser.parse(header.head, into: &head), header.holds(head) {
    precondition(head.statusCode >= 200 && head.statusCode <= 999)
    for field in head.fields { _ = field.value.of(header.head) }
  }
  // Written again it says the same.
  let room = unsafe UnsafeMutablePointer<UInt8>.allocate(capacity: header.count)
  defer { unsafe room.deallocate() }
  let copy = unsafe MutableBytes(base: room, count: header.count)
  header.write(into: copy)
  HTTPDate.write(header.lastModified, into: date)
  guard let same = CacheFileHeader(copy.readOnly) else { preconditionFailure("not written whole") }
  precondition(same.key == header.key && same.vary == header.vary && same.head == header.head)
  precondition(same.freshUntil == header.freshUntil && same.bodyCount == header.bodyCount)
  precondition(same.variant == header.variant && same.digest == header.digest)
}

// The engine's, which are OpenSSL's.

nonisolated(unsafe) private let date = unsafe MutableBytes(
  base: UnsafeMutablePointer<UInt8>.allocate(capacity: HTTPDate.length), count: HTTPDate.length)

enum MessageDigest {
  static func fingerprint(_ bytes: [UInt8]) -> [UInt8] { [UInt8](repeating: 1, count: 16) }
}

extension Bytes {
  var array: [UInt8] { unsafe Array(UnsafeBufferPointer(start: unsafeBase, count: count)) }
}
