// The fields of a response that say how long it may be stored, as nginx reads them (RFC 9111 §5.2,
// RFC 5861, https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_cache_valid).

import HTTP

/// What Cache-Control fields say, joined.
struct CacheControl {
  /// no-cache, no-store, private, or an age of 0.
  private(set) var forbids = false
  /// s-maxage before max-age, in seconds.
  var age: Int? { sharedAge ?? maxAge }
  private(set) var staleWhileRevalidate = 0
  private(set) var staleIfError = 0
  private(set) var staleIfErrorIsSet = false
  /// A number is none: nothing is known.
  private(set) var isMalformed = false
  private var maxAge: Int?
  private var sharedAge: Int?

  /// Reads one field.
  mutating func read(_ value: Bytes) {
    // Wherever they stand, as in nginx: what is private isn't stored for the want of a comma.
    forbids = forbids || Self.forbidding.contains { Self.holds(value, $0) }
    for element in HeaderList(value) {
      let equals = element.firstIndex(of: UInt8(ascii: "=")) ?? element.count
      let name = element.prefix(equals).trimmed
      let argument = equals < element.count ? element.dropping(equals + 1).trimmed : nil
      read(name, argument)
    }
    if age == 0 { forbids = true }
  }

  private static var forbidding: [Bytes] {
    [Bytes("no-cache"), Bytes("no-store"), Bytes("private")]
  }

  private static func holds(_ text: Bytes, _ word: Bytes) -> Bool {
    guard text.count >= word.count else { return false }
    return (0...(text.count - word.count)).contains {
      text.dropping($0).hasPrefixIgnoringCase(word)
    }
  }

  private mutating func read(_ name: Bytes, _ argument: Bytes?) {
    if name.equalsIgnoringCase(Bytes("s-maxage")) {
      sharedAge = least(sharedAge, seconds(argument))
    } else if name.equalsIgnoringCase(Bytes("max-age")) {
      maxAge = least(maxAge, seconds(argument))
    } else if name.equalsIgnoringCase(Bytes("stale-while-revalidate")) {
      staleWhileRevalidate = seconds(argument) ?? 0
    } else if name.equalsIgnoringCase(Bytes("stale-if-error")) {
      staleIfError = seconds(argument) ?? 0
      staleIfErrorIsSet = true
    }
  }

  /// Of several ages the strictest holds (RFC 9111 §4.2.1).
  private func least(_ one: Int?, _ other: Int?) -> Int? {
    guard let one, let other else { return one ?? other }
    return min(one, other)
  }

  /// Up to a space or a semicolon, which some put where a comma belongs.
  private static func word(_ text: Bytes) -> Bytes {
    for index in 0..<text.count where text[index] == 0x20 || text[index] == 0x3B {
      return text.prefix(index)
    }
    return text
  }

  private mutating func seconds(_ argument: Bytes?) -> Int? {
    guard var text = argument.map({ Self.word($0) }) else {
      isMalformed = true
      return nil
    }
    if text.count >= 2, text.hasPrefix(Bytes("\"")), text.hasSuffix(Bytes("\"")) {
      text = text.slice(1, text.count - 1)
    }
    if let number = text.decimal { return number }
    // What is too large for a number is long enough (RFC 9111 §1.2.2).
    for index in 0..<text.count where !ASCII.isDigit(text[index]) {
      isMalformed = true
      return nil
    }
    if text.isEmpty { isMalformed = true }
    return text.isEmpty ? nil : .max
  }
}

/// X-Accel-Expires: seconds, or a moment.
enum AccelExpires: Equatable {
  case never
  case after(Int)
  /// Seconds since 1970.
  case at(Int)
  case invalid

  init(_ value: Bytes) {
    if value.hasPrefix(Bytes("@")) {
      self = value.dropping(1).decimal.map { .at($0) } ?? .invalid
    } else if let seconds = value.decimal {
      self = seconds == 0 ? .never : .after(seconds)
    } else {
      self = .invalid
    }
  }
}
