// Which server of a listening address a request's host belongs to (`server_name`).
//
// Filled in the order of the configuration, asked once per request (and once per TLS handshake) by
// the router. The precedence is nginx's: exact name, longest leading wildcard, longest trailing
// wildcard, then regular expressions in the order they were written.

import HTTP

/// The names of the servers that listen on one address. A class, so that nobody copies its tables.
final class ServerNames<Value> {
  private var patterns = NamePatterns(store: ByteStore())
  private var values: [Value] = []
  private var regexes: [(regex: Regex, value: Value)] = []

  init() {}

  /// Whether `name` can be inserted: a name, possibly empty, or a valid wildcard.
  static func isValid(_ name: Bytes) -> Bool { NamePatterns.isValid(name) }

  /// Adds a name or wildcard. False, and the name is ignored, if it conflicts with one that was
  /// there before ("conflicting server name"), or isn't valid.
  func insert(_ name: Bytes, _ value: Value) -> Bool {
    guard Self.isValid(name) else { return false }
    let inserted = patterns.insert(Self.withoutTrailingDot(name), value: values.count)
    if inserted { values.append(value) }
    return inserted
  }

  /// Adds a name or wildcard, given as text.
  func insert(_ name: String, _ value: Value) -> Bool {
    name.withBytes { insert($0, value) }
  }

  /// Adds a regular expression, behind all before it.
  func insert(_ regex: Regex, _ value: Value) { regexes.append((regex, value)) }

  /// What `host` (without its port) belongs to, or nil: then it is the address's default server.
  /// If a regular expression decided, it is given too and its groups are in `captures`.
  func find(_ host: Bytes, captures: inout CaptureSet) -> (value: Value, regexMatched: Regex?)? {
    let name = Self.withoutTrailingDot(host)
    if let index = patterns.find(name) { return (values[index], nil) }
    guard !name.isEmpty else { return nil }
    for each in regexes where each.regex.match(name, into: &captures) {
      return (each.value, each.regex)
    }
    return nil
  }

  private static func withoutTrailingDot(_ name: Bytes) -> Bytes {
    name.count > 1 && name[name.count - 1] == UInt8(ascii: ".") ? name.prefix(name.count - 1) : name
  }
}
