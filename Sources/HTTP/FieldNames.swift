// A set of field names in two words, kept beside each field table.
//
// The parser notes which known fields a head has, and which it has more than once, so that asking
// for a field that isn't there (most questions) costs one test, and "any of these repeated?"
// another.

/// A set of field names, for asking in one step which fields a head has.
public struct FieldNames: BitwiseCopyable, Equatable, Sendable {
  private var low: UInt64 = 0
  private var high: UInt64 = 0

  /// The empty set.
  public init() {}

  /// A set of these names.
  public init(_ names: FieldName...) {
    for name in names { insert(name) }
  }

  /// Whether `name` is in the set.
  @inline(__always)
  public func contains(_ name: FieldName) -> Bool {
    let half = name.rawValue < 64 ? low : high
    return (half &>> UInt64(name.rawValue & 63)) & 1 != 0
  }

  /// Whether the sets have a name in common.
  @inline(__always)
  public func intersects(_ other: FieldNames) -> Bool {
    (low & other.low) | (high & other.high) != 0
  }

  /// Adds `name`.
  @inline(__always)
  public mutating func insert(_ name: FieldName) {
    let bit: UInt64 = 1 &<< UInt64(name.rawValue & 63)
    if name.rawValue < 64 { low |= bit } else { high |= bit }
  }

  /// Takes `name` out.
  public mutating func remove(_ name: FieldName) {
    let bit: UInt64 = 1 &<< UInt64(name.rawValue & 63)
    if name.rawValue < 64 { low &= ~bit } else { high &= ~bit }
  }
}
