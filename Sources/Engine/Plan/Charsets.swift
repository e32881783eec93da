// Character sets that a configuration names, and the tables between them: `charset_map`
// (https://nginx.org/en/docs/http/ngx_http_charset_module.html).
//
// A table is written once and serves both ways. Sets of one byte a character map to one another or
// to UTF-8; below 0x80 a character that no line names stands for itself.

import HTTP

/// The character sets of one plan.
final class Charsets {
  private let store = ByteStore()
  private var names: KeyTable
  private(set) var spellings: [Bytes] = []
  private var tables: [UInt64: RecodeTable] = [:]

  init() { names = KeyTable(store: store) }

  /// The number of the set called `name`, which is new if nobody named it before.
  func number(of name: String) -> Int {
    name.withBytes { name in
      if let known = names.find(name) { return known }
      let number = spellings.count
      spellings.append(store.append(name))
      names.insert(name, value: number)
      return number
    }
  }

  /// The number of the set called `name`, or nil if the configuration doesn't name it.
  func find(_ name: Bytes) -> Int? { names.find(name) }

  /// The table from one set to another, or nil.
  func table(from source: Int, to destination: Int) -> RecodeTable? {
    tables[Self.key(source, destination)]
  }

  /// Takes a table for both ways; false if there is one already.
  func insert(_ map: CharsetMap, _ source: Int, _ destination: Int) -> Bool {
    guard table(from: source, to: destination) == nil else { return false }
    tables[Self.key(source, destination)] = map.forward
    tables[Self.key(destination, source)] = map.backward
    return true
  }

  private static func key(_ source: Int, _ destination: Int) -> UInt64 {
    UInt64(source) << 32 | UInt64(destination)
  }
}

/// What bytes of one set are in another.
enum RecodeTable {
  /// 256 bytes.
  case bytes([UInt8])
  /// 256 sequences of UTF-8, each as its bytes from the lowest up.
  case toUTF8([UInt32])
  /// Bytes by code point.
  case fromUTF8([UInt32: UInt8])
}

/// The lines of one `charset_map`.
struct CharsetMap {
  private var toBytes = Self.plain
  private var fromBytes = Self.plain
  private var toUTF8: [UInt32] = (0..<256).map { $0 < 128 ? UInt32($0) : UInt32(Self.unknown) }
  private var fromUTF8: [UInt32: UInt8] = [:]
  private let isUTF8: Bool

  /// What stands for a character that the other set lacks.
  static let unknown = UInt8(ascii: "?")
  private static let plain: [UInt8] = (0..<256).map { $0 < 128 ? UInt8($0) : unknown }

  /// - Parameter isUTF8: the second set is UTF-8.
  init(isUTF8: Bool) {
    self.isUTF8 = isUTF8
    for code in 0..<128 { fromUTF8[UInt32(code)] = UInt8(code) }
  }

  var forward: RecodeTable { isUTF8 ? .toUTF8(toUTF8) : .bytes(toBytes) }
  var backward: RecodeTable { isUTF8 ? .fromUTF8(fromUTF8) : .bytes(fromBytes) }

  /// Adds a line; false if a code is none.
  mutating func add(_ source: String, _ destination: String) -> Bool {
    guard let code = UInt8(source, radix: 16) else { return false }
    guard isUTF8 else {
      guard let other = UInt8(destination, radix: 16) else { return false }
      toBytes[Int(code)] = other
      fromBytes[Int(other)] = code
      return true
    }
    guard let bytes = Self.bytes(destination), let point = Self.codePoint(bytes) else {
      return false
    }
    var packed: UInt32 = 0
    for (index, byte) in bytes.enumerated() { packed |= UInt32(byte) << UInt32(8 * index) }
    toUTF8[Int(code)] = packed
    fromUTF8[point] = code
    return true
  }

  private static func bytes(_ digits: String) -> [UInt8]? {
    let digits = Array(digits)
    guard digits.count % 2 == 0, (2...8).contains(digits.count) else { return nil }
    var bytes: [UInt8] = []
    for index in stride(from: 0, to: digits.count, by: 2) {
      guard let byte = UInt8(String(digits[index...index + 1]), radix: 16) else { return nil }
      bytes.append(byte)
    }
    return bytes
  }

  private static func codePoint(_ bytes: [UInt8]) -> UInt32? {
    let text = String(decoding: bytes, as: UTF8.self)
    guard Array(text.utf8) == bytes, text.unicodeScalars.count == 1 else { return nil }
    return text.unicodeScalars.first?.value
  }
}
