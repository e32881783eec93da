// Fields behind a chunked response: passed on where `proxy_pass_trailers` says so, those that
// frame, route or belong to a connection never.

import Foundation
import Testing

@Suite struct TrailerTests {
  private static let config = """
    http {
      log_format seen "$upstream_trailer_x_sum,$sent_trailer_x_sum,$upstream_trailer_content_length";
      access_log %%DIR%%/seen.log seen;
      server {
        listen 127.0.0.1:%%PORT_0%%;
        proxy_hide_header X-Hidden;
        proxy_set_header TE trailers;
        location /on { proxy_pass_trailers on; add_trailer X-Own $uri; proxy_pass http://%%UPSTREAM_0%%; }
        location /plain { proxy_pass_trailers on; proxy_buffering off; proxy_pass http://%%UPSTREAM_0%%; }
        location /off { proxy_pass http://%%UPSTREAM_0%%; }
      }
    }
    """

  private static let trailers = [
    "X-Sum: abc", "x_odd: 1", "X-Hidden: 1", "X-Named: 1", "Content-Length: 5",
    "Content_Length: 5", "Transfer-Encoding: chunked", "Host: b", "Set-Cookie: a=b",
    "X-Accel-Redirect: /etc", "X-Empty:",
  ]

  private func start(_ steps: [TestUpstream.Step]) async throws -> RunningPortico {
    let app = try TestUpstream { request in
      request["te"] == "trailers" ? .steps(steps) : .answer("500 No TE")
    }
    return try await Portico.start(config: Self.config, upstreams: [app])
  }

  private static let head =
    "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nConnection: X-Named\r\nTransfer-Encoding: chunked\r\n\r\n"

  /// By HTTP/2 fields can follow any body, whatever is said of chunks, and beside its length.
  @Test func addsTrailersByHTTP2() async throws {
    let door = try await Portico.start(
      config: """
        http { server { listen 127.0.0.1:%%PORT_0%%; http2 on; chunked_transfer_encoding off;
          add_trailer X-T t; return 200 hello; } }
        """)
    let client = try H2Client(port: door.port())
    try client.request(1, "/")
    let head = try client.frame { $0.type == .headers }
    #expect(!head.endsStream)
    #expect(try client.frame { $0.type == .data }.payload == Array("hello".utf8))
    #expect(try client.frame { $0.stream == 1 && $0.endsStream }.type == .headers)
    try door.stop()
  }

  @Test(arguments: ["/on", "/plain"], [false, true])
  func passesTrailersOn(path: String, isBroken: Bool) async throws {
    let text =
      Self.head + "5\r\nhello\r\n0\r\n" + Self.trailers.joined(separator: "\r\n") + "\r\n\r\n"
    // Whole, and in pieces of a few bytes.
    let bytes = Array(text.utf8)
    let steps: [TestUpstream.Step] =
      isBroken
      ? stride(from: 0, to: bytes.count, by: 7).flatMap {
        [.bytes(Array(bytes[$0..<min($0 + 7, bytes.count)])), .pause(seconds: 0.001)]
      } : [.bytes(bytes)]
    let door = try await start(steps)
    let client = try door.client()
    for _ in 0..<2 {
      try client.send("GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n")
      let answer = try client.response()
      #expect(answer.text == "hello")
      #expect(answer["trailer"] == nil)
      let own = path == "/on" ? ["X-Own: /on"] : []
      #expect(answer.trailers == ["X-Sum: abc", "x_odd: 1", "X-Empty:"] + own)
    }
    try door.stop()
    #expect(door.site.text("seen.log") == "abc,abc,5, 5\nabc,abc,5, 5\n")
  }

  @Test func dropsThemElsewhere() async throws {
    let door = try await start([.bytes(Self.head + "5\r\nhello\r\n0\r\nX-Sum: abc\r\n\r\n")])
    let client = try door.client()
    try client.send("GET /off HTTP/1.1\r\nHost: a\r\n\r\n")
    let answer = try client.response()
    #expect(answer.text == "hello")
    #expect(answer.trailers.isEmpty)
    let old = try door.client()
    try old.send("GET /plain HTTP/1.0\r\nHost: a\r\n\r\n")
    #expect(String(decoding: try old.readToEnd(), as: UTF8.self).hasSuffix("\r\n\r\nhello"))
    try door.stop()
  }

  @Test(arguments: ["no colon\r\n\r\n", "X A: 1\r\n\r\n", " folded: 1\r\n\r\n", "A: \u{1}\r\n\r\n"])
  func cutsAResponseOffWhoseTrailersAreMalformed(trailers: String) async throws {
    let door = try await start([.bytes(Self.head + "5\r\nhello\r\n0\r\n" + trailers)])
    let client = try door.client()
    try client.send("GET /plain HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(throws: RawClient.Failure.self) { try client.response() }
    try door.stop()
  }
}
