// How bundles and the messages between supervisor and worker process are written: little-endian
// numbers of eight bytes, and length-prefixed strings, byte strings and lists. Both ends are one
// binary, so the form has no compatibility to keep; a reader still never trusts a length.

import CLinux

/// Appends values to bytes.
struct BundleWriter {
  var bytes: [UInt8] = []

  mutating func number(_ value: UInt64) {
    for shift in 0..<8 { bytes.append(UInt8(truncatingIfNeeded: value >> (8 * UInt64(shift)))) }
  }

  mutating func signed(_ value: Int) { number(UInt64(bitPattern: Int64(value))) }

  mutating func flag(_ value: Bool) { number(value ? 1 : 0) }

  mutating func blob(_ value: [UInt8]) {
    number(UInt64(value.count))
    bytes += value
  }

  mutating func string(_ value: String) { blob(Array(value.utf8)) }

  mutating func optionalString(_ value: String?) {
    flag(value != nil)
    if let value { string(value) }
  }

  mutating func list<C: Collection>(
    _ values: C, _ write: (inout BundleWriter, C.Element) -> Void
  ) {
    number(UInt64(values.count))
    for value in values { write(&self, value) }
  }
}

/// Reads what a `BundleWriter` wrote. After the first value that isn't whole, everything reads as
/// empty and `isBroken` is true.
struct BundleReader {
  private let bytes: [UInt8]
  private var position = 0
  private(set) var isBroken = false

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  var isAtEnd: Bool { position == bytes.count }

  /// The next `count` bytes, or none when there are fewer.
  mutating func take(_ count: Int) -> [UInt8] {
    guard !isBroken, count >= 0, count <= bytes.count - position else {
      isBroken = true
      return []
    }
    defer { position += count }
    return Array(bytes[position..<position + count])
  }

  mutating func number() -> UInt64 {
    take(8).reversed().reduce(0) { $0 << 8 | UInt64($1) }
  }

  mutating func signed() -> Int { Int(Int64(bitPattern: number())) }

  mutating func flag() -> Bool { number() != 0 }

  mutating func blob() -> [UInt8] { take(Int(clamping: number())) }

  mutating func string() -> String { String(decoding: blob(), as: UTF8.self) }

  mutating func optionalString() -> String? { flag() ? string() : nil }

  /// Calls `read` once for each element.
  mutating func list(_ read: (inout BundleReader) -> Void) {
    let count = number()
    var index: UInt64 = 0
    while index < count && !isBroken {
      read(&self)
      index += 1
    }
  }

  /// All bytes of a file that has no size limit of its own, such as a bundle.
  static func readAll(_ descriptor: Int32) throws(SystemError) -> [UInt8] {
    let size = try check(linux_lseek(descriptor, 0, SEEK_END))
    var content = [UInt8](repeating: 0, count: size)
    var offset = 0
    while offset < size {
      let result = unsafe content.withUnsafeMutableBytes {
        unsafe linux_pread(descriptor, $0.baseAddress! + offset, size - offset, Int64(offset))
      }
      if result == -Int64(EINTR) { continue }
      let count = try check(result)
      if count == 0 { throw SystemError(code: EIO) }
      offset += count
    }
    return content
  }
}
