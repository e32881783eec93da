// Entity tags and the lists of If-Match and If-None-Match (RFC 9110 §§8.8.3, 13.1).

/// Comparing of entity tags, as fields hold them: `"abc"`, `W/"abc"`.
public enum EntityTag {
  /// How two tags are compared (RFC 9110 §8.8.3.2).
  public enum Comparison: BitwiseCopyable, Sendable {
    /// The same bytes, neither weak: If-Match and If-Range.
    case strong
    /// The same but for `W/`: If-None-Match.
    case weak
  }

  /// Whether the tag is weak.
  public static func isWeak(_ tag: Bytes) -> Bool { tag.hasPrefix(Bytes("W/")) }

  /// Whether two tags match.
  public static func matches(_ left: Bytes, _ right: Bytes, _ comparison: Comparison) -> Bool {
    switch comparison {
    case .strong: return !isWeak(left) && left == right
    case .weak: return opaque(left) == opaque(right)
    }
  }

  /// Whether a list of tags, or "*", holds the tag of the current representation.
  ///
  /// - Parameters:
  ///   - list: the value of If-Match or If-None-Match.
  ///   - tag: the current tag; nil if there is none, which "*" matches, too.
  public static func list(_ list: Bytes, holds tag: Bytes?, _ comparison: Comparison) -> Bool {
    if list == Bytes("*") { return true }
    guard let tag else { return false }
    var index = 0
    while index < list.count {
      let end = endOfTag(list, from: index)
      if matches(list.slice(index, end).trimmed, tag, comparison) { return true }
      index = end + 1
    }
    return false
  }

  private static func opaque(_ tag: Bytes) -> Bytes { isWeak(tag) ? tag.dropping(2) : tag }

  /// The comma behind the element at `start`, or the end. Between quotes a comma belongs to the
  /// tag, and a backslash is a character as any other.
  private static func endOfTag(_ list: Bytes, from start: Int) -> Int {
    var isQuoted = false
    for index in start..<list.count {
      if list[index] == 0x22 { isQuoted.toggle() }
      if list[index] == 0x2C && !isQuoted { return index }
    }
    return list.count
  }
}
