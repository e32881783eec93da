// Whose connections are kept.

import Foundation
import Testing

@Suite struct KeepAliveTests {
  private static let explorer5 = "Mozilla/4.0 (compatible; MSIE 5.0; Windows 98)"
  private static let explorer6 = "Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.0)"
  private static let explorer6SP2 = "Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1; SV1)"
  private static let explorer10 = "Mozilla/5.0 (compatible; MSIE 10.0; Windows NT 6.1)"
  private static let opera = "Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1) Opera 8.5"
  private static let safari =
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/17.4 Safari/605.1"
  private static let chrome =
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 Chrome/120.0 Safari/537.36"
  private static let otherSafari = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/605.1 Safari/605.1"

  /// `keepalive_disable`, by location, method and User-Agent: nginx's rules.
  @Test func browsersThatAreNotTrustedAreLetGo() async throws {
    let door = try await Portico.start(
      config: """
        http {
          server {
            listen 127.0.0.1:%%PORT_0%%;
            location /safari { keepalive_disable safari; return 200 ok; }
            location /both { keepalive_disable msie6 safari; return 200 ok; }
            location /none { keepalive_disable none; return 200 ok; }
            location / { return 200 ok; }
          }
        }
        """)
    let cases: [(path: String, method: String, agent: String?, isKept: Bool)] = [
      ("/", "POST", Self.explorer5, false), ("/", "POST", Self.explorer6, false),
      ("/", "GET", Self.explorer6, true), ("/", "POST", Self.explorer6SP2, true),
      ("/", "POST", Self.explorer10, true), ("/", "POST", Self.opera, true),
      ("/", "POST", nil, true), ("/", "POST", "", true), ("/", "POST", "MSIE 6", true),
      ("/", "POST", Self.safari, true), ("/safari", "GET", Self.safari, false),
      ("/safari", "GET", Self.chrome, true), ("/safari", "GET", Self.otherSafari, true),
      ("/safari", "POST", Self.explorer6, true), ("/both", "POST", Self.explorer6, false),
      ("/both", "GET", Self.safari, false), ("/none", "POST", Self.explorer6, true),
    ]
    for (path, method, agent, isKept) in cases {
      let client = try door.client()
      let field = agent.map { "User-Agent: \($0)\r\n" } ?? ""
      try client.send("\(method) \(path) HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\(field)\r\n")
      let response = try client.response(to: method)
      #expect(response.status == 200)
      let connection = isKept ? "keep-alive" : "close"
      #expect(response["Connection"] == connection, "\(method) \(path) \(agent ?? "nobody")")
    }
    try door.stop()
  }
}
