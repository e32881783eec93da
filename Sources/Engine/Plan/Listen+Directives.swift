// The arguments of `listen` (ngx_http_core_module).

import Configuration

extension ListenDraft {
  private static let parameters = [
    "default_server", "ssl", "http2", "proxy_protocol", "backlog=", "rcvbuf=", "sndbuf=",
    "reuseport", "deferred", "bind",
    "ipv6only=", "so_keepalive=", "fastopen=",
  ]

  /// What one `listen` directive asks for: an entry for each of `addresses`, which its first word
  /// stands for.
  static func all(
    of directive: Directive, on addresses: [SocketAddress]
  ) throws(Refusal) -> [ListenDraft] {
    var draft = ListenDraft(
      settings: ListenSettings(address: addresses[0]), word: directive.arguments[0])
    for index in directive.arguments.indices.dropFirst() { try draft.apply(directive, index) }
    return addresses.map { address in
      draft.settings.address = address
      return draft
    }
  }

  private mutating func apply(_ directive: Directive, _ index: Int) throws(Refusal) {
    if let value = directive.parameter("backlog", index) {
      settings.backlog = try directive.number(value, index, -1...Int(Int32.max))
      setsSocket = true
    } else if let value = directive.parameter("rcvbuf", index) {
      settings.receiveBufferBytes = try directive.size(value, index)
      setsSocket = true
    } else if let value = directive.parameter("sndbuf", index) {
      settings.sendBufferBytes = try directive.size(value, index)
      setsSocket = true
    } else if let value = directive.parameter("fastopen", index) {
      settings.fastOpen = try directive.number(value, index, 0...65_535)
      setsSocket = true
    } else if let value = directive.parameter("ipv6only", index) {
      settings.ipv6Only = try isOn(value, "ipv6only", index)
      setsSocket = true
    } else if let value = directive.parameter("so_keepalive", index) {
      settings.keepAlive = try keepAlive(value, directive, index)
      setsSocket = true
    } else {
      try applyFlag(directive, index)
    }
  }

  private mutating func applyFlag(_ directive: Directive, _ index: Int) throws(Refusal) {
    switch directive.text(index) {
    case "default_server", "default": defaultWord = directive.arguments[index]
    case "ssl": isTLS = true
    case "http2": speaksHTTP2 = true
    case "proxy_protocol": takesProxyHeader = true
    case "reuseport": (settings.reusePort, setsSocket) = (true, true)
    case "deferred": (settings.deferredAccept, setsSocket) = (true, true)
    case "bind": setsSocket = true
    case "quic": throw Refusal("\"listen … quic\": HTTP/3 is not supported", argument: index)
    default: throw directive.unknownParameter(index, Self.parameters)
    }
  }

  private func isOn(_ value: String, _ name: String, _ index: Int) throws(Refusal) -> Bool {
    guard value == "on" || value == "off" else {
      throw Refusal("\"\(name)\" must be \"on\" or \"off\", not \"\(value)\"", argument: index)
    }
    return value == "on"
  }

  /// `on`, `off`, or `[keepidle]:[keepintvl]:[keepcnt]` with at least one of them.
  private func keepAlive(
    _ value: String, _ directive: Directive, _ index: Int
  ) throws(Refusal) -> TCPKeepAlive {
    let parts = value.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
    if parts.count == 1 {
      return TCPKeepAlive(isOn: try isOn(value, "so_keepalive", index))
    }
    guard parts.count == 3, parts.contains(where: { !$0.isEmpty }) else {
      throw Refusal(
        """
        "so_keepalive" must be "on", "off" or "idle:interval:count" (any two may be left out), not \
        "\(value)"
        """,
        argument: index)
    }
    var keepAlive = TCPKeepAlive(isOn: true)
    if !parts[0].isEmpty { keepAlive.idleSeconds = try seconds(parts[0], directive, index) }
    if !parts[1].isEmpty { keepAlive.intervalSeconds = try seconds(parts[1], directive, index) }
    if !parts[2].isEmpty { keepAlive.probes = try directive.number(parts[2], index, 1...127) }
    return keepAlive
  }

  /// A time that the kernel takes for its probes (tcp(7)): 1 to 32,767 seconds.
  private func seconds(
    _ word: String, _ directive: Directive, _ index: Int
  ) throws(Refusal) -> Int {
    let seconds = try directive.seconds(word, index)
    guard (1...32_767).contains(seconds) else {
      throw Refusal(
        "\"so_keepalive\" takes times of 1 to 32767 seconds, not \"\(word)\"", argument: index)
    }
    return seconds
  }
}

/// The first argument of `listen`: `8080`, `8000-8003`, `*:8080`, `10.0.0.1`, `[::]:80`,
/// `localhost:80-82`, `unix:/path`.
struct ListenAddresses {
  /// One for each port of each address; at least one.
  let all: [SocketAddress]

  init(_ text: String, _ lookUp: (String) -> [String]) throws(Refusal) {
    if text.hasPrefix("unix:") {
      guard let address = HostPort(text, defaultPort: 0)?.address else {
        guard text.utf8.count > SocketAddress.longestUnixPath else { throw Self.invalid(text) }
        throw Refusal(
          """
          too long path in "listen \(text)": a Unix domain socket takes \
          \(SocketAddress.longestUnixPath) bytes
          """, argument: 0)
      }
      all = [address]
      return
    }
    try Self.check(forVariables: text)
    let (host, ports) = try Self.parts(text)
    let hosts = SocketAddress(literal: host, port: 80) != nil ? [host] : lookUp(host)
    var seen: Set<SocketAddress> = []
    all = hosts.flatMap { host in ports.compactMap { SocketAddress(literal: host, port: $0) } }
      .filter { seen.insert($0).inserted }
    if all.isEmpty { throw Refusal("host not found in \"listen \(text)\"", argument: 0) }
  }

  private static func invalid(_ text: String) -> Refusal {
    Refusal("invalid host or port in \"listen \(text)\"", argument: 0)
  }

  /// Refuses a template for envsubst that nobody has filled in.
  private static func check(forVariables text: String) throws(Refusal) {
    guard let start = text.firstIndex(of: "$"), text[start...].hasPrefix("${"),
      let end = text[start...].firstIndex(of: "}")
    else { return }
    let written = text[start...end]
    let name = written.dropFirst(2).dropLast()
    throw Refusal(
      """
      "listen" takes no variables, as "\(written)" is one; "${env:\(name)}" is that of the \
      environment
      """, argument: 0)
  }

  /// The host as written, without brackets, and the ports.
  private static func parts(
    _ text: String
  ) throws(Refusal) -> (host: String, ports: ClosedRange<UInt16>) {
    if let ports = try ports(text[...], text) { return ("0.0.0.0", ports) }
    // getaddrinfo(3) makes an address of any number: 70000 is 0.1.17.112.
    if !text.isEmpty, text.allSatisfy({ $0 == "-" || ("0"..."9").contains($0) }) {
      throw Refusal("invalid port in \"listen \(text)\"", argument: 0)
    }
    var host = text[...]
    var port = text[text.endIndex...]
    if text.hasPrefix("[") {
      guard let end = text.firstIndex(of: "]") else { throw invalid(text) }
      host = text[text.index(after: text.startIndex)..<end]
      port = text[text.index(after: end)...]
      guard SocketAddress(literal: String(host), port: 80) != nil else { throw invalid(text) }
    } else if let colon = text.firstIndex(of: ":") {
      host = text[..<colon]
      port = text[colon...]
    }
    if host == "*" { host = "0.0.0.0" }
    guard !host.isEmpty, !host.contains("/"), !host.contains(" ") else { throw invalid(text) }
    if port.isEmpty { return (String(host), 80...80) }
    guard port.hasPrefix(":"), let ports = try ports(port.dropFirst(), text) else {
      throw invalid(text)
    }
    return (String(host), ports)
  }

  /// `8080` or `8000-8003`; nil if it is neither.
  private static func ports(
    _ word: Substring, _ text: String
  ) throws(Refusal) -> ClosedRange<UInt16>? {
    let ends = word.split(separator: "-", omittingEmptySubsequences: false)
    guard ends.count <= 2, ends.allSatisfy({ $0.allSatisfy { ("0"..."9").contains($0) } }),
      let first = UInt16(ends[0]), let last = UInt16(ends[ends.count - 1]), first > 0, last > 0
    else { return nil }
    guard first <= last else {
      throw Refusal(
        "the ports of \"listen \(text)\" end before they begin: write \(last)-\(first)", argument: 0
      )
    }
    return first...last
  }
}
