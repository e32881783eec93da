// Host and port of a request, as Host, an absolute target, CONNECT or HTTP/2's :authority name
// them.
//
// What is accepted is what nginx accepts: letters, digits, unreserved and sub-delims, an IP literal
// in brackets, a port of digits up to 65535; no user information, no empty labels. Whoever routes
// by the name compares it without case.

/// `host[:port]`, validated (RFC 3986 §3.2).
public struct Authority: BitwiseCopyable {
  /// The host as sent: an IP literal with its brackets, a name without its trailing dot.
  public let host: Bytes
  /// The port, if one is given; "host:" gives none.
  public let port: UInt16?

  /// Nil if the bytes aren't an authority without user information, or have no host.
  public init?(_ bytes: Bytes) {
    guard bytes.count > 0 else { return nil }
    var end: Int
    if bytes[0] == 0x5B {
      guard let bracket = bytes.firstIndex(of: 0x5D), bracket > 1,
        CharacterSet.ipLiteral.containsAll(bytes.slice(1, bracket)),
        !Authority.hasEmptyLabel(bytes.prefix(bracket))
      else { return nil }
      end = bracket + 1
      guard end == bytes.count || bytes[end] == 0x3A else { return nil }
    } else {
      end = bytes.firstIndex(of: 0x3A) ?? bytes.count
      let name = bytes.prefix(end)
      guard CharacterSet.host.containsAll(name), !Authority.hasEmptyLabel(name) else { return nil }
    }
    if end + 1 < bytes.count {
      guard let number = bytes.dropping(end + 1).decimal, number <= 65535 else { return nil }
      port = UInt16(number)
    } else {
      port = nil
    }
    if end > 0, bytes[end - 1] == 0x2E { end -= 1 }
    guard end > 0 else { return nil }
    host = bytes.prefix(end)
  }

  /// Whether two dots follow each other: a label without letters (RFC 1034 §3.1).
  private static func hasEmptyLabel(_ name: Bytes) -> Bool {
    var index = 1
    while index < name.count {
      if name[index] == 0x2E && name[index - 1] == 0x2E { return true }
      index += 1
    }
    return false
  }
}
