// `ssl_ocsp`: what OCSP responders say of clients' certificates.

import Foundation
import Synchronization
import Testing

/// Authorities, a client's certificate, and a responder that says what the test wants.
private struct Clients {
  let answers = Answers()
  let responder: TestUpstream
  let site: Site

  /// The client's certificate is issued by `int`, that by `ca`.
  init(_ settings: String) throws {
    responder = try TestUpstream { [answers] in answers.answer($0) }
    site = try Site(
      config: """
        http {
          ssl_certificate a.test.crt; ssl_certificate_key a.test.key;
          ssl_verify_client on; ssl_client_certificate trusted.crt; ssl_verify_depth 3;
          ssl_ocsp_responder http://%%UPSTREAM_0%%; error_page 495 =400 /no;
          http2 on;
          server {
            listen 127.0.0.1:%%PORT_0%% ssl; \(settings)
            location / { return 200 "$ssl_client_verify $ssl_session_reused"; }
            location /no { return 400 "$ssl_client_verify $ssl_session_reused"; }
          }
        }
        """, upstreams: [responder])
    for name in ["ca", "stranger", "a.test"] { try site.makeCertificate(name) }
    try site.write("authority.cnf", "basicConstraints=critical,CA:TRUE\n")
    try site.write(
      "client.cnf",
      "authorityInfoAccess=OCSP;URI:ldap://127.0.0.1/named,"
        + "OCSP;URI:HTTP://127.0.0.1:\(responder.port)/named\n")
    try issue("int", "ca", "authority")
    try issue("client", "int", "client")
    try site.write("trusted.crt", site.text("int.crt") + site.text("ca.crt"))
  }

  func issue(_ name: String, _ authority: String, _ extensions: String) throws {
    try openssl(
      "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=\(name) "
        + "-keyout \(name).key -out \(name).csr 2>>log")
    try openssl(
      "x509 -req -days 30 -in \(name).csr -out \(name).crt -CAcreateserial -extfile "
        + "\(extensions).cnf -CA \(authority).crt -CAkey \(authority).key 2>>log")
  }

  @discardableResult
  func openssl(_ words: String) throws -> String {
    let script = "cd \(site.folder) && openssl \(words)"
    let result = try Command.run(["sh", "-c", script], folder: site.folder)
    #expect(result.code == 0, "\(words): \(result.standardError)")
    return result.standardOutput
  }

  /// Lets the responder say "valid", "revoked" or "unknown" of a certificate.
  func say(
    _ word: String, of name: String = "client", issuer: String = "int", signer: String? = nil,
    days: String = "-ndays 2"
  ) throws {
    let serial = try openssl("x509 -in \(name).crt -noout -serial").dropFirst("serial=".count)
      .trimmingCharacters(in: .whitespacesAndNewlines)
    let lines = [
      "valid": "V\t401231000000Z\t\t\(serial)\tunknown\t/CN=\(name)\n",
      "revoked": "R\t401231000000Z\t200101000000Z\t\(serial)\tunknown\t/CN=\(name)\n",
    ]
    try site.write("index", lines[word] ?? "")
    let signer = signer ?? issuer
    try openssl(
      "ocsp -index index -CA \(issuer).crt -rsigner \(signer).crt -rkey \(signer).key -issuer "
        + "\(issuer).crt -cert \(name).crt -respout said.der \(days) >>log 2>&1")
    let bytes = Array(try Data(contentsOf: URL(fileURLWithPath: "\(site.folder)said.der")))
    let digits = Array(serial.utf8)
    let key = stride(from: 0, to: digits.count - 1, by: 2).map {
      UInt8(String(decoding: digits[$0...$0 + 1], as: UTF8.self), radix: 16) ?? 0
    }
    answers.said.withLock { $0[key] = bytes }
  }

  /// Lets the response that was said last be of another time, in seconds from now, and signs it
  /// again.
  func date(this: Int, next: Int?, signer: String = "int", of name: String = "client") throws {
    let (key, bytes) = try #require(answers.said.withLock { $0.first.map { ($0.key, $0.value) } })
    var der = SignedResponse(bytes)
    try der.setTimes(this: this, next: next)
    let file = URL(fileURLWithPath: "\(site.folder)tbs.der")
    try Data(der.signed).write(to: file)
    // Signatures have one of three lengths: one of the same length fits into its place.
    for _ in 0..<200 {
      try openssl("dgst -sha256 -sign \(signer).key -out sig.der tbs.der 2>>log")
      let signature = Array(try Data(contentsOf: URL(fileURLWithPath: "\(site.folder)sig.der")))
      if der.sign(signature) {
        answers.said.withLock { $0[key] = der.bytes }
        return
      }
    }
    throw DeadlinePassed(what: "no signature of the same length")
  }

  /// What curl gets: status, body.
  func get(
    _ door: RunningPortico, _ options: [String] = [], cert: String = "client"
  ) throws -> String {
    try finish(ask(door, options, cert: cert))
  }

  func ask(
    _ door: RunningPortico, _ options: [String] = [], cert: String = "client", port: Int = 0
  ) throws -> Command {
    let files = ["--cert", "\(site.folder)\(cert).crt", "--key", "\(site.folder)\(cert).key"]
    return try Command(
      ["curl", "-sk", "-m", "35", "-w", " %{http_code}\\n"] + files + options
        + ["https://127.0.0.1:\(door.port(port))/"], folder: site.folder)
  }

  func finish(_ command: Command) throws -> String {
    try command.wait().standardOutput.trimmingCharacters(in: .newlines)
  }
}

/// What the responder says, to be changed while it runs.
private final class Answers: Sendable {
  enum Manner: Sendable { case answers, garbage, refuses, hangs }

  let said = Mutex<[[UInt8]: [UInt8]]>([:])
  let manner = Mutex(Manner.answers)
  /// Questions wait while it is held.
  let isHeld = Mutex(false)

  func answer(_ request: TestUpstream.Request) -> TestUpstream.Answer {
    try? waitUntil("the answer may go", within: patience) { !isHeld.withLock { $0 } }
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
    switch manner.withLock({ $0 }) {
    case .garbage: return .steps([.bytes(head + "nonsense"), .close])
    case .refuses: return .steps([.bytes("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"), .close])
    case .hangs: return .steps([.silence])
    case .answers: break
    }
    let text = request.path.split(separator: "/", omittingEmptySubsequences: true).last ?? ""
    let question = Data(base64Encoded: String(text).removingPercentEncoding ?? "") ?? Data()
    let answer = said.withLock { $0.first { question.range(of: Data($0.key)) != nil }?.value }
    return .steps([.bytes(head), .bytes(answer ?? []), .close])
  }
}

private let failed = "FAILED:certificate status request failed . 400"

@Suite struct ClientStatusTests {
  @Test(arguments: ["--http1.1", "--http2"])
  func letsInWhatTheResponderVouchesFor(version: String) async throws {
    let clients = try Clients("ssl_ocsp leaf;")
    let door = try await Portico.start(clients.site)
    try clients.say("valid")
    #expect(try clients.get(door, [version]) == "SUCCESS . 200")
    try clients.say("revoked")
    #expect(try clients.get(door, [version]) == "FAILED:certificate revoked . 400")
    try clients.say("unknown")
    #expect(try clients.get(door, [version]) == "FAILED:certificate status unknown . 400")
    // Without a cache each connection is asked about.
    #expect(clients.responder.requests.count == 3)
  }

  @Test func refusesWhatItHearsNothingGoodOf() async throws {
    let clients = try Clients("ssl_ocsp leaf;")
    let door = try await Portico.start(clients.site)
    for (manner, reason) in [
      (Answers.Manner.garbage, "the answer is no OCSP response"),
      (.refuses, "500 No"),
    ] {
      clients.answers.manner.withLock { $0 = manner }
      #expect(try clients.get(door) == failed)
      try door.waitForLog("for certificate \"CN=client\": \(reason)")
    }
    clients.answers.manner.withLock { $0 = .answers }
    // The root vouches for the issuer, but isn't whom the issuer has speak for itself.
    for signer in ["ca", "stranger", "client"] {
      try clients.say("valid", signer: signer)
      #expect(try clients.get(door) == failed, "\(signer)")
    }
    try door.waitForLog("the response is not signed as it must be")
    clients.responder.stop()
    #expect(try clients.get(door) == failed)
    try door.waitForLog("connect() failed")
  }

  @Test(
    arguments: [
      (-30, 1, true), (-2, -1, false), (1, 2, false),
      // Without an end it is believed for a day.
      (0, nil, true), (-2, nil, false),
    ] as [(Int, Int?, Bool)])
  func believesNoAnswerOfAnotherTime(this: Int, next: Int?, isBelieved: Bool) async throws {
    let clients = try Clients("ssl_ocsp leaf;")
    let door = try await Portico.start(clients.site)
    try clients.say("valid", days: next == nil ? "" : "-ndays 2")
    try clients.date(this: this * 86_400, next: next.map { $0 * 86_400 })
    #expect(try clients.get(door) == (isBelieved ? "SUCCESS . 200" : failed))
  }

  @Test func takesTheAnswerOfWhomTheIssuerHasSpeak() async throws {
    let clients = try Clients("ssl_ocsp leaf;")
    let door = try await Portico.start(clients.site)
    try clients.site.write("speaker.cnf", "extendedKeyUsage=OCSPSigning\n")
    try clients.site.write("idle.cnf", "extendedKeyUsage=clientAuth\n")
    try clients.issue("speaker", "int", "speaker")
    try clients.issue("idle", "int", "idle")
    try clients.issue("foreign", "ca", "speaker")
    for (signer, answer) in [("speaker", "SUCCESS . 200"), ("idle", failed), ("foreign", failed)] {
      try clients.say("valid", signer: signer)
      #expect(try clients.get(door) == answer, "\(signer)")
    }
  }

  @Test func asksAboutTheWholeChainOrTheLeafAlone() async throws {
    let clients = try Clients("ssl_ocsp on;")
    let door = try await Portico.start(clients.site)
    try clients.say("valid")
    try clients.say("revoked", of: "int", issuer: "ca")
    #expect(try clients.get(door) == "FAILED:certificate revoked . 400")
    try clients.say("valid", of: "int", issuer: "ca")
    #expect(try clients.get(door) == "SUCCESS . 200")
    #expect(clients.responder.requests.count == 4)
  }

  @Test func asksTheResponderThatTheCertificateNames() async throws {
    let clients = try Clients("ssl_ocsp leaf;")
    let config = clients.site.text("portico.conf").replacingOccurrences(
      of: "ssl_ocsp_responder http://127.0.0.1:\(clients.responder.port);", with: "")
    try clients.site.write("portico.conf", config)
    let door = try await Portico.start(clients.site)
    try clients.say("valid")
    #expect(try clients.get(door) == "SUCCESS . 200")
    #expect(clients.responder.requests.first?.path.hasPrefix("/named/") == true)
    // Those of authorities name none.
    let whole = config.replacing("ssl_ocsp leaf", with: "ssl_ocsp on")
    #expect(try door.reload(config: whole).code == 0)
    try waitUntil("the new plan") { try clients.get(door) == failed }
    try door.waitForLog("no http OCSP responder URL in the certificate")
  }

  @Test func keepsAnswersUntilTheyEnd() async throws {
    let clients = try Clients("ssl_ocsp leaf; ssl_ocsp_cache shared:one:1m;")
    let door = try await Portico.start(clients.site)
    // An answer without an end is one of this moment.
    try clients.say("valid", days: "")
    for _ in 0..<2 { #expect(try clients.get(door) == "SUCCESS . 200") }
    #expect(clients.responder.requests.count == 2)
    try clients.say("valid")
    #expect(try clients.get(door) == "SUCCESS . 200")
    try clients.say("revoked")
    #expect(try clients.get(door) == "SUCCESS . 200")
    #expect(try door.send("reload").code == 0)
    #expect(try clients.get(door) == "SUCCESS . 200")
    #expect(clients.responder.requests.count == 3)
  }

  @Test(arguments: ["-tls1_2", "-tls1_3"])
  func asksAboutResumedSessionsToo(version: String) async throws {
    let clients = try Clients("ssl_ocsp on;")
    let door = try await Portico.start(clients.site)
    try clients.say("valid", of: "int", issuer: "ca")
    func ask(_ options: String) throws -> String {
      try clients.openssl(
        "s_client -connect 127.0.0.1:\(door.port()) \(version) -cert client.crt -key client.key "
          + "-ign_eof -quiet \(options) 2>>log <<'END'\nGET / HTTP/1.0\n\nEND")
    }
    try clients.say("valid")
    #expect(try ask("-sess_out session").contains("SUCCESS ."))
    #expect(try ask("-sess_in session").contains("SUCCESS r"))
    try clients.say("revoked")
    #expect(try ask("-sess_in session").contains("FAILED:certificate revoked r"))
  }

  /// A ticket holds the client's certificate, but not the authority's that the client sent along.
  @Test(arguments: ["-tls1_2", "-tls1_3"])
  func resumesNothingWhoseChainItLacks(version: String) async throws {
    let clients = try Clients("ssl_ocsp leaf;")
    try clients.site.write("trusted.crt", clients.site.text("ca.crt"))
    let door = try await Portico.start(clients.site)
    try clients.say("valid")
    for options in ["-sess_out session", "-sess_in session"] {
      let answer = try clients.openssl(
        "s_client -connect 127.0.0.1:\(door.port()) \(version) -cert client.crt -key client.key "
          + "-cert_chain int.crt -ign_eof -quiet \(options) 2>>log <<'END'\nGET / HTTP/1.0\n\nEND")
      #expect(answer.contains("SUCCESS ."), "\(answer)")
    }
  }

  @Test func letsRequestsWaitAndAnswersNothingBefore() async throws {
    let clients = try Clients("ssl_ocsp leaf;")
    let door = try await Portico.start(clients.site)
    try clients.say("valid")
    clients.answers.isHeld.withLock { $0 = true }
    let url = "https://127.0.0.1:\(door.port())/"
    let waiting = try clients.ask(door, ["--http2", "-Z", url + "?1", url + "?2"])
    try waitUntil("the question") { clients.responder.requests.count == 1 }
    // Who leaves is let go at once, and the question goes on for the others.
    #expect(try clients.get(door, ["-m", "3"]) == " 000")
    try waitUntil("a line with 499") { clients.site.text("logs/access.log").contains("\" 499 ") }
    // A reload meanwhile: what waits keeps its plan.
    let config = clients.site.text("portico.conf")
      .replacing("return 200 \"", with: "return 200 \"new ")
    #expect(try door.reload(config: config).code == 0)
    #expect(!waiting.hasEnded)
    #expect(!clients.site.text("logs/access.log").contains("\" 200 "))
    clients.answers.isHeld.withLock { $0 = false }
    let output = try clients.finish(waiting)
    #expect(output.components(separatedBy: "SUCCESS .").count == 4, "\(output)")
    #expect(!output.contains("new"), "\(output)")
    #expect(output.components(separatedBy: " 200").count == 4, "\(output)")
    #expect(clients.responder.requests.count == 1)
  }

  @Test func refusesWhenTheResponderHangs() async throws {
    let clients = try Clients("ssl_ocsp leaf;")
    let door = try await Portico.start(clients.site)
    clients.answers.manner.withLock { $0 = .hangs }
    #expect(try clients.get(door) == failed)
    try door.waitForLog("no answer within 10 s")
  }

  @Test func asksNothingAboutClientsThatShowNothing() async throws {
    let clients = try Clients("ssl_ocsp leaf; ssl_verify_client optional;")
    let door = try await Portico.start(clients.site)
    let answer = try Command.run(
      ["curl", "-sk", "https://127.0.0.1:\(door.port())/"], folder: clients.site.folder)
    #expect(answer.standardOutput == "NONE .")
    // Of strangers neither: they are refused without it.
    #expect(try clients.get(door, cert: "stranger").hasSuffix(" 400"))
    #expect(clients.responder.requests.isEmpty)
    try clients.say("revoked")
    #expect(try clients.get(door) == "FAILED:certificate revoked . 400")
  }

  @Test(arguments: [
    ("ssl_ocsp maybe;", "\"ssl_ocsp\" must be one of"),
    ("ssl_ocsp_responder https://a/;", "takes an \"http://\" URL, not \"https://a/\""),
    ("ssl_ocsp_responder http://:80/;", "takes an \"http://\" URL, not \"http://:80/\""),
    ("ssl_ocsp_responder nowhere;", "takes an \"http://\" URL, not \"nowhere\""),
    ("ssl_ocsp_cache on;", "wants \"off\" or \"shared:NAME:SIZE\", not \"on\""),
    ("ssl_ocsp_cache shared::1m;", "wants \"off\" or \"shared:NAME:SIZE\""),
    ("ssl_ocsp_cache shared:a:much;", "much"),
    ("ssl_ocsp_cache shared:a:1k;", "must have a size of 32k at least, not \"1k\""),
    ("ssl_ocsp on; ssl_verify_client optional_no_ca;", "is incompatible with"),
    ("ssl_ocsp on; ssl_verify_client off;", "does nothing without \"ssl_verify_client\""),
    (
      "ssl_ocsp on; ssl_ocsp_cache shared:a:1m; } server { listen 127.0.0.1:%%PORT_1%% ssl; "
        + "ssl_ocsp on; ssl_ocsp_cache shared:a:2m;", "\"a\" is given two sizes"
    ),
  ])
  func saysWhatIsWrongInTheConfiguration(settings: String, problem: String) async throws {
    let site = try Site(
      config: """
        http {
          ssl_certificate a.test.crt; ssl_certificate_key a.test.key;
          ssl_client_certificate a.test.crt; ssl_verify_client on;
          server { listen 127.0.0.1:%%PORT_0%% ssl; \(settings) }
        }
        """)
    try site.makeCertificate("a.test")
    let result = try Portico.run(site, ["-t"])
    // What does nothing is only said.
    #expect(result.code == (problem.hasPrefix("does nothing") ? 0 : 1))
    #expect(result.standardError.contains(problem), "\(result.standardError)")
  }
}
