// The look-up of a `map` block: from the value of its source to one of its results.
//
// Filled while the plan is made; asked when a variable of the map is. Order as in nginx: the exact
// string without regard to case, with `hostnames` the wildcards, regular expressions in the order
// they were written, the default.

import HTTP

/// Strings, host names and regular expressions to values.
struct MapTable<Value> {
  /// What nothing else matches; nil where no `default` was written.
  var defaultValue: Value?
  private let hostnames: Bool
  private var patterns = NamePatterns(store: ByteStore())
  private var values: [Value] = []
  private var regexes: [(regex: Regex, value: Value)] = []

  /// An empty table; with `hostnames`, keys may be wildcards and a trailing dot doesn't count.
  init(hostnames: Bool) { self.hostnames = hostnames }

  /// Whether `key` can be inserted: with `hostnames`, a star may only be a whole first or last
  /// label.
  func isValid(_ key: String) -> Bool {
    !hostnames || key.withBytes { NamePatterns.isValid($0) }
  }

  /// Adds a key. False, and no change, if it conflicts with one that is there ("conflicting
  /// parameter"), or isn't valid.
  mutating func insert(_ key: String, _ value: Value) -> Bool {
    let inserted = key.withBytes { key in
      hostnames
        ? patterns.insert(key, value: values.count) : patterns.insertExact(key, value: values.count)
    }
    if inserted { values.append(value) }
    return inserted
  }

  /// Adds a regular expression, behind all before it.
  mutating func insert(_ regex: Regex, _ value: Value) { regexes.append((regex, value)) }

  /// What `source` maps to; nil if nothing matches and there is no default. If a regular expression
  /// decided, its groups are in `captures`.
  func find(_ source: Bytes, captures: inout CaptureSet) -> Value? {
    var key = source
    if hostnames && !key.isEmpty && key[key.count - 1] == UInt8(ascii: ".") {
      key = key.prefix(key.count - 1)
    }
    if let index = hostnames ? patterns.find(key) : patterns.findExact(key) { return values[index] }
    // As in nginx, an empty string is never tried with regular expressions.
    if !key.isEmpty {
      for each in regexes where each.regex.match(key, into: &captures) { return each.value }
    }
    return defaultValue
  }
}
