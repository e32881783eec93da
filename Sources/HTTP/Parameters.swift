// Values by name out of a Cookie field and out of a query: `$cookie_NAME` and `$arg_NAME`.
//
// Names are compared without case and values are given as sent, neither unescaped nor unquoted:
// both as nginx does it.

/// The Cookie field (RFC 6265 §4.2).
public enum Cookie {
  /// The value of the first cookie of this name in one Cookie field, or nil.
  public static func value(of name: Bytes, in field: Bytes) -> Bytes? {
    var start = 0
    while start < field.count {
      let end = field.firstIndex(of: 0x3B, from: start) ?? field.count
      let pair = field.slice(start, end)
      if let equals = pair.firstIndex(of: 0x3D),
        pair.prefix(equals).trimmed.equalsIgnoringCase(name)
      {
        return pair.dropping(equals + 1).trimmed
      }
      start = end + 1
    }
    return nil
  }
}

/// The query of a target, without "?".
public enum QueryArguments {
  /// The value of the first argument of this name that has a "=", or nil.
  public static func value(of name: Bytes, in query: Bytes) -> Bytes? {
    var start = 0
    while start < query.count {
      let end = query.firstIndex(of: 0x26, from: start) ?? query.count
      let pair = query.slice(start, end)
      if pair.count > name.count, pair[name.count] == 0x3D,
        pair.prefix(name.count).equalsIgnoringCase(name)
      {
        return pair.dropping(name.count + 1)
      }
      start = end + 1
    }
    return nil
  }
}
