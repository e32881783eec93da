// Holding an answer against a `match` block: all conditions must hold, in the order written; the
// first that doesn't is the reason in the log.

import HTTP

extension MatchSettings {
  /// Whether a condition needs the body.
  var looksAtBody: Bool {
    conditions.contains { if case .body = $0 { true } else { false } }
  }

  /// The first condition that an answer doesn't meet; nil if it meets all.
  ///
  /// - Parameter bytes: the buffer that begins with `head`.
  func firstUnmet(_ head: ResponseHead, _ bytes: Bytes, body: Bytes) -> Condition? {
    conditions.first { !$0.isMet(head, bytes, body: body) }
  }
}

extension MatchSettings.Condition {
  fileprivate func isMet(_ head: ResponseHead, _ bytes: Bytes, body: Bytes) -> Bool {
    switch self {
    case .status(let ranges, let isNegated):
      return ranges.contains { $0.contains(head.statusCode) } != isNegated
    case .body(let pattern, let isNegated):
      return pattern.isFound(body) != isNegated
    case .header(let name, let test):
      var name = name
      let values = name.withUTF8 { utf8 -> [Bytes] in
        guard let base = utf8.baseAddress else { return [] }
        let name = unsafe Bytes(base: base, count: utf8.count)
        return head.fields.filter { $0.name.of(bytes).equalsIgnoringCase(name) }
          .map { $0.value.of(bytes) }
      }
      return test.isMet(by: values)
    }
  }

  /// As it stands in the configuration.
  var text: String {
    switch self {
    case .status(let ranges, let isNegated):
      let list = ranges.map { range in
        range.count == 1 ? "\(range.lowerBound)" : "\(range.lowerBound)-\(range.upperBound)"
      }
      return (["status"] + (isNegated ? ["!"] : []) + list).joined(separator: " ")
    case .body(let pattern, let isNegated):
      return "body \(isNegated ? "!~" : "~") \(pattern.text)"
    case .header(let name, .isPresent): return "header \(name)"
    case .header(let name, .isAbsent): return "header ! \(name)"
    case .header(let name, .equals(let value, let isNegated)):
      return "header \(name) \(isNegated ? "!=" : "=") \(value)"
    case .header(let name, .matches(let pattern, let isNegated)):
      return "header \(name) \(isNegated ? "!~" : "~") \(pattern.text)"
    }
  }
}

extension MatchSettings.HeaderTest {
  /// Whether the values of a field pass. All but `isAbsent` want the field to be there.
  fileprivate func isMet(by values: [Bytes]) -> Bool {
    switch self {
    case .isPresent: return !values.isEmpty
    case .isAbsent: return values.isEmpty
    case .equals(let wanted, let isNegated):
      guard !values.isEmpty else { return false }
      let wanted = Array(wanted.utf8)
      let isEqual = values.contains { value in
        value.count == wanted.count && wanted.indices.allSatisfy { value[$0] == wanted[$0] }
      }
      return isEqual != isNegated
    case .matches(let pattern, let isNegated):
      return !values.isEmpty && values.contains(where: pattern.isFound) != isNegated
    }
  }
}
