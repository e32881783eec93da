// gRPC through the door, with a real server and a real client: calls of all kinds, errors, TLS on
// both sides, and servers that are down.

import Foundation
import Testing

@Suite struct GRPCTests {
  private func start(_ server: (Site) throws -> String, http: String = "", listen: String = "")
    async throws
    -> RunningPortico
  {
    let site = try Site(config: "")
    try site.makeCertificate("localhost")
    try site.write(
      "portico.conf",
      """
      http {
        \(http)
        server {
          listen 127.0.0.1:%%PORT_0%% \(listen);
          http2 on;
          ssl_certificate localhost.crt; ssl_certificate_key localhost.key;
          location / { \(try server(site)) }
        }
      }
      """)
    return try await Portico.start(site)
  }

  private func call(_ door: RunningPortico, _ calls: String, certificate: String? = nil) throws
    -> [String]
  {
    try GRPCClient.run(
      door.port(), folder: door.site.folder, certificate: certificate, calls: calls)
  }

  private let everything =
    "unary(b'hi'), unary(b'fail'), unary(b'y' * 3000000), server(5000), client(5000), bidi(200), many(500)"
  private func check(_ lines: [String]) {
    #expect(lines.count == 7, "\(lines)")
    guard lines.count == 7 else { return }
    #expect(lines[0] == "echo:hi OK 2 me")
    #expect(lines[1] == "FAILED_PRECONDITION as asked: 100%")
    #expect(lines[2].hasPrefix("echo:yyyy") && lines[2].hasSuffix("OK 3000000 me"))
    #expect(Array(lines[3...]) == ["5000 m4999", "5000000", "re:199", "500"])
  }

  @Test func passesCallsOfAllKinds() async throws {
    var server: GRPCServer?
    let door = try await start(
      { site in
        server = try GRPCServer(folder: site.folder)
        return "grpc_pass grpc://\(server?.address ?? "");"
      }, http: "client_max_body_size 0;")
    check(try call(door, everything))
    let log = door.errorLog
    #expect(!log.contains("[error]") && !log.contains("[alert]"), "\(log)")
    server?.stop()
  }

  @Test func speaksTLSOnBothSides() async throws {
    var server: GRPCServer?
    let door = try await start(
      { site in
        server = try GRPCServer(folder: site.folder, certificate: "localhost")
        return """
          grpc_pass grpcs://\(server?.address ?? "");
          grpc_ssl_verify on; grpc_ssl_trusted_certificate localhost.crt; grpc_ssl_name localhost;
          """
      }, http: "client_max_body_size 0;", listen: "ssl")
    check(try call(door, everything, certificate: "localhost"))
    server?.stop()
  }

  @Test func refusesAServerThatIsNotTrusted() async throws {
    var server: GRPCServer?
    let door = try await start({ site in
      try site.makeCertificate("other")
      server = try GRPCServer(folder: site.folder, certificate: "other")
      return """
        grpc_pass grpcs://\(server?.address ?? "");
        grpc_ssl_verify on; grpc_ssl_trusted_certificate localhost.crt; grpc_ssl_name localhost;
        """
    })
    #expect(try call(door, "unary(b'hi')").first?.hasPrefix("UNAVAILABLE") == true)
    server?.stop()
  }

  @Test func asksTheServersOfAnUpstreamInTurn() async throws {
    var servers: [GRPCServer] = []
    let site = try Site(config: "")
    servers = try (0..<2).map { _ in try GRPCServer(folder: site.folder) }
    let door = try await start(
      { _ in "set $group app; grpc_pass grpc://$group;" },
      http: "upstream app { server \(servers[0].address); server \(servers[1].address); }"
        + "access_log %%DIR%%/access.log up; log_format up $upstream_addr;")
    #expect(try call(door, "many(10)") == ["10"])
    try waitUntil("the log") { door.site.text("access.log").split(separator: "\n").count == 10 }
    for server in servers { #expect(door.site.text("access.log").contains(server.address)) }
    servers[0].stop()
    #expect(try call(door, "many(10)") == ["10"])
    servers[1].stop()
  }

  @Test func saysWhenNobodyIsThere() async throws {
    let nobody = RawServer()
    let address = nobody.address
    let door = try await start({ _ in "grpc_pass \(address); grpc_read_timeout 300ms;" })
    // 504 and 502 are what a client makes UNAVAILABLE of.
    #expect(try call(door, "unary(b'hi')").first?.hasPrefix("UNAVAILABLE") == true)
    let answer = try Command.run(
      [
        "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--http2-prior-knowledge", "-d", "x",
        "http://127.0.0.1:\(door.port())/",
      ], folder: door.site.folder)
    #expect(answer.standardOutput == "504")
  }

  @Test func passesTrailersInChunksToHTTP1() async throws {
    let (door, server) = try await startPlain()
    let text = String(
      decoding: try Array(callByHTTP1(door).read(until: "x-from: -\r\n\r\n").utf8), as: UTF8.self)
    #expect(text.contains("\r\n0\r\n") && text.contains("grpc-status: 0\r\n"))
    server.stop()
  }

  private func startPlain() async throws -> (RunningPortico, GRPCServer) {
    var server: GRPCServer?
    let door = try await start({ site in
      server = try GRPCServer(folder: site.folder)
      return "grpc_pass \(server?.address ?? "");"
    })
    return (door, try #require(server))
  }

  /// Calls with the message `hi`; `fields` are lines.
  private func callByHTTP1(_ door: RunningPortico, _ fields: String = "") throws -> RawClient {
    let client = try door.client()
    let head =
      "POST /t.T/Unary HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nContent-Type: application/grpc\r\n"
      + "\(fields)Content-Length: 7\r\n\r\n"
    try client.send(Array(head.utf8) + [0, 0, 0, 0, 2] + Array("hi".utf8))
    return client
  }

  /// A server ends the connection, and all calls on it, over metadata that it can't decode.
  @Test func nobodysMetadataEndsTheCallsOfOthers() async throws {
    let (door, server) = try await startPlain()
    func ask(_ value: String) throws -> Response {
      try callByHTTP1(door, "X-Bin: \(value)\r\n").response()
    }
    for value in ["!!!", "7", "AB==", "//9", "AA-_", "AAAA,!", "A,AAA"] {
      #expect(try ask(value).status == 400, "\(value)")
    }
    for value in ["AAAA", "AA", "AA==", "//8", "", "AAAA, AA==,AAA"] {
      let answer = try ask(value)
      #expect(answer.status == 200 && answer.text.hasSuffix("echo:hi"), "\(value)")
    }
    #expect(try call(door, "many(10)") == ["10"])
    server.stop()
  }

  /// That a client takes trailers is said as it said it, unless the configuration says otherwise.
  @Test func theWishForTrailersCanBeSet() async throws {
    let door = try await Portico.start(
      config: """
        http {
          server { listen 127.0.0.1:%%PORT_0%%;
            location / { grpc_pass 127.0.0.1:%%PORT_1%%; }
            location /none { grpc_set_header TE ""; grpc_pass 127.0.0.1:%%PORT_1%%; } }
          server { listen 127.0.0.1:%%PORT_1%%; http2 on; return 200 "te=$http_te"; }
        }
        """)
    for (path, te) in [("/", "trailers"), ("/none", "")] {
      let client = try door.client()
      try client.send("GET \(path) HTTP/1.1\r\nHost: x\r\nTE: trailers\r\n\r\n")
      #expect(try client.response().text == "te=\(te)", "\(path)")
    }
    try door.stop()
  }

  @Test(arguments: [
    ("", true), ("grpc_service=well", true), ("grpc_service=sick", false),
    ("grpc_service=none", false),
    ("grpc_service=none grpc_status=5", true),
  ])
  func asksServersWhetherTheyAreWell(parameters: String, isWell: Bool) async throws {
    var server: GRPCServer?
    let door = try await start(
      { site in
        server = try GRPCServer(folder: site.folder)
        try site.write(
          "upstream.conf",
          """
          upstream app { server \(server?.address ?? "");
            health_check mandatory interval=500ms type=grpc \(parameters); }
          """)
        return "grpc_pass app;"
      }, http: "include upstream.conf;")
    try door.waitForLog("health check of")
    if isWell { try door.waitForLog("passed") } else { try door.waitForLog("failed") }
    let line = try #require(try call(door, "unary(b'hi')").first)
    #expect(line.hasPrefix(isWell ? "echo:hi OK" : "UNAVAILABLE"), "\(line)")
    server?.stop()
  }
}
