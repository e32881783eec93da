// The bodies of streams: windows, large bodies either way, trailers, the time that a body has.

import Foundation
import Testing

@Suite struct HTTP2FlowTests {
  @Test func sendsNoMoreThanTheWindowTakes() async throws {
    let door = try await HTTP2Door.start()
    let client = try H2Client(port: door.port(0), settings: [(4, 1000)])
    try client.request(1, "/large")
    var received = 0
    while received < 1000 {
      let frame = try client.frame()
      if frame.type == .data { received += frame.payload.count }
    }
    #expect(received == 1000)
    // Another stream isn't held up.
    try client.request(3, "/small.txt")
    #expect(try client.response(3).body == Array("small".utf8))
    try client.send(.windowUpdate, stream: 1, payload: H2Frame.number(500))
    #expect(try client.frame { $0.type == .data }.payload.count == 500)
  }

  @Test func passesALargeBodyEitherWay() async throws {
    let door = try await HTTP2Door.start()
    let path = door.site.folder + "upload"
    try Data(repeating: 7, count: 900_000).write(to: URL(fileURLWithPath: path))
    for location in ["/app/", "/stream/"] {
      #expect(
        try HTTP2Door.curl(door, ["--data-binary", "@\(path)", location])
          == "POST \(location) HTTP/1.1 900000")
      // Without a length.
      #expect(
        try HTTP2Door.curl(door, ["-X", "POST", "-H", "content-length:", "-T", path, location])
          .hasSuffix(
            "900000"))
    }
  }

  @Test func sendsTrailersBehindABody() async throws {
    let door = try await HTTP2Door.start(
      server: "location /trailing { add_trailer X-Sum $request_method; return 200 body; }")
    let result = try Command.run(
      ["nghttp", "-v", "http://127.0.0.1:\(door.port(0))/trailing"], folder: door.site.folder)
    #expect(result.standardOutput.contains("x-sum: GET"))
  }

  @Test func waitsForTheBodyOnlySoLong() async throws {
    let door = try await HTTP2Door.start(server: "client_body_timeout 300ms;")
    let client = try H2Client(port: door.port(0))
    try client.request(1, "/app/", method: "POST", ends: false)
    _ = try client.response(1)
    try waitUntil("the log line") { door.site.text("access.log").contains("408 HTTP/2.0") }
  }

  @Test func theTimeForABodyStandsStillWhileTheUpstreamTakesNoneOfIt() async throws {
    let server = RawServer(receiveRoom: 16 << 10)
    let site = try Site(
      config: """
        http { server {
          listen 127.0.0.1:%%PORT_0%%; http2 on;
          client_body_timeout 1s; client_max_body_size 0;
          location / { proxy_pass http://\(server.address); proxy_request_buffering off; }
        } }
        """)
    let door = try await Portico.start(site)
    let body = site.folder + "body"
    _ = FileManager.default.createFile(atPath: body, contents: Data(count: 16 << 20))
    let curl = try Command(
      ["curl", "-sS", "--http2-prior-knowledge", "-T", body, "http://127.0.0.1:\(door.port())/"],
      folder: site.folder)
    let upstream = try server.accept()
    _ = try upstream.read(until: "\r\n\r\n")
    // More than the time for the body, in which the upstream is the one who is late.
    #expect(throws: DeadlinePassed.self) {
      try waitUntil("the end of curl", within: 2) { curl.hasEnded }
    }
    _ = try upstream.read(count: 16 << 20, within: 60)
    try upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    #expect(try curl.wait().standardOutput == "ok")
  }
}
