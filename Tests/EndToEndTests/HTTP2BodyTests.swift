// Requests by HTTP/2 whose body is empty, or none: servers behind want to be told the difference.

import Foundation
import Testing

@Suite struct HTTP2BodyTests {
  private func start(_ upstream: TestUpstream) async throws -> RunningPortico {
    let site = try Site(
      config: """
        http {
          http2 on;
          server {
            listen 127.0.0.1:%%PORT_0%%;
            location / { proxy_pass http://%%UPSTREAM_0%%; }
            location /stream { proxy_pass http://%%UPSTREAM_0%%; proxy_request_buffering off; }
            location /file {
              client_body_in_file_only on;
              proxy_set_header X-File $request_body_file;
              proxy_pass http://%%UPSTREAM_0%%;
            }
          }
        }
        """, upstreams: [upstream])
    return try await Portico.start(site)
  }

  /// A body that somebody reads isn't held to `http2_body_preread_size` a round trip.
  @Test(arguments: [("/", 1 << 20), ("/stream", 256 << 10)])
  func letsClientsSendAheadWhatIsRead(path: String, window: Int) async throws {
    let upstream = try TestUpstream { _ in .answer() }
    let door = try await start(upstream)
    let client = try H2Client(port: door.port(0))
    let fields = [("content-length", "1000000")]
    try client.request(1, path, method: "POST", ends: false, fields: fields)
    var windows = [UInt32(0): 65_535, 1: 65_535]
    while windows[1] != window || windows[0] != 8 << 20 {
      let frame = try client.frame { $0.type == .windowUpdate }
      windows[frame.stream]? += frame.payload.reduce(0) { $0 << 8 | Int($1) }
    }
    // A small one needs no more than every body has.
    let small = [("content-length", "10000")]
    try client.request(3, path, method: "POST", ends: false, fields: small)
    try client.send(
      .data, flags: H2Frame.endStream, stream: 3, payload: [UInt8](repeating: 0, count: 10_000))
    let frame = try client.frame { $0.stream == 3 || $0.type == .windowUpdate }
    #expect(frame.type == .headers)
  }

  private func length(_ request: TestUpstream.Request?) throws -> String {
    let request = try #require(request)
    #expect(request["transfer-encoding"] == nil)
    return request["content-length"] ?? "none"
  }

  @Test(arguments: ["/", "/stream"])
  func tellsUpstreamsOfEmptyBodies(_ path: String) async throws {
    let upstream = try TestUpstream { _ in .answer() }
    let door = try await start(upstream)
    let client = try H2Client(port: door.port(0))
    // The end comes with the head.
    try client.request(1, path, method: "POST", fields: [("content-length", "0")])
    _ = try client.response(1)
    #expect(try length(upstream.requests.last) == "0")
    try client.request(3, path, method: "POST")
    _ = try client.response(3)
    #expect(try length(upstream.requests.last) == "none")
    // The end comes behind it, at once.
    let block = H2Client.block(path, method: "POST")
    try client.raw.send(
      H2Client.frame(.headers, flags: H2Frame.endHeaders, stream: 5, payload: block)
        + H2Client.frame(.data, flags: H2Frame.endStream, stream: 5))
    _ = try client.response(5)
    #expect(try length(upstream.requests.last) == "0")
  }

  @Test func writesAnEmptyBodyToAFileIfBodiesAreFiles() async throws {
    let upstream = try TestUpstream { _ in .answer() }
    let door = try await start(upstream)
    let client = try H2Client(port: door.port(0))
    try client.request(1, "/file", method: "POST", fields: [("content-length", "0")])
    _ = try client.response(1)
    let file = try #require(upstream.requests.last?["x-file"])
    #expect(try Data(contentsOf: URL(fileURLWithPath: file)).isEmpty)
    try client.request(3, "/file", method: "POST")
    _ = try client.response(3)
    #expect(upstream.requests.last?["x-file"] == nil)
  }
}
