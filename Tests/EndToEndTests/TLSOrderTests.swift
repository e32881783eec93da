// What is agreed on where the configuration leaves it open: whose order of ciphers counts, and
// which key exchange groups there are. openssl is the client.

import Foundation
import Testing

/// Starts a door whose second site, by name, has `settings`, and the first one `others`.
private func start(_ settings: String, others: String) async throws -> RunningPortico {
  let site = try Site(
    config: """
      http {
        ssl_certificate a.test.crt; ssl_certificate_key a.test.key;
        server { listen 127.0.0.1:%%PORT_0%% ssl; server_name b.test; \(others) return 200 other; }
        server {
          listen 127.0.0.1:%%PORT_0%% ssl; server_name a.test; \(settings)
          return 200 "<$ssl_cipher $ssl_curve>";
        }
      }
      """)
  try site.makeCertificate("a.test")
  return try await Portico.start(site)
}

/// What cipher and group a client with these options got; nil if there was no handshake.
private func agreed(_ door: RunningPortico, _ options: String) throws -> [Substring]? {
  let script =
    "printf 'GET / HTTP/1.1\\r\\nHost: a.test\\r\\nConnection: close\\r\\n\\r\\n' | openssl s_client "
    + "-connect 127.0.0.1:\(door.port()) -servername a.test -ign_eof \(options)"
  let output = try Command.run(["sh", "-c", script], folder: door.site.folder).standardOutput
  guard let start = output.range(of: "<TLS_") ?? output.range(of: "<ECDHE-"),
    let end = output[start.lowerBound...].firstIndex(of: ">")
  else { return nil }
  return output[output.index(after: start.lowerBound)..<end].split(separator: " ")
}

@Suite struct CipherOrderTests {
  enum Order: Sendable { case client, server, serverButChaCha }

  private static let cases: [(settings: String, order: Order)] = [
    ("", .serverButChaCha),
    ("ssl_prefer_server_ciphers off;", .client),
    ("ssl_prefer_server_ciphers on;", .server),
    ("ssl_ciphers ECDHE+AESGCM+AES128:ECDHE;", .client),
    ("ssl_ciphers ECDHE+AESGCM+AES128:ECDHE; ssl_prefer_server_ciphers off;", .client),
    ("ssl_protocols TLSv1 TLSv1.2 TLSv1.3;", .client),
  ]

  /// Also at a site that is chosen by name, whatever its neighbour says.
  @Test(arguments: cases, ["", "ssl_prefer_server_ciphers on; ssl_ciphers HIGH;"])
  func followsTheOrderThatIsConfigured(
    _ test: (settings: String, order: Order), others: String
  ) async throws {
    let door = try await start(test.settings, others: others)
    let versions = [
      (
        "-tls1_2 -cipher", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-ECDSA-AES128-GCM-SHA256"
      ),
      (
        "-tls1_3 -ciphersuites", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256",
        "TLS_AES_128_GCM_SHA256"
      ),
    ]
    for (option, long, chacha, short) in versions {
      // OpenSSL's own order of the suites of TLS 1.3 has the long one first.
      let ours = option.contains("1_3") && test.settings.hasPrefix("ssl_ciphers") ? long : short
      let first = try agreed(door, "\(option) \(long):\(chacha):\(short)")?.first
      #expect(first == (test.order == .client ? long[...] : ours[...]))
      let second = try agreed(door, "\(option) \(chacha):\(long):\(short)")?.first
      #expect(second == (test.order == .server ? ours[...] : chacha[...]))
    }
  }
}

@Suite struct GroupTests {
  /// Also at a site that is chosen by name, whatever its neighbour says.
  @Test(arguments: ["", "ssl_ecdh_curve auto;"], ["", "ssl_ecdh_curve P-521:X448;"])
  func knowsTheGroupsThatAllClientsHave(settings: String, others: String) async throws {
    let door = try await start(settings, others: others)
    for version in ["-tls1_2", "-tls1_3"] {
      let group = { (offer: String) in try agreed(door, "\(version) -groups \(offer)")?.last }
      #expect(try group("X448:P-521:P-256") == "prime256v1")
      #expect(try group("X25519:P-256") == "X25519")
    }
    // In TLS 1.2 the curve of the certificate, P-256, would have to be among them.
    #expect(try agreed(door, "-tls1_3 -groups X448:P-521:P-384")?.last == "secp384r1")
    #expect(try agreed(door, "-tls1_3 -groups X448:P-521") == nil)
  }

  @Test func knowsThoseThatAreConfigured() async throws {
    let door = try await start("ssl_ecdh_curve P-521;", others: "")
    #expect(try agreed(door, "-tls1_3 -groups P-256:P-521")?.last == "secp521r1")
    #expect(try agreed(door, "-tls1_3 -groups P-256:P-384") == nil)
  }
}

/// What OpenSSL is told by command belongs to the server that says so, whichever is the default.
@Suite struct TLSCommandTests {
  private func start(_ first: String, _ second: String, _ http: String = "") async throws
    -> RunningPortico
  {
    let site = try Site(
      config: """
        http {
          ssl_certificate a.test.crt; ssl_certificate_key a.test.key; \(http)
          server { listen 127.0.0.1:%%PORT_0%% ssl; server_name a.test; \(first)
            return 200 "$ssl_cipher $ssl_curve $ssl_client_verify"; }
          server { listen 127.0.0.1:%%PORT_0%% ssl; server_name b.test; \(second)
            return 200 "$ssl_cipher $ssl_curve $ssl_client_verify"; }
        }
        """)
    for name in ["a.test", "b.test", "other"] { try site.makeCertificate(name) }
    try site.makeCertificate("client", issuedBy: "other")
    return try await Portico.start(site)
  }

  /// What a request for `host` is answered by TLS 1.3, on a connection to `name`.
  private func get(
    _ door: RunningPortico, _ name: String, host: String? = nil, _ more: [String] = []
  )
    throws -> String
  {
    let curl = [
      "curl", "-sk", "--connect-to", "::127.0.0.1:\(door.port())", "-H", "Host: \(host ?? name)",
      "https://\(name)/", "--noproxy", "*",
    ]
    return try Command.run(curl + more, folder: door.site.folder).standardOutput
  }

  @Test func suitesAndGroupsAreThoseOfTheName() async throws {
    let command = "ssl_conf_command Ciphersuites TLS_CHACHA20_POLY1305_SHA256;"
    let door = try await start(
      "ssl_ciphers ECDHE+AESGCM;", command + "ssl_conf_command Groups P-384;")
    #expect(try get(door, "b.test") == "TLS_CHACHA20_POLY1305_SHA256 secp384r1 NONE")
    #expect(try get(door, "a.test").hasPrefix("TLS_AES_"))
    let reverse = try await start(command, "ssl_ciphers ECDHE+AESGCM;")
    #expect(try get(reverse, "b.test").hasPrefix("TLS_AES_"))
    #expect(try get(reverse, "a.test").hasPrefix("TLS_CHACHA20"))
  }

  /// A server that trusts others by command has another policy than one that doesn't.
  @Test func trustByCommandIsNotSharedWithOthers() async throws {
    let verifies = "ssl_verify_client on; ssl_client_certificate a.test.crt;"
    let door = try await start(
      verifies + "ssl_conf_command VerifyCAFile %%DIR%%/other.crt;", verifies)
    let certificate = ["--cert", "client.crt", "--key", "client.key"].map {
      $0.hasPrefix("client") ? door.site.folder + $0 : $0
    }
    #expect(try get(door, "a.test", certificate).hasSuffix("SUCCESS"))
    #expect(try get(door, "b.test", certificate).contains("400"))
    #expect(try get(door, "a.test", host: "b.test", certificate).contains("421"))
  }

  /// A list that couldn't be fetched revokes nobody: it is no list.
  @Test(arguments: ["ssl_crl", "ssl_client_certificate", "ssl_trusted_certificate", "ssl_dhparam"])
  func anEmptyFileIsRefused(directive: String) async throws {
    let site = try Site(
      config: """
        http { server { listen 127.0.0.1:%%PORT_0%% ssl; \(directive) %%DIR%%/empty.pem;
          ssl_certificate a.test.crt; ssl_certificate_key a.test.key; return 200; } }
        """, files: ["empty.pem": ""])
    try site.makeCertificate("a.test")
    let result = try Portico.run(site, ["-t"])
    #expect(result.code == 1 && result.standardError.contains("empty.pem\" is empty"))
  }

  /// Who came while a port was plain is not served by what it says since it speaks TLS.
  @Test func connectionsOfAPlainPortEndWhenItSpeaksTLS() async throws {
    func config(_ ssl: String, _ text: String) -> String {
      """
      http { server { listen 127.0.0.1:%%PORT_0%% \(ssl); return 200 \(text); http2 on;
        ssl_certificate a.test.crt; ssl_certificate_key a.test.key; } }
      """
    }
    let site = try Site(config: config("", "open"))
    try site.makeCertificate("a.test")
    let door = try await Portico.start(site)
    let client = try door.client()
    try client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    #expect(try client.response().text == "open")
    let stream = try H2Client(door.client())
    try stream.request(1, "/", authority: "x")
    #expect(try stream.response(1).status == 200)
    #expect(try door.reload(config: config("ssl", "secret")).code == 0)
    #expect(client.isClosed())
    #expect(stream.goAwayCode() == H2Code.noError)
    try door.stop()
  }
}
