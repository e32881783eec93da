// The bodies of streams: windows, large bodies either way, trailers, the time that a body has.

import Foundation
import Testing

@Suite struct HTTP2FlowTests {
  /// The end of a body needs no room in the window, and doesn't wait for any.
  @Test(arguments: ["", "X-T: t\r\n"])
  func aBodyThatJustFillsTheWindowEnds(trailers: String) async throws {
    let upstream = RawServer()
    let door = try await Portico.start(
      config: """
        http { server { listen 127.0.0.1:%%PORT_0%%; http2 on; location / {
          proxy_buffering off; proxy_pass_trailers on; proxy_pass http://\(upstream.address);
        } } }
        """)
    let client = try H2Client(port: door.port(), settings: [(4, 4)])
    try client.request(1, "/", fields: [("te", "trailers")])
    let server = try upstream.accept()
    _ = try server.read(until: "\r\n\r\n")
    try server.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n")
    _ = try client.frame { $0.type == .data }
    try server.send("0\r\n\(trailers)\r\n")
    let end = try client.frame { $0.stream == 1 && $0.endsStream }
    #expect(end.type == .headers && end.payload.isEmpty == trailers.isEmpty)
    // Room that comes later is for nothing.
    try client.send(.windowUpdate, stream: 1, payload: H2Frame.number(1_000))
    try client.request(3, "/")
    _ = try server.read(until: "\r\n\r\n")
    try server.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    #expect(try client.response(3).body == Array("ok".utf8))
    try door.stop()
  }

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

  /// Which of two responses ends first, and how much of the other came before.
  private func race(_ client: H2Client, _ streams: [UInt32]) throws -> (first: UInt32, other: Int) {
    var received: [UInt32: Int] = [:]
    while true {
      let frame = try client.frame { $0.type == .data }
      received[frame.stream, default: 0] += frame.payload.count
      guard frame.endsStream else { continue }
      let other = streams.first { $0 != frame.stream } ?? 0
      return (frame.stream, received[other] ?? 0)
    }
  }

  /// Asks for large files with those priorities; the connection's window grows by `window`.
  private func ask(
    _ door: RunningPortico, _ priorities: [String?], window: UInt32 = 1 << 20
  ) throws -> H2Client {
    let client = try H2Client(port: door.port(0), settings: [(4, 1 << 20)])
    try client.send(.windowUpdate, payload: H2Frame.number(window))
    // Both in one piece, so that neither has a start.
    try client.raw.send(
      priorities.enumerated().flatMap { index, priority in
        let fields = priority.map { [("priority", $0)] } ?? []
        return H2Client.frame(
          .headers, flags: 5, stream: UInt32(2 * index + 1),
          payload: H2Client.block("/large", fields: fields))
      })
    return client
  }

  @Test func streamsTakeTurnsUnlessTheirClientSaysOtherwise() async throws {
    let door = try await HTTP2Door.start()
    let equal = try race(try ask(door, [nil, nil]), [1, 3])
    #expect(equal.other > 200_000)
    // RFC 9218 §4.2: not incremental, one after the other.
    let ordered = try race(try ask(door, ["u=3", "u=3"]), [1, 3])
    #expect(ordered.first == 1 && ordered.other == 0)
    let urgent = try race(try ask(door, [nil, "u=0"]), [1, 3])
    #expect(urgent.first == 3)
  }

  /// What a stream doesn't get because others are served first is not its client's fault.
  @Test func waitsForStreamsThatOthersAreServedBefore() async throws {
    let door = try await HTTP2Door.start(server: "send_timeout 1s;")
    // 10 kB each 100 ms, less on a busy machine.
    let client = try ask(door, ["u=0", "u=7"], window: 10_000)
    var received: [UInt32: Int] = [:]
    while received[1, default: 0] < 300_000 {
      guard let frame = try? client.frame(within: 0.1) else {
        try client.send(.windowUpdate, payload: H2Frame.number(10_000))
        continue
      }
      try #require(frame.type != .reset, "\(received)")
      if frame.type == .data { received[frame.stream, default: 0] += frame.payload.count }
    }
    #expect(received[3] == nil)
    try client.send(.windowUpdate, payload: H2Frame.number(1 << 20))
    #expect(try client.response(3).body.count == 300_000)
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
