// Directives of ngx_http_ssl_module (https://nginx.org/en/docs/http/ngx_http_ssl_module.html).

import Configuration
import HTTP

extension Row {
  static let tlsRows: [Row] = [
    Row(
      "ssl_certificate", .httpServer, 1...1,
      """
      A file with the certificate and its chain, with variables or as `data:…`; several for \
      several key types.
      """
    ) { scope, directive throws(Refusal) in
      try checkCertificateSource(directive)
      if scope.isFirst(directive) { scope.server.tls.certificates = [] }
      scope.server.tls.certificates.append(directive.arguments[0])
    }.repeatable(),
    Row(
      "ssl_certificate_key", .httpServer, 1...1,
      "The file with the certificate's key, with variables, as `data:…` or `store:file:…`."
    ) { scope, directive throws(Refusal) in
      try checkCertificateSource(directive)
      if scope.isFirst(directive) { scope.server.tls.keys = [] }
      scope.server.tls.keys.append(directive.arguments[0])
    }.repeatable(),
    .flag(
      "ssl_certificate_watch", .httpServer, \.server.tls.isWatched, "on",
      """
      Whether renewed certificate files are taken up within two seconds, without a reload. Not in \
      nginx.
      """
    ),
    Row(
      "ssl_certificate_cache", .httpServer, 1...3,
      "How many certificates and keys with variables in their names are kept, and for how long.",
      standard: "off"
    ) { scope, directive throws(Refusal) in
      scope.server.tls.certificateCache = try certificateCache(directive)
    },
    .flag(
      "ssl_certificate_compression", .httpServer, \.server.tls.compressesCertificates, "off",
      "Whether certificates are sent compressed (RFC 8879); takes OpenSSL 3.2."
    ).keepingWord(),
    .file(
      "ssl_password_file", .httpServer, \.server.tls.passwords,
      "A file with passwords for keys, one a line."),
    Row(
      "ssl_protocols", .httpServer, 1...1000, "The TLS versions that are spoken.",
      standard: "TLSv1.2 TLSv1.3"
    ) { scope, directive throws(Refusal) in
      if scope.isFirst(directive) { scope.server.tls.protocols = [] }
      scope.server.tls.protocols += try protocols(directive)
    }.repeatable(),
    Row(
      "ssl_ciphers", .httpServer, 1...1,
      """
      The ciphers of TLS 1.2, in OpenSSL's syntax; nginx's default holds where `ssl_protocols` \
      names an older version.
      """,
      standard: TLSServerPolicy.standardCiphers
    ) { scope, directive in
      scope.server.tls.ciphers = directive.text(0)
    }.keepingWord(),
    Row(
      "ssl_prefer_server_ciphers", .httpServer, 1...1,
      """
      Whether our order of ciphers counts. Without the directive it does only with the default \
      `ssl_ciphers`, and a client that lists ChaCha20 first gets it.
      """,
      standard: "—"
    ) { scope, directive throws(Refusal) in
      scope.server.tls.prefersServerCiphers = try directive.flag(0)
    },
    Row("ssl_conf_command", .httpServer, 2...2, "An OpenSSL configuration command.") {
      scope, directive throws(Refusal) in
      if scope.isFirst(directive) { scope.server.tls.confCommands = [] }
      scope.server.tls.confCommands.append((directive.arguments[0], directive.arguments[1]))
    }.keepingWord().repeatable(),
    Row(
      "ssl_session_cache", .httpServer, 1...2,
      """
      Where sessions are kept by id: `off`, `none`, `builtin` and `builtin:COUNT` (on each thread \
      its own), `shared:NAME:SIZE` (of all threads; survives a reload that leaves name and size). \
      That of an address's default server counts.
      """,
      standard: "none"
    ) { scope, directive throws(Refusal) in
      scope.server.tls.sessionCache = try sessionCache(directive)
    }.keepingWord(),
    Row(
      "ssl_session_timeout", .httpServer, 1...1, "How long a session may be resumed.",
      standard: "5m"
    ) { scope, directive throws(Refusal) in
      scope.server.tls.sessionTimeoutSeconds = try directive.seconds(directive.text(0), 0)
    },
    .flag(
      "ssl_session_tickets", .httpServer, \.server.tls.usesTickets, "on",
      "Whether sessions are resumed by tickets."),
    Row(
      "ssl_session_ticket_key", .httpServer, 1...1,
      "A file with 48 or 80 random bytes: the first encrypts tickets, others decrypt."
    ) { scope, directive throws(Refusal) in
      if scope.isFirst(directive) { scope.server.tls.ticketKeys = [] }
      scope.server.tls.ticketKeys.append(directive.arguments[0])
    }.repeatable(),
    .file(
      "ssl_client_certificate", .httpServer, \.server.tls.clientCertificates,
      "The CA certificates that clients are verified by, told to them."
    ).keepingWord(),
    .file(
      "ssl_trusted_certificate", .httpServer, \.server.tls.trustedCertificates,
      "More CA certificates, not told to clients."
    ).keepingWord(),
    .file("ssl_crl", .httpServer, \.server.tls.crl, "Revoked certificates.").keepingWord(),
    .choice(
      "ssl_verify_client", .httpServer, \.server.tls.verify, "off",
      "Whether clients show certificates."
    ).keepingWord(),
    .number(
      "ssl_verify_depth", .httpServer, 0...100, \.server.tls.verifyDepth, "1",
      "The longest chain of client certificates."),
    .choice(
      "ssl_ocsp", .httpServer, \.server.tls.clientStatus, "off",
      """
      Whether OCSP responders are asked about the client's chain of certificates, or about its \
      leaf alone; with `ssl_verify_client on` or `optional`.
      """
    ).keepingWord(),
    Row(
      "ssl_ocsp_responder", .httpServer, 1...1,
      """
      The OCSP responder to ask about clients' certificates, an http URL, in place of those that \
      the certificates name; its name is looked up by the DNS servers of the system.
      """,
      standard: "—"
    ) { scope, directive throws(Refusal) in
      scope.server.tls.statusResponder = try responder(directive)
    },
    Row(
      "ssl_ocsp_cache", .httpServer, 1...1,
      """
      Where answers about clients' certificates are kept until they end: `off`, or \
      `shared:NAME:SIZE`.
      """,
      standard: "off"
    ) { scope, directive throws(Refusal) in
      scope.server.tls.statusCache = try statusCache(directive)
    }.keepingWord(),
    .flag(
      "ssl_reject_handshake", .httpServer, \.server.tls.rejectsHandshake, "off",
      "Whether handshakes for this server are refused."),
    .size(
      "ssl_buffer_size", .httpServer, \.server.tls.bufferBytes, "16k",
      "The longest TLS record that is sent; 16k at most."),
    .flag(
      "ssl_early_data", .httpServer, \.server.tls.takesEarlyData, "off",
      """
      Whether requests in TLS 1.3 early data are taken; they may be replays, see \
      `$ssl_early_data`.
      """
    ),
    .flag(
      "ssl_stapling", .httpServer, \.server.tls.staples, "off",
      """
      Whether clients that ask get an OCSP response: that of `ssl_stapling_file`, or of the \
      responder that the certificate names.
      """
    ),
    .file(
      "ssl_stapling_file", .httpServer, \.server.tls.stapleFile,
      "The OCSP response, in DER; responders are not asked."
    ).keepingWord(),
    Row(
      "ssl_stapling_responder", .httpServer, 1...1,
      """
      The OCSP responder to ask, an http URL, in place of the one that the certificate names; its \
      name is looked up by the DNS servers of the system.
      """,
      standard: "—"
    ) { scope, directive throws(Refusal) in
      scope.server.tls.stapleResponder = try responder(directive)
    },
    .flag(
      "ssl_stapling_verify", .httpServer, \.server.tls.verifiesStaples, "off",
      "Whether OCSP responses are verified by `ssl_trusted_certificate`."),
    Row(
      "ssl_ecdh_curve", .httpServer, 1...1,
      """
      The key exchange groups, in OpenSSL's syntax. `auto`: X25519, P-256 and P-384, behind \
      X25519MLKEM768 where OpenSSL has it (3.5).
      """,
      standard: "auto"
    ) { scope, directive in
      scope.server.tls.curves = directive.text(0)
    }.keepingWord(),
    .file("ssl_dhparam", .httpServer, \.server.tls.dhparam, "Parameters for DHE ciphers.")
      .keepingWord(),
  ]

  private static func responder(_ directive: Directive) throws(Refusal) -> HTTPURL {
    if let responder = HTTPURL(directive.text(0)) { return responder }
    throw Refusal(
      "\"\(directive.name.text)\" takes an \"http://\" URL, not \"\(directive.text(0))\"",
      argument: 0)
  }

  private static func statusCache(_ directive: Directive) throws(Refusal) -> StatusCacheSettings? {
    let word = directive.text(0)
    if word == "off" { return nil }
    let parts = word.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count == 3, parts[0] == "shared", !parts[1].isEmpty else {
      throw Refusal(
        "\"ssl_ocsp_cache\" wants \"off\" or \"shared:NAME:SIZE\", not \"\(word)\"", argument: 0)
    }
    let byteCount = try directive.size(String(parts[2]), 0)
    guard byteCount >= 32 << 10 else {
      throw Refusal(
        "\"ssl_ocsp_cache\" must have a size of 32k at least, not \"\(parts[2])\"", argument: 0)
    }
    return StatusCacheSettings(name: String(parts[1]), byteCount: byteCount)
  }

  static func refuseVariables(_ directive: Directive) throws(Refusal) {
    let text = directive.text(0)
    if text.contains("$") || text.hasPrefix("data:") || text.hasPrefix("engine:")
      || text.hasPrefix("store:")
    {
      throw Refusal(
        "\"\(directive.name.text)\" takes the path of a file, without variables, not \"\(text)\"",
        argument: 0)
    }
  }

  static func protocols(_ directive: Directive) throws(Refusal) -> [String] {
    let known = ["SSLv2", "SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"]
    var versions: [String] = []
    for index in directive.arguments.indices {
      let word = directive.text(index).lowercased()
      guard let version = known.first(where: { $0.lowercased() == word }) else {
        throw directive.unknownParameter(index, known)
      }
      versions.append(version)
    }
    return versions
  }

  private static func sessionCache(_ directive: Directive) throws(Refusal) -> TLSSessionCache {
    var cache = TLSSessionCache.none
    // With both, the one that all threads share is enough.
    var shared: TLSSessionCache?
    for index in directive.arguments.indices {
      let word = directive.text(index)
      switch word {
      case "off": cache = .off
      case "none": cache = .none
      case "builtin": cache = .builtin(sessionCount: 20_480)
      default:
        if word.hasPrefix("builtin:") {
          cache = .builtin(
            sessionCount: try directive.number(String(word.dropFirst(8)), index, 1...(1 << 24)))
        } else if word.hasPrefix("shared:") {
          let parts = word.dropFirst(7).split(separator: ":", omittingEmptySubsequences: false)
          guard parts.count == 2, !parts[0].isEmpty else {
            throw Refusal(
              "\"ssl_session_cache\" wants \"shared:NAME:SIZE\", not \"\(word)\"", argument: index)
          }
          let byteCount = try directive.size(String(parts[1]), index)
          guard byteCount >= TLSSessionZoneSettings.smallestByteCount else {
            throw Refusal(
              "\"ssl_session_cache\" must have a size of 32k at least, not \"\(parts[1])\"",
              argument: index)
          }
          shared = .shared(
            TLSSessionZoneSettings(name: String(parts[0]), byteCount: byteCount))
        } else {
          throw directive.unknownParameter(index, ["off", "none", "builtin", "shared:NAME:SIZE"])
        }
      }
    }
    return shared ?? cache
  }
}
