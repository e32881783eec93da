// Host names and their wildcards, as `server_name` and `map … hostnames` have them:
//
//   example.com       exactly
//   *.example.com     a name that ends so, with something before it
//   .example.com      both
//   mail.*            a name that begins so, with something behind it
//
// An exact name wins, then the longest leading wildcard, then the longest trailing one. Looking up
// is one probe for the name and one for each of its dots; the number of names doesn't matter.

import HTTP

/// Exact names and wildcards to numbers, compared without case.
struct NamePatterns {
  private var exact: KeyTable
  /// `*.example.com` is held as `example.com`.
  private var leading: KeyTable
  /// `mail.*` is held as `mail`.
  private var trailing: KeyTable

  /// Empty tables that keep their keys in `store`.
  init(store: ByteStore) {
    exact = KeyTable(store: store)
    leading = KeyTable(store: store)
    trailing = KeyTable(store: store)
  }

  /// Whether `pattern` is a name or one of the wildcards above. A star may be the whole first or
  /// the whole last label, once.
  static func isValid(_ pattern: Bytes) -> Bool {
    var stars = 0
    for index in 0..<pattern.count {
      let byte = pattern[index]
      if byte == 0 { return false }
      if byte == dot && index + 1 < pattern.count && pattern[index + 1] == dot { return false }
      if byte == star { stars += 1 }
    }
    switch stars {
    case 0: return true
    case 1: return isLeading(pattern) || isTrailing(pattern)
    default: return false
    }
  }

  /// Inserts a name without looking for wildcards in it.
  mutating func insertExact(_ name: Bytes, value: Int) -> Bool { exact.insert(name, value: value) }

  /// Inserts a name or a wildcard. False, and no change, if the same one is there already, or if
  /// it isn't valid.
  mutating func insert(_ pattern: Bytes, value: Int) -> Bool {
    guard Self.isValid(pattern) else { return false }
    if pattern.count > 1 && pattern[0] == Self.dot {
      let name = pattern.dropping(1)
      guard exact.find(name) == nil, leading.insert(name, value: value) else { return false }
      return exact.insert(name, value: value)
    }
    if Self.isLeading(pattern) { return leading.insert(pattern.dropping(2), value: value) }
    if Self.isTrailing(pattern) {
      return trailing.insert(pattern.prefix(pattern.count - 2), value: value)
    }
    return exact.insert(pattern, value: value)
  }

  /// The number of exactly this name, or nil.
  func findExact(_ name: Bytes) -> Int? { exact.find(name) }

  /// The number of the pattern that wins for `name`, or nil.
  func find(_ name: Bytes) -> Int? {
    if let value = exact.find(name) { return value }
    if leading.count > 0 {
      // The first dot leaves the longest suffix.
      for index in 0..<name.count where name[index] == Self.dot {
        if let value = leading.find(name.dropping(index + 1)) { return value }
      }
    }
    if trailing.count > 0 {
      // The last dot leaves the longest prefix.
      var index = name.count - 1
      while index > 0 {
        if name[index] == Self.dot, let value = trailing.find(name.prefix(index)) { return value }
        index -= 1
      }
    }
    return nil
  }

  private static let dot = UInt8(ascii: ".")
  private static let star = UInt8(ascii: "*")

  private static func isLeading(_ pattern: Bytes) -> Bool {
    pattern.count > 2 && pattern[0] == star && pattern[1] == dot
  }

  private static func isTrailing(_ pattern: Bytes) -> Bool {
    pattern.count > 2 && pattern[pattern.count - 2] == dot && pattern[pattern.count - 1] == star
  }
}
