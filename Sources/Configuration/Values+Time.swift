// Times, as nginx writes them: `30` (seconds), `1h 30m`, `500ms`, `1y 6M`.
//
// Units stand from the largest to the smallest, each at most once; blanks may stand after a unit; a
// number without a unit means seconds and stands last. Directives that count in milliseconds accept
// `ms` and, as in nginx, refuse years and months; those that count in seconds the other way round.
// What is longer than ten thousand years counts as that, so that a moment may be that far away.

extension Value {
  /// A time in milliseconds.
  public static func milliseconds(_ text: String, of subject: String) throws(ValueError) -> Int {
    if let value = time(text, countsSeconds: false) { return value }
    throw ValueError(
      subject, mustBe: "a time such as \"30s\", \"500ms\" or \"1h 30m\"", not: text)
  }

  /// A time in seconds.
  public static func seconds(_ text: String, of subject: String) throws(ValueError) -> Int {
    if let value = time(text, countsSeconds: true) { return value }
    throw ValueError(
      subject, mustBe: "a time of whole seconds such as \"30s\", \"1h 30m\" or \"30d\"", not: text)
  }

  // Bound: in milliseconds. In microseconds and added to any moment of a clock it still is a
  // number.
  private static let longestTime = 10_000 * 365 * 86_400 * 1000

  /// A unit: its place in the order that units must stand in, and its length.
  private struct TimeUnit {
    var order: Int
    var milliseconds: Int
    /// The bytes of its name.
    var width: Int
  }

  private static func time(_ text: String, countsSeconds: Bool) -> Int? {
    let bytes = Array(text.utf8)
    let divisor = countsSeconds ? 1000 : 1
    var index = 0
    var order = countsSeconds ? 0 : 2
    var total = 0
    guard !bytes.isEmpty else { return nil }
    while index < bytes.count {
      let start = index
      while index < bytes.count, ASCII.isDigit(bytes[index]) { index += 1 }
      guard let number = digits(bytes[start..<index]) else { return nil }
      guard let unit = unit(bytes[index...]), unit.order > order, unit.milliseconds >= divisor
      else { return nil }
      order = unit.order
      index += unit.width
      let (product, overflow) = number.multipliedReportingOverflow(
        by: unit.milliseconds / divisor)
      let (sum, carry) = total.addingReportingOverflow(product)
      guard !overflow, !carry else { return nil }
      total = sum
      while index < bytes.count, bytes[index] == ASCII.space { index += 1 }
    }
    return min(total, longestTime / divisor)
  }

  /// The unit that begins here; the end of the text, or a blank, means seconds after which nothing
  /// may come.
  private static func unit(_ bytes: ArraySlice<UInt8>) -> TimeUnit? {
    let second = 1000
    let day = 86_400 * second
    guard let first = bytes.first else { return TimeUnit(order: 9, milliseconds: second, width: 0) }
    switch first {
    case UInt8(ascii: "y"): return TimeUnit(order: 1, milliseconds: 365 * day, width: 1)
    case UInt8(ascii: "M"): return TimeUnit(order: 2, milliseconds: 30 * day, width: 1)
    case UInt8(ascii: "w"): return TimeUnit(order: 3, milliseconds: 7 * day, width: 1)
    case UInt8(ascii: "d"): return TimeUnit(order: 4, milliseconds: day, width: 1)
    case UInt8(ascii: "h"): return TimeUnit(order: 5, milliseconds: 3600 * second, width: 1)
    case UInt8(ascii: "m"):
      if bytes.dropFirst().first == UInt8(ascii: "s") {
        return TimeUnit(order: 8, milliseconds: 1, width: 2)
      }
      return TimeUnit(order: 6, milliseconds: 60 * second, width: 1)
    case UInt8(ascii: "s"): return TimeUnit(order: 7, milliseconds: second, width: 1)
    case ASCII.space: return TimeUnit(order: 9, milliseconds: second, width: 1)
    default: return nil
    }
  }
}
