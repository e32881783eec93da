// Upstreams that leave in the middle of a large body: whatever stands between them and a client
// that reads late, what came gets there, and the client sees that it isn't all.

import Foundation
import Testing

@Suite struct BrokenBodyTests {
  private static let size = 1_000_000

  /// Portico before an upstream that announces more than it sends; the last that it sends is
  /// "last".
  private func start() async throws -> (RunningPortico, TestUpstream) {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: \(Self.size + 100)\r\n\r\n"
    let body = String(repeating: "x", count: Self.size) + "last"
    // A pause makes stages pass on what they hold: that mustn't be taken for the end.
    let upstream = try TestUpstream { _ in
      .steps([.bytes(head + body), .pause(seconds: 0.1), .close])
    }
    let site = try Site(
      config: """
        http {
          proxy_cache_path %%DIR%%/cache keys_zone=z:1m;
          server {
            listen 127.0.0.1:%%PORT_0%% sndbuf=32k;
            http2 on;
            location / { proxy_buffers 4 8k; proxy_pass http://%%UPSTREAM_0%%; }
            location /filtered { sub_filter foo bar; sub_filter_types *; proxy_pass http://%%UPSTREAM_0%%; }
            location /unbuffered { sub_filter foo bar; sub_filter_types *; proxy_buffering off; proxy_pass http://%%UPSTREAM_0%%; }
            location /paced { limit_rate 800k; proxy_pass http://%%UPSTREAM_0%%; }
            location /cached { proxy_cache z; proxy_cache_valid 1h; proxy_pass http://%%UPSTREAM_0%%; }
          }
        }
        """, upstreams: [upstream])
    return (try await Portico.start(site), upstream)
  }

  /// Waits until the upstream has left, if it can before the client reads.
  private func awaitEnd(_ upstream: TestUpstream, _ path: String) throws {
    if path == "/unbuffered" { return }
    try waitUntil("the upstream to leave") {
      upstream.connectionCount == 1 && upstream.openConnectionCount == 0
    }
  }

  private static let paths = ["/", "/filtered", "/unbuffered", "/paced", "/cached"]

  @Test(arguments: paths)
  func whatCameReachesAClientThatReadsLate(path: String) async throws {
    let (door, upstream) = try await start()
    let client = try door.client()
    try client.send("GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n")
    try awaitEnd(upstream, path)
    let text = String(decoding: try client.readToEnd(), as: UTF8.self)
    #expect(text.count > Self.size && text.contains("last"))
    #expect(!text.hasSuffix("0\r\n\r\n"))
    try door.stop()
  }

  /// Without a length and without chunks only a reset tells that something is missing.
  @Test(arguments: ["/filtered", "/unbuffered"])
  func aClientOfHTTP10GetsAResetBehindIt(path: String) async throws {
    let (door, upstream) = try await start()
    let client = try door.client()
    try client.send("GET \(path) HTTP/1.0\r\n\r\n")
    try awaitEnd(upstream, path)
    let text = try client.read(until: "last")
    #expect(text.count > Self.size && !text.contains("Content-Length"))
    #expect(throws: RawClient.Failure.reset(ECONNRESET)) { try client.readToEnd() }
    try door.stop()
  }

  @Test(arguments: paths)
  func aStreamOfHTTP2IsResetBehindIt(path: String) async throws {
    let (door, upstream) = try await start()
    let client = try H2Client(port: door.port(), settings: [(4, 1 << 22)])
    try client.send(.windowUpdate, payload: H2Frame.number(1 << 22))
    try client.request(1, path)
    try awaitEnd(upstream, path)
    var body: [UInt8] = []
    var end: H2Frame?
    while end == nil {
      let frame = try client.frame { $0.stream == 1 }
      if frame.type == .data { body += frame.payload }
      if frame.type == .reset || frame.endsStream { end = frame }
    }
    #expect(body.count == Self.size + 4 && body.suffix(4) == Array("last".utf8)[...])
    #expect(end?.type == .reset)
    try door.stop()
  }
}
