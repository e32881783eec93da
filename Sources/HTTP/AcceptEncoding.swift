// What codings of a body a client takes: Accept-Encoding (RFC 9110 §12.5.3).

/// What the Accept-Encoding fields of a request say of one coding. Fields are added one after the
/// other, since a list may be spread over several.
public struct CodingPreference: BitwiseCopyable {
  private let coding: Bytes
  /// What was said of the coding itself; nil: nothing.
  private var named: Bool?
  /// What was said of all others, by "*".
  private var others: Bool?

  /// - Parameter coding: a coding such as "gzip"; its old name "x-gzip" means the same.
  public init(_ coding: Bytes) { self.coding = coding }

  /// Whether the coding may be used: it is named, or everything is, with a weight other than 0.
  public var isAccepted: Bool { named ?? others ?? false }

  /// Adds what one field says.
  public mutating func add(_ value: Bytes) {
    var list = HeaderList(value)
    while let element = list.nextToken() {
      let semicolon = element.firstIndex(of: UInt8(ascii: ";"))
      let name = element.prefix(semicolon ?? element.count).trimmed
      let isWanted = semicolon.map { Self.isWanted(element.dropping($0 + 1)) } ?? true
      if isSame(name) {
        named = isWanted
      } else if name == Bytes("*") {
        others = isWanted
      }
    }
  }

  private func isSame(_ name: Bytes) -> Bool {
    if name.equalsIgnoringCase(coding) { return true }
    return name.hasPrefixIgnoringCase(Bytes("x-")) && name.dropping(2).equalsIgnoringCase(coding)
  }

  /// Whether a weight, "q=0.5", is above 0. One that is malformed counts as 0: what nobody asked
  /// for can't be read.
  private static func isWanted(_ parameters: Bytes) -> Bool {
    let weight = parameters.trimmed
    guard weight.count >= 3, weight[0] | 0x20 == UInt8(ascii: "q"), weight[1] == UInt8(ascii: "=")
    else { return false }
    let digits = weight.dropping(2)
    // Bound: three digits behind the point (RFC 9110 §12.4.2).
    guard digits.count <= 5, digits.count == 1 || digits[1] == UInt8(ascii: ".") else {
      return false
    }
    if digits[0] == UInt8(ascii: "1") { return true }
    guard digits[0] == UInt8(ascii: "0") else { return false }
    var isPositive = false
    for index in 0..<digits.count where index > 1 {
      guard digits[index] >= UInt8(ascii: "0"), digits[index] <= UInt8(ascii: "9") else {
        return false
      }
      if digits[index] != UInt8(ascii: "0") { isPositive = true }
    }
    return isPositive
  }
}
