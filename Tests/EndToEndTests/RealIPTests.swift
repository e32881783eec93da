// set_real_ip_from, real_ip_header, real_ip_recursive: whose word is believed, and who sees it.

import Foundation
import Testing

private func ask(_ door: RunningPortico, _ path: String, _ fields: [String]) throws -> String {
  let client = try door.client()
  let lines = fields.map { "\($0)\r\n" }.joined()
  try client.send("GET \(path) HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\(lines)\r\n")
  let response = try client.response()
  return response["X-Client"] ?? response.text
}

@Suite struct RealIPTests {
  private func start() async throws -> RunningPortico {
    try await Portico.start(
      config: """
        http {
          log_format who "$remote_addr:$remote_port $realip_remote_addr";
          set_real_ip_from 127.0.0.0/8; set_real_ip_from 10.0.1.0/24; set_real_ip_from 2001:db8:1::/48;
          server {
            listen 127.0.0.1:%%PORT_0%%; access_log %%DIR%%/access.log who;
            location / { return 200 "$remote_addr:$remote_port"; }
            location /custom { real_ip_header X-Client; add_header X-Client "$remote_addr:$remote_port" always; }
            location /last { real_ip_header X-Forwarded-For; add_header X-Client $remote_addr always; }
            location /recursive { real_ip_header x-forwarded-for; real_ip_recursive on; add_header X-Client $remote_addr always; }
            location /nobody { set_real_ip_from 192.0.2.0/24; real_ip_header X-Client; add_header X-Client $remote_addr always; }
            location /rewritten { real_ip_header X-Client; return 200 $remote_addr; }
          }
        }
        """)
  }

  @Test func believesAFieldOfATrustedSender() async throws {
    let door = try await start()
    #expect(try ask(door, "/", ["X-Real-IP: 192.0.2.1"]) == "192.0.2.1:")
    #expect(try ask(door, "/", ["X-Real-IP: 192.0.2.1:4711"]) == "192.0.2.1:4711")
    #expect(try ask(door, "/", ["X-Real-IP: [2001:db8::1]:4711"]) == "2001:db8::1:4711")
    #expect(try ask(door, "/", ["X-Real-IP: 192.0.2.1", "X-Real-IP: 192.0.2.2"]) == "192.0.2.1:")
    for wrong in ["X-Real-IP: name", "X-Real-IP: 192.0.2.1;", "X-Client: 192.0.2.1", "X-Real-IP:"] {
      #expect(try ask(door, "/", [wrong]).hasPrefix("127.0.0.1:"))
    }
    #expect(try ask(door, "/custom", ["x-client: 192.0.2.9"]) == "192.0.2.9:")
    // As in nginx, the location's settings hold after its rewrite directives, the server's before.
    #expect(try ask(door, "/rewritten", ["X-Client: 192.0.2.9"]) == "127.0.0.1")
    #expect(try ask(door, "/rewritten", ["X-Real-IP: 192.0.2.9"]) == "192.0.2.9")
    #expect(
      try ask(door, "/custom", ["X-Client: 192.0.2.9", "X-Real-IP: 192.0.2.1"]) == "192.0.2.1:")
  }

  @Test func believesNobodyElse() async throws {
    let door = try await start()
    #expect(try ask(door, "/nobody", ["X-Client: 192.0.2.7"]) == "127.0.0.1")
  }

  @Test func walksThroughForwardedFor() async throws {
    let door = try await start()
    let one = ["X-Forwarded-For: 192.0.2.1, 10.0.1.1, 127.0.0.1"]
    #expect(try ask(door, "/last", one) == "127.0.0.1")
    #expect(try ask(door, "/recursive", one) == "192.0.2.1")
    let several = [
      "X-Forwarded-For: 10.0.1.1", "X-Forwarded-For: 192.0.2.1 ,10.0.1.9",
      "X-Forwarded-For: 127.0.0.1",
    ]
    #expect(try ask(door, "/last", several) == "127.0.0.1")
    #expect(try ask(door, "/recursive", several) == "192.0.2.1")
    #expect(try ask(door, "/recursive", ["X-Forwarded-For: 10.0.1.1, 10.0.1.2"]) == "10.0.1.1")
    #expect(
      try ask(door, "/recursive", ["X-Forwarded-For: 192.0.2.1, unknown, 10.0.1.2"]) == "10.0.1.2")
    #expect(
      try ask(door, "/recursive", ["X-Forwarded-For: 2001:db8:2::1, 2001:db8:1::1,127.0.0.1"])
        == "2001:db8:2::1")
    #expect(try ask(door, "/recursive", ["X-Forwarded-For: ,"]) == "127.0.0.1")
  }

  @Test func isSeenByLogsAndUpstreams() async throws {
    let upstream = try TestUpstream { request in .answer(body: request["X-Forwarded-For"] ?? "-") }
    let door = try await Portico.start(
      config: """
        http {
          log_format who "$remote_addr $realip_remote_addr $realip_remote_port";
          server {
            listen 127.0.0.1:%%PORT_0%%; access_log %%DIR%%/access.log who;
            set_real_ip_from localhost;
            location / { proxy_pass http://%%UPSTREAM_0%%; proxy_forwarded on; }
            location /gone { root %%DIR%%; }
          }
        }
        """, upstreams: [upstream])
    #expect(try ask(door, "/", ["X-Real-IP: 192.0.2.1"]) == "192.0.2.1")
    _ = try ask(door, "/gone", ["X-Real-IP: 192.0.2.2"])
    try door.waitForLog("client: 192.0.2.2, server:")
    try door.stop()
    let lines = door.site.text("access.log").split(separator: "\n")
    #expect(lines.first?.hasPrefix("192.0.2.1 127.0.0.1 ") == true)
    #expect(lines.last?.hasPrefix("192.0.2.2 127.0.0.1 ") == true)
  }

  @Test func belongsToTheRequestNotToTheConnection() async throws {
    let door = try await start()
    let client = try door.client()
    for (line, wanted) in [("X-Real-IP: 192.0.2.1\r\n", "192.0.2.1:"), ("", "127.0.0.1:")] {
      try client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\(line)\r\n")
      #expect(try client.response().text.hasPrefix(wanted))
    }
  }

  @Test func trustsUnixSocketsAndTheProxyProtocol() async throws {
    let door = try await Portico.start(
      config: """
        http {
          server { listen unix:%%DIR%%/s; set_real_ip_from unix:; return 200 "$remote_addr $realip_remote_addr"; }
          server { listen unix:%%DIR%%/t; set_real_ip_from 127.0.0.1; return 200 $remote_addr; }
          server {
            listen 127.0.0.1:%%PORT_0%% proxy_protocol; set_real_ip_from 127.0.0.1; real_ip_header proxy_protocol;
            return 200 "$remote_addr:$remote_port";
          }
          server {
            listen 127.0.0.1:%%PORT_1%% proxy_protocol; set_real_ip_from 192.0.2.0/24; real_ip_header proxy_protocol;
            return 200 $remote_addr;
          }
        }
        """)
    let request = "GET / HTTP/1.0\r\nX-Real-IP: 192.0.2.1\r\n\r\n"
    for (name, wanted) in [("s", "192.0.2.1 unix:"), ("t", "unix:")] {
      let client = try RawClient(path: "\(door.site.folder)\(name)")
      try client.send(request)
      #expect(try client.response().text == wanted)
    }
    for (port, wanted) in [(0, "192.0.2.9:99"), (1, "127.0.0.1")] {
      let client = try door.client(port: port)
      try client.send("PROXY TCP4 192.0.2.9 192.0.2.10 99 1\r\n" + request)
      #expect(try client.response().text == wanted)
    }
  }

  @Test func refusesWhatIsNoNetworkAndNoHost() throws {
    for (line, message) in [
      ("set_real_ip_from 10.0.0.0/33;", "\"10.0.0.0/33\" is no network"),
      (
        "set_real_ip_from nobody.invalid;",
        "host not found in \"set_real_ip_from\": \"nobody.invalid\""
      ),
      ("real_ip_header \"a b\";", "\"a b\" is no field name"),
    ] {
      let site = try Site(config: "http { server { listen 127.0.0.1:%%PORT_0%%; \(line) } }")
      let result = try Portico.run(site, ["-t"])
      #expect(result.code == 1 && result.standardError.contains(message), "\(result.standardError)")
    }
  }
}
