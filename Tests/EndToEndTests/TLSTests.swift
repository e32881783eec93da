// TLS, from outside: the real binary, curl and openssl as clients.

import Foundation
import Testing

/// What curl got.
private struct Answer: Equatable {
  let code: Int32
  let status: Int
  let body: String
}

/// Asks the TLS server called `name` on the first port; `options` are curl's.
private func ask(
  _ door: RunningPortico, _ name: String, _ options: [String] = [], path: String = "/",
  port: Int = 0
) throws -> Answer {
  let number = door.port(port)
  let result = try Command.run(
    ["curl", "-sk", "-m", "35", "--resolve", "\(name):\(number):127.0.0.1", "-w", "\n%{http_code}"]
      + options + ["https://\(name):\(number)\(path)"], folder: door.site.folder)
  var lines = result.standardOutput.components(separatedBy: "\n")
  let status = Int(lines.removeLast()) ?? 0
  return Answer(code: result.code, status: status, body: lines.joined(separator: "\n"))
}

private func server(_ name: String, _ more: String, certificate: String? = nil) -> String {
  """
  server {
    listen 127.0.0.1:%%PORT_0%% ssl; server_name \(name);
    ssl_certificate \(certificate ?? name).crt; ssl_certificate_key \(certificate ?? name).key;
    \(more)
  }
  """
}

@Suite struct ServerNameTests {
  @Test func choosesTheSiteByExactNameWildcardAndDefault() async throws {
    let site = try Site(
      config: """
        http {
        \(server("one.test", "return 200 \"one $ssl_server_name\";"))
        \(server("two.test *.two.test", "return 200 \"two $ssl_protocol\";", certificate: "two.test"))
        }
        """)
    for name in ["one.test", "two.test"] { try site.makeCertificate(name) }
    let door = try await Portico.start(site)
    #expect(try ask(door, "one.test").body == "one one.test")
    #expect(try ask(door, "unknown.test").body == "one unknown.test")
    #expect(try ask(door, "two.test", ["--tls-max", "1.2"]).body == "two TLSv1.2")
    #expect(try ask(door, "a.two.test").body == "two TLSv1.3")
  }

  @Test func refusesHandshakesWhereItIsTold() async throws {
    let site = try Site(
      config: """
        http {
        server { listen 127.0.0.1:%%PORT_0%% ssl default_server; ssl_reject_handshake on; }
        \(server("one.test", "return 200 one;"))
        }
        """)
    try site.makeCertificate("one.test")
    let door = try await Portico.start(site)
    #expect(try ask(door, "one.test").body == "one")
    #expect(try ask(door, "unknown.test").code == 35)
  }

  @Test func answersPlainHTTPByA400ThatSaysSo() async throws {
    let site = try Site(config: "http {\n\(server("one.test", "return 200 one;"))\n}")
    try site.makeCertificate("one.test")
    let answer = try await Portico.start(site).get("/")
    #expect(answer.status == 400)
    #expect(
      String(decoding: answer.body, as: UTF8.self).contains(
        "plain HTTP request was sent to HTTPS port"))
  }

  @Test(arguments: [("", 400), ("=", 200), ("=418", 418)])
  func showsAPageAbout400sByTheirOwnNumbers(_ sign: String, _ status: Int) async throws {
    let site = try Site(
      config:
        "http {\n\(server("one.test", "error_page 494 497 \(sign) /why; location /why { return 200 why; }"))\n}"
    )
    try site.makeCertificate("one.test")
    let answer = try await Portico.start(site).get("/a")
    #expect(answer.status == status && answer.text == "why")
  }

  @Test func redirectsPlainHTTPWhereErrorPageSaysSo() async throws {
    let site = try Site(
      config:
        "http {\n\(server("one.test", "error_page 497 =301 https://$host$request_uri; return 200 one;"))\n}"
    )
    try site.makeCertificate("one.test")
    let door = try await Portico.start(site)
    let answer = try door.get("/a?b")
    #expect(answer.status == 301)
    #expect(answer["location"] == "https://localhost/a?b")
    // What is no request has no place to be sent to.
    let client = try door.client()
    try client.send("FOO BAR BAZ\r\n\r\n")
    #expect(try client.response().status == 400)
    let other = try door.client()
    try other.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    #expect(try other.response().status == 400)
  }
}

@Suite struct ClientCertificateTests {
  private func start() async throws -> RunningPortico {
    let verify = "ssl_verify_client on; ssl_client_certificate"
    let site = try Site(
      config: """
        http {
        \(server("open.test", "return 200 open;"))
        \(server("first.test", "\(verify) ca1.crt; return 200 \"$ssl_client_verify $ssl_client_s_dn\";", certificate: "open.test"))
        \(server("same.test", "\(verify) ca1.crt; return 200 same;", certificate: "open.test"))
        \(server("second.test", "\(verify) ca2.crt; error_page 495 496 =403 /no; location /no { return 403 \"custom $ssl_client_verify\"; }", certificate: "open.test"))
        }
        """)
    for name in ["open.test", "ca1", "ca2"] { try site.makeCertificate(name) }
    for number in ["1", "2"] {
      try site.makeCertificate("client\(number)", issuedBy: "ca\(number)")
    }
    return try await Portico.start(site)
  }

  private func shows(_ name: String, _ door: RunningPortico) -> [String] {
    ["--cert", "\(door.site.folder)\(name).crt", "--key", "\(door.site.folder)\(name).key"]
  }

  @Test func answers400WithoutAGoodCertificate() async throws {
    let door = try await start()
    let missing = try ask(door, "first.test")
    #expect(missing.status == 400 && missing.body.contains("No required SSL certificate was sent"))
    let wrong = try ask(door, "first.test", shows("client2", door))
    #expect(wrong.status == 400 && wrong.body.contains("The SSL certificate error"))
    let good = try ask(door, "first.test", shows("client1", door))
    #expect(good == Answer(code: 0, status: 200, body: "SUCCESS CN=client1"))
  }

  @Test func showsItsErrorPageInstead() async throws {
    let door = try await start()
    #expect(try ask(door, "second.test") == Answer(code: 0, status: 403, body: "custom NONE"))
    let wrong = try ask(door, "second.test", shows("client1", door))
    #expect(wrong.status == 403 && wrong.body.hasPrefix("custom FAILED:"))
  }

  @Test func answers421WhereTheHostWantsAnotherPolicyThanTheServerName() async throws {
    let door = try await start()
    let client = shows("client1", door)
    #expect(try ask(door, "first.test", client + ["-H", "Host: second.test"]).status == 421)
    #expect(try ask(door, "open.test", ["-H", "Host: first.test"]).status == 421)
    #expect(try ask(door, "first.test", client + ["-H", "Host: same.test"]).body == "same")
    #expect(try ask(door, "first.test", client + ["-H", "Host: open.test"]).body == "open")
  }

  @Test(arguments: ["-tls1_2", "-tls1_3"])
  func resumesWithinAPolicyAndNeverAcross(version: String) async throws {
    let door = try await start()
    let folder = door.site.folder
    func connect(_ name: String, _ file: [String]) throws -> String {
      let script =
        "printf 'GET / HTTP/1.1\\r\\nHost: \(name)\\r\\nConnection: close\\r\\n\\r\\n' | openssl s_client "
        + "-connect 127.0.0.1:\(door.port()) -servername \(name) \(version) -ign_eof "
        + "-cert \(folder)client1.crt -key \(folder)client1.key " + file.joined(separator: " ")
      return try Command.run(["sh", "-c", script], folder: folder).standardOutput
    }
    let kept = "\(folder)session.pem"
    #expect(try connect("first.test", ["-sess_out", kept]).contains("SUCCESS CN=client1"))
    #expect(try connect("first.test", ["-sess_in", kept]).contains("\nReused, TLS"))
    for other in ["second.test", "open.test"] {
      let output = try connect(other, ["-sess_in", kept])
      #expect(output.contains("\nNew, TLS") && !output.contains("\nReused"))
    }
  }
}
