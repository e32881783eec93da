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
    if text.hasPrefix("unix:") {
      guard let address = SocketAddress(unixPath: String(text.dropFirst(5))), text.count > 5 else {
        return nil
      }
      (host, port, hasPort, self.address) = (text, 0, false, address)
      return
    }
    var host = Substring(text)
    var port = defaultPort
    var hasPort = false
    if text.hasPrefix("[") {
      guard let end = text.firstIndex(of: "]") else { return nil }
      host = text[text.index(after: text.startIndex)..<end]
      let rest = text[text.index(after: end)...]
      if rest.hasPrefix(":") {
        guard let number = UInt16(rest.dropFirst()), number > 0 else { return nil }
        port = number
        hasPort = true
      } else if !rest.isEmpty {
        return nil
      }
    } else if let colon = text.lastIndex(of: ":") {
      guard let number = UInt16(text[text.index(after: colon)...]), number > 0 else { return nil }
      port = number
      hasPort = true
      host = text[..<colon]
    }
    guard !host.isEmpty, !host.contains("/"), !host.contains(" ") else { return nil }
    self.host = String(host)
    self.port = port
    self.hasPort = hasPort
    address = SocketAddress(literal: self.host, port: port)
  }
}
