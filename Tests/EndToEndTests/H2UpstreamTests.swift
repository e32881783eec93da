// HTTP/2 to upstreams: streams on shared connections, what is tried again, what is refused.

import Foundation
import Testing

@Suite struct H2UpstreamTests {
  private func start(_ upstreams: [H2TestUpstream], _ locations: String, http: String = "", timeout: String = "1m")
    async throws -> RunningPortico
  {
    func fill(_ text: String) -> String {
      upstreams.enumerated().reduce(text) {
        $0.replacingOccurrences(of: "%%H2_\($1.offset)%%", with: $1.element.address)
      }
    }
    return try await Portico.start(
      config: """
        http {
          proxy_http_version 2;
          proxy_read_timeout \(timeout);
          \(fill(http))
          server { listen 127.0.0.1:%%PORT_0%%; \(fill(locations)) }
        }
        """)
  }

  private let pass = "location / { proxy_pass http://%%H2_0%%; }"

  // --- what comes back ----------------------------------------------------------------------------

  private typealias Answer = @Sendable (UInt32) -> [UInt8]

  private static let hostile: [(name: String, status: Int, answer: Answer)] = [
    ("an upper-case name", 502, { H2Frame.headers($0, [(":status", "200"), ("X-Up", "1")], end: true) }),
    ("a field of connections", 502, { H2Frame.headers($0, [(":status", "200"), ("connection", "x")], end: true) }),
    ("a transfer coding", 502, { H2Frame.headers($0, [(":status", "200"), ("transfer-encoding", "chunked")], end: true) }),
    ("no status", 502, { H2Frame.headers($0, [("a", "b")], end: true) }),
    ("two statuses", 502, { H2Frame.headers($0, [(":status", "200"), (":status", "200")], end: true) }),
    ("a status of letters", 502, { H2Frame.headers($0, [(":status", "abc")], end: true) }),
    ("a status too small", 502, { H2Frame.headers($0, [(":status", "099")], end: true) }),
    ("101", 502, { H2Frame.headers($0, [(":status", "101")], end: true) }),
    ("an end in an interim head", 502, { H2Frame.headers($0, [(":status", "103")], end: true) }),
    ("a pseudo-header of requests", 502, { H2Frame.headers($0, [(":status", "200"), (":path", "/")], end: true) }),
    ("a late pseudo-header", 502, { H2Frame.headers($0, [("a", "b"), (":status", "200")], end: true) }),
    ("two lengths", 502, { H2Frame.headers($0, [(":status", "200"), ("content-length", "1"), ("content-length", "1")], end: true) }),
    ("a length of letters", 502, { H2Frame.headers($0, [(":status", "200"), ("content-length", "x")], end: true) }),
    ("a line feed in a value", 502, { H2Frame.headers($0, [(":status", "200"), ("a", "b\nc")], end: true) }),
    ("a space in a name", 502, { H2Frame.headers($0, [(":status", "200"), ("a b", "c")], end: true) }),
    ("a length without a body", 502, { H2Frame.headers($0, [(":status", "200"), ("content-length", "5")], end: true) }),
    ("data before a head", 502, { H2Frame.data($0, "x", end: true) }),
    ("too many fields", 502, { H2Frame.headers($0, [(":status", "200")] + (0..<1100).map { ("a\($0)", "") }, end: true) }),
    ("too long a head", 502, { H2Frame.headers($0, [(":status", "200"), ("a", String(repeating: "x", count: 5000))], end: true) }),
    ("interim heads without end", 502, { id in (0..<100).flatMap { _ in H2Frame.headers(id, [(":status", "103")]) } }),
    ("a reset", 502, { H2Frame.reset($0, code: 2) }),
    ("a bad HPACK index", 502, { H2Frame(.headers, flags: 5, stream: $0, [0xff, 0xff, 0xff, 0xff, 0x0f]).bytes }),
    ("a push", 502, { H2Frame(.pushPromise, flags: 4, stream: $0, H2Frame.number(2)).bytes }),
    ("a frame too large", 502, { H2Frame(.data, stream: $0, [UInt8](repeating: 0, count: 20_000)).bytes }),
    ("HTTP/1", 502, { _ in Array("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".utf8) }),
    ("silence", 504, { _ in [] }),
    ("an interim head first", 200, { H2Frame.headers($0, [(":status", "103"), ("link", "</a>")]) + H2Frame.answer($0, "ok") }),
    ("a reset without error behind the end", 200, { H2Frame.answer($0, "ok") + H2Frame.reset($0, code: 0) }),
    ("unknown frames", 200, { H2Frame(head: [0, 0, 0, 0xbb, 0, 0, 0, 0, 0]).bytes + H2Frame.answer($0, "ok") }),
    ("a length that is right", 200, { H2Frame.headers($0, [(":status", "200"), ("content-length", "2")]) + H2Frame.data($0, "ok", end: true) }),
    ("an empty last frame", 200, { H2Frame.headers($0, [(":status", "200")]) + H2Frame.data($0, "ok") + H2Frame.data($0, "", end: true) }),
  ]

  @Test(arguments: hostile.indices)
  func answersWhatUpstreamsSay(_ row: Int) async throws {
    let (name, status, answer) = Self.hostile[row]
    let upstream = try H2TestUpstream { [.bytes(answer($0.stream))] }
    let door = try await start(
      [upstream], pass, http: "proxy_buffer_size 4k;", timeout: status == 504 ? "1s" : "1m")
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
      [.bytes(H2Frame.headers($0.stream, head) + H2Frame.data($0.stream, "half")), .bytes(rest($0.stream))]
    }
    let door = try await start([upstream], pass)
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
    let door = try await start([upstream], pass, timeout: "30s")
    let client = try door.client()
    try client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    _ = try client.readToEnd()
    #expect(door.errorLog.contains("while reading"), "\(name): \(door.errorLog)")
  }

  // --- connections --------------------------------------------------------------------------------

  @Test func manyRequestsShareAConnection() async throws {
    let upstream = try H2TestUpstream { [.bytes(H2Frame.answer($0.stream, "\($0.connection)"))] }
    let door = try await start(
      [upstream], "location / { proxy_pass http://app; }", http: "upstream app { server %%H2_0%%; }")
    for _ in 0..<5 { #expect(try door.get("/").text == "0") }
    #expect(upstream.requests.map(\.stream) == [1, 3, 5, 7, 9])
  }

  /// Without an `upstream` block there is no `keepalive`: nothing waits, but streams share.
  @Test(arguments: ["http://%%H2_0%%", "http://$arg_to"])
  func aConnectionToAnAddressEndsWithItsLastStream(pass: String) async throws {
    let upstream = try H2TestUpstream(answersEarly: true) { request in
      // The first stream ends when the second does.
      if request.connection > 0 { return [.bytes(H2Frame.answer(request.stream, "later"))] }
      return request.index == 0
        ? []
        : [.bytes(H2Frame.answer(1, "first") + H2Frame.answer(request.stream, "second"))]
    }
    let door = try await start([upstream], "location / { proxy_pass \(pass); }")
    let path = "/?to=\(upstream.address)"
    let clients = [try door.client(), try door.client()]
    for (index, client) in clients.enumerated() {
      try client.send("GET \(path) HTTP/1.1\r\nHost: x\r\n\r\n")
      try waitUntil("the request to come") { upstream.requests.count == index + 1 }
    }
    #expect(try clients.map { try $0.response().text } == ["first", "second"])
    #expect(try door.get(path).text == "later")
  }

  @Test func opensAnotherConnectionWhenTheServerAllowsNoMoreStreams() async throws {
    let gate = Gate()
    let upstream = try H2TestUpstream(settings: [(3, 1)], answersEarly: true) { request in
      if request.connection > 0 || request.index > 0 { gate.wait() }
      return [.bytes(H2Frame.answer(request.stream, "\(request.connection)"))]
    }
    let door = try await start(
      [upstream], "location / { proxy_pass http://app; }", http: "upstream app { server %%H2_0%%; }")
    #expect(try door.get("/").text == "0")
    let clients = try (0..<3).map { _ in try door.client() }
    for client in clients { try client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n") }
    try waitUntil("all requests to come") { upstream.requests.count == 4 }
    gate.open()
    let answers = try clients.map { try $0.response().text }
    #expect(answers.sorted() == ["0", "1", "2"])
  }

  @Test(arguments: [("keepalive 0;", ["0", "1", "2"]), ("keepalive_requests 2;", ["0", "0", "1"])])
  func closesConnectionsByTheRulesOfKeepalive(directive: String, connections: [String]) async throws {
    let upstream = try H2TestUpstream { [.bytes(H2Frame.answer($0.stream, "\($0.connection)"))] }
    let door = try await start(
      [upstream], "location / { proxy_pass http://app; }",
      http: "upstream app { server %%H2_0%%; \(directive) }")
    #expect(try (0..<3).map { _ in try door.get("/").text } == connections)
  }

  // --- retries ------------------------------------------------------------------------------------

  @Test(arguments: ["GET", "POST"])
  func sendsAgainWhatTheServerRefused(method: String) async throws {
    let upstream = try H2TestUpstream { request in
      request.index == 0 && request.connection == 0
        ? [.bytes(H2Frame.reset(request.stream, code: 7))]
        : [.bytes(H2Frame.answer(request.stream, String(decoding: request.body, as: UTF8.self) + "!"))]
    }
    let door = try await start([upstream], pass)
    let client = try door.client()
    try client.send("\(method) / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
    #expect(try client.response().text == "hi!")
  }

  @Test func sendsAgainWhatAGoAwayExcluded() async throws {
    let upstream = try H2TestUpstream { request in
      request.connection == 0
        ? [.bytes(H2Frame.goAway(last: 0))]
        : [.bytes(H2Frame.answer(request.stream, "\(request.connection)"))]
    }
    let door = try await start([upstream], pass)
    let client = try door.client()
    try client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
    #expect(try client.response().text == "1")
  }

  @Test func finishesWhatAGoAwayIncludesAndBeginsNothing() async throws {
    let upstream = try H2TestUpstream { request in
      [
        .bytes(H2Frame.goAway(last: request.stream)), .pause(seconds: 0.1),
        .bytes(H2Frame.answer(request.stream, "\(request.connection)")),
      ]
    }
    let door = try await start([upstream], pass)
    #expect(try door.get("/").text == "0")
    #expect(try door.get("/").text == "1")
  }

  @Test func doesNotSendAPostAgainThatMayHaveBeenProcessed() async throws {
    let broken = try H2TestUpstream { _ in [.close] }
    let well = try H2TestUpstream { [.bytes(H2Frame.answer($0.stream, "well"))] }
    let door = try await start(
      [broken, well], "location / { proxy_pass http://app; }",
      http: "upstream app { server %%H2_0%%; server %%H2_1%% backup; }")
    let client = try door.client()
    try client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
    #expect(try client.response().status == 502)
    #expect(try door.get("/").text == "well")
  }

  @Test func aLostConnectionFailsAllOfItsStreams() async throws {
    let upstream = try H2TestUpstream(answersEarly: true) { request in
      if request.connection > 0 { return [.bytes(H2Frame.answer(request.stream, "later"))] }
      return request.index < 3 ? [] : [.reset]
    }
    let door = try await start([upstream], pass, timeout: "30s")
    let clients = try (0..<4).map { _ in try door.client() }
    for client in clients { try client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n") }
    #expect(try clients.map { try $0.response().status } == [502, 502, 502, 502])
    #expect(try door.get("/").text == "later")
  }

  @Test func passesLongFieldsOnByHTTP2() async throws {
    let long = String(repeating: "y", count: 50_000)
    let upstream = try H2TestUpstream { request in
      let block = H2Frame.block([(":status", "200"), ("x-one", long), ("x-two", long)])
      var frames = H2Frame(.headers, flags: 1, stream: request.stream, Array(block.prefix(16_000))).bytes
      for start in stride(from: 16_000, to: block.count, by: 16_000) {
        let piece = Array(block[start..<min(start + 16_000, block.count)])
        let isLast = start + 16_000 >= block.count
        frames += H2Frame(.continuation, flags: isLast ? 4 : 0, stream: request.stream, piece).bytes
      }
      return [.bytes(frames)]
    }
    let door = try await start(
      [upstream], "http2 on; " + pass, http: "proxy_buffer_size 128k; keepalive_timeout 60s;")
    let result = try Command.run(
      ["curl", "-si", "--http2-prior-knowledge", "http://127.0.0.1:\(door.port())/"],
      folder: door.site.folder)
    #expect(result.standardOutput.hasPrefix("HTTP/2 200"))
    #expect(result.standardOutput.contains("x-two: \(long)"))
  }

  // --- interim responses and trailers -------------------------------------------------------------

  @Test(arguments: ["early_hints 1;", ""], [false, true])
  func passesInterimResponsesOnWhereTheLocationSaysSo(directive: String, isGRPC: Bool) async throws {
    let upstream = try H2TestUpstream { request in
      [
        .bytes(H2Frame.headers(request.stream, [(":status", "100")])),
        .bytes(
          H2Frame.headers(request.stream, [(":status", "103"), ("link", "</a>"), ("x-hidden", "1")])
            + H2Frame.headers(request.stream, [(":status", "102")])),
        .bytes(H2Frame.answer(request.stream, "ok")),
      ]
    }
    let to = isGRPC ? "grpc_pass %%H2_0%%;" : "proxy_pass http://%%H2_0%%;"
    let door = try await start(
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
    let door = try await start(
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

  // --- requests -----------------------------------------------------------------------------------

  @Test func resetsTheStreamOfAClientThatLeft() async throws {
    let upstream = try H2TestUpstream { _ in [] }
    let door = try await start([upstream], pass, timeout: "30s")
    let client = try door.client()
    try client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    try waitUntil("the request to come") { upstream.requests.count == 1 }
    client.reset()
    try waitUntil("the stream to be reset") {
      upstream.received.contains { $0.kind == H2Frame.Kind.reset.rawValue && $0.stream == 1 }
    }
  }

  /// A stream that its client resets: carried out where the location says so.
  @Test(arguments: [false, true], [1, 2])
  func ignoresThatAClientLeftWhereTheLocationSaysSo(ignores: Bool, version: Int) async throws {
    let gate = Gate()
    let one = try TestUpstream { request in
      gate.wait()
      return request.path == "/a" ? .steps([.bytes(Self.large)]) : .answer("200 OK")
    }
    let two = try H2TestUpstream(answersEarly: true) { request in
      gate.wait()
      return [.bytes(H2Frame.answer(request.stream, "whole"))]
    }
    let door = try await Portico.start(
      config: """
        http {
          log_format seen "$uri $status $upstream_bytes_received";
          access_log %%DIR%%/seen.log seen;
          proxy_ignore_client_abort \(ignores ? "on" : "off");
          server {
            listen 127.0.0.1:%%PORT_0%%; http2 on;
            location / {
              \(version == 1 ? "proxy_pass http://127.0.0.1:\(one.port);" : "proxy_pass http://\(two.address); proxy_http_version 2;")
            }
          }
        }
        """)
    let client = try H2Client(port: door.port(), settings: [])
    try client.request(1, "/a")
    try waitUntil("the request to come") {
      version == 1 ? one.requests.count == 1 : two.requests.count == 1
    }
    try client.send(.reset, stream: 1, payload: H2Frame.number(8))
    // The answer comes when the reset was seen.
    try client.send(.ping, payload: [UInt8](repeating: 0, count: 8))
    _ = try client.frame { $0.type == .ping && $0.flags == 1 }
    gate.open()
    try waitUntil("the request to be logged") { !door.site.text("seen.log").isEmpty }
    let line = door.site.text("seen.log")
    #expect(line.hasPrefix(ignores ? "/a 200 " : "/a 499 "), "\(line)")
    #expect(!line.hasSuffix(" 0\n") == ignores, "\(line)")
    #expect(door.errorLog.contains("client closed stream") == !ignores)
    // The connection goes on.
    try client.request(3, "/b")
    #expect(try client.response(3).status == 200)
    try door.stop()
  }

  private static let large = Array(
    "HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n".utf8)
    + [UInt8](repeating: 0x78, count: 3_000_000)

  @Test func holdsRequestBodiesToTheWindowOfTheServer() async throws {
    // A window of 10 bytes, and never more.
    let upstream = try H2TestUpstream(settings: [(4, 10)], answersEarly: true) { _ in [] }
    let door = try await start([upstream], pass, timeout: "1s")
    let client = try door.client()
    try client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\n" + String(repeating: "x", count: 30))
    #expect(try client.response().status == 504)
    let sent = upstream.received.filter { $0.kind == H2Frame.Kind.data.rawValue }.map(\.payload.count)
    #expect(sent.reduce(0, +) <= 30)
  }

  @Test func endsARequestWithoutBodyInItsHead() async throws {
    let upstream = try H2TestUpstream { [.bytes(H2Frame.answer($0.stream, "ok"))] }
    let door = try await start([upstream], pass)
    #expect(try door.get("/").text == "ok")
    let heads = upstream.received.filter { $0.kind == H2Frame.Kind.headers.rawValue }
    #expect(heads.map(\.flags) == [5])
  }
}
