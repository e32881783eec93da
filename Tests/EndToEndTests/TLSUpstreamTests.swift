// TLS beyond the handshake, from outside: certificates that are wrong, towards upstreams, large
// bodies.

import Foundation
import Testing

@Suite struct BrokenCertificateTests {
  private static func config(_ second: String) -> String {
    """
    http {
      server { listen 127.0.0.1:%%PORT_0%% ssl; server_name one.test;
        ssl_certificate one.test.crt; ssl_certificate_key one.test.key; return 200 one; }
      server { listen 127.0.0.1:%%PORT_0%% ssl; server_name two.test;
        ssl_certificate two.test.crt;
        ssl_certificate_key \(second).key; return 200 two; }
    }
    """
  }

  private func site(_ second: String) throws -> Site {
    let site = try Site(config: Self.config(second))
    for name in ["one.test", "two.test"] { try site.makeCertificate(name) }
    return site
  }

  @Test func refusesToStartAndPointsAtTheKey() throws {
    let result = try Portico.run(site("one.test"), ["-t"])
    #expect(result.code == 1)
    #expect(
      result.standardError.contains(
        "portico.conf:6:25: error: key \"one.test.key\" does not belong"))
  }

  @Test func warnsOfAnExpiredCertificate() throws {
    let site = try site("two.test")
    try site.makeExpiredCertificate("two.test")
    let result = try Portico.run(site, ["-t"])
    #expect(result.code == 0)
    #expect(
      result.standardError.contains(
        "portico.conf:5:21: warning: certificate \"two.test.crt\" expired"))
  }

  @Test func takesOnlyItsSiteDownAtAReload() async throws {
    let door = try await Portico.start(site("two.test"))
    #expect(try fetch(door, "two.test") == "two")
    let reload = try door.reload(config: Self.config("one.test"))
    #expect(reload.code == 0)
    #expect(try fetch(door, "one.test") == "one")
    #expect(try fetch(door, "two.test") == "")
    _ = try door.reload(config: Self.config("two.test"))
    #expect(try fetch(door, "two.test") == "two")
  }

  private func fetch(_ door: RunningPortico, _ name: String) throws -> String {
    try Command.run(
      [
        "curl", "-sk", "-m", "35", "--resolve", "\(name):\(door.port()):127.0.0.1",
        "https://\(name):\(door.port())/",
      ], folder: door.site.folder
    ).standardOutput
  }
}

@Suite struct TLSUpstreamTests {
  /// Port 0 speaks TLS towards port 1, which speaks TLS with us and asks `upstream`.
  private func start(_ upstream: TestUpstream, _ locations: String) async throws -> RunningPortico {
    let site = try Site(
      config: """
        http {
          client_max_body_size 0;
          upstream tls { server 127.0.0.1:%%PORT_1%%; keepalive 0; }
          server { listen 127.0.0.1:%%PORT_0%%; \(locations) }
          server { listen 127.0.0.1:%%PORT_1%% ssl;
            ssl_certificate up.test.crt; ssl_certificate_key up.test.key;
            location /who { return 200 "$ssl_server_name $ssl_session_reused"; }
            location / { proxy_pass http://%%UPSTREAM_0%%; } }
        }
        """, upstreams: [upstream])
    try site.makeCertificate("up.test")
    return try await Portico.start(site)
  }

  private func text(_ response: Response) -> String {
    String(decoding: response.body, as: UTF8.self)
  }

  /// A server may choose its site by the name that a connection began with.
  @Test func aConnectionWithoutANameIsNotOneWith() async throws {
    let upstream = try TestUpstream { _ in .answer(body: "never asked") }
    let pass = "proxy_ssl_name up.test; proxy_pass https://127.0.0.1:%%PORT_1%%/who"
    let door = try await start(
      upstream,
      """
      location /a { \(pass); }
      location /b { proxy_ssl_server_name on; \(pass); }
      """)
    for (path, name) in [("/a", ""), ("/b", "up.test"), ("/b", "up.test"), ("/a", "")] {
      #expect(
        text(try door.get(path)).split(separator: " ", omittingEmptySubsequences: false)[0] == name)
    }
    try door.stop()
  }

  @Test func verifiesTheNameAndResumesSessions() async throws {
    let upstream = try TestUpstream { _ in .answer(body: "never asked") }
    let verify =
      "proxy_ssl_verify on; proxy_ssl_trusted_certificate up.test.crt; proxy_pass https://tls/who"
    let door = try await start(
      upstream,
      """
      location /good { proxy_ssl_name up.test; proxy_ssl_server_name on; \(verify); }
      location /bad { proxy_ssl_name other.test; \(verify); }
      """)
    #expect(text(try door.get("/good")) == "up.test .")
    #expect(text(try door.get("/good")) == "up.test r")
    #expect(try door.get("/bad").status == 502)
    try door.waitForLog("hostname mismatch")
  }

  @Test(arguments: ["on", "off"])
  func passesLargeBodiesUnchangedBothWays(buffering: String) async throws {
    let upstream = try TestUpstream { .answer(body: String(decoding: $0.body, as: UTF8.self)) }
    let door = try await start(
      upstream,
      "location / { proxy_request_buffering \(buffering); proxy_buffering \(buffering); proxy_pass https://tls; }"
    )
    let body = (0..<400_000).map { "\($0 &* 2_654_435_761 % 1_000_003),\n" }.joined()
    try door.site.write("body", body)
    let result = try Command.run(
      [
        "curl", "-s", "-m", "100", "--limit-rate", "30M", "-T", door.site.folder + "body",
        "http://127.0.0.1:\(door.port())/echo",
      ], folder: door.site.folder, within: 3 * patience)
    #expect(result.standardOutput == body)
  }
}
