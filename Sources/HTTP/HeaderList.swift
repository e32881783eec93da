// Comma-separated lists in field values (RFC 9110 §5.6.1), and the one list that says which other
// fields stop at this hop.

/// Iterates over the elements of a field value. Empty elements are skipped, white space around an
/// element is not part of it, a comma in a quoted string separates nothing.
public struct HeaderList: BitwiseCopyable, Sequence, IteratorProtocol {
  private let value: Bytes
  private var position = 0

  /// The elements of `value`.
  public init(_ value: Bytes) { self.value = value }

  /// The next element, or nil.
  public mutating func nextToken() -> Bytes? {
    while position < value.count {
      let start = position
      let end = endOfElement()
      position = end + 1
      let element = value.slice(start, end).trimmed
      if element.count > 0 { return element }
    }
    return nil
  }

  /// The same as `nextToken`, for `for`.
  public mutating func next() -> Bytes? { nextToken() }

  private func endOfElement() -> Int {
    var index = position
    var isQuoted = false
    while index < value.count {
      switch value[index] {
      case 0x22: isQuoted.toggle()
      case 0x5C where isQuoted: index += 1
      case 0x2C where !isQuoted: return index
      default: break
      }
      index += 1
    }
    return value.count
  }

  /// Whether an element equals `token`, A–Z counting as a–z.
  public static func contains(_ token: Bytes, in value: Bytes) -> Bool {
    var list = HeaderList(value)
    while let element = list.nextToken() {
      if element.equalsIgnoringCase(token) { return true }
    }
    return false
  }
}

extension MessageHead {
  /// Whether a Connection field names the field `name`, so that it isn't forwarded (RFC 9110
  /// §7.6.1). Fields that say where a message goes and ends can't be named away.
  ///
  /// - Parameter bytes: the buffer that begins with this head.
  public func connectionNames(_ name: Bytes, in bytes: Bytes) -> Bool {
    guard present.contains(.connection) else { return false }
    switch FieldName.lookup(name) {
    case .host, .contentLength, .transferEncoding: return false
    default: break
    }
    for index in 0..<fields.count where fields[index].token == .connection {
      if HeaderList.contains(name, in: fields[index].value.of(bytes)) { return true }
    }
    return false
  }
}
