// Early data, stapled OCSP responses, the size of records, encrypted keys, groups: openssl is the
// client.

import Foundation
import Testing

/// What `openssl s_client` printed, after sending `request`.
private func connect(
  _ door: RunningPortico, _ options: String, port: Int = 0,
  request: String = "GET / HTTP/1.1\\r\\nHost: a.test\\r\\nConnection: close\\r\\n\\r\\n"
) throws -> String {
  let script =
    "printf '\(request)' | openssl s_client -connect 127.0.0.1:\(door.port(port)) -servername a.test "
    + "-ign_eof \(options)"
  return try Command.run(["sh", "-c", script], folder: door.site.folder).standardOutput
}

private func start(
  _ settings: String, prepare: (Site) throws -> Void = { _ in }
) async throws -> RunningPortico {
  let site = try Site(
    config: """
      http {
        server {
          listen 127.0.0.1:%%PORT_0%% ssl; ssl_certificate a.test.crt; ssl_certificate_key a.test.key;
          \(settings)
        }
      }
      """)
  try site.makeCertificate("a.test")
  try prepare(site)
  return try await Portico.start(site)
}

private func openssl(_ words: String, _ site: Site) throws {
  let result = try Command.run(
    ["sh", "-c", "cd \(site.folder) && openssl \(words)"], folder: site.folder)
  #expect(result.code == 0, "\(result.standardError)")
}

@Suite struct EarlyDataTests {
  @Test(arguments: [true, false])
  func takesRequestsInEarlyDataWhereItIsTold(isOn: Bool) async throws {
    let door = try await start(
      "ssl_early_data \(isOn ? "on" : "off"); return 200 \"early=$ssl_early_data reused=$ssl_session_reused\";"
    )
    let first = try connect(door, "-tls1_3 -sess_out \(door.site.folder)kept.pem")
    #expect(first.contains("early= reused=."))
    if !isOn { return #expect(first.contains("Max Early Data: 0")) }
    try door.site.write("early", "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
    let script =
      "openssl s_client -connect 127.0.0.1:\(door.port()) -servername a.test -tls1_3 -sess_in kept.pem "
      + "-early_data early -ign_eof </dev/null"
    let folder = door.site.folder
    let second = try Command.run(["sh", "-c", "cd \(folder) && \(script)"], folder: folder)
      .standardOutput
    #expect(second.contains("early=1 reused=r"))
    #expect(second.contains("Early data was accepted"))
  }

  /// The client's last flight comes behind its request: a connection that ends with the response
  /// reads it all the same, tells the end, and isn't reset.
  @Test(arguments: ["/", "/big", "/slow"])
  func aResponseToEarlyDataEndsProperly(path: String) async throws {
    let gate = Gate()
    let upstream = try TestUpstream { _ in
      gate.wait()
      return .answer(body: "slow")
    }
    let site = try Site(
      config: """
        http { server {
          listen 127.0.0.1:%%PORT_0%% ssl; ssl_certificate a.test.crt; ssl_certificate_key a.test.key;
          ssl_early_data on;
          location = / { return 200 small; }
          location = /big { root %%DIR%%; }
          location = /slow { proxy_pass http://%%UPSTREAM_0%%; }
        } }
        """, upstreams: [upstream])
    try site.makeCertificate("a.test")
    try site.write("big", String(repeating: "big", count: 1_000_000))
    try site.write("early", "GET \(path) HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
    let door = try await Portico.start(site)
    _ = try connect(door, "-tls1_3 -sess_out \(site.folder)kept.pem")
    let script =
      "cd \(site.folder) && openssl s_client -connect 127.0.0.1:\(door.port()) -servername a.test "
      + "-tls1_3 -sess_in kept.pem -early_data early -ign_eof </dev/null >out 2>err"
    let client = try Command(["sh", "-c", script], folder: site.folder)
    // It says so when it has sent all that belongs to the handshake.
    try waitUntil("the client's handshake") { site.text("out").contains("Early data was accepted") }
    gate.open()
    #expect(try client.wait().code == 0)
    // OpenSSL's word for close_notify; what it says of its absence is an error.
    #expect(site.text("out").hasSuffix("closed\n"))
    #expect(!site.text("err").contains("error"))
    let body = ["/": "small", "/slow": "slow"][path] ?? site.text("big")
    #expect(site.text("out").contains("\r\n\r\n\(body)"))
  }
}

@Suite struct StaplingTests {
  @Test func staplesTheResponseOfAFile() async throws {
    let door = try await start(
      "ssl_stapling on; ssl_stapling_file staple.der; return 200 ok;",
      prepare: { site in
        try site.makeCertificate("ca")
        try site.makeCertificate("a.test", issuedBy: "ca")
        try respond(site, about: "a.test")
      })
    for version in ["-tls1_2", "-tls1_3"] {
      let output = try connect(door, "\(version) -status")
      #expect(output.contains("OCSP Response Status: successful"))
      #expect(output.contains("\r\n\r\nok"))
      #expect(!(try connect(door, version)).contains("OCSP Response Status"))
    }
  }

  /// A response about another certificate makes clients break the handshake off.
  @Test func staplesNothingThatIsAboutTheFormerCertificate() async throws {
    let door = try await start(
      "ssl_stapling on; ssl_stapling_file staple.der; return 200 ok;",
      prepare: { site in
        try site.makeCertificate("ca")
        for name in ["a.test", "new"] { try site.makeCertificate(name, issuedBy: "ca") }
        try respond(site, about: "a.test")
      })
    #expect(!door.errorLog.contains("is not about certificate"))
    #expect(try connect(door, "-status").contains("OCSP Response Status: successful"))
    for end in ["key", "crt"] {
      _ = rename("\(door.site.folder)new.\(end)", "\(door.site.folder)a.test.\(end)")
    }
    try door.waitForLog("\"a.test.crt\" was renewed and is in use")
    let shown = try connect(door, "-status")
    #expect(shown.contains("OCSP response: no response sent") && shown.contains("\r\n\r\nok"))
    try door.waitForLog("\"ssl_stapling_file\" is not about certificate \"a.test.crt\"")
    let check = try Portico.run(door.site, ["-t"])
    #expect(check.standardError.contains("\"ssl_stapling_file\" is not about certificate"))
    try respond(door.site, about: "a.test")
    #expect(try door.send("reload").code == 0)
    #expect(try connect(door, "-status").contains("OCSP Response Status: successful"))
  }

  /// Makes the response about a certificate of the CA that `staple.der` has.
  private func respond(_ site: Site, about name: String) throws {
    try site.write("index", "")
    try openssl(
      "ocsp -index index -CA ca.crt -rsigner ca.crt -rkey ca.key -issuer ca.crt -cert \(name).crt "
        + "-respout staple.der -ndays 2", site)
  }

  @Test func refusesAFileThatIsNoResponse() throws {
    for (settings, message) in [
      ("ssl_stapling_responder https://a/;", "takes an \"http://\" URL, not \"https://a/\""),
      (
        "ssl_stapling on; ssl_stapling_file a.test.crt;", "holds no successful OCSP response in DER"
      ),
      ("ssl_stapling on; ssl_stapling_file empty;", "holds no successful OCSP response in DER"),
      ("ssl_stapling on; ssl_stapling_file absent;", "No such file"),
    ] {
      let site = try Site(
        config:
          "http { server { listen 127.0.0.1:%%PORT_0%% ssl; ssl_certificate a.test.crt; ssl_certificate_key a.test.key; \(settings) } }"
      )
      try site.makeCertificate("a.test")
      try site.write("empty", "")
      let result = try Portico.run(site, ["-t"])
      #expect(result.code == 1 && result.standardError.contains(message), "\(result.standardError)")
    }
  }
}

@Suite struct TLSSettingsTests {
  @Test(arguments: [
    ("", 16_384), ("ssl_buffer_size 4k;", 4096), ("ssl_buffer_size 1k;", 1024),
    ("ssl_buffer_size 64k;", 16_384),
  ])
  func sendsRecordsOfTheSizeThatItIsTold(settings: String, bytes: Int) async throws {
    let door = try await start("\(settings) root %%DIR%%;") { site in
      try site.write("big", String(repeating: "x", count: 100_000))
    }
    let output = try connect(
      door, "-tls1_3 -msg",
      request: "GET /big HTTP/1.1\\r\\nHost: a.test\\r\\nConnection: close\\r\\n\\r\\n")
    // "    17 03 03 40 11": a record of application data, a byte for its type and 16 for its tag.
    let sizes = output.split(separator: "\n").compactMap { line -> Int? in
      let words = line.split(separator: " ")
      guard words.count == 5, words.prefix(3) == ["17", "03", "03"] else { return nil }
      return Int("\(words[3])\(words[4])", radix: 16)
    }
    #expect(sizes.max() == bytes + 17)
  }

  /// Static RSA and CBC only where they are asked for, or needed by a version that is.
  @Test(arguments: [
    ("", "AES128-SHA", false), ("", "ECDHE-ECDSA-AES128-SHA256", false),
    ("", "ECDHE-ECDSA-AES128-GCM-SHA256", true), ("", "ECDHE-ECDSA-CHACHA20-POLY1305", true),
    ("ssl_ciphers HIGH:!aNULL:!MD5;", "ECDHE-ECDSA-AES128-SHA256", true),
    ("ssl_protocols TLSv1.1 TLSv1.2;", "ECDHE-ECDSA-AES128-SHA256", true),
  ])
  func takesCiphersWithForwardSecrecy(directives: String, cipher: String, isTaken: Bool)
    async throws
  {
    let site = try Site(
      config: """
        http {
          server {
            listen 127.0.0.1:%%PORT_0%% ssl; \(directives) return 200 $ssl_cipher;
            ssl_certificate a.test.crt; ssl_certificate_key a.test.key;
          }
        }
        """)
    try site.makeCertificate("a.test")
    let door = try await Portico.start(site)
    let curl = [
      "curl", "-sk", "--tls-max", "1.2", "--ciphers", cipher, "https://127.0.0.1:\(door.port())/",
    ]
    let result = try Command.run(curl, folder: site.folder)
    #expect(result.standardOutput == (isTaken ? cipher : ""))
  }

  /// With OpenSSL 3.2 and newer it is done; older ones can't, which is said once.
  @Test func compressesCertificatesWhereOpenSSLCan() async throws {
    let site = try Site(
      config: """
        http {
          ssl_certificate a.test.crt; ssl_certificate_key a.test.key;
          ssl_certificate_compression on;
          server { listen 127.0.0.1:%%PORT_0%% ssl; return 200 one; }
          server { listen 127.0.0.1:%%PORT_0%% ssl; server_name b; return 200 two; }
        }
        """)
    try site.makeCertificate("a.test")
    let build = try site.command(["-V"]).wait().standardError
    let check = try Portico.run(site, ["-t"])
    #expect(check.code == 0)
    let warnings = check.standardError.components(separatedBy: "SSL_CTX_compress_certs").count - 1
    #expect(warnings == (build.contains("certificate compression: available") ? 0 : 1))
    let door = try await Portico.start(site)
    let curl = ["curl", "-sk", "https://127.0.0.1:\(door.port())/"]
    #expect(try Command.run(curl, folder: site.folder).standardOutput == "one")
  }

  @Test func namesGroupsSignaturesAndKeys() async throws {
    let door = try await start(
      "ssl_ecdh_curve P-384:P-521; ssl_password_file passwords; return 200 \"$ssl_curve|$ssl_sigalgs|$ssl_sigalg|$ssl_client_sigalg|$ssl_ech_status|$ssl_ech_outer_server_name\";"
    ) { site in
      try site.write("passwords", "wrong\nsecret\n")
      try openssl(
        "ec -in a.test.key -aes128 -passout pass:secret -out b && mv b a.test.key".replacing(
          " && mv", with: "; mv"), site)
    }
    let output = try connect(door, "-tls1_3 -sigalgs ECDSA+SHA256:RSA-PSS+SHA256")
    #expect(output.contains("secp384r1|0x0403:0x0804||||"))
  }

  @Test func agreesOnFiniteFieldsByItsOwnParameters() async throws {
    let door = try await start(
      "ssl_dhparam dh.pem; ssl_ciphers DHE; ssl_protocols TLSv1.2; return 200 $ssl_cipher;"
    ) { site in
      try openssl("genpkey -genparam -algorithm DH -pkeyopt group:ffdhe2048 -out dh.pem", site)
      try openssl(
        "req -x509 -newkey rsa:2048 -nodes -days 3 -subj /CN=a.test -keyout a.test.key -out a.test.crt",
        site)
    }
    let output = try connect(door, "-tls1_2")
    #expect(output.contains("Temp Key: DH, 2048 bits"))
    #expect(output.contains("DHE-RSA"))
  }
}
