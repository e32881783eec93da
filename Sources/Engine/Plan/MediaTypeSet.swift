// The media types that a body filter is for: `gzip_types`, `charset_types` and their like.

import HTTP

/// Media types, compared without their parameters and without case. The two names of JavaScript's
/// are one (RFC 9239 §6): a configuration has the one, a file that is served or an application the
/// other.
struct MediaTypeSet {
  /// "*": every type, and none.
  var isAny = false
  private let store: ByteStore
  private var table: KeyTable

  init(_ types: [String] = ["text/html"]) {
    store = ByteStore()
    table = KeyTable(store: store)
    for type in types { insert(type) }
  }

  /// False if it was there already.
  @discardableResult
  mutating func insert(_ type: String) -> Bool { type.withBytes { table.insert($0, value: 0) } }

  /// Whether it holds the type of a Content-Type field.
  func contains(_ contentType: Bytes?) -> Bool {
    if isAny { return true }
    guard let contentType else { return false }
    let end = contentType.firstIndex(of: UInt8(ascii: ";")) ?? contentType.count
    let type = contentType.prefix(end).trimmed
    if table.find(type) != nil { return true }
    guard let other = Self.otherName(of: type) else { return false }
    return table.find(other) != nil
  }

  private static func otherName(of type: Bytes) -> Bytes? {
    if type.equalsIgnoringCase(text) { return application }
    return type.equalsIgnoringCase(application) ? text : nil
  }

  private static var text: Bytes { Bytes("text/javascript") }
  private static var application: Bytes { Bytes("application/javascript") }
}
