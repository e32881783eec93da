// Bodies that are passed on as they come, when somebody else answers in the middle: the rest of
// them is the client's own affair, and no upstream sees a byte of it without a head that announced
// it.

import Foundation
import Testing

@Suite struct StreamedBodyTests {
  /// A burst fills what a response may hold in memory; the client takes it all, and then nothing
  /// comes.
  @Test(arguments: ["", "proxy_http_version 2;"])
  func anUpstreamThatFallsSilentAfterABurstIsNotWaitedForForEver(_ lines: String) async throws {
    let burst = String(repeating: "x", count: 100_000)
    let old = try TestUpstream { _ in
      .steps([.bytes("HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n\(burst)"), .silence])
    }
    let new = try H2TestUpstream { request in
      let pieces = (0..<10).flatMap { _ in
        H2Frame.data(request.stream, String(repeating: "x", count: 6_000))
      }
      return [.bytes(H2Frame.headers(request.stream, [(":status", "200")]) + pieces), .silence]
    }
    let door = try await Portico.start(
      config: """
        http { server { listen 127.0.0.1:%%PORT_0%%; location / {
          proxy_buffering off; proxy_buffers 2 4k; proxy_read_timeout 1s; \(lines)
          proxy_pass http://\(lines.isEmpty ? "%%UPSTREAM_0%%" : new.address);
        } } }
        """, upstreams: [old])
    let client = try door.client()
    try client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    let received = try client.readToEndOrReset()
    #expect(received.count >= 60_000)
    try door.waitForLog("timed out")
    try door.stop()
  }

  /// What the rest of a body looks like to a server that wasn't told of a body.
  private static let rest = "GET /admin/secret HTTP/1.1\r\nHost: b\r\n\r\n"
  private static let post =
    "HTTP/1.1\r\nHost: a\r\nContent-Length: \(5 + rest.utf8.count)\r\n"

  /// `first` may leave the answer to `second`; nobody listens at %%PORT_1%%.
  private func start(_ first: RawServer, _ second: String) async throws -> RunningPortico {
    try await Portico.start(
      config: """
        http {
          client_body_timeout 1s;
          server {
            listen 127.0.0.1:%%PORT_0%%; http2 on;
            proxy_request_buffering off; proxy_intercept_errors on;
            location / { error_page 404 /second/page; proxy_pass http://\(first.address); }
            location /named { error_page 404 @second; proxy_pass http://\(first.address); }
            location /small {
              client_max_body_size 8; error_page 413 400 /second/page;
              proxy_pass http://\(first.address);
            }
            location /bodiless { error_page 502 @bodiless; proxy_pass http://127.0.0.1:%%PORT_1%%; }
            location /own { error_page 502 @own; proxy_pass http://127.0.0.1:%%PORT_1%%; }
            location /second { \(second) }
            location @second { \(second) }
            location @bodiless { proxy_pass_request_body off; \(second) }
            location @own { proxy_set_body own; \(second) }
          }
        }
        """)
  }

  private static let answer = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage"

  /// `server` gets a request without a body, and by the same connection the next one of `client`.
  private func expectNextRequest(on server: RawClient, of client: RawClient) throws {
    try server.send(Self.answer)
    #expect(try client.response().text == "page")
    try client.send("GET /second/next HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(try server.read(until: "\r\n\r\n").hasPrefix("GET /second/next HTTP/1.1\r\n"))
    try server.send(Self.answer)
    #expect(try client.response().text == "page")
  }

  @Test(
    arguments: [
      "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
      "HTTP/1.1 200 OK\r\nX-Accel-Redirect: /second/page\r\nContent-Length: 0\r\n\r\n",
      "HTTP/1.1 200 OK\r\nX-Accel-Redirect: @second\r\nContent-Length: 0\r\n\r\n",
    ], ["/", "/named", "/ with an upgrade"])
  func whoeverAnswersInsteadSeesNothingOfTheRest(answer: String, request: String) async throws {
    let path = request.prefix { $0 != " " }
    let upgrade = path.count < request.count ? "Connection: upgrade\r\nUpgrade: foo\r\n" : ""
    let first = RawServer()
    let second = RawServer()
    let door = try await start(first, "proxy_pass http://\(second.address);")
    let client = try door.client()
    try client.send("POST \(path) \(Self.post)\(upgrade)\r\npart1")
    let one = try first.accept()
    #expect(try one.read(until: "part1").contains("Content-Length: "))
    try one.send(answer)
    let two = try second.accept()
    let head = try two.read(until: "\r\n\r\n").lowercased()
    #expect(!head.contains("content-length") && !head.contains("transfer-encoding"))
    #expect(one.isClosed())
    try client.send(Self.rest)
    try expectNextRequest(on: two, of: client)
    try door.stop()
  }

  @Test func theTimeForABodyEndsWithTheTryThatReadIt() async throws {
    let first = RawServer()
    let second = RawServer()
    let door = try await start(first, "proxy_pass http://\(second.address);")
    let client = try door.client()
    try client.send("POST / \(Self.post)\r\npart1")
    let one = try first.accept()
    _ = try one.read(until: "part1")
    try one.send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
    let two = try second.accept()
    _ = try two.read(until: "\r\n\r\n")
    // More than the time for the body.
    #expect(throws: RawClient.Failure.timedOut(received: "")) {
      try client.read(count: 1, within: 1.5)
    }
    try client.send(Self.rest)
    try expectNextRequest(on: two, of: client)
    try door.stop()
  }

  @Test(arguments: ["27\r\n\(rest)\r\n0\r\n\r\n", "nonsense\r\n"])
  func aPageAboutARefusedBodyDoesWithoutIt(rest: String) async throws {
    let first = RawServer()
    let second = RawServer()
    let door = try await start(first, "proxy_pass http://\(second.address);")
    let client = try door.client()
    try client.send(
      "POST /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\npart1\r\n")
    let one = try first.accept()
    _ = try one.read(until: "part1\r\n")
    try client.send(rest)
    let two = try second.accept()
    #expect(!(try two.read(until: "\r\n\r\n").lowercased().contains("transfer-encoding")))
    try client.send(Self.rest)
    try two.send(Self.answer)
    let response = try client.response()
    #expect(response.status == (rest.hasPrefix("n") ? 400 : 413) && response.text == "page")
    #expect(client.isClosed())
    #expect(try one.readToEnd().isEmpty)
    let next = try door.client()
    try next.send("GET /second/next HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(try two.read(until: "\r\n\r\n").hasPrefix("GET /second/next HTTP/1.1\r\n"))
    try two.send(Self.answer)
    #expect(try next.response().text == "page")
    try door.stop()
  }

  @Test(arguments: ["/bodiless", "/own"])
  func aServerThatIsToHaveNoBodyGetsNone(path: String) async throws {
    let first = RawServer()
    let second = RawServer()
    let door = try await start(first, "proxy_pass http://\(second.address);")
    let client = try door.client()
    try client.send("POST \(path) \(Self.post)\r\npart1")
    let two = try second.accept()
    let head = try two.read(until: "\r\n\r\n").lowercased()
    #expect(head.contains("content-length: 3\r\n") == (path == "/own"))
    #expect(head.contains("content-length") == (path == "/own"))
    if path == "/own" { #expect(try two.read(count: 3) == Array("own".utf8)) }
    try client.send(Self.rest)
    try expectNextRequest(on: two, of: client)
    try door.stop()
  }

  @Test(arguments: ["/", "/bodiless"])
  func aStreamWithoutABodyEndsWithItsHead(path: String) async throws {
    let first = RawServer()
    let second = try H2TestUpstream { [.bytes(H2Frame.answer($0.stream, "page"))] }
    let door = try await start(
      first, "proxy_http_version 2; proxy_pass http://\(second.address);")
    let client = try door.client()
    try client.send("POST \(path) \(Self.post)\r\npart1")
    if path == "/" {
      let one = try first.accept()
      _ = try one.read(until: "part1")
      try one.send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
    }
    #expect(try client.response().text == "page")
    try client.send(Self.rest + "GET /second/next HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(try client.response().text == "page")
    #expect(second.requests.map(\.body) == [[], []])
    #expect(!second.received.contains { $0.type == .data })
    try door.stop()
  }

  @Test func theRestOfAStreamGoesNowhere() async throws {
    let first = RawServer()
    let second = RawServer()
    let door = try await start(first, "proxy_pass http://\(second.address);")
    let client = try H2Client(port: door.port())
    try client.request(1, "/", method: "POST", ends: false)
    try client.send(.data, stream: 1, payload: Array("part1".utf8))
    let one = try first.accept()
    #expect(try one.read(until: "part1\r\n").lowercased().contains("transfer-encoding: chunked"))
    try one.send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
    let two = try second.accept()
    #expect(!(try two.read(until: "\r\n\r\n").lowercased().contains("transfer-encoding")))
    try client.send(.data, stream: 1, payload: Array(Self.rest.utf8))
    try two.send(Self.answer)
    let response = try client.response(1)
    #expect(response.status == 404 && response.body == Array("page".utf8))
    try client.request(3, "/second/next")
    #expect(try two.read(until: "\r\n\r\n").hasPrefix("GET /second/next HTTP/1.1\r\n"))
    try two.send(Self.answer)
    #expect(try client.response(3).body == Array("page".utf8))
    try door.stop()
  }

  @Test func aStreamedBodyReachesAServerOfHTTP2Whole() async throws {
    let app = try H2TestUpstream { [.bytes(H2Frame.answer($0.stream, "\($0.body.count)"))] }
    let door = try await H2UpstreamDoor.start(
      [app], "location / { proxy_request_buffering off; proxy_pass http://%%H2_0%%; }")
    // A stream takes 16 KiB at once; the first window is of 64.
    for size in stride(from: 1000, to: 64_000, by: 7000) {
      let client = try door.client()
      try client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: \(size)\r\n\r\n")
      try client.send([UInt8](repeating: 65, count: size))
      #expect(try client.response().text == "\(size)")
    }
    try door.stop()
  }

  @Test(arguments: ["h2c", "websocket", "foo"])
  func anUpgradeOfTheClientsLeavesBufferingOn(name: String) async throws {
    let server = RawServer()
    let door = try await Portico.start(
      config: """
        http { server {
          listen 127.0.0.1:%%PORT_0%%;
          location / { proxy_pass http://\(server.address); }
        } }
        """)
    let client = try door.client()
    try client.send(
      """
      POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: \(name)\r
      Content-Length: 8\r\n\r\nhalf
      """)
    #expect(!server.waits(within: 0.2))
    try client.send("half")
    let head = try server.accept().read(until: "\r\n\r\nhalfhalf")
    #expect(head.contains("\r\nUpgrade: ") == (name != "h2c"))
    try door.stop(SIGTERM)
  }

  @Test func theNextServerGetsTheEndOfAnEmptyBodyToo() async throws {
    let first = RawServer()
    let second = RawServer()
    let door = try await Portico.start(
      config: """
        http {
          upstream both { server \(first.address); server \(second.address) backup; }
          server {
            listen 127.0.0.1:%%PORT_0%%;
            location / {
              proxy_request_buffering off; proxy_next_upstream http_503; proxy_pass http://both;
            }
          }
        }
        """)
    let client = try door.client()
    try client.send("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    let one = try first.accept()
    _ = try one.read(until: "\r\n\r\n")
    try client.send("0\r\n\r\n")
    #expect(try one.read(until: "\r\n\r\n") == "0\r\n\r\n")
    try one.send("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
    let two = try second.accept()
    _ = try two.read(until: "\r\n\r\n")
    #expect(try two.read(until: "\r\n\r\n") == "0\r\n\r\n")
    try two.send(Self.answer)
    #expect(try client.response().text == "page")
    try door.stop()
  }

  @Test(arguments: ["/", "/dead"])
  func aChunkedBodyHasALengthForAServerOfHTTP10(path: String) async throws {
    let server = RawServer()
    let door = try await Portico.start(
      config: """
        http { server {
          listen 127.0.0.1:%%PORT_0%%;
          proxy_request_buffering off;
          location / { proxy_http_version 1.0; proxy_pass http://\(server.address); }
          location /dead { error_page 502 @old; proxy_pass http://127.0.0.1:%%PORT_1%%; }
          location @old { proxy_http_version 1.0; proxy_pass http://\(server.address); }
        } }
        """)
    let client = try door.client()
    try client.send(
      "PUT \(path) HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    #expect(!server.waits(within: 0.2))
    try client.send("3\r\ndef\r\n0\r\n\r\n")
    let upstream = try server.accept()
    let head = try upstream.read(until: "\r\n\r\n").lowercased()
    #expect(head.hasPrefix("put \(path) http/1.0\r\n"))
    #expect(head.contains("\r\ncontent-length: 6\r\n") && !head.contains("transfer-encoding"))
    #expect(try upstream.read(count: 6) == Array("abcdef".utf8))
    try upstream.send("HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\npage")
    #expect(try client.response().text == "page")
    try door.stop()
  }

  @Test func aBodyIsStillOwedByAClientThatReadsLate() async throws {
    let server = RawServer()
    let door = try await Portico.start(
      config: """
        http { client_body_timeout 3s; server {
          listen 127.0.0.1:%%PORT_0%% sndbuf=64k;
          location / {
            proxy_request_buffering off; proxy_temp_path %%DIR%%/spool;
            proxy_pass http://\(server.address);
          }
        } }
        """, files: ["spool/.keep": ""])
    let size = 20 << 20
    let client = try door.client()
    try client.send("POST / \(Self.post)\r\npart1")
    let upstream = try server.accept()
    _ = try upstream.read(until: "part1")
    // So much that the client's room is what is waited for; the end of it never comes.
    try upstream.send("HTTP/1.1 200 OK\r\nContent-Length: \(size + 1)\r\n\r\n")
    try upstream.send([UInt8](repeating: 65, count: size))
    _ = try client.read(until: "\r\n\r\n")
    #expect(try client.read(count: size).count == size)
    #expect(client.isClosed())
    #expect(door.errorLog.contains("client timed out while reading a client request body"))
    try door.stop()
  }
}
