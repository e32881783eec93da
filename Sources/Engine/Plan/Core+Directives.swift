// Directives of ngx_http_core_module about locations and what they answer
// (https://nginx.org/en/docs/http/ngx_http_core_module.html).

import Configuration
import HTTP

extension Row {
  static let coreRows: [Row] = [
    Row(
      "stub_status", [.server, .location], 0...1,
      "Answers with the numbers of connections and requests of all threads, in nginx's words."
    ) { scope, directive throws(Refusal) in
      scope.location.core.tellsStatus = true
    },
    Row("empty_gif", .location, 0...0, "Answers with a transparent image of one pixel.") {
      scope, directive throws(Refusal) in
      scope.location.core.isEmptyImage = true
    },
    Row("internal", .location, 0...0, "Only internal redirects reach this location.") {
      scope, directive throws(Refusal) in
      scope.location.core.isInternal = true
    },
    Row("error_page", .anyHTTP, 2...1000, "What answers in place of an error.") {
      scope, directive throws(Refusal) in
      if scope.isFirst(directive) { scope.location.core.errorPages = [] }
      scope.location.core.errorPages.append(try errorPage(scope, directive))
    }.repeatable(),
    .flag(
      "recursive_error_pages", .anyHTTP.subtracting(.locationIf),
      \.location.core.recursiveErrorPages, "off", "Whether an error page may have an error page."),
    Row(
      "server_tokens", .httpServerLocation, 1...1,
      """
      What the Server field and our own pages tell: `off` our name, `on` and `build` the version \
      too, any other string itself; an empty one leaves the field out.
      """,
      standard: "off"
    ) { scope, directive throws(Refusal) in
      switch directive.text(0) {
      case "off": scope.location.core.signature = nil
      case "on", "build":
        scope.location.core.signature = Template(literal: scope.bytes(Version.product))
      default: scope.location.core.signature = try scope.template(directive, 0)
      }
    },
    .flag(
      "absolute_redirect", .httpServerLocation, \.location.core.absoluteRedirect, "on",
      "Whether redirects name scheme and host."),
    .flag(
      "server_name_in_redirect", .httpServerLocation, \.location.core.serverNameInRedirect, "off",
      "Whether redirects use the first server_name."),
    .flag(
      "port_in_redirect", .httpServerLocation, \.location.core.portInRedirect, "on",
      "Whether redirects name the port."),
    .flag(
      "chunked_transfer_encoding", .httpServerLocation, \.location.core.chunkedTransferEncoding,
      "on", "Whether bodies of unknown length go out in chunks."),
    Row(
      "limit_rate", .anyHTTP, 1...1,
      "Bytes a second that one response is sent with; 0: as many as the client takes.",
      standard: "0"
    ) { scope, directive throws(Refusal) in
      scope.location.core.limitRate = try byteRate(scope, directive)
    },
    Row(
      "limit_rate_after", .anyHTTP, 1...1,
      "How much of a response is sent before its rate is limited.", standard: "0"
    ) { scope, directive throws(Refusal) in
      scope.location.core.limitRateAfter = try byteRate(scope, directive)
    },
    Row(
      "early_hints", .httpServerLocation, 1...1000,
      """
      Passes an upstream's interim responses (103, 102) on if one of the values is neither empty \
      nor 0.
      """
    ) { scope, directive throws(Refusal) in
      var conditions: [Template] = []
      for position in directive.arguments.indices {
        conditions.append(try scope.template(directive, position))
      }
      scope.location.core.earlyHints = conditions
    },
    Row(
      "resolver", [.http, .server, .location, .upstream], 1...1000,
      "Name servers for names that only requests know."
    ) { scope, directive throws(Refusal) in
      var settings = try resolver(scope, directive)
      if scope.context == .upstream {
        scope.upstream?.settings.resolver = settings
      } else {
        settings.timeout = scope.location.core.resolverTimeout
        scope.location.core.resolver = settings
      }
    },
    Row(
      "resolver_timeout", [.http, .server, .location, .upstream], 1...1,
      "How long resolving a name may take.", standard: "30s"
    ) { scope, directive throws(Refusal) in
      let time = try directive.time(0)
      if scope.context == .upstream {
        scope.upstream?.settings.resolverTimeout = time
      } else {
        scope.location.core.resolverTimeout = time
        scope.location.core.resolver?.timeout = time
      }
    },
  ]

  private static func errorPage(_ scope: Scope, _ directive: Directive) throws(Refusal) -> ErrorPage
  {
    var statuses: [Int] = []
    var answer: Int?
    let last = directive.arguments.count - 1
    for index in 0..<last {
      let word = directive.text(index)
      if word.hasPrefix("=") {
        guard index == last - 1 else {
          throw Refusal("\"\(word)\" must stand right before the page", argument: index)
        }
        answer = word == "=" ? 0 : try directive.number(String(word.dropFirst()), index, 100...999)
        continue
      }
      let status = try directive.number(index, 300...599)
      if status == 499 {
        throw Refusal("\"error_page\" can't stand for 499: the client is gone", argument: index)
      }
      // nginx's codes for TLS troubles that the client sees as 400.
      statuses.append(status)
    }
    return ErrorPage(
      statuses: statuses, responseStatus: answer, target: try scope.template(directive, last))
  }

  private static func byteRate(_ scope: Scope, _ directive: Directive) throws(Refusal) -> ByteRate {
    let template = try scope.template(directive, 0)
    if template.isConstant { return ByteRate(constant: try directive.size(0)) }
    return ByteRate(template: template)
  }

  static func resolver(_ scope: Scope, _ directive: Directive) throws(Refusal) -> ResolverSettings {
    var settings = ResolverSettings(servers: [])
    for index in directive.arguments.indices {
      if let value = directive.parameter("valid", index) {
        settings.validity = try directive.seconds(value, index) * 1000
      } else if let value = directive.parameter("ipv6", index) {
        settings.usesIPv6 = try directive.flag(value, index)
      } else if let value = directive.parameter("ipv4", index) {
        settings.usesIPv4 = try directive.flag(value, index)
      } else if directive.parameter("status_zone", index) != nil {
        continue
      } else {
        settings.servers += try nameServers(scope, directive, index)
      }
    }
    if settings.servers.isEmpty { throw Refusal("\"resolver\" has no name servers") }
    if !settings.usesIPv4 && !settings.usesIPv6 {
      throw Refusal("\"ipv4\" and \"ipv6\" can't both be \"off\"")
    }
    return settings
  }

  /// The addresses of a name server that is given by address or by name.
  private static func nameServers(_ scope: Scope, _ directive: Directive, _ index: Int)
    throws(Refusal) -> [SocketAddress]
  {
    let word = directive.text(index)
    guard let server = HostPort(word, defaultPort: 53), server.address?.isUnix != true else {
      throw Refusal("\"\(word)\" is not the address of a name server", argument: index)
    }
    if let address = server.address { return [address] }
    if word.contains("=") {
      throw directive.unknownParameter(index, ["valid=", "ipv4=", "ipv6=", "status_zone="])
    }
    let addresses = scope.builder.files.addresses(of: server.host).compactMap {
      SocketAddress(literal: $0, port: server.port)
    }
    if addresses.isEmpty {
      throw Refusal("host not found in resolver \"\(word)\"", argument: index)
    }
    return addresses
  }
}
