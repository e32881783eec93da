// What the error log says of upstreams that fail: people look for the server, the URL and the words
// that nginx has for it.

import Foundation
import Testing

@Suite struct UpstreamLogTests {
  @Test func namesTheURLThatWasAsked() async throws {
    let door = try await Portico.start(
      config: """
        http { server { listen 127.0.0.1:%%PORT_0%%;
          location /dead { proxy_pass http://127.0.0.1:%%PORT_5%%; }
          location /moved/ { proxy_pass http://127.0.0.1:%%PORT_5%%/to/; }
          location /unix { proxy_pass http://unix:%%DIR%%/no.sock; }
          location /grpc { grpc_pass grpc://127.0.0.1:%%PORT_5%%; }
        } }
        """)
    let server = "127.0.0.1:\(door.port(5))"
    for (path, url) in [
      ("/dead?a=1", "http://\(server)/dead?a=1"), ("/moved/x", "http://\(server)/to/x"),
      ("/unix", "http://unix:\(door.site.folder)no.sock:/unix"),
      ("/grpc", "grpc://\(server)/grpc"),
    ] {
      #expect(try door.get(path).status == 502)
      try door.waitForLog("while connecting to upstream, client: 127.0.0.1")
      try door.waitForLog("upstream: \"\(url)\", host: \"localhost\"")
    }
    try door.stop()
  }

  /// A connection is there when TLS is: a failed handshake has no time.
  @Test func countsTheHandshakeAsConnecting() async throws {
    let upstream = RawServer()
    let door = try await Portico.start(
      config: """
        http { server { listen 127.0.0.1:%%PORT_0%%;
          add_header X-Connect "<$upstream_connect_time>" always;
          location / { proxy_pass https://\(upstream.address); }
        } }
        """)
    let client = try door.client()
    try client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    try upstream.accept().finishSending()
    let response = try client.response()
    #expect(response.status == 502)
    #expect(response["x-connect"] == "<->" || response["x-connect"] == "<>")
    try door.stop()
  }

  @Test func namesTheGroupThatHasNoServer() async throws {
    let door = try await Portico.start(
      config: """
        http { upstream app { server 127.0.0.1:1 down; }
          upstream named { server nowhere.invalid:80; }
          server { listen 127.0.0.1:%%PORT_0%%;
            location /down { proxy_pass http://app; }
            location /named { proxy_pass http://named; }
        } }
        """)
    #expect(try door.get("/down").status == 502)
    try door.waitForLog("no live upstreams while connecting to upstream, client")
    try door.waitForLog("upstream: \"http://app/down\"")
    #expect(try door.get("/named").status == 502)
    try door.waitForLog(
      "no live upstreams while connecting to upstream (no name in \"named\" has an address)")
    try door.waitForLog("upstream: \"http://named/named\"")
    try door.stop()
  }

  @Test(arguments: [
    (
      "SSH-2.0-x\"\r\n",
      "upstream sent no valid HTTP/1.0 header (answer is not HTTP: \"SSH-2.0-x\\x22\")"
    ),
    (
      "HTTP/1.1 200 OK\r\nA: 1\r\nX Y: 1\r\n\r\n", "upstream sent invalid header: \"X Y: 1\""
    ),
    (
      "HTTP/1.1 200 OK\r\nA: 1\r\nB: \u{1}\r\n\r\n",
      "upstream sent invalid header: \"B: \\x01\""
    ),
  ])
  func showsTheLineThatIsNoHeader(_ answer: String, _ message: String) async throws {
    let app = try TestUpstream { _ in .steps([.bytes(answer), .close]) }
    let door = try await Portico.start(
      config: """
        http { server { listen 127.0.0.1:%%PORT_0%%; location / { proxy_pass http://%%UPSTREAM_0%%; }
        } }
        """, upstreams: [app])
    #expect(try door.get().status == 502)
    try door.waitForLog(message + " while reading response header from upstream")
    try door.stop()
  }

  @Test func namesTheGroupOfAServerThatIsOut() async throws {
    let door = try await Portico.start(
      config: """
        http { upstream app { server 127.0.0.1:%%PORT_5%% fail_timeout=7s;
            server 127.0.0.1:%%PORT_6%% fail_timeout=7s; }
          server { listen 127.0.0.1:%%PORT_0%%; location / { proxy_pass http://app; } }
        }
        """)
    #expect(try door.get().status == 502)
    try door.waitForLog(
      "upstream server 127.0.0.1:\(door.port(5)) in \"app\" temporarily disabled for 7 s")
    try door.stop()
  }
}
