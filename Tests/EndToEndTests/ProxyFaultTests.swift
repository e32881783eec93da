// Upstreams that break the rules, die at a bad moment, or want more than an answer: what the client
// sees of each.

import Foundation
import Testing

@Suite struct ProxyFaultTests {
  /// Portico with `locations` in front of `upstreams`: %%UPSTREAM_0%% and so on.
  private func start(_ upstreams: [TestUpstream], _ locations: String, http: String = "")
    async throws
    -> RunningPortico
  {
    let site = try Site(
      config: """
        http {
          \(http)
          server { listen 127.0.0.1:%%PORT_0%%; \(locations) }
        }
        """, upstreams: upstreams)
    return try await Portico.start(site)
  }

  @Test(arguments: [
    ("nothing at all", "", 502),
    ("bytes that are no HTTP", "\0\u{1}garbage\r\n\r\n", 502),
    ("half a head", "HTTP/1.1 200 OK\r\nContent-Le", 502),
    ("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", 502),
    (
      "length and coding",
      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", 502
    ),
    ("a switch that nobody asked for", "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", 502),
    (
      "interim responses without end", String(repeating: "HTTP/1.1 102 P\r\n\r\n", count: 1000), 502
    ),
    ("a body until the end", "HTTP/1.1 200 OK\r\n\r\nok", 200),
    ("HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\nok", 200),
    (
      "an interim response",
      "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
      200
    ),
    (
      "more than was announced",
      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\nevil", 200
    ),
  ])
  func answersWhatUpstreamsSay(_ name: String, bytes: String, status: Int) async throws {
    let upstream = try TestUpstream { _ in .steps([.bytes(bytes), .close]) }
    let door = try await start([upstream], "location / { proxy_pass http://%%UPSTREAM_0%%; }")
    let response = try door.get("/")
    #expect(response.status == status, "\(name)")
    if status == 200 { #expect(response.text == "ok", "\(name)") }
  }

  /// Fields of a head that never became whole lie nowhere.
  @Test(arguments: [
    "HTTP/1.1 200 OK\r\nX-A: v\r\nSet-Cookie: a=b\r\nConte",
    "HTTP/1.1 200 OK\r\nX-A: v\r\nSet-Cookie: a=b\r\nno field\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX-A: v\r\nSet-Cookie: a=b\r\nX-B: "
      + String(repeating: "x", count: 70_000) + "\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nX-A: v\r\nSet-Cookie: a=b\r\nC",
  ])
  func aHeadThatIsNeverWholeHasNoFields(bytes: String) async throws {
    let upstream = try TestUpstream { _ in .steps([.bytes(bytes), .close]) }
    let door = try await start(
      [upstream],
      """
      location / { proxy_pass http://%%UPSTREAM_0%%;
        add_header X-Seen "<$upstream_http_x_a$upstream_cookie_a$upstream_http_link>" always; }
      """)
    let response = try door.get("/")
    #expect(response.status == 502 && response["X-Seen"] == "<>")
    try door.stop()
  }

  @Test func aResponseThatEndsAnywhereHarmsNobody() async throws {
    let whole =
      "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nX-A: v\r\nSet-Cookie: a=b\r\n"
      + "Location: /x\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nX-T: t\r\n\r\n"
    let bytes = Array(whole.utf8)
    let upstream = try TestUpstream { request in
      .steps([.bytes(Array(bytes.prefix(Int(request.path.dropFirst()) ?? 0))), .close])
    }
    let values = "$upstream_http_x_a$upstream_http_location$upstream_http_link$upstream_cookie_a"
    let door = try await start(
      [upstream],
      """
      location / { proxy_pass http://%%UPSTREAM_0%%; add_header X-Seen "<\(values)>" always;
        proxy_pass_trailers on; add_trailer X-End "<\(values)$upstream_trailer_x_t>" always; }
      """, http: "log_format all '\(values)$upstream_trailer_x_t'; access_log %%DIR%%/all.log all;")
    let headEnd = try #require(whole.range(of: "chunked\r\n\r\n")).upperBound
    let headCount = whole[..<headEnd].utf8.count
    for count in 0...bytes.count {
      let client = try door.client()
      try client.send("GET /\(count) HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
      let received = try client.readToEndOrReset()
      let seen = String(decoding: received, as: UTF8.self)
      #expect(seen.hasPrefix(count < headCount ? "HTTP/1.1 502 " : "HTTP/1.1 200 "), "\(count)")
      #expect(seen.contains(count < headCount ? "X-Seen: <>" : "X-Seen: <v/xb>"), "\(count)")
    }
    try door.stop()
  }

  /// A client's line of four bytes becomes one of six, or a record of ten.
  @Test(arguments: [1, 2])
  func passesManyFieldsThatBecomeLonger(_ version: Int) async throws {
    let first = try TestUpstream { _ in .answer(body: "ok") }
    let second = try H2TestUpstream { request in [.bytes(H2Frame.answer(request.stream, "ok"))] }
    let address = version == 1 ? "%%UPSTREAM_0%%" : second.address
    let door = try await start(
      [first],
      "location / { proxy_pass http://\(address); proxy_http_version \(version == 1 ? "1.1" : "2"); }"
    )
    for count in Array(stride(from: 380, to: 450, by: 7))
      + Array(stride(from: 700, to: 990, by: 17))
    {
      let client = try door.client()
      try client.send("GET / HTTP/1.1\nHost:x\n" + String(repeating: "a:b\n", count: count) + "\n")
      #expect(try client.response().text == "ok", "\(count) fields")
    }
  }

  @Test func passesLongFieldsThatUsuallyAreShort() async throws {
    let long = String(repeating: "x", count: 20_000)
    let upstream = try TestUpstream { _ in
      .steps([
        .bytes("HTTP/1.1 200 OK\r\nServer: \(long)\r\nDate: \(long)\r\nContent-Length: 2\r\n\r\nok")
      ])
    }
    let door = try await start(
      [upstream],
      "location / { proxy_pass http://%%UPSTREAM_0%%; proxy_pass_header Server; proxy_pass_header Date; }"
    )
    let response = try door.get("/")
    #expect(response.text == "ok")
    #expect(response["Server"] == long && response["Date"] == long)
  }

  @Test(arguments: [
    "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
  ])
  func neverMakesHalfABodyLookWhole(bytes: String) async throws {
    let upstream = try TestUpstream { _ in .steps([.bytes(bytes), .close]) }
    let door = try await start([upstream], "location / { proxy_pass http://%%UPSTREAM_0%%; }")
    let client = try door.client()
    try client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    let text = String(decoding: try client.readToEnd(), as: UTF8.self)
    #expect(!text.hasSuffix("0\r\n\r\n") && !text.contains("zz"))
    if text.contains("Content-Length") { #expect(text.contains("Content-Length: 9")) }
  }

  @Test func asksTheNextServerUnlessTheRequestMayNotBeRepeated() async throws {
    let broken = try TestUpstream { _ in .steps([.close]) }
    let sound = try TestUpstream { .answer(body: "\($0.method) \($0.body.count)") }
    let door = try await start(
      [broken, sound],
      """
      location / { proxy_pass http://both; }
      location /streamed { proxy_pass http://both; proxy_request_buffering off; proxy_next_upstream error non_idempotent; }
      """,
      http:
        "upstream both { server %%UPSTREAM_0%% max_fails=0; server %%UPSTREAM_1%% max_fails=0; keepalive 0; }"
    )
    for _ in 0..<4 { #expect(try door.get("/").text == "GET 0") }
    var posts: [Int] = []
    for path in ["/", "/", "/streamed", "/streamed"] {
      let client = try door.client()
      try client.send("POST \(path) HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
      posts.append(try client.response(to: "POST").status)
    }
    #expect(posts.prefix(2).sorted() == [200, 502])
    #expect(posts.suffix(2) == [200, 200])
  }

  @Test func retriesOnceWhatAKeptConnectionDidNotAnswer() async throws {
    let upstream = try TestUpstream { request in
      request.index == 0 ? .answer(body: "\(request.connection)") : .steps([.close])
    }
    let door = try await start([upstream], "location / { proxy_pass http://%%UPSTREAM_0%%; }")
    for connection in 0..<4 { #expect(try door.get("/").text == "\(connection)") }
  }

  @Test(arguments: [
    "", "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;",
  ])
  func passesWebSockets(directives: String) async throws {
    let upstream = try TestUpstream { request in
      guard request["Upgrade"] == "websocket", request["Connection"]?.lowercased() == "upgrade"
      else {
        return .answer("400 Bad Request")
      }
      return .steps([
        .bytes(
          "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello"
        ),
        .silence,
      ])
    }
    let door = try await start(
      [upstream], "location / { proxy_pass http://%%UPSTREAM_0%%; \(directives) }")
    let client = try door.client()
    try client.send(
      "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
    let text = try client.read(until: "hello")
    #expect(text.hasPrefix("HTTP/1.1 101 "))
    #expect(text.contains("Upgrade: websocket\r\n"))
  }

  @Test func passesAWholeResponseToASlowReaderWithoutAFile() async throws {
    let body = String((0..<1_500_000).map { Character(UnicodeScalar(UInt8(97 + $0 / 1000 % 26))) })
    let upstream = try TestUpstream { _ in .answer(body: body) }
    let door = try await start(
      [upstream],
      "location / { proxy_max_temp_file_size 0; proxy_buffers 4 4k; proxy_pass http://%%UPSTREAM_0%%; }"
    )
    let client = try door.client()
    try client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    var received: [UInt8] = []
    while received.count < 1_000_000 {
      received += try client.read(count: 100_000)
      // Not Task.sleep: other tests keep the threads busy that would go on here, for minutes
      // perhaps.
      usleep(10_000)
    }
    received += try client.readToEnd()
    #expect(String(decoding: received, as: UTF8.self).hasSuffix("\r\n\r\n" + body))
  }

  @Test func forgetsTheFieldsOfTheRequestBefore() async throws {
    let upstream = try TestUpstream { _ in .answer(fields: ["X-Secret": "one"]) }
    let door = try await start(
      [upstream],
      """
      location / { proxy_pass http://%%UPSTREAM_0%%; }
      location /own { return 200 "<$upstream_http_x_secret>"; }
      """)
    let client = try door.client()
    for (path, body) in [("/", ""), ("/own", "<>")] {
      try client.send("GET \(path) HTTP/1.1\r\nHost: x\r\n\r\n")
      #expect(try client.response().text == body)
    }
  }

  @Test func letsAnotherLocationAnswerByAccelRedirect() async throws {
    let upstream = try TestUpstream { request in
      .answer(fields: [
        "X-Accel-Redirect": String(request.path.dropFirst(4)), "Set-Cookie": "a=b", "X-Other": "c",
      ])
    }
    let door = try await start(
      [upstream],
      """
      location /go/ { proxy_pass http://%%UPSTREAM_0%%; }
      location /inside/ { internal; return 200 "$uri $args"; }
      """)
    let response = try door.get("/go//inside/a%20b?x=1")
    #expect(response.text == "/inside/a b x=1")
    #expect(response["Set-Cookie"] == "a=b" && response["X-Other"] == nil)
    #expect(try door.get("/go//inside/%2e%2e/secret").status == 404)
    #expect(try door.get("/inside/a").status == 404)
  }

  @Test func rewritesCookies() async throws {
    let upstream = try TestUpstream { _ in
      .answer(fields: ["Set-Cookie": "sid=1; Domain=.app.internal; Path=/app/x; secure"])
    }
    let door = try await start(
      [upstream],
      """
      proxy_cookie_domain app.internal example.com; proxy_cookie_path /app/ /;
      proxy_cookie_flags sid httponly samesite=lax nosecure;
      location / { proxy_pass http://%%UPSTREAM_0%%; }
      location /off/ { proxy_cookie_flags off; proxy_pass http://%%UPSTREAM_0%%; }
      """)
    #expect(
      try door.get("/")["Set-Cookie"]
        == "sid=1; Domain=.example.com; Path=/x; HttpOnly; SameSite=Lax")
    #expect(try door.get("/off/")["Set-Cookie"] == "sid=1; Domain=.example.com; Path=/x; secure")
  }

  @Test func namedGroupsOfRedirectsHaveValues() async throws {
    let upstream = try TestUpstream { _ in
      .answer(
        "302 Found",
        fields: ["Location": "http://shop.internal/a", "Set-Cookie": "a=b; Path=/shop/x"])
    }
    let door = try await start(
      [upstream],
      """
      proxy_redirect ~^http://(?<name>[^.]*)\\.internal(?<path>.*)$ https://$name.example$path;
      proxy_cookie_path ~^/(?<folder>[^/]*)/ /own/$folder/;
      location / { proxy_pass http://%%UPSTREAM_0%%; }
      """)
    let answer = try door.get()
    #expect(answer["location"] == "https://shop.example/a")
    #expect(answer["set-cookie"] == "a=b; Path=/own/shop/")
    try door.stop()
  }

  /// An application whose errors are hidden, and which answers for the error page, too: its errors
  /// stay hidden, and don't become a 200.
  @Test func anErrorPageThatFailsIsIntercepted() async throws {
    let app = try TestUpstream {
      $0.path.hasPrefix("/locked")
        ? .steps([
          .bytes(
            "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=a\r\nWWW-Authenticate: Digest b\r\n"
              + "Content-Length: 5\r\n\r\nstack")
        ]) : .answer("500 Broken", fields: ["X-Trace": "stack"], body: "stack")
    }
    let door = try await Portico.start(
      config: """
        http { proxy_intercept_errors on; server { listen 127.0.0.1:%%PORT_0%%;
          location / { proxy_pass http://%%UPSTREAM_0%%; error_page 404 500 /50x.html; }
          location /ok { proxy_pass http://%%UPSTREAM_0%%; error_page 500 =200 /ok2; }
          location /locked { proxy_pass http://%%UPSTREAM_0%%; error_page 401 /page; }
          location /page { return 200 page; }
        } }
        """, upstreams: [app])
    for path in ["/", "/ok"] {
      let response = try door.get(path)
      #expect(response.status == 500 && response["x-trace"] == nil, "\(path)")
      #expect(!response.text.contains("stack"))
    }
    let locked = try door.get("/locked")
    #expect(locked.status == 401 && locked.text == "page")
    #expect(locked.all("www-authenticate") == ["Basic realm=a", "Digest b"])
    try door.stop()
  }
}
