// HTTP/2 to upstreams: streams on shared connections, the requests on them, and what is tried
// again.

import Foundation
import Testing

@Suite struct H2UpstreamConnectionTests {
  // --- connections -------------------------------------------------------------------------------

  @Test func manyRequestsShareAConnection() async throws {
    let upstream = try H2TestUpstream { [.bytes(H2Frame.answer($0.stream, "\($0.connection)"))] }
    let door = try await H2UpstreamDoor.start(
      [upstream], "location / { proxy_pass http://app; }", http: "upstream app { server %%H2_0%%; }"
    )
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
    let door = try await H2UpstreamDoor.start([upstream], "location / { proxy_pass \(pass); }")
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
    let door = try await H2UpstreamDoor.start(
      [upstream], "location / { proxy_pass http://app; }", http: "upstream app { server %%H2_0%%; }"
    )
    #expect(try door.get("/").text == "0")
    let clients = try (0..<3).map { _ in try door.client() }
    for client in clients { try client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n") }
    try waitUntil("all requests to come") { upstream.requests.count == 4 }
    gate.open()
    let answers = try clients.map { try $0.response().text }
    #expect(answers.sorted() == ["0", "1", "2"])
  }

  @Test(arguments: [
    ("keepalive 0;", ["0", "1", "2"]), ("keepalive_requests 2;", ["0", "0", "1"]),
  ])
  func closesConnectionsByTheRulesOfKeepalive(directive: String, connections: [String]) async throws
  {
    let upstream = try H2TestUpstream { [.bytes(H2Frame.answer($0.stream, "\($0.connection)"))] }
    let door = try await H2UpstreamDoor.start(
      [upstream], "location / { proxy_pass http://app; }",
      http: "upstream app { server %%H2_0%%; \(directive) }")
    #expect(try (0..<3).map { _ in try door.get("/").text } == connections)
  }

  /// A server that is gone without a word, or that stands still: the connection to it isn't used
  /// again when a request waited in vain and nothing else came either.
  @Test func partsFromAConnectionOnWhichNothingComes() async throws {
    let upstream = try H2TestUpstream { request in
      request.connection == 0 && request.index > 0
        ? [] : [.bytes(H2Frame.answer(request.stream, "\(request.connection)"))]
    }
    let door = try await H2UpstreamDoor.start(
      [upstream], "location / { proxy_pass http://app; }",
      http: "upstream app { server %%H2_0%% max_fails=0; }", timeout: "400ms")
    #expect(try door.get("/").text == "0")
    #expect(try door.get("/").status == 504)
    #expect(try door.get("/").text == "1")
  }

  /// Clients that wait for less time than any deadline of ours find out together.
  @Test func partsFromAConnectionOnWhichNothingComesToImpatientClients() async throws {
    let upstream = try H2TestUpstream { request in
      request.connection == 0 && request.index > 0
        ? [] : [.bytes(H2Frame.answer(request.stream, "\(request.connection)"))]
    }
    let door = try await H2UpstreamDoor.start(
      [upstream], "location / { proxy_pass http://app; }",
      http: "upstream app { server %%H2_0%% max_fails=0; }")
    #expect(try door.get("/").text == "0")
    try waitUntil("an answer by another connection") {
      let client = try door.client()
      try client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
      return (try? client.response(within: 0.2).text) == "1"
    }
  }

  @Test func keepsAConnectionOnWhichOthersAreAnswered() async throws {
    let upstream = try H2TestUpstream(answersEarly: true) { request in
      // The second is answered late, but by then the third came and has its answer.
      if request.index == 1 { return [] }
      return [.bytes(H2Frame.answer(request.stream, "\(request.connection)"))]
    }
    let door = try await H2UpstreamDoor.start(
      [upstream], "location / { proxy_pass http://app; }",
      http: "upstream app { server %%H2_0%% max_fails=0; }", timeout: "3s")
    #expect(try door.get("/").text == "0")
    let late = try door.client()
    try late.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    try waitUntil("the request to come") { upstream.requests.count == 2 }
    #expect(try door.get("/").text == "0")
    #expect(try late.response().status == 504)
    #expect(try door.get("/").text == "0")
  }

  // --- retries -----------------------------------------------------------------------------------

  @Test(arguments: ["GET", "POST"])
  func sendsAgainWhatTheServerRefused(method: String) async throws {
    let upstream = try H2TestUpstream { request in
      request.index == 0 && request.connection == 0
        ? [.bytes(H2Frame.reset(request.stream, code: 7))]
        : [
          .bytes(
            H2Frame.answer(request.stream, String(decoding: request.body, as: UTF8.self) + "!"))
        ]
    }
    let door = try await H2UpstreamDoor.start([upstream], H2UpstreamDoor.pass)
    let client = try door.client()
    try client.send("\(method) / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
    #expect(try client.response().text == "hi!")
  }

  /// A server that is up and refuses everything costs each request a round trip, and some an error:
  /// it goes out as one that fails does.
  @Test(arguments: ["", "hash $uri;"])
  func partsFromAServerThatRefusesEverything(method: String) async throws {
    let refusing = try H2TestUpstream { [.bytes(H2Frame.reset($0.stream, code: 7))] }
    let well = try H2TestUpstream { [.bytes(H2Frame.answer($0.stream, "well"))] }
    let door = try await H2UpstreamDoor.start(
      [refusing, well], "location / { proxy_pass http://app; }",
      http: "upstream app { \(method) server %%H2_0%% fail_timeout=1h; server %%H2_1%%; }")
    for number in 0..<40 { #expect(try door.get("/\(number)").text == "well") }
    // The first ones may come before the SETTINGS of the server, and then don't count.
    #expect((3...5).contains(refusing.requests.count))
    try door.waitForLog("upstream server \(refusing.address) in \"app\" temporarily disabled")
  }

  /// A server may end its connection over a head that is longer than it said it takes: such a
  /// request has a connection to itself, and no other joins it there.
  @Test func aHeadThatTheServerMayNotTakeGoesAlone() async throws {
    let upstream = try H2TestUpstream(settings: [(6, 4096)], answersEarly: true) { request in
      let isHeld = (request.connection, request.index) == (0, 1) || request.connection == 1
      return isHeld ? [] : [.bytes(H2Frame.answer(request.stream, "\(request.connection)"))]
    }
    let door = try await H2UpstreamDoor.start(
      [upstream], "location / { proxy_pass http://app; }",
      http: "upstream app { server %%H2_0%%; keepalive 8; }")
    var clients: [RawClient] = []
    func ask(_ fieldCount: Int) throws -> RawClient {
      let client = try door.client()
      let fields = (0..<fieldCount).map { "X-\($0): \(String(repeating: "x", count: 50))\r\n" }
      try client.send("GET / HTTP/1.1\r\nHost: x\r\n\(fields.joined())\r\n")
      clients.append(client)
      return client
    }
    // Below the limit, with 32 bytes for each field, and it is known.
    #expect(try ask(40).response().text == "0")
    _ = try ask(1)
    try waitUntil("the held request") { upstream.requests.count == 2 }
    _ = try ask(50)
    try waitUntil("the long head") { upstream.requests.count == 3 }
    #expect(upstream.requests.map(\.connection) == [0, 0, 1])
    #expect(try ask(1).response().text == "0")
    #expect(try ask(50).response().text == "2")
    // Those that are idle are as good as new ones.
    #expect(try ask(50).response().text == "2")
    #expect(try ask(1).response().text == "0")
  }

  /// Some refusals between answers are those of a server that is full for a moment.
  @Test func keepsAServerThatRefusesNowAndThen() async throws {
    let busy = try H2TestUpstream { request in
      let isFull = request.index % 3 < 2
      return [
        .bytes(
          isFull
            ? H2Frame.reset(request.stream, code: 7) : H2Frame.answer(request.stream, "busy"))
      ]
    }
    let well = try H2TestUpstream { [.bytes(H2Frame.answer($0.stream, "well"))] }
    let door = try await H2UpstreamDoor.start(
      [busy, well], "location / { proxy_pass http://app; }",
      http: "upstream app { server %%H2_0%%; server %%H2_1%%; }")
    var busyCount = 0
    for _ in 0..<40 where try door.get("/").text == "busy" { busyCount += 1 }
    #expect(busyCount >= 5)
    #expect(!door.errorLog.contains("temporarily disabled"))
  }

  @Test func sendsAgainWhatAGoAwayExcluded() async throws {
    let upstream = try H2TestUpstream { request in
      request.connection == 0
        ? [.bytes(H2Frame.goAway(last: 0))]
        : [.bytes(H2Frame.answer(request.stream, "\(request.connection)"))]
    }
    let door = try await H2UpstreamDoor.start([upstream], H2UpstreamDoor.pass)
    let client = try door.client()
    try client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
    #expect(try client.response().text == "1")
  }

  /// A body that is passed on as it comes stays in memory, up to `client_body_buffer_size`.
  @Test(arguments: [("1k", 502), ("16k", 200)], [true, false])
  func sendsAStreamedBodyAgain(kept: (size: String, status: Int), byGoAway: Bool) async throws {
    let upstream = try H2TestUpstream { request in
      if request.connection == 0 && request.index == 0 {
        return [.bytes(byGoAway ? H2Frame.goAway(last: 0) : H2Frame.reset(request.stream, code: 7))]
      }
      return [.bytes(H2Frame.answer(request.stream, "\(request.body.count)"))]
    }
    let door = try await H2UpstreamDoor.start(
      [upstream], "location / { proxy_pass http://%%H2_0%%; proxy_request_buffering off; }",
      http: "client_body_buffer_size \(kept.size);")
    let client = try door.client()
    try client.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    for part in 1...6 {
      try client.send("7d0\r\n" + String(repeating: "x", count: 2000) + "\r\n")
      try waitUntil("the part to come") {
        upstream.received.filter { $0.kind == H2Frame.Kind.data.rawValue }
          .reduce(0) { $0 + $1.payload.count } == 2000 * part
      }
    }
    try client.send("0\r\n\r\n")
    let answer = try client.response()
    #expect(answer.status == kept.status)
    if kept.status == 200 { #expect(answer.text == "12000") }
  }

  @Test func finishesWhatAGoAwayIncludesAndBeginsNothing() async throws {
    let upstream = try H2TestUpstream { request in
      [
        .bytes(H2Frame.goAway(last: request.stream)), .pause(seconds: 0.1),
        .bytes(H2Frame.answer(request.stream, "\(request.connection)")),
      ]
    }
    let door = try await H2UpstreamDoor.start([upstream], H2UpstreamDoor.pass)
    #expect(try door.get("/").text == "0")
    #expect(try door.get("/").text == "1")
  }

  @Test func doesNotSendAPostAgainThatMayHaveBeenProcessed() async throws {
    let broken = try H2TestUpstream { _ in [.close] }
    let well = try H2TestUpstream { [.bytes(H2Frame.answer($0.stream, "well"))] }
    let door = try await H2UpstreamDoor.start(
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
    let door = try await H2UpstreamDoor.start([upstream], H2UpstreamDoor.pass, timeout: "30s")
    let clients = try (0..<4).map { _ in try door.client() }
    for client in clients {
      try client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    }
    #expect(try clients.map { try $0.response().status } == [502, 502, 502, 502])
    #expect(try door.get("/").text == "later")
  }

  /// Several requests at once find a connection that its server is just closing: none of them was
  /// processed.
  @Test func sendsAgainWhatAStaleConnectionTookTogether() async throws {
    let upstream = try H2TestUpstream(answersEarly: true) { request in
      if request.connection > 0 || request.index == 0 {
        return [.bytes(H2Frame.answer(request.stream, "\(request.connection)"))]
      }
      return request.index < 4 ? [] : [.close]
    }
    let door = try await H2UpstreamDoor.start(
      [upstream], "location / { proxy_pass http://app; }",
      http: "upstream app { server %%H2_0%%; }", timeout: "30s")
    #expect(try door.get("/").text == "0")
    let clients = try (0..<4).map { _ in try door.client() }
    for client in clients {
      try client.send("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    }
    #expect(try clients.map { try $0.response().text } == ["1", "1", "1", "1"])
  }

  // --- requests ----------------------------------------------------------------------------------

  @Test func resetsTheStreamOfAClientThatLeft() async throws {
    let upstream = try H2TestUpstream { _ in [] }
    let door = try await H2UpstreamDoor.start([upstream], H2UpstreamDoor.pass, timeout: "30s")
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

  private static let large =
    Array(
      "HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n".utf8)
    + [UInt8](repeating: 0x78, count: 3_000_000)

  @Test func holdsRequestBodiesToTheWindowOfTheServer() async throws {
    // A window of 10 bytes, and never more.
    let upstream = try H2TestUpstream(settings: [(4, 10)], answersEarly: true) { _ in [] }
    let door = try await H2UpstreamDoor.start([upstream], H2UpstreamDoor.pass, timeout: "1s")
    let client = try door.client()
    try client.send(
      "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\n" + String(repeating: "x", count: 30)
    )
    #expect(try client.response().status == 504)
    let sent = upstream.received.filter { $0.kind == H2Frame.Kind.data.rawValue }.map(
      \.payload.count)
    #expect(sent.reduce(0, +) <= 30)
  }

  @Test func endsARequestWithoutBodyInItsHead() async throws {
    let upstream = try H2TestUpstream { [.bytes(H2Frame.answer($0.stream, "ok"))] }
    let door = try await H2UpstreamDoor.start([upstream], H2UpstreamDoor.pass)
    #expect(try door.get("/").text == "ok")
    let heads = upstream.received.filter { $0.kind == H2Frame.Kind.headers.rawValue }
    #expect(heads.map(\.flags) == [5])
  }
}
