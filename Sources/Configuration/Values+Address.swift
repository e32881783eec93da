// Addresses as text: `host:port`, `[v6]:port`, `unix:path`, and for `listen` also a port alone or
// `*`.
//
// Nothing is resolved and no address is made binary here; Engine does that. Port ranges aren't
// read.

/// An address in its parts.
public struct AddressParts: Sendable, Equatable {
  public enum Host: Sendable, Equatable {
    /// `*`, or a port alone.
    case wildcard
    /// A name or an IPv4 address.
    case name(String)
    /// What stood between brackets.
    case v6(String)
    /// The path of a UNIX socket.
    case unix(String)
  }

  public var host: Host
  /// nil when none was written.
  public var port: UInt16?

  public init(host: Host, port: UInt16? = nil) {
    self.host = host
    self.port = port
  }
}

extension Value {
  /// The address of an upstream server: `host`, `host:port`, `[v6]:port` or `unix:path`.
  public static func address(_ text: String, of subject: String) throws(ValueError) -> AddressParts
  {
    try address(text, of: subject, allowed: "an address such as \"10.0.0.3:8080\"", isListen: false)
  }

  /// The address of a listener, which may also be a port alone or `*:port`.
  public static func listenAddress(
    _ text: String, of subject: String
  ) throws(ValueError) -> AddressParts {
    let allowed = "a port or an address such as \"80\", \"127.0.0.1:80\" or \"[::]:80\""
    if digits(text.utf8) != nil {
      return AddressParts(host: .wildcard, port: try port(text[...], of: subject, in: text))
    }
    return try address(text, of: subject, allowed: allowed, isListen: true)
  }

  private static func address(
    _ text: String, of subject: String, allowed: String, isListen: Bool
  ) throws(ValueError) -> AddressParts {
    if equalsIgnoringCase(String(text.prefix(5)), "unix:") {
      return AddressParts(host: .unix(try socketPath(text, of: subject)))
    }
    let host: AddressParts.Host
    let rest: Substring
    if text.utf8.first == UInt8(ascii: "[") {
      guard let close = text.utf8.firstIndex(of: UInt8(ascii: "]")) else {
        throw ValueError("\(quoted(subject)): \(quoted(text)) has no closing \"]\"")
      }
      let inner = text[text.utf8.index(after: text.startIndex)..<close]
      guard !inner.isEmpty, inner.utf8.allSatisfy(isAddressByte) else {
        throw ValueError(subject, mustBe: "an address such as \"[::1]:80\"", not: text)
      }
      host = .v6(String(inner))
      rest = text[text.utf8.index(after: close)...]
    } else {
      let end = text.utf8.firstIndex(of: UInt8(ascii: ":")) ?? text.endIndex
      let name = text[..<end]
      guard isHostName(name) || (isListen && name == "*") else {
        throw ValueError(subject, mustBe: allowed, not: text)
      }
      host = isListen && name == "*" ? .wildcard : .name(String(name))
      rest = text[end...]
    }
    guard !rest.isEmpty else { return AddressParts(host: host) }
    guard rest.utf8.first == UInt8(ascii: ":") else {
      throw ValueError(subject, mustBe: allowed, not: text)
    }
    if rest.utf8.dropFirst().contains(UInt8(ascii: ":")) {
      throw ValueError(
        "\(quoted(subject)): write an IPv6 address in brackets, as \"[::1]:80\", "
          + "not \(quoted(text))")
    }
    return AddressParts(host: host, port: try port(rest.dropFirst(), of: subject, in: text))
  }

  private static func socketPath(_ text: String, of subject: String) throws(ValueError) -> String {
    let path = String(text.dropFirst(5))
    // Bound: sun_path of sockaddr_un holds 108 bytes with the final zero.
    guard !path.isEmpty, path.utf8.count <= 107 else {
      throw ValueError(
        subject, mustBe: "\"unix:\" and a path of 1 to 107 bytes", not: text)
    }
    return path
  }

  private static func port(
    _ digitsText: Substring, of subject: String, in text: String
  ) throws(ValueError) -> UInt16 {
    guard let value = digits(digitsText.utf8), value >= 1, let port = UInt16(exactly: value) else {
      throw ValueError(
        "the port of \(quoted(subject)) must be between 1 and 65535, not "
          + "\(quoted(String(digitsText))), in \(quoted(text))")
    }
    return port
  }

  private static func isAddressByte(_ byte: UInt8) -> Bool {
    let lower = byte | 0x20
    return ASCII.isDigit(byte) || byte == UInt8(ascii: ":") || byte == UInt8(ascii: ".")
      || (lower >= UInt8(ascii: "a") && lower <= UInt8(ascii: "f"))
  }

  private static func isHostName(_ name: Substring) -> Bool {
    let forbidden = Array("/?#*[]@ \t\"'<>\\".utf8)
    return !name.isEmpty && name.utf8.allSatisfy { $0 > 0x20 && !forbidden.contains($0) }
  }
}
