// Directives of ngx_http_realip_module
// (https://nginx.org/en/docs/http/ngx_http_realip_module.html).

import Configuration
import HTTP

extension Row {
  static let realIPRows: [Row] = [
    Row(
      "set_real_ip_from", .httpServerLocation, 1...1,
      """
      Whose word about client addresses is believed: an address, a network, a host name or \
      `unix:`.
      """
    ) { scope, directive throws(Refusal) in
      if scope.isFirst(directive) {
        scope.location.realIP.trusted = TrustedSenders()
      }
      if directive.text(0) == "unix:" {
        scope.location.realIP.trusted.hasUnix = true
      } else {
        scope.location.realIP.trusted.networks += try networks(scope, directive)
      }
    }.repeatable(),
    Row(
      "real_ip_header", .httpServerLocation, 1...1,
      "Where the client's address stands: a request field, or `proxy_protocol`.",
      standard: "X-Real-IP"
    ) { scope, directive throws(Refusal) in
      scope.location.realIP.source = try realIPSource(scope, directive)
    },
    .flag(
      "real_ip_recursive", .httpServerLocation, \.location.realIP.isRecursive, "off",
      "Whether the last address that isn't trusted counts, instead of the last one."),
  ]

  private static func networks(_ scope: Scope, _ directive: Directive) throws(Refusal)
    -> [IPNetwork]
  {
    let word = directive.text(0)
    if let network = IPNetwork(scope.bytes(word)) { return [network] }
    if word.contains("/") {
      throw Refusal(
        "\"\(word)\" is no network; write one as \"10.0.0.0/8\" or \"2001:db8::/32\"", argument: 0)
    }
    let addresses = scope.builder.files.addresses(of: word)
    if addresses.isEmpty {
      throw Refusal("host not found in \"set_real_ip_from\": \"\(word)\"", argument: 0)
    }
    return addresses.compactMap { IPNetwork(scope.bytes($0)) }
  }

  private static func realIPSource(_ scope: Scope, _ directive: Directive) throws(Refusal)
    -> RealIPSettings.Source
  {
    if directive.text(0) == "proxy_protocol" { return .proxyHeader }
    let name = scope.bytes(directive.text(0))
    guard !name.isEmpty, directive.text(0).utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f && $0 != 0x3a })
    else {
      throw Refusal("\"\(directive.text(0))\" is no field name", argument: 0)
    }
    let token = FieldName.lookup(name)
    return token == .xForwardedFor ? .forwardedFor : .field(name, token)
  }
}
