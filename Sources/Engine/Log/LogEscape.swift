// How values of variables are written into access log lines (`log_format … escape=`).
//
//   default   "\" and the quote, control characters and all above 0x7E as \xHH
//   json      as JSON strings ask for; bytes above 0x7F stay, as in nginx
//   none      as they are
//
// Called once per variable of a line by the log format's template.

import HTTP

/// A way of escaping.
enum LogEscape: Sendable {
  case `default`, json, none

  /// The most bytes that `count` bytes may become.
  func worstCaseCount(of count: Int) -> Int {
    switch self {
    case .default: count * 4
    case .json: count * 6
    case .none: count
    }
  }

  /// Writes `bytes` into `output`, which has room for the worst case, and returns how many bytes
  /// they became.
  static func write(_ bytes: Bytes, _ escape: LogEscape, into output: MutableBytes) -> Int {
    switch escape {
    case .default: return writeDefault(bytes, into: output)
    case .json: return writeJSON(bytes, into: output)
    case .none:
      output.copy(bytes, at: 0)
      return bytes.count
    }
  }

  private static let backslash = UInt8(ascii: "\\")
  private static let quote = UInt8(ascii: "\"")

  private static func writeDefault(_ bytes: Bytes, into output: MutableBytes) -> Int {
    var count = 0
    for index in 0..<bytes.count {
      let byte = bytes[index]
      if byte >= 0x20 && byte < 0x7f && byte != backslash && byte != quote {
        output[count] = byte
        count += 1
      } else {
        output[count] = backslash
        output[count + 1] = UInt8(ascii: "x")
        output[count + 2] = ASCII.hexDigit(byte >> 4)
        output[count + 3] = ASCII.hexDigit(byte & 15)
        count += 4
      }
    }
    return count
  }

  private static func writeJSON(_ bytes: Bytes, into output: MutableBytes) -> Int {
    var count = 0
    for index in 0..<bytes.count {
      let byte = bytes[index]
      if byte >= 0x20 && byte != backslash && byte != quote {
        output[count] = byte
        count += 1
        continue
      }
      output[count] = backslash
      if let letter = jsonLetter(byte) {
        output[count + 1] = letter
        count += 2
      } else {
        output.copy(Bytes("u00"), at: count + 1)
        output[count + 4] = ASCII.hexDigit(byte >> 4)
        output[count + 5] = ASCII.hexDigit(byte & 15)
        count += 6
      }
    }
    return count
  }

  /// What stands behind the backslash of a short escape.
  private static func jsonLetter(_ byte: UInt8) -> UInt8? {
    switch byte {
    case backslash, quote: byte
    case 0x08: UInt8(ascii: "b")
    case 0x09: UInt8(ascii: "t")
    case 0x0a: UInt8(ascii: "n")
    case 0x0c: UInt8(ascii: "f")
    case 0x0d: UInt8(ascii: "r")
    default: nil
    }
  }
}
