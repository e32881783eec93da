// proxy_forwarded: what the application is told of the client can't be said by the client itself.

import Foundation
import Testing

@Suite struct ForwardedTests {
  @Test func saysWhoAskedWhateverTheClientClaims() async throws {
    let app = try TestUpstream { _ in .answer() }
    let door = try await Portico.start(
      config: """
        http { server {
          listen 127.0.0.1:%%PORT_0%%;
          location / { proxy_pass http://%%UPSTREAM_0%%; proxy_forwarded on; }
          location /off { proxy_pass http://%%UPSTREAM_0%%; proxy_set_header X-User ""; proxy_set_header X-Role guest; }
        } }
        """, upstreams: [app])
    let lies = [
      "X-Forwarded-For", "x-forwarded-for", "X_Forwarded_For", "X-Forwarded_For", "X.Forwarded.For",
      "X-Forwarded-Proto", "X_FORWARDED_PROTO", "X-Forwarded-Host", "X_Forwarded_Host", "X-Real-IP",
      "X_Real_IP", "Forwarded", "X-User", "X_User", "X-Role", "X_ROLE",
    ].map { "\($0): lie\r\n" }.joined()
    for path in ["/", "/off"] {
      let client = try door.client()
      try client.send("GET \(path) HTTP/1.1\r\nHost: shop.example\r\n\(lies)\r\n")
      _ = try client.response()
    }
    let told = try #require(app.requests.first)
    #expect(told["x-forwarded-for"] == "127.0.0.1" && told["x-real-ip"] == "127.0.0.1")
    #expect(told["x-forwarded-proto"] == "http" && told["x-forwarded-host"] == "shop.example")
    #expect(told["forwarded"]?.lowercased().contains("for=127.0.0.1") == true)
    for line in told.head.components(separatedBy: "\r\n") where line.hasSuffix("lie") {
      #expect(
        line.lowercased().hasSuffix("user: lie") || line.lowercased().hasSuffix("role: lie"),
        "\(line)")
    }
    let off = try #require(app.requests.first { $0.path.hasPrefix("/off") })
    #expect(off["x-role"] == "guest" && off["x-user"] == nil)
    for line in off.head.lowercased().components(separatedBy: "\r\n") where line.hasSuffix("lie") {
      #expect(!line.hasSuffix("user: lie") && !line.hasSuffix("role: lie"), "\(line)")
    }
    try door.stop()
  }

  @Test func holdsAlsoWhereUnderscoresAreAllowed() async throws {
    let app = try TestUpstream { _ in .answer() }
    let door = try await Portico.start(
      config: """
        http { server {
          listen 127.0.0.1:%%PORT_0%%; underscores_in_headers on; ignore_invalid_headers off;
          location / { proxy_pass http://%%UPSTREAM_0%%; proxy_forwarded on; proxy_set_header X-User alice; }
        } }
        """, upstreams: [app])
    let client = try door.client()
    try client.send(
      "GET / HTTP/1.1\r\nHost: a\r\nX_Forwarded_For: lie\r\nX.Real.IP: lie\r\nX_User: lie\r\nOther_One: fine\r\n\r\n"
    )
    _ = try client.response()
    let told = try #require(app.requests.first)
    #expect(!told.head.contains("lie"), "\(told.head)")
    #expect(told["other_one"] == "fine" && told["x-user"] == "alice")
    try door.stop()
  }
}
