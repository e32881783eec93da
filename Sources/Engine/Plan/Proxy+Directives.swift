// Directives of ngx_http_proxy_module, and `proxy_forwarded`, which is ours
// (https://nginx.org/en/docs/http/ngx_http_proxy_module.html).

import Configuration
import HTTP

extension Row {
  static let proxyRows: [Row] = [
    Row(
      "proxy_pass", [.location, .locationIf, .limitExcept], 1...1,
      """
      The upstream that answers: protocol, address, and optionally a URI that replaces the \
      location.
      """
    ) { scope, directive throws(Refusal) in
      scope.location.proxy.pass = try proxyPass(scope, directive)
      if scope.location.grpc.pass != nil { scope.location.grpc.pass = nil }
    },
    Row(
      "proxy_set_header", .httpServerLocation, 2...2,
      "A field of upstream requests; an empty value removes it."
    ) { scope, directive throws(Refusal) in
      if scope.isFirst(directive) {
        scope.warn(directive.name, hides: scope.location.proxy.setFields)
        scope.location.proxy.setFields = []
      }
      let field = AddedHeader(
        name: try fieldName(scope, directive, 0), value: try fieldValue(scope, directive, 1),
        always: true)
      if !framesBody(field, scope, directive) { scope.location.proxy.setFields.append(field) }
    }.repeatable(),
    Row(
      "proxy_hide_header", .httpServerLocation, 1...1, "A field of responses that is not passed on."
    ) { scope, directive throws(Refusal) in
      if scope.isFirst(directive) { scope.location.proxy.hiddenFields = [] }
      scope.location.proxy.hiddenFields.append(try fieldName(scope, directive, 0))
    }.repeatable(),
    Row(
      "proxy_pass_header", .httpServerLocation, 1...1,
      "A field of responses that is passed on although it usually isn't."
    ) { scope, directive throws(Refusal) in
      if scope.isFirst(directive) { scope.location.proxy.passedFields = [] }
      scope.location.proxy.passedFields.append(try fieldName(scope, directive, 0))
    }.repeatable(),
    .flag(
      "proxy_forwarded", .httpServerLocation, \.location.proxy.forwarded, "off",
      """
      Sets X-Forwarded-For, -Proto, -Host, X-Real-IP and Forwarded, and drops what the client sent \
      under these names.
      """
    ),
    Row(
      "proxy_http_version", .httpServerLocation, 1...1, "The version spoken to upstreams.",
      standard: "1.1"
    ) { scope, directive throws(Refusal) in
      guard let version = UpstreamVersion(rawValue: directive.text(0)) else {
        throw Refusal(
          "\"proxy_http_version\" must be \"1.0\", \"1.1\" or \"2\", not \"\(directive.text(0))\"",
          argument: 0)
      }
      scope.location.proxy.version = version
    },
    Row("proxy_method", .httpServerLocation, 1...1, "The method of upstream requests.") {
      scope, directive throws(Refusal) in
      scope.location.proxy.method = try scope.template(directive, 0)
    },
    Row("proxy_set_body", .httpServerLocation, 1...1, "The body of upstream requests.") {
      scope, directive throws(Refusal) in
      scope.location.proxy.body = try scope.template(directive, 0)
    },
    .flag(
      "proxy_pass_request_headers", .httpServerLocation, \.location.proxy.passesRequestHeaders,
      "on", "Whether the client's fields are passed."),
    .flag(
      "proxy_pass_request_body", .httpServerLocation, \.location.proxy.passesRequestBody, "on",
      "Whether the client's body is passed."),
    .flag(
      "proxy_ignore_client_abort", .httpServerLocation, \.location.proxy.ignoresClientAbort, "off",
      "Whether an upstream request goes on after its client left."),
    .flag(
      "proxy_intercept_errors", .httpServerLocation, \.location.proxy.interceptsErrors, "off",
      "Whether error_page applies to upstream responses."),
    .flag(
      "proxy_socket_keepalive", .httpServerLocation, \.location.proxy.socketKeepalive, "off",
      "Whether TCP looks after idle connections to upstreams."),
    .flag(
      "proxy_pass_trailers", .httpServerLocation, \.location.proxy.passesTrailers, "off",
      "Whether fields behind a chunked response are passed on."),
    Row(
      "proxy_ignore_headers", .httpServerLocation, 1...9,
      "Fields of responses that have no effect here."
    ) { scope, directive throws(Refusal) in
      var ignored = scope.isFirst(directive) ? FieldNames() : scope.location.proxy.ignoredFields
      for index in directive.arguments.indices {
        let names = ignorableFields.filter {
          $0.key.lowercased() == directive.text(index).lowercased()
        }
        guard let token = names.first?.value else {
          throw directive.unknownParameter(index, ignorableFields.keys.sorted())
        }
        ignored.insert(token)
      }
      scope.location.proxy.ignoredFields = ignored
    }.repeatable(),
    .flag(
      "proxy_request_buffering", .httpServerLocation, \.location.proxy.requestBuffering, "on",
      """
      Whether a request body is read whole before it is passed; a chunked one always is for \
      HTTP/1.0.
      """),
    Row(
      "proxy_bind", .httpServerLocation, 1...2,
      """
      The local address of connections to upstreams, and optionally their port; `transparent` is \
      not supported.
      """,
      standard: "off"
    ) { scope, directive throws(Refusal) in
      scope.location.proxy.bind = try localAddress(scope, directive)
    },
    // --- buffering -------------------------------------------------------------------------------
    .flag(
      "proxy_buffering", .httpServerLocation, \.location.proxy.buffering, "on",
      "Whether responses are read ahead of a slow client."),
    .size(
      "proxy_buffer_size", .httpServerLocation, \.location.proxy.bufferBytes, "64k",
      "The largest response head; larger than nginx's 4k or 8k, since a head too big is a 502.",
      limit: 1 << 30),
    Row(
      "proxy_buffers", .httpServerLocation, 2...2,
      "Number and size of buffers: how much of a response waits in memory.", standard: "8 8k"
    ) { scope, directive throws(Refusal) in
      scope.location.proxy.bufferCount = try directive.number(0, 2...65536)
      scope.location.proxy.bufferUnitBytes = try directive.size(1)
    },
    .noEffect(
      "proxy_busy_buffers_size", .httpServerLocation, .size,
      "Accepted for nginx's sake: what waits in memory is sent as soon as the client takes it."),
    .size(
      "proxy_max_temp_file_size", .httpServerLocation, \.location.proxy.maxTemporaryFileBytes,
      "1024m", "How much of a response may wait in a file; 0: none."),
    .noEffect(
      "proxy_temp_file_write_size", .httpServerLocation, .size,
      "Accepted for nginx's sake: what was read at a time is written at a time."),
    Row(
      "proxy_limit_rate", .httpServerLocation, 1...1,
      """
      How many bytes a second are read from the upstream for one request, if responses are \
      buffered; 0: as many as come.
      """,
      standard: "—"
    ) { scope, directive throws(Refusal) in
      let rate = try scope.template(directive, 0)
      if rate.isConstant { _ = try directive.size(0) }
      scope.location.proxy.limitRate = rate
    },
    Row(
      "proxy_temp_path", .httpServerLocation, 1...4, "The folder for responses that wait in files.",
      standard: "proxy_temp"
    ) { scope, directive throws(Refusal) in
      scope.location.proxy.temporaryPath = try temporaryPath(scope, directive)
    },
    // --- time ------------------------------------------------------------------------------------
    .time(
      "proxy_connect_timeout", .httpServerLocation, \.location.proxy.connectTimeout, "60s",
      "How long connecting may take."),
    .time(
      "proxy_read_timeout", .httpServerLocation, \.location.proxy.readTimeout, "60s",
      "How long a server may send nothing."),
    .time(
      "proxy_send_timeout", .httpServerLocation, \.location.proxy.sendTimeout, "60s",
      "How long a server may take nothing."),
    // --- retries ---------------------------------------------------------------------------------
    Row(
      "proxy_next_upstream", .httpServerLocation, 1...1000,
      "In which cases the next server is asked.", standard: "error timeout"
    ) { scope, directive throws(Refusal) in
      var set = try directive.union(nextUpstreamFlags)
      if !scope.isFirst(directive) { set.formUnion(scope.location.proxy.nextUpstream) }
      scope.location.proxy.nextUpstream = scope.isOff(directive) ? NextUpstream() : set
    }.repeatable(),
    .number(
      "proxy_next_upstream_tries", .httpServerLocation, 0...1000,
      \.location.proxy.nextUpstreamTries, "0", "How many servers may be asked; 0: all."),
    .time(
      "proxy_next_upstream_timeout", .httpServerLocation, \.location.proxy.nextUpstreamTimeout, "0",
      "How long other servers may be asked; 0: no limit."),
    Row(
      "proxy_redirect", .httpServerLocation, 1...2,
      "How Location and Refresh of responses are rewritten.", standard: "default"
    ) { scope, directive throws(Refusal) in
      if scope.isFirst(directive) { scope.location.proxy.redirects = [] }
      if directive.arguments.count == 1 {
        switch directive.text(0) {
        case "off": scope.location.proxy.redirects = []
        case "default": scope.location.proxy.redirects.append(.standard)
        default:
          throw Refusal(
            "\"proxy_redirect\" takes \"off\", \"default\", or what to replace and by what",
            argument: 0)
        }
        return
      }
      let pattern = directive.text(0)
      let replacement = try scope.template(directive, 1)
      if pattern.hasPrefix("~") {
        let caseless = pattern.hasPrefix("~*")
        let regex = try scope.builder.regex(
          String(pattern.dropFirst(caseless ? 2 : 1)), caseless: caseless, 0)
        scope.location.proxy.redirects.append(.regex(regex, replacement))
      } else {
        scope.location.proxy.redirects.append(
          .prefix(try scope.template(directive, 0), replacement))
      }
    }.repeatable(),
    // --- TLS -------------------------------------------------------------------------------------
    .template(
      "proxy_ssl_name", .httpServerLocation, \.location.upstreamTLS.name,
      "The name that an upstream's certificate is for, and that SNI sends."),
    .flag(
      "proxy_ssl_server_name", .httpServerLocation, \.location.upstreamTLS.sendsServerName, "off",
      "Whether the name is sent by SNI."),
    .flag(
      "proxy_ssl_verify", .httpServerLocation, \.location.upstreamTLS.verifies, "off",
      "Whether the upstream's certificate is verified."),
    .number(
      "proxy_ssl_verify_depth", .httpServerLocation, 0...100, \.location.upstreamTLS.verifyDepth,
      "1", "The longest chain of certificates that is verified."),
    .file(
      "proxy_ssl_trusted_certificate", .httpServerLocation,
      \.location.upstreamTLS.trustedCertificates,
      "The CA certificates that upstreams are verified by."),
    .file(
      "proxy_ssl_crl", .httpServerLocation, \.location.upstreamTLS.crl,
      "Revoked certificates of upstreams."),
    .certificate(
      "proxy_ssl_certificate", .httpServerLocation, \.location.upstreamTLS.certificate,
      "The certificate that is shown to upstreams that ask for one."),
    .certificate(
      "proxy_ssl_certificate_key", .httpServerLocation, \.location.upstreamTLS.key,
      "The file with that certificate's key."),
    Row(
      "proxy_ssl_certificate_cache", .httpServerLocation, 1...3,
      "How many certificates and keys with variables in their names are kept, and for how long.",
      standard: "off"
    ) { scope, directive throws(Refusal) in
      scope.location.upstreamTLS.certificateCache = try certificateCache(directive)
    },
    .file(
      "proxy_ssl_password_file", .httpServerLocation, \.location.upstreamTLS.passwords,
      "A file with passwords for the key, one a line."),
    Row("proxy_ssl_conf_command", .httpServerLocation, 2...2, "An OpenSSL configuration command.") {
      scope, directive throws(Refusal) in
      if scope.isFirst(directive) { scope.location.upstreamTLS.confCommands = [] }
      scope.location.upstreamTLS.confCommands.append(
        (directive.arguments[0], directive.arguments[1]))
    }.repeatable(),
    .flag(
      "proxy_ssl_session_reuse", .httpServerLocation, \.location.upstreamTLS.reusesSessions, "on",
      "Whether TLS sessions are resumed."),
    Row(
      "proxy_ssl_ciphers", .httpServerLocation, 1...1, "The ciphers offered to upstreams.",
      standard: "DEFAULT"
    ) { scope, directive throws(Refusal) in
      scope.location.upstreamTLS.ciphers = directive.arguments[0]
    },
    Row(
      "proxy_ssl_protocols", .httpServerLocation, 1...1000, "The TLS versions spoken to upstreams.",
      standard: "TLSv1.2 TLSv1.3"
    ) { scope, directive throws(Refusal) in
      if scope.isFirst(directive) { scope.location.upstreamTLS.protocols = [] }
      scope.location.upstreamTLS.protocols += try protocols(directive)
    }.repeatable(),
  ]

  private static let nextUpstreamFlags: [(String, NextUpstream)] = [
    ("error", .error), ("timeout", .timeout), ("invalid_header", .invalidHeader),
    ("http_500", .http500), ("http_502", .http502), ("http_503", .http503), ("http_504", .http504),
    ("http_403", .http403), ("http_404", .http404), ("http_429", .http429),
    ("non_idempotent", .nonIdempotent), ("updating", []), ("off", []),
  ]

  private static let ignorableFields: [String: FieldName] = [
    "X-Accel-Redirect": .xAccelRedirect, "X-Accel-Expires": .xAccelExpires,
    "X-Accel-Limit-Rate": .xAccelLimitRate, "X-Accel-Buffering": .xAccelBuffering,
    "X-Accel-Charset": .xAccelCharset, "Expires": .expires, "Cache-Control": .cacheControl,
    "Set-Cookie": .setCookie, "Vary": .vary,
  ]

  /// What `proxy_bind` says; nil: the kernel chooses.
  private static func localAddress(
    _ scope: Scope, _ directive: Directive
  ) throws(Refusal) -> Template? {
    if directive.arguments.count > 1 {
      throw Refusal(
        "\"\(directive.name.text)\" takes one argument"
          + (directive.text(1) == "transparent" ? ": \"transparent\" is not supported" : ""),
        argument: 1)
    }
    let text = directive.text(0)
    if text == "off" { return nil }
    let template = try scope.template(directive, 0)
    let target = HostPort(text, defaultPort: 0)
    guard
      !template.isConstant || SocketAddress(literal: text, port: 0) != nil
        || target?.hasPort == true && target?.address != nil
    else {
      throw Refusal(
        """
        "\(directive.name.text)" must be "off", an address such as "10.0.0.1" or "[::1]:8080", or \
        have variables, not "\(text)"
        """,
        argument: 0)
    }
    return template
  }

  /// Whether `field` says how the body is framed, which is the business of whoever writes it: two
  /// lengths, or one that isn't that of the body, would let a server take the body for a request.
  private static func framesBody(
    _ field: AddedHeader, _ scope: Scope, _ directive: Directive
  ) -> Bool {
    let token = FieldName.lookup(field.name)
    guard token == .contentLength || token == .transferEncoding else { return false }
    if !directive.text(1).isEmpty {
      scope.warn(
        "\"\(directive.text(0))\" always is that of the body which is sent; this value isn't used",
        directive.arguments[1])
    }
    return true
  }

  private static func proxyPass(_ scope: Scope, _ directive: Directive) throws(Refusal) -> ProxyPass
  {
    let text = directive.text(0)
    let bytes = text.utf8
    if bytes.contains(UInt8(ascii: "$")) {
      return ProxyPass(.variable(try scope.template(directive, 0)))
    }
    let start = text.hasPrefix("http") ? text : text.prefix(8).lowercased()
    let isTLS = start.hasPrefix("https://")
    guard isTLS || start.hasPrefix("http://") else {
      throw Refusal(
        "invalid URL prefix in \"\(text)\"; it begins with \"http://\" or \"https://\"", argument: 0
      )
    }
    let rest = bytes.index(bytes.startIndex, offsetBy: isTLS ? 8 : 7)
    let (authority, uri) = splitURL(String(text[rest...]))
    guard let target = HostPort(authority, defaultPort: isTLS ? 443 : 80) else {
      throw Refusal("\(HostPort.problem(authority)) in \"\(text)\"", argument: 0)
    }
    if uri != nil, let place = scope.place,
      place.isRegex || place.isNamed
        || !scope.context.isDisjoint(with: [.locationIf, .limitExcept])
    {
      throw Refusal(
        """
        "proxy_pass" cannot have a URI part in a location given by a regular expression, in a \
        named location, or inside "if" or "limit_except"
        """,
        argument: 0)
    }
    let reference = try scope.builder.reference(authority, target, directive)
    let name = authority.hasPrefix("unix:") ? "localhost" : authority
    return ProxyPass(
      .upstream(
        UpstreamURL(
          upstream: reference, isTLS: isTLS, uri: uri.map { scope.bytes($0) },
          host: scope.bytes(name), port: scope.bytes(String(target.port)),
          text: scope.bytes(text))))
  }

  /// Authority and URI of what follows "http://"; a Unix socket's path ends at its colon.
  private static func splitURL(_ rest: String) -> (String, String?) {
    if rest.hasPrefix("unix:") {
      let path = rest.dropFirst(5)
      guard let colon = path.firstIndex(of: ":") else { return (rest, nil) }
      let uri = String(path[path.index(after: colon)...])
      return ("unix:" + path[..<colon], uri.isEmpty ? nil : uri)
    }
    let end = rest.utf8.firstIndex { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "?") }
    guard let end else { return (rest, nil) }
    let uri = rest[end...]
    // A target begins with a slash (RFC 9112 §3.2.1).
    return (String(rest[..<end]), uri.hasPrefix("?") ? "/" + uri : String(uri))
  }
}
