// Upgrade: by itself and in nginx's explicit form; what is said afterwards passes both ways
// uninterpreted, and a reload doesn't touch it.

import Foundation
import Testing

@Suite struct WebSocketTests {
  private static func config(_ upstream: RawServer, extra: String = "") -> String {
    """
    http {
      log_format status "$status $request_uri";
      access_log %%DIR%%/access.log status;
      map $http_upgrade $connection_upgrade { default upgrade; "" close; }
      server {
        listen 127.0.0.1:%%PORT_0%%;
        proxy_read_timeout 1m;
        location /automatic { proxy_pass http://\(upstream.address); }
        location /explicit {
          proxy_pass http://\(upstream.address);
          proxy_http_version 1.1;
          proxy_set_header Upgrade $http_upgrade;
          proxy_set_header Connection $connection_upgrade;
        }
        location /short { proxy_pass http://\(upstream.address); proxy_read_timeout 500ms; }
        \(extra)
      }
    }
    """
  }

  private static let ask = """
    Host: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n
    """
  private static let agree = """
    HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n
    """

  /// A tunnel: the client's end, the upstream's end.
  private func open(
    _ path: String, _ door: RunningPortico, _ upstream: RawServer
  ) throws -> (client: RawClient, server: RawClient) {
    let client = try door.client()
    try client.send("GET \(path) HTTP/1.1\r\n\(Self.ask)")
    let server = try upstream.accept()
    let head = try server.read(until: "\r\n\r\n").lowercased()
    #expect(
      head.contains("\r\nconnection: upgrade\r\n") && head.contains("\r\nupgrade: websocket\r\n"))
    #expect(head.contains("\r\nsec-websocket-key: "))
    // The first frame may come together with the head.
    try server.send(Self.agree + "first")
    let answer = try Response(head: try client.read(until: "\r\n\r\n"))
    #expect(answer.status == 101 && answer["upgrade"] == "websocket")
    #expect(answer["connection"]?.lowercased() == "upgrade")
    #expect(answer["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    #expect(try client.read(count: 5) == Array("first".utf8))
    return (client, server)
  }

  private func talk(_ client: RawClient, _ server: RawClient) throws {
    for text in ["\u{1}ping\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "\0\0"] {
      try client.send(text)
      #expect(try server.read(count: text.utf8.count) == Array(text.utf8))
      try server.send(text + text)
      #expect(try client.read(count: 2 * text.utf8.count) == Array((text + text).utf8))
    }
  }

  @Test(arguments: ["/automatic", "/explicit"])
  func passesBothWaysUntilOneSideCloses(path: String) async throws {
    let upstream = RawServer()
    let door = try await Portico.start(config: Self.config(upstream))
    let (client, server) = try open(path, door, upstream)
    try talk(client, server)
    let big = [UInt8](repeating: 7, count: 1 << 20)
    try server.send(big)
    #expect(try client.read(count: big.count) == big)
    try server.send("bye")
    server.finishSending()
    #expect(try client.readToEnd() == Array("bye".utf8))
    let (other, otherServer) = try open(path, door, upstream)
    other.reset()
    #expect(otherServer.isClosed())
    try waitUntil("both in the access log") {
      door.site.text("access.log") == "101 \(path)\n101 \(path)\n"
    }
    try door.stop()
  }

  @Test func survivesAReload() async throws {
    let upstream = RawServer()
    let door = try await Portico.start(config: Self.config(upstream))
    let pairs = try ["/automatic", "/explicit"].map { try open($0, door, upstream) }
    for index in 0..<3 {
      let config = Self.config(upstream, extra: "location = /v { return 200 v\(index); }")
      #expect(try door.reload(config: config).code == 0)
      #expect(try door.get("/v").text == "v\(index)")
      for (client, server) in pairs { try talk(client, server) }
    }
    // Not even if its location is gone.
    let gone = "http { server { listen 127.0.0.1:%%PORT_0%%; return 404; } }"
    #expect(try door.reload(config: gone).code == 0)
    for (client, server) in pairs { try talk(client, server) }
    try door.stop(SIGTERM)
  }

  @Test func passesARefusalOn() async throws {
    let upstream = RawServer()
    let door = try await Portico.start(config: Self.config(upstream))
    let client = try door.client()
    try client.send("GET /automatic HTTP/1.1\r\n\(Self.ask)")
    let server = try upstream.accept()
    _ = try server.read(until: "\r\n\r\n")
    try server.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
    let response = try client.response()
    #expect(response.status == 403 && response.text == "no")
    try door.stop()
  }

  @Test func refusesAnUpgradeThatNobodyAskedFor() async throws {
    let upstream = RawServer()
    let door = try await Portico.start(config: Self.config(upstream))
    let client = try door.client()
    try client.send("GET /automatic HTTP/1.1\r\nHost: a\r\n\r\n")
    let server = try upstream.accept()
    _ = try server.read(until: "\r\n\r\n")
    try server.send(Self.agree)
    #expect(try client.response().status == 502)
    try door.stop()
  }

  @Test func closesWhenBothSidesSayNothingForTooLong() async throws {
    let upstream = RawServer()
    let door = try await Portico.start(config: Self.config(upstream))
    let watch = Stopwatch()
    let (client, server) = try open("/short", door, upstream)
    #expect(client.isClosed())
    #expect(server.isClosed())
    #expect(watch.seconds > 0.49)
    try door.stop()
  }

  /// What goes through a tunnel counts as what went to the upstream and came from it.
  @Test func theLogCountsWhatATunnelCarried() async throws {
    let upstream = RawServer()
    let door = try await Portico.start(
      config: Self.config(upstream).replacingOccurrences(
        of: "$status $request_uri", with: "$upstream_bytes_received $upstream_bytes_sent|"))
    let (client, server) = try open("/automatic", door, upstream)
    let big = [UInt8](repeating: 7, count: 1 << 20)
    try server.send(big)
    #expect(try client.read(count: big.count) == big)
    try client.send(String(repeating: "x", count: 100_000))
    _ = try server.read(count: 100_000)
    server.finishSending()
    _ = try client.readToEnd()
    try door.stop()
    let line = door.site.text("access.log").prefix { $0 != "|" }
    let counts = line.split(separator: " ").compactMap { Int($0) }
    #expect(counts[0] == Self.agree.utf8.count + "first".utf8.count + big.count)
    #expect(counts[1] > 100_000 && counts[1] < 101_000)
  }
}
