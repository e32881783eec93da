// HTTP/2 to upstreams: what they may answer, and what is refused.

import Foundation
import Testing

@Suite struct H2UpstreamTests {
  private typealias Answer = @Sendable (UInt32) -> [UInt8]

  private static let hostile: [(name: String, status: Int, answer: Answer)] = [
    (
      "an upper-case name", 502,
      { H2Frame.headers($0, [(":status", "200"), ("X-Up", "1")], end: true) }
    ),
    (
      "a field of connections", 502,
      { H2Frame.headers($0, [(":status", "200"), ("connection", "x")], end: true) }
    ),
    (
      "a transfer coding", 502,
      { H2Frame.headers($0, [(":status", "200"), ("transfer-encoding", "chunked")], end: true) }
    ),
    ("no status", 502, { H2Frame.headers($0, [("a", "b")], end: true) }),
    (
      "two statuses", 502,
      { H2Frame.headers($0, [(":status", "200"), (":status", "200")], end: true) }
    ),
    ("a status of letters", 502, { H2Frame.headers($0, [(":status", "abc")], end: true) }),
    ("a status too small", 502, { H2Frame.headers($0, [(":status", "099")], end: true) }),
    ("101", 502, { H2Frame.headers($0, [(":status", "101")], end: true) }),
    ("an end in an interim head", 502, { H2Frame.headers($0, [(":status", "103")], end: true) }),
    (
      "a pseudo-header of requests", 502,
      { H2Frame.headers($0, [(":status", "200"), (":path", "/")], end: true) }
    ),
    (
      "a late pseudo-header", 502,
      { H2Frame.headers($0, [("a", "b"), (":status", "200")], end: true) }
    ),
    (
      "two lengths", 502,
      {
        H2Frame.headers(
          $0, [(":status", "200"), ("content-length", "1"), ("content-length", "1")], end: true)
      }
    ),
    (
      "a length of letters", 502,
      { H2Frame.headers($0, [(":status", "200"), ("content-length", "x")], end: true) }
    ),
    (
      "a line feed in a value", 502,
      { H2Frame.headers($0, [(":status", "200"), ("a", "b\nc")], end: true) }
    ),
    (
      "a space in a name", 502,
      { H2Frame.headers($0, [(":status", "200"), ("a b", "c")], end: true) }
    ),
    (
      "a length without a body", 502,
      { H2Frame.headers($0, [(":status", "200"), ("content-length", "5")], end: true) }
    ),
    ("data before a head", 502, { H2Frame.data($0, "x", end: true) }),
    (
      "too many fields", 502,
      { H2Frame.headers($0, [(":status", "200")] + (0..<1100).map { ("a\($0)", "") }, end: true) }
    ),
    (
      "too long a head", 502,
      {
        H2Frame.headers(
          $0, [(":status", "200"), ("a", String(repeating: "x", count: 5000))], end: true)
      }
    ),
    (
      "interim heads without end", 502,
      { id in (0..<100).flatMap { _ in H2Frame.headers(id, [(":status", "103")]) } }
    ),
    ("a reset", 502, { H2Frame.reset($0, code: 2) }),
    (
      "a bad HPACK index", 502,
      { H2Frame(.headers, flags: 5, stream: $0, [0xff, 0xff, 0xff, 0xff, 0x0f]).bytes }
    ),
    ("a push", 502, { H2Frame(.pushPromise, flags: 4, stream: $0, H2Frame.number(2)).bytes }),
    (
      "a frame too large", 502,
      { H2Frame(.data, stream: $0, [UInt8](repeating: 0, count: 20_000)).bytes }
    ),
    ("HTTP/1", 502, { _ in Array("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".utf8) }),
    ("silence", 504, { _ in [] }),
    (
      "an interim head first", 200,
      { H2Frame.headers($0, [(":status", "103"), ("link", "</a>")]) + H2Frame.answer($0, "ok") }
    ),
    (
      "a reset without error behind the end", 200,
      { H2Frame.answer($0, "ok") + H2Frame.reset($0, code: 0) }
    ),
    (
      "unknown frames", 200,
      { H2Frame(head: [0, 0, 0, 0xbb, 0, 0, 0, 0, 0]).bytes + H2Frame.answer($0, "ok") }
    ),
    (
      "a length that is right", 200,
      {
        H2Frame.headers($0, [(":status", "200"), ("content-length", "2")])
          + H2Frame.data($0, "ok", end: true)
      }
    ),
    (
      "an empty last frame", 200,
      {
        H2Frame.headers($0, [(":status", "200")]) + H2Frame.data($0, "ok")
          + H2Frame.data($0, "", end: true)
      }
    ),
  ]

  @Test(arguments: hostile.indices)
  func answersWhatUpstreamsSay(_ row: Int) async throws {
    let (name, status, answer) = Self.hostile[row]
    let upstream = try H2TestUpstream { [.bytes(answer($0.stream))] }
    let door = try await H2UpstreamDoor.start(
      [upstream], H2UpstreamDoor.pass, http: "proxy_buffer_size 4k;",
      timeout: status == 504 ? "1s" : "1m")
    let response = try door.get("/")
    #expect(response.status == status, "\(name)")
    if status == 200 { #expect(response.text == "ok", "\(name)") }
    // The worker lives, and the next request has a connection that works.
    _ = try door.get("/again")
    #expect(!door.errorLog.contains("[alert]"), "\(name)")
  }

  private static let endings: [(name: String, rest: Answer)] = [
    ("a reset", { H2Frame.reset($0, code: 8) }),
    ("more than announced", { H2Frame.data($0, "0123456789", end: true) }),
    ("less than announced", { H2Frame.data($0, "", end: true) }),
    ("bad trailers", { H2Frame.headers($0, [(":status", "200")], end: true) }),
  ]

  @Test(arguments: endings.indices)
  func neverMakesHalfABodyLookWhole(_ row: Int) async throws {
    let (name, rest) = Self.endings[row]
    let head = [(":status", "200"), ("content-length", "9")]
    let upstream = try H2TestUpstream {
      [
        .bytes(H2Frame.headers($0.stream, head) + H2Frame.data($0.stream, "half")),
        .bytes(rest($0.stream)),
      ]
    }
    let door = try await H2UpstreamDoor.start([upstream], H2UpstreamDoor.pass)
    let client = try door.client()
    try client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    let text = String(decoding: try client.readToEnd(), as: UTF8.self)
    #expect(!text.hasSuffix("halfhalf") && text.utf8.count < 300, "\(name)")
    if text.contains("Content-Length: 9") { #expect(!text.hasSuffix("01234"), "\(name)") }
  }

  @Test(arguments: [
    ("settings", H2Frame.settings([(3, 100)])),
    ("pings", H2Frame(.ping, [UInt8](repeating: 0, count: 8)).bytes),
    ("window updates", H2Frame(.windowUpdate, stream: 0, H2Frame.number(1)).bytes),
    ("empty data", H2Frame(.data, stream: 1).bytes),
    ("priorities", H2Frame(.priority, stream: 1, [0, 0, 0, 0, 1]).bytes),
    ("unknown frames", H2Frame(head: [0, 0, 0, 0xbb, 0, 0, 0, 0, 0]).bytes),
  ])
  func aFloodEndsTheConnection(name: String, frame: [UInt8]) async throws {
    let flood = (0..<20_000).flatMap { _ in frame }
    let upstream = try H2TestUpstream { request in
      [.bytes(H2Frame.headers(request.stream, [(":status", "200")])), .bytes(flood), .silence]
    }
    let door = try await H2UpstreamDoor.start([upstream], H2UpstreamDoor.pass, timeout: "30s")
    let client = try door.client()
    try client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    _ = try client.readToEnd()
    #expect(door.errorLog.contains("while reading"), "\(name): \(door.errorLog)")
  }

  // --- fields, interim responses, trailers -------------------------------------------------------

  @Test func passesLongFieldsOnByHTTP2() async throws {
    let long = String(repeating: "y", count: 50_000)
    let upstream = try H2TestUpstream { request in
      let block = H2Frame.block([(":status", "200"), ("x-one", long), ("x-two", long)])
      var frames = H2Frame(.headers, flags: 1, stream: request.stream, Array(block.prefix(16_000)))
        .bytes
      for start in stride(from: 16_000, to: block.count, by: 16_000) {
        let piece = Array(block[start..<min(start + 16_000, block.count)])
        let isLast = start + 16_000 >= block.count
        frames += H2Frame(.continuation, flags: isLast ? 4 : 0, stream: request.stream, piece).bytes
      }
      return [.bytes(frames)]
    }
    let door = try await H2UpstreamDoor.start(
      [upstream], "http2 on; " + H2UpstreamDoor.pass,
      http: "proxy_buffer_size 128k; keepalive_timeout 60s;")
    let result = try Command.run(
      ["curl", "-si", "--http2-prior-knowledge", "http://127.0.0.1:\(door.port())/"],
      folder: door.site.folder)
    #expect(result.standardOutput.hasPrefix("HTTP/2 200"))
    #expect(result.standardOutput.contains("x-two: \(long)"))
  }

  @Test(arguments: ["early_hints 1;", ""], [false, true])
  func passesInterimResponsesOnWhereTheLocationSaysSo(directive: String, isGRPC: Bool) async throws
  {
    let upstream = try H2TestUpstream { request in
      [
        .bytes(H2Frame.headers(request.stream, [(":status", "100")])),
        .bytes(
          H2Frame.headers(
            request.stream, [(":status", "103"), ("link", "</a>"), ("x-hidden", "1")])
            + H2Frame.headers(request.stream, [(":status", "102")])),
        .bytes(H2Frame.answer(request.stream, "ok")),
      ]
    }
    let to = isGRPC ? "grpc_pass %%H2_0%%;" : "proxy_pass http://%%H2_0%%;"
    let door = try await H2UpstreamDoor.start(
      [upstream], "location / { \(directive) \(to) }",
      http: "proxy_hide_header X-Hidden; grpc_hide_header X-Hidden;")
    let client = try door.client()
    for _ in 0..<2 {
      try client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
      if !directive.isEmpty {
        #expect(
          try client.read(until: "\r\n\r\n") == "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")
        #expect(try client.read(until: "\r\n\r\n") == "HTTP/1.1 102 Processing\r\n\r\n")
      }
      let answer = try client.response()
      #expect(answer.status == 200 && answer.text == "ok")
    }
  }

  /// All of them together may be as long as one head: a few bytes can stand for many, by HPACK's
  /// table.
  @Test(arguments: [(2, 200), (3, 502)])
  func boundsInterimResponses(count: Int, status: Int) async throws {
    let upstream = try H2TestUpstream { request in
      let hint = [(":status", "103"), ("link", String(repeating: "a", count: 3_000))]
      return [
        .bytes((0..<count).flatMap { _ in H2Frame.headers(request.stream, hint) }),
        .bytes(H2Frame.answer(request.stream, "ok")),
      ]
    }
    let door = try await H2UpstreamDoor.start(
      [upstream], H2UpstreamDoor.pass, http: "proxy_buffer_size 8k;")
    #expect(try door.get("/").status == status)
    #expect(upstream.requests.count == 1)
  }

  @Test func passesTrailersOnWhereTheLocationSaysSo() async throws {
    let upstream = try H2TestUpstream { request in
      let trailers = [
        ("x-sum", "abc"), ("set-cookie", "a=b"), ("x-hidden", "1"), ("content_length", "5"),
        ("host", "b"),
      ]
      return [
        .bytes(H2Frame.headers(request.stream, [(":status", "200")])),
        .bytes(H2Frame.data(request.stream, "ok")),
        .bytes(H2Frame.headers(request.stream, trailers, end: true)),
      ]
    }
    let door = try await H2UpstreamDoor.start(
      [upstream],
      """
      location /on { proxy_pass_trailers on; proxy_pass http://%%H2_0%%; }
      location /off { proxy_pass http://%%H2_0%%; }
      """,
      http: """
        proxy_hide_header X-Hidden;
        log_format seen "$upstream_trailer_x_sum,$sent_trailer_x_sum,$upstream_trailer_host";
        access_log %%DIR%%/seen.log seen;
        """)
    let client = try door.client()
    for path in ["/on", "/off", "/on"] {
      try client.send("GET \(path) HTTP/1.1\r\nHost: x\r\n\r\n")
      let answer = try client.response()
      #expect(answer.text == "ok")
      #expect(answer.trailers == (path == "/on" ? ["x-sum: abc"] : []))
    }
    try door.stop()
    #expect(door.site.text("seen.log") == "abc,abc,b\n-,-,-\nabc,abc,b\n")
  }

  /// A response that is no good, with much behind it, concerns nobody else on the connection.
  @Test(arguments: [
    [("content-length", "10")], [("x", "a\nb")], [("x", String(repeating: "a", count: 9_000))],
  ])
  func aBadResponseLeavesOthersAlone(fields: [(String, String)]) async throws {
    let upstream = try H2TestUpstream(answersEarly: true) { request in
      if request.index == 0 {
        return [
          .bytes(H2Frame.headers(request.stream, [(":status", "200")])),
          .bytes(H2Frame.data(request.stream, "slow ")),
        ]
      }
      let piece = H2Frame.data(request.stream, String(repeating: "x", count: 16_000))
      return [
        .bytes(H2Frame.headers(request.stream, [(":status", "200")] + fields)),
        .bytes((0..<13).flatMap { _ in piece }), .bytes(H2Frame.data(1, "end", end: true)),
      ]
    }
    let door = try await H2UpstreamDoor.start(
      [upstream], "location / { proxy_pass http://app; }",
      http: "proxy_buffer_size 8k; upstream app { server %%H2_0%%; }")
    let patient = try door.client()
    try patient.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    try waitUntil("the first request") { upstream.requests.count == 1 }
    let other = try door.client()
    try other.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    #expect(try patient.response().text == "slow end")
    try door.stop()
  }

  /// HTTP/2 is stricter than HTTP/1, and servers take it at its word: what clients make of a value
  /// fits.
  @Test(arguments: [("/a%20", "/a"), ("/a%01%7f", "/a%01%7F"), ("/%09b", "/%09b"), ("/", "/")])
  func sendsValuesThatHTTP2Has(path: String, value: String) async throws {
    let door = try await H2UpstreamDoor.start(
      [],
      """
      http2 on;
      location / {
        proxy_set_header X-Uri $uri; proxy_set_header X-Two "$http_x_a $http_x_b";
        proxy_pass http://127.0.0.1:%%PORT_0%%/inner/;
      }
      location /inner/ { return 200 "$http_x_uri<$http_x_two>"; }
      """)
    let text = try door.get(path).text
    #expect(text == value.replacingOccurrences(of: "%09", with: "\t") + "<>")
    try door.stop()
  }

  /// A server that answers before it has the body, and resets the connection because of the rest,
  /// has its answer passed on: also where sending fails first.
  @Test(arguments: ["", "proxy_request_buffering off;"])
  func anEarlyAnswerIsHeard(buffering: String) async throws {
    let upstream = try H2TestUpstream(settings: [(3, 1), (4, 1 << 20)], answersEarly: true) {
      let answer =
        H2Frame.headers($0.stream, [(":status", "413")])
        + H2Frame.data($0.stream, "much", end: true)
      return [.bytes(answer + H2Frame.goAway(last: $0.stream)), .close]
    }
    let door = try await H2UpstreamDoor.start(
      [upstream], "location / { proxy_pass http://app; \(buffering) }",
      http: "client_max_body_size 0; upstream app { server %%H2_0%% max_fails=0; }")
    // From here on it is known that a connection has one stream.
    #expect(try door.get("/").status == 413)
    let body = [UInt8](repeating: 0x78, count: 900_000)
    for _ in 0..<10 {
      let clients = try (0..<12).map { _ in try door.client() }
      for client in clients {
        try client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \(body.count)\r\n\r\n")
      }
      for client in clients { try? client.send(body) }
      for client in clients { #expect(try client.response().status == 413) }
    }
    #expect(upstream.requests.count == 121)
    try door.stop()
  }

  /// gRPC's metadata has names of an application's own choice, and there may be much of it.
  @Test func passesMetadataOfAnyName() async throws {
    let names = (0..<200).map { "x-\($0)" } + ["vary", "location", "cache-control"]
    let upstream = try H2TestUpstream { request in
      [
        .bytes(H2Frame.headers(request.stream, [(":status", "200"), ("x-note", " both ")])),
        .bytes(H2Frame.data(request.stream, "ok")),
        .bytes(
          H2Frame.headers(
            request.stream, names.map { ($0, "1") } + [("grpc-message", "boom: ")], end: true)),
      ]
    }
    let door = try await H2UpstreamDoor.start(
      [upstream],
      """
      http2 on;
      location / { proxy_pass_trailers on; proxy_pass http://127.0.0.1:%%PORT_0%%/inner; }
      location = /inner { grpc_pass %%H2_0%%; }
      """, http: "proxy_buffer_size 32k;")
    let client = try door.client()
    try client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    let answer = try client.response()
    // Blanks around a value aren't part of it.
    #expect(answer.text == "ok" && answer["x-note"] == "both")
    let metadata = names.prefix(200).map { "\($0): 1" } + ["grpc-message: boom:"]
    #expect(answer.trailers == metadata)
    let direct = try door.client()
    try direct.send("GET /inner HTTP/1.1\r\nHost: x\r\nTE: trailers\r\n\r\n")
    #expect(try direct.response().trailers.count == names.count + 1)
  }
}
