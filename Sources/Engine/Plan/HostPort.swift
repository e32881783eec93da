// Addresses as the configuration writes them: "10.0.0.1:80", "[::1]:80", "name:80", "unix:/path".

import Configuration

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
    return UInt16(port) ?? 0 == 0 ? "invalid port \"\(port)\"" : "invalid host"
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
        guard let number = UInt16(rest.dropFirst()), number > 0 else { return nil }
        port = number
        hasPort = true
      } else if !rest.isEmpty {
        return nil
      }
    } else if let colon = bytes.lastIndex(of: UInt8(ascii: ":")) {
      guard let number = UInt16(text[bytes.index(after: colon)...]), number > 0 else { return nil }
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
}
