// server_tokens: what the Server field and our own pages say of who answers.

import Foundation
import Testing

@Suite struct SignatureTests {
  private static let version = "portico/0.1.0"

  private func start() async throws -> RunningPortico {
    try await Portico.start(
      config: """
        http {
          http2 on;
          server {
            listen 127.0.0.1:%%PORT_0%%;
            location /default { return 404; }
            location /off { server_tokens off; return 404; }
            location /on { server_tokens on; return 404; }
            location /build { server_tokens build; return 404; }
            location /own { server_tokens "shop $arg_x"; return 404; }
            location /none { server_tokens ""; return 404; }
            location /sent { server_tokens on; add_header X-Sent $sent_http_server always; return 200; }
          }
        }
        """)
  }

  @Test(arguments: [
    ("/default", "portico", "<p>portico</p>"), ("/off", "portico", "<p>portico</p>"),
    ("/on", version, "<p>\(version)</p>"), ("/build", version, "<p>\(version)</p>"),
    ("/own?x=<b>&", "shop <b>", "<p>shop &lt;b&gt;</p>"),
  ])
  func tellsWhatTheLocationWants(_ path: String, field: String, line: String) async throws {
    let door = try await start()
    let response = try door.get(path)
    #expect(response["Server"] == field)
    #expect(response.text.contains(line))
  }

  @Test func sendsNoFieldForAnEmptyName() async throws {
    let door = try await start()
    let response = try door.get("/none")
    #expect(response.status == 404 && response["Server"] == nil)
    #expect(!response.text.contains("portico"))
    #expect(try door.get("/sent")["X-Sent"] == Self.version)
  }

  @Test(arguments: [
    ("/on", "server: \(version)\r\n"), ("/off", "server: portico\r\n"), ("/none", nil),
  ])
  func tellsTheSameByHTTP2(_ path: String, line: String?) async throws {
    let door = try await start()
    let head = try Command.run(
      ["curl", "-sI", "--http2-prior-knowledge", "http://127.0.0.1:\(door.port(0))\(path)"],
      folder: door.site.folder
    ).standardOutput
    #expect(head.hasPrefix("HTTP/2 404"))
    if let line { #expect(head.contains(line)) } else { #expect(!head.contains("server:")) }
  }
}
