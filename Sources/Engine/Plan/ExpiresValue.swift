// The argument of `expires`: read once by its row, or per exchange when it is computed
// (https://nginx.org/r/expires).

import Configuration

/// The words that `expires` takes.
enum ExpiresValue {
  /// nil if `text` is none of them.
  static func parse(_ text: String) -> Expires? {
    switch text {
    case "off", "": return .off
    case "epoch": return .epoch
    case "max": return .max
    default:
      var rest = Substring(text)
      if rest.hasPrefix("@") {
        guard let seconds = seconds(String(rest.dropFirst())), seconds <= 86_400 else {
          return nil
        }
        return .daily(seconds)
      }
      var modified = false
      if rest.hasPrefix("modified ") {
        modified = true
        rest = rest.dropFirst(9)
      }
      let isNegative = rest.hasPrefix("-")
      if isNegative || rest.hasPrefix("+") { rest = rest.dropFirst() }
      guard let seconds = seconds(String(rest)) else { return nil }
      return .after(isNegative ? -seconds : seconds, modified: modified)
    }
  }

  private static func seconds(_ text: String) -> Int? {
    try? Value.seconds(text, of: "expires")
  }
}
