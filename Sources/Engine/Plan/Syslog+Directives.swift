// `syslog:…` as `access_log` and `error_log` take it (https://nginx.org/en/docs/syslog.html).

import Configuration
import HTTP

extension SyslogTarget {
  private static let facilities = [
    "kern", "user", "mail", "daemon", "auth", "intern", "lpr", "news", "uucp", "clock", "authpriv",
    "ftp", "ntp", "audit", "alert", "cron", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
  ]
  private static let parameters = ["server", "facility", "severity", "tag", "nohostname"]

  /// The receiver that the first argument of `directive` names; nil if that isn't `syslog:…`.
  static func parse(_ scope: Scope, _ directive: Directive) throws(Refusal) -> SyslogTarget? {
    let text = directive.text(0)
    guard text.hasPrefix("syslog:") else { return nil }
    var settings = SyslogSettings()
    var seen: Set<String> = []
    for word in text.dropFirst(7).split(separator: ",", omittingEmptySubsequences: false) {
      let key = String(word.prefix { $0 != "=" })
      let value = String(word.dropFirst(key.count + 1))
      guard parameters.contains(key), word.contains("=") == (key != "nohostname") else {
        var message = "unknown syslog parameter \"\(word)\""
        if let nearest = nearestName(to: key, among: parameters), nearest != key {
          message += "; did you mean \"\(nearest)\"?"
        } else {
          message += "; it knows server=, facility=, severity=, tag=, nohostname"
        }
        throw Refusal(message, argument: 0)
      }
      guard seen.insert(key).inserted || key == "nohostname" else {
        throw Refusal("duplicate syslog \"\(key)\"", argument: 0)
      }
      switch key {
      case "server":
        settings.server = value
        settings.address = try address(value, scope)
      case "facility": settings.facility = try facility(value)
      case "severity": settings.severity = try severity(value)
      case "tag": settings.tag = try tag(value)
      default: settings.sendsHostName = false
      }
    }
    guard seen.contains("server") else {
      throw Refusal("no syslog server specified; add \"server=ADDRESS\"", argument: 0)
    }
    return SyslogTarget.of(settings)
  }

  /// The first address of a name, as in nginx.
  private static func address(_ text: String, _ scope: Scope) throws(Refusal) -> SocketAddress {
    guard let server = HostPort(text, defaultPort: 514) else {
      throw Refusal(
        """
        "\(text)" is no address of a syslog server; write one as "10.0.0.1", "[::1]:514", \
        "name:514" or "unix:/path"
        """, argument: 0)
    }
    if let address = server.address { return address }
    for found in scope.builder.files.addresses(of: server.host) {
      if let address = SocketAddress(literal: found, port: server.port) { return address }
    }
    throw Refusal("host not found in syslog server \"\(text)\"", argument: 0)
  }

  private static func facility(_ name: String) throws(Refusal) -> Int {
    if let index = facilities.firstIndex(of: name) { return index }
    var message = "unknown syslog facility \"\(name)\""
    if let nearest = nearestName(to: name, among: facilities) {
      message += "; did you mean \"\(nearest)\"?"
    } else {
      message += "; it must be one of \(facilities.joined(separator: ", "))"
    }
    throw Refusal(message, argument: 0)
  }

  private static func severity(_ name: String) throws(Refusal) -> LogLevel {
    if let level = LogLevel(name: name) { return level }
    let names = LogLevel.allCases.map(\.name).joined(separator: ", ")
    throw Refusal(
      "unknown syslog severity \"\(name)\"; it must be one of \(names)", argument: 0)
  }

  private static func tag(_ text: String) throws(Refusal) -> String {
    if text.utf8.count > SyslogSettings.maxTagBytes {
      throw Refusal(
        "a syslog tag must have at most \(SyslogSettings.maxTagBytes) characters, not "
          + "\(text.utf8.count)", argument: 0)
    }
    let isPlain = text.utf8.allSatisfy { byte in
      ASCII.isDigit(byte) || ASCII.isLetter(byte) || byte == UInt8(ascii: "_")
    }
    guard isPlain else {
      throw Refusal(
        "a syslog tag may only have letters, digits and underscores, unlike \"\(text)\"",
        argument: 0)
    }
    return text
  }
}
