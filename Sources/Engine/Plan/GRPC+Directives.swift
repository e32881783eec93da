// Directives of ngx_http_grpc_module (https://nginx.org/en/docs/http/ngx_http_grpc_module.html).
//
// A gRPC server is an upstream that speaks HTTP/2, whose streams flow both ways and end in
// trailers. Its settings are those of a proxied one, kept beside them: the rows are the rows of
// `proxy_` directives, applied to the other set.

import Configuration
import HTTP

extension ProxySettings {
  /// What `grpc_` directives begin with.
  static var grpc: ProxySettings {
    var settings = ProxySettings()
    settings.version = .http2
    settings.isGRPC = true
    settings.buffering = false
    settings.requestBuffering = false
    settings.redirects = []
    return settings
  }
}

extension LocationSettings {
  /// What a location acts by: `grpc_pass` puts the `grpc_` settings in the place of the others.
  var inForce: LocationSettings {
    guard passesGRPC else { return self }
    var settings = self
    settings.proxy = proxyInForce
    settings.upstreamTLS = upstreamTLSInForce
    if settings.cache.source != nil { settings.cache.source = nil }
    return settings
  }

  /// The same members alone, without a copy of all others.
  var proxyInForce: Shared<ProxySettings> { passesGRPC ? grpc : proxy }
  var upstreamTLSInForce: Shared<UpstreamTLSSettings> { passesGRPC ? grpcTLS : upstreamTLS }

  private var passesGRPC: Bool { grpc.value.pass != nil }

  /// Lets what writes the proxy's settings write the `grpc_` ones.
  fileprivate mutating func swapProxyAndGRPC() {
    swap(&proxy, &grpc)
    swap(&upstreamTLS, &grpcTLS)
  }
}

extension Row {
  static let grpcRows: [Row] =
    [
      Row(
        "grpc_pass", [.location, .locationIf, .limitExcept], 1...1,
        "The gRPC server that answers: an address or an upstream, behind `grpc://` or `grpcs://`."
      ) { scope, directive throws(Refusal) in
        scope.location.grpc.pass = try grpcPass(scope, directive)
        if scope.location.proxy.pass != nil { scope.location.proxy.pass = nil }
      },
      Row(
        "grpc_ignore_headers", .httpServerLocation, 1...1000,
        "Fields of responses that have no effect here."
      ) { scope, directive throws(Refusal) in
        let known: [String: FieldName] = [
          "x-accel-redirect": .xAccelRedirect, "x-accel-charset": .xAccelCharset,
        ]
        var ignored = scope.isFirst(directive) ? FieldNames() : scope.location.grpc.ignoredFields
        for index in directive.arguments.indices {
          guard let field = known[directive.text(index).lowercased()] else {
            throw directive.unknownParameter(index, ["X-Accel-Redirect", "X-Accel-Charset"])
          }
          ignored.insert(field)
        }
        scope.location.grpc.ignoredFields = ignored
      }.repeatable(),
    ] + proxyRows.compactMap { grpcRow($0) }

  /// What `grpc_` directives have in common with `proxy_` ones.
  private static let shared: Set<String> = [
    "set_header", "hide_header", "pass_header", "connect_timeout", "read_timeout", "send_timeout",
    "next_upstream", "next_upstream_tries", "next_upstream_timeout", "buffer_size",
    "intercept_errors", "bind", "socket_keepalive",
  ]

  /// The `grpc_` row that does what `row` does, or nil if there is none.
  private static func grpcRow(_ row: Row) -> Row? {
    let name = row.name.dropFirst("proxy_".count)
    guard shared.contains(String(name)) || name.hasPrefix("ssl_") else { return nil }
    let twinName = "grpc_\(name)"
    let twin = Row(twinName, row.contexts, row.arguments, row.summary, standard: row.standard) {
      scope, directive throws(Refusal) in
      scope.location.swapProxyAndGRPC()
      defer { scope.location.swapProxyAndGRPC() }
      try row.apply(scope, directive)
    }
    return row.isRepeatable ? twin.repeatable() : twin
  }

  private static func grpcPass(_ scope: Scope, _ directive: Directive) throws(Refusal) -> ProxyPass
  {
    let text = directive.text(0)
    if text.contains("$") {
      return ProxyPass(.variable(try scope.template(directive, 0)))
    }
    let start = text.prefix(8).lowercased()
    let isTLS = start.hasPrefix("grpcs://")
    let authority = String(text.dropFirst(isTLS ? 8 : start.hasPrefix("grpc://") ? 7 : 0))
    let isPath = authority.hasPrefix("unix:")
    guard let target = HostPort(authority, defaultPort: isTLS ? 443 : 80),
      isPath || !authority.contains("/")
    else {
      throw Refusal(
        """
        invalid host or port in "\(text)"; write "grpc://host:port", "grpcs://host:port" or an \
        upstream's name
        """,
        argument: 0)
    }
    let name = isPath ? "localhost" : authority
    let reference = try scope.builder.reference(authority, target, directive)
    return ProxyPass(
      .upstream(
        UpstreamURL(
          upstream: reference, isTLS: isTLS, uri: nil, host: scope.bytes(name),
          port: scope.bytes(String(target.port)), text: scope.bytes(text))))
  }
}
