// What serves a request is used again for the next one, which must find nothing of it.

import Foundation
import Testing

@Suite struct RecycledExchangeTests {
  /// A door whose access log has lines of `format`.
  private func start(
    _ format: String, upstreams: String = "", _ server: String
  ) async throws -> RunningPortico {
    try await Portico.start(
      config: """
        http {
          log_format line "\(format)";
          access_log %%DIR%%/access.log line;
          \(upstreams)
          server { listen 127.0.0.1:%%PORT_0%%; \(server) }
        }
        """)
  }

  /// The name of a long method lay in memory that isn't the next request's.
  @Test func aMalformedRequestHasNoMethod() async throws {
    let door = try await start("$request_method|$status|", "location / { return 204; }")
    let client = try door.client()
    try client.send("PROPFINDXYZ /a HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(try client.response().status == 204)
    try client.send("G\u{1}T / HTTP/1.1\r\n\r\n")
    #expect(try client.response().status == 400)
    try door.stop()
    #expect(door.site.text("access.log") == "PROPFINDXYZ|204|\n-|400|\n")
  }

  @Test func eachGroupWithoutServersIsCalledByItsName() async throws {
    let door = try await start(
      "$upstream_addr|$upstream_status|",
      upstreams: """
        upstream one { server 127.0.0.1:%%PORT_5%% down; }
        upstream two { server 127.0.0.1:%%PORT_5%% down; }
        """,
      """
      location / { error_page 502 = @two; proxy_pass http://one; }
      location @two { proxy_pass http://two; }
      location /none { return 204; }
      """)
    let client = try door.client()
    for (path, status) in [("/", 502), ("/none", 204)] {
      try client.send("GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n")
      #expect(try client.response().status == status)
    }
    try door.stop()
    #expect(door.site.text("access.log") == "one : two|502 : 502|\n-|-|\n")
  }
}
