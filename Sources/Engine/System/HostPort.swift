// Addresses as people write them, "10.0.0.1:80", "[::1]:80", "name:80", "unix:/path", and http://
// URLs with one.

import HTTP

/// A host and a port, taken apart.
struct HostPort {
  var host: String
  var port: UInt16
  /// Whether a port was written.
  var hasPort: Bool
  /// The socket address, if the host is a literal one or a Unix socket.
  var address: SocketAddress?

  /// What is wrong with a text that is none of the forms.
  static func problem(_ text: String) -> String {
    guard !text.hasPrefix("unix:"), let colon = text.lastIndex(of: ":"), colon > text.startIndex,
      !text[colon...].contains("]")
    else { return "invalid host" }
    let port = text[text.index(after: colon)...]
    return Self.port(port) == nil ? "invalid port \"\(port)\"" : "invalid host"
  }

  /// nil if `text` is none of the forms.
  init?(_ text: String, defaultPort: UInt16) {
    let bytes = text.utf8
    if bytes.starts(with: "unix:".utf8) {
      let path = text[bytes.index(bytes.startIndex, offsetBy: 5)...]
      guard !path.isEmpty, let address = SocketAddress(unixPath: String(path)) else { return nil }
      (host, port, hasPort, self.address) = (text, 0, false, address)
      return
    }
    var host = text[...]
    var port = defaultPort
    var hasPort = false
    if bytes.first == UInt8(ascii: "[") {
      guard let end = bytes.firstIndex(of: UInt8(ascii: "]")) else { return nil }
      host = text[bytes.index(after: bytes.startIndex)..<end]
      let rest = text[bytes.index(after: end)...]
      if rest.utf8.first == UInt8(ascii: ":") {
        guard let number = Self.port(rest.dropFirst()) else { return nil }
        port = number
        hasPort = true
      } else if !rest.isEmpty {
        return nil
      }
    } else if let colon = bytes.lastIndex(of: UInt8(ascii: ":")) {
      guard let number = Self.port(text[bytes.index(after: colon)...]) else { return nil }
      port = number
      hasPort = true
      host = text[..<colon]
    }
    let isPlain = host.utf8.allSatisfy { $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: " ") }
    guard !host.isEmpty, isPlain else { return nil }
    self.host = String(host)
    self.port = port
    self.hasPort = hasPort
    address = SocketAddress(literal: self.host, port: port)
  }
  /// 1 to 65535 in digits alone.
  private static func port(_ text: Substring) -> UInt16? {
    guard text.utf8.allSatisfy({ ASCII.isDigit($0) }), let port = UInt16(text), port > 0 else {
      return nil
    }
    return port
  }
}

/// An http:// URL, taken apart (RFC 9110 §4.2.1).
struct HTTPURL: Sendable, Hashable {
  /// A name, or an address without brackets.
  let host: String
  let port: UInt16
  /// The path, at least "/", and the query.
  let target: String

  /// What stands in the Host field.
  var authority: String {
    let name = host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]" : host
    return port == 80 ? name : "\(name):\(port)"
  }

  /// nil unless `url` is an http URL of printable characters with a host.
  init?(_ url: String) {
    let scheme = "http://"
    guard url.prefix(scheme.count).lowercased() == scheme,
      url.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f })
    else { return nil }
    let rest = url.dropFirst(scheme.count)
    let end = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
    guard let place = HostPort(String(rest[..<end]), defaultPort: 80),
      place.address?.isUnix != true
    else { return nil }
    (host, port) = (place.host, place.port)
    let target = rest[end...]
    self.target = target.hasPrefix("/") ? String(target) : "/" + target
  }
}
