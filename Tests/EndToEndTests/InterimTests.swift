// Interim responses of upstreams: passed on where `early_hints` says so, swallowed elsewhere.

import Foundation
import Testing

@Suite struct InterimTests {
  private static let config = """
    http { server {
      listen 127.0.0.1:%%PORT_0%%;
      proxy_hide_header X-Hidden;
      location /always { early_hints 1; proxy_pass http://%%UPSTREAM_0%%; }
      location /asked { early_hints $arg_a $http_x_hints; proxy_pass http://%%UPSTREAM_0%%; }
      location /never { proxy_pass http://%%UPSTREAM_0%%; }
    } }
    """

  private func start() async throws -> RunningPortico {
    let app = try TestUpstream { _ in
      .steps([
        .bytes("HTTP/1.1 100 Continue\r\n\r\n"),
        .bytes(
          "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nConnection: X-Own\r\n"
            + "X-Own: 1\r\nX-Hidden: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
        .bytes("HTTP/1.1 102 Processing\r\n\r\n"),
        .bytes("HTTP/1.1 299 Odd\r\nContent-Length: 2\r\n\r\nok"),
      ])
    }
    return try await Portico.start(config: Self.config, upstreams: [app])
  }

  @Test(arguments: ["/always", "/asked?a=1", "/asked?a=0&h"])
  func passesInterimResponsesOnWhereTheLocationSaysSo(path: String) async throws {
    let door = try await start()
    let client = try door.client()
    for _ in 0..<2 {
      try client.send("GET \(path) HTTP/1.1\r\nHost: a\r\nX-Hints: yes\r\n\r\n")
      #expect(
        try client.read(until: "\r\n\r\n")
          == "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n")
      #expect(try client.read(until: "\r\n\r\n") == "HTTP/1.1 102 Processing\r\n\r\n")
      let answer = try client.response()
      #expect(answer.status == 299)
      #expect(answer.text == "ok")
    }
    try door.stop()
  }

  @Test(arguments: [
    ("/never", "1.1"), ("/asked?a=0", "1.1"), ("/asked", "1.1"), ("/always", "1.0"),
  ])
  func swallowsThemElsewhere(path: String, version: String) async throws {
    let door = try await start()
    let client = try door.client()
    try client.send("GET \(path) HTTP/\(version)\r\nHost: a\r\nX-Hints: 0\r\n\r\n")
    #expect(try client.read(until: "\r\n").hasPrefix("HTTP/1.1 299 "))
    try door.stop()
  }

  @Test func passesThemOnOverHTTP2() async throws {
    let app = try TestUpstream { request in
      .steps([
        .bytes(
          "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nX-Own: 1\r\nConnection: X-Own\r\n\r\n"),
        .pause(seconds: request.path == "/later" ? 0.1 : 0),
        .bytes(
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: abc\r\n\r\n"),
      ])
    }
    let door = try await Portico.start(
      config: """
        http { server {
          listen 127.0.0.1:%%PORT_0%%; http2 on; early_hints 1; proxy_pass_trailers on;
          location / { proxy_pass http://%%UPSTREAM_0%%; }
        } }
        """, upstreams: [app])
    for path in ["/", "/later"] {
      let result = try Command.run(
        ["curl", "-si", "--http2-prior-knowledge", "http://127.0.0.1:\(door.port())\(path)"],
        folder: door.site.folder)
      let text = result.standardOutput.replacingOccurrences(of: "\r", with: "")
      #expect(text.hasPrefix("HTTP/2 103 \nlink: </a.css>\n\nHTTP/2 200 \n"), "\(text)")
      #expect(text.contains("\n\nok"))
      #expect(text.lowercased().contains("x-sum: abc"))
    }
    try door.stop()
  }

  @Test func anUpstreamThatOnlyHintsIsABadGateway() async throws {
    let app = try TestUpstream { _ in
      .steps([.bytes("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"), .close])
    }
    let door = try await Portico.start(config: Self.config, upstreams: [app])
    let client = try door.client()
    try client.send("GET /always HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(try client.read(until: "\r\n\r\n").hasPrefix("HTTP/1.1 103 "))
    #expect(try client.response().status == 502)
    try door.stop()
  }
}
