// Range requests (RFC 9110 §14): which bytes of a representation a client asks for.
//
// The decisions are nginx's: a malformed or unsatisfiable set is 416, too many ranges or more bytes
// than the whole are answered with the whole. Ranges stay in the client's order and aren't merged.

/// A range of bytes, `start` up to but not including `end`.
public struct ByteRange: BitwiseCopyable, Equatable, Sendable {
  public var start: Int
  public var end: Int
  @inlinable public var count: Int { end - start }

  @inlinable
  public init(start: Int, end: Int) {
    self.start = start
    self.end = end
  }
}

/// What a Range field leads to.
public enum RangeOutcome: BitwiseCopyable, Equatable, Sendable {
  /// Send all of it, 200.
  case ignore
  /// Answer 416.
  case unsatisfiable
  /// Send the ranges found, 206.
  case ranges
}

/// The Range field.
public enum ByteRanges {
  /// Bound: what the head of a part costs, and how far a set of ranges with its heads may exceed
  /// the whole, where no number of ranges is set.
  private static let partOverheadBytes = 256
  private static let maxExcessBytes = 4096

  /// Reads a Range field.
  ///
  /// - Parameters:
  ///   - value: the field's value; other units than bytes are ignored.
  ///   - size: the size of the whole representation in bytes.
  ///   - maxRanges: how many ranges are allowed; `Int.max` as nginx by default, 0 ignores the
  ///     field.
  ///   - ranges: emptied, then filled when the outcome is `.ranges`.
  public static func parse(
    _ value: Bytes, size: Int, maxRanges: Int, into ranges: inout [ByteRange]
  ) -> RangeOutcome {
    ranges.removeAll(keepingCapacity: true)
    guard maxRanges > 0, value.count >= 7, value.hasPrefixIgnoringCase(Bytes("bytes=")) else {
      return .ignore
    }
    var reader = RangeReader(bytes: value.dropping(6), size: size)
    var total = 0
    repeat {
      guard let range = reader.next() else { return .unsatisfiable }
      if range.start < range.end {
        if ranges.count == maxRanges { return .ignore }
        let (sum, overflow) = total.addingReportingOverflow(range.count)
        if overflow { return .unsatisfiable }
        total = sum
        ranges.append(range)
      } else if range.start == 0 {
        return .ignore
      }
    } while reader.skipComma()
    return outcome(count: ranges.count, total: total, size: size, maxRanges: maxRanges)
  }

  private static func outcome(count: Int, total: Int, size: Int, maxRanges: Int) -> RangeOutcome {
    if count == 0 { return .unsatisfiable }
    if count == 1 { return .ranges }
    if total > size { return .ignore }
    if maxRanges == .max {
      // `count` is at most the length of a field, so neither side overflows before `size` would.
      let cost = total.addingReportingOverflow(count &* partOverheadBytes)
      let allowed = size.addingReportingOverflow(maxExcessBytes)
      if allowed.overflow { return .ranges }
      if cost.overflow || cost.partialValue > allowed.partialValue { return .ignore }
    }
    return .ranges
  }
}

/// Reads one range after the other. What lies past the end is an empty range with its own start.
private struct RangeReader {
  let bytes: Bytes
  let size: Int
  var index = 0

  init(bytes: Bytes, size: Int) {
    self.bytes = bytes
    self.size = size
  }

  /// The next range cut to the size, or nil if it is malformed.
  mutating func next() -> ByteRange? {
    skipSpaces()
    if index < bytes.count, bytes[index] == 0x2D {
      index += 1
      guard let length = number(), isAtEnd() else { return nil }
      return ByteRange(start: length < size ? size - length : 0, end: size)
    }
    guard let start = number() else { return nil }
    skipSpaces()
    guard index < bytes.count, bytes[index] == 0x2D else { return nil }
    index += 1
    if isAtEnd() { return ByteRange(start: start, end: max(start, size)) }
    guard let last = number(), isAtEnd() else { return nil }
    let end = last >= size ? size : last + 1
    return start < end ? ByteRange(start: start, end: end) : ByteRange(start: start, end: start)
  }

  /// Moves over the comma between two ranges; false at the end.
  mutating func skipComma() -> Bool {
    guard index < bytes.count, bytes[index] == 0x2C else { return false }
    index += 1
    return true
  }

  private mutating func isAtEnd() -> Bool {
    skipSpaces()
    return index == bytes.count || bytes[index] == 0x2C
  }

  private mutating func skipSpaces() {
    while index < bytes.count, bytes[index] == 0x20 { index += 1 }
  }

  private mutating func number() -> Int? {
    let start = index
    while index < bytes.count, ASCII.isDigit(bytes[index]) { index += 1 }
    return bytes.slice(start, index).decimal
  }
}
