// mirror: copies of requests go elsewhere, and nobody waits for them.

import Foundation
import Testing

@Suite struct MirrorTests {
  private static let config = """
    worker_processes 1; user root;
    events { worker_connections %%CONNECTIONS%%; }
    http {
      log_format path "$uri $status $request_id $server_port $arg_a $http_x_a";
      server {
        listen %%LISTEN%%; http2 on;
        access_log %%DIR%%/access.log path;
        client_body_buffer_size 16k;
        client_max_body_size 0;
        location / { mirror /copy; proxy_pass http://%%UPSTREAM_0%%; }
        location /two { mirror /copy; mirror /nobody; proxy_pass http://%%UPSTREAM_0%%; }
        location /headonly {
          mirror /copy; mirror_request_body off; proxy_request_buffering off;
          proxy_pass http://%%UPSTREAM_0%%;
        }
        location /stream { mirror /copy; proxy_request_buffering off; proxy_pass http://%%UPSTREAM_0%%; }
        location /down { mirror /broken; proxy_pass http://%%UPSTREAM_0%%; }
        location /off/ { mirror off; proxy_pass http://%%UPSTREAM_0%%; }
        location /copy {
          internal; log_subrequest on;
          proxy_set_header X-Original $request_uri; proxy_set_header X-Id $request_id;
          proxy_set_header X-Client $remote_addr; proxy_set_header X-Port $server_port;
          proxy_pass http://%%MIRROR%%;
        }
        location /broken { internal; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /nobody { internal; return 444; }
        location /tried { mirror /copy; try_files /none @tried; }
        location @tried { mirror /copy; proxy_pass http://%%UPSTREAM_0%%; }
        location /missing { mirror /copy; try_files /none =404; }
        location /saved { mirror /kept; proxy_pass http://%%UPSTREAM_0%%; }
        location /kept { internal; proxy_store %%DIR%%/kept; proxy_pass http://%%MIRROR%%; }
      }
    }
    """

  private static func start(
    mirror: String, connections: Int = 512, listen: String = "127.0.0.1:%%PORT_0%%"
  ) async throws -> (RunningPortico, TestUpstream) {
    let app = try TestUpstream { .answer(body: "app:\($0.body.count)") }
    let config = config.replacingOccurrences(of: "%%MIRROR%%", with: mirror)
      .replacingOccurrences(of: "%%CONNECTIONS%%", with: "\(connections)")
      .replacingOccurrences(of: "%%LISTEN%%", with: listen)
    return (try await Portico.start(config: config, upstreams: [app]), app)
  }

  private static func post(_ path: String, _ body: String) -> String {
    "POST \(path) HTTP/1.1\r\nHost: a\r\nX-A: b\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
  }

  @Test(arguments: ["127.0.0.1:%%PORT_0%%", "%%PORT_0%%"])
  func aCopyHasWhatTheRequestHas(listen: String) async throws {
    let mirror = try TestUpstream { _ in .answer("500 Oops", body: "dropped") }
    let (door, app) = try await Self.start(mirror: "127.0.0.1:\(mirror.port)", listen: listen)
    let client = try door.client()
    try client.send(Self.post("/x%20y?a=1", "hello"))
    #expect(try client.response().text == "app:5")
    try waitUntil("the copy") { mirror.requests.count == 1 }
    let copy = mirror.requests[0]
    #expect(copy.method == "POST" && copy.path == "/copy?a=1")
    #expect(copy.body == Array("hello".utf8) && copy["Content-Length"] == "5")
    #expect(copy["X-A"] == "b" && copy["X-Original"] == "/x%20y?a=1")
    #expect(copy["X-Client"] == "127.0.0.1" && copy["X-Port"] == "\(door.port())")
    #expect(app.requests.map(\.path) == ["/x%20y?a=1"])
    // `log_subrequest` shows it, under the number of what it copies.
    try waitUntil("both lines") { door.site.text("access.log").split(separator: "\n").count == 2 }
    let lines = door.site.text("access.log").split(separator: "\n").map { $0.split(separator: " ") }
    #expect(Set(lines.map { $0[0...1].joined(separator: " ") }) == ["/x y", "/copy 500"])
    let number = try #require(copy["X-Id"])
    #expect(door.site.text("access.log").contains("/copy 500 \(number) \(door.port()) 1 b\n"))
    #expect(door.site.text("access.log").contains("/x y 200 \(number) "))
  }

  /// What `try_files` takes elsewhere is copied there, if at all, and once.
  @Test func whatTryFilesTakesElsewhereIsCopiedThere() async throws {
    let mirror = try TestUpstream { .answer(body: $0.path) }
    let (door, _) = try await Self.start(mirror: "127.0.0.1:\(mirror.port)")
    #expect(try door.get("/missing").status == 404)
    #expect(try door.get("/tried").text == "app:0")
    #expect(try door.get("/last").text == "app:0")
    // Copies go by themselves, in any order.
    try waitUntil("the copies") { mirror.requests.count >= 2 }
    #expect(mirror.requests.compactMap { $0["X-Original"] }.sorted() == ["/last", "/tried"])
  }

  @Test func aCopyHasTheBodyOfAnUpgradeToo() async throws {
    let mirror = try TestUpstream { .answer(body: $0.path) }
    let (door, _) = try await Self.start(mirror: "127.0.0.1:\(mirror.port)")
    let client = try door.client()
    let post = Self.post("/", "hello")
    try client.send(
      post.replacing("X-A: b\r\n", with: "Connection: upgrade\r\nUpgrade: foo\r\n"))
    #expect(try client.response().text == "app:5")
    try waitUntil("the copy") { mirror.requests.count == 1 }
    #expect(mirror.requests[0].body == Array("hello".utf8))
  }

  @Test func nobodyWaitsForCopies() async throws {
    let mirror = try TestUpstream { _ in .steps([.silence]) }
    let (door, _) = try await Self.start(mirror: "127.0.0.1:\(mirror.port)")
    let client = try door.client()
    for number in 1...3 {
      try client.send(Self.post("/", "hello"))
      #expect(try client.response().text == "app:5")
      try waitUntil("copy \(number)") { mirror.requests.count == number }
    }
    let http2 = try H2Client(port: door.port())
    for (stream, path): (UInt32, String) in [(1, "/"), (3, "/two")] {
      try http2.request(stream, path)
      #expect(try http2.response(stream).status == 200)
    }
    try waitUntil("all copies") { mirror.requests.count == 5 }
    #expect(mirror.openConnectionCount == 5)
    mirror.stop()
    try client.send("GET /off/ HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(try client.response().text == "app:0")
  }

  @Test func aMirrorThatIsDownChangesNothing() async throws {
    let mirror = try TestUpstream { _ in .steps([.reset]) }
    let (door, _) = try await Self.start(mirror: "127.0.0.1:\(mirror.port)")
    for path in ["/down", "/two", "/", "/down"] {
      let client = try door.client()
      try client.send(Self.post(path, "hello"))
      #expect(try client.response().text == "app:5")
    }
    try door.waitForLog("subrequest: \"/broken\"")
  }

  /// A body behind the head, and one in a file.
  @Test(arguments: [8 << 10, 2 << 20])
  func aCopyOutlivesItsClient(size: Int) async throws {
    let mirror = RawServer(receiveRoom: 4096)
    let (door, _) = try await Self.start(mirror: mirror.address)
    let body = String((0..<size).map { Character(UnicodeScalar(UInt8(97 + $0 * 7919 % 26))) })
    for _ in 0..<2 {
      var client: RawClient? = try door.client()
      try client?.send(Self.post("/stream?a=kept", body))
      #expect(try client?.response().text == "app:\(size)")
      client = nil
    }
    let first = try mirror.accept()
    let second = try mirror.accept()
    // Others use the memory that was given back meanwhile.
    let other = try door.client()
    try other.send(Self.post("/off/", String(repeating: "x", count: size)))
    #expect(try other.response().text == "app:\(size)")
    for connection in [first, second] {
      let head = try connection.read(until: "\r\n\r\n")
      #expect(head.contains("Content-Length: \(size)\r\n"))
      #expect(head.contains("X-Original: /stream?a=kept\r\n"))
      #expect(try connection.read(count: size) == Array(body.utf8))
      try connection.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    }
    // What the log says of a copy lay in the head of what it copied.
    func lines() -> [Substring] {
      door.site.text("access.log").split(separator: "\n").filter { $0.hasPrefix("/copy ") }
    }
    try waitUntil("the copies' lines") { lines().count == 2 }
    for line in lines() { #expect(line.hasSuffix(" kept b"), "\(line)") }
  }

  /// A body in memory is there until its last user is done, who may have to send it twice: the
  /// kept connection is closed when the client is gone and others have used the pool.
  @Test func aBodyInMemoryOutlivesItsClient() async throws {
    let mirror = RawServer()
    let (door, _) = try await Self.start(mirror: mirror.address)
    let first = try door.client()
    try first.send(Self.post("/", "hello"))
    #expect(try first.response().text == "app:5")
    var kept: RawClient? = try mirror.accept()
    _ = try kept?.read(until: "hello")
    try kept?.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    try waitUntil("the copy's end") { door.site.text("access.log").contains("/copy 200") }
    let body = String(repeating: "abcdefg", count: 1_800)
    var client: RawClient? = try door.client()
    // A POST that a server has read isn't sent again.
    try client?.send(Self.post("/", body).replacing("POST", with: "PUT"))
    #expect(try client?.response().text == "app:\(body.utf8.count)")
    client = nil
    _ = try kept?.read(until: "\r\n\r\n")
    #expect(try kept?.read(count: body.utf8.count) == Array(body.utf8))
    for _ in 0..<3 {
      let other = try door.client()
      try other.send(Self.post("/off/", String(repeating: "x", count: body.utf8.count)))
      #expect(try other.response().text == "app:\(body.utf8.count)")
    }
    kept = nil
    let again = try mirror.accept()
    _ = try again.read(until: "\r\n\r\n")
    #expect(try again.read(count: body.utf8.count) == Array(body.utf8))
  }

  @Test func aStreamedBodyIsReadWholeOnlyForCopiesThatHaveIt() async throws {
    let mirror = try TestUpstream { _ in .answer() }
    let (door, app) = try await Self.start(mirror: "127.0.0.1:\(mirror.port)")
    for (path, isWhole) in [("/stream", true), ("/headonly", false)] {
      let client = try door.client()
      try client.send(
        "POST \(path) HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
      )
      _ = try client.read(until: "100 Continue\r\n\r\n")
      func waitForCopy() throws {
        try waitUntil("the copy") { mirror.requests.contains { $0["X-Original"] == path } }
      }
      if !isWhole { try waitForCopy() }
      try client.send("5\r\nhello\r\n0\r\n\r\n")
      #expect(try client.response().text == "app:5")
      try waitForCopy()
      let copy = try #require(mirror.requests.first { $0["X-Original"] == path })
      let original = try #require(app.requests.first { $0.path == path })
      #expect(original["Content-Length"] == (isWhole ? "5" : nil))
      #expect(copy.body.count == (isWhole ? 5 : 0) && copy["Transfer-Encoding"] == nil)
    }
  }

  @Test func theEndWaitsForCopies() async throws {
    let mirror = RawServer()
    let (door, _) = try await Self.start(mirror: mirror.address)
    let client = try door.client()
    try client.send(Self.post("/", "hello"))
    #expect(try client.response().text == "app:5")
    let connection = try mirror.accept()
    _ = try connection.read(until: "hello")
    try door.signal(SIGQUIT)
    #expect(client.isClosed())
    #expect(!connection.isClosed(within: 0.3))
    try connection.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    #expect(try door.command.wait().code == 0)
    #expect(door.site.text("access.log").contains("/copy 200"))
  }

  @Test func slowMirrorsDontTakeTheConnectionsOfClients() async throws {
    let mirror = RawServer()
    let (door, _) = try await Self.start(mirror: mirror.address, connections: 16)
    let client = try door.client()
    func ask() throws {
      try client.send(Self.post("/", "hello"))
      #expect(try client.response().text == "app:5")
    }
    for _ in 0..<6 { try ask() }
    let connections = try (0..<4).map { _ in try mirror.accept() }
    for each in connections { _ = try each.read(until: "hello") }
    #expect(!mirror.waits(within: 0.2))
    try door.waitForLog("4 mirrored requests are under way: others are left out")
    // A long answer isn't waited for, nor one without a length whose end isn't there.
    try connections[0].send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    try connections[1].send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
    #expect(connections[0].isClosed() && connections[1].isClosed())
    // A short one is, and its connection used again.
    try connections[2].send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na")
    try connections[3].send(
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n")
    try connections[2].send("b")
    try waitUntil("both to be logged") {
      door.site.text("access.log").components(separatedBy: "/copy 200").count == 5
    }
    try ask()
    try ask()
    for each in connections[2...] { _ = try each.read(until: "hello") }
    let logged = door.errorLog.components(separatedBy: "others are left out").count - 1
    #expect(logged == 1)
  }

  @Test func aLongAnswerThatIsStoredIsReadWhole() async throws {
    // More than is read at an event.
    let size = 4 << 20
    let mirror = try TestUpstream { _ in .answer(body: String(repeating: "x", count: size)) }
    let (door, _) = try await Self.start(mirror: "127.0.0.1:\(mirror.port)")
    #expect(try door.get("/saved").text == "app:0")
    try waitUntil("the file") { door.site.text("kept").utf8.count == size }
  }

  @Test(arguments: [
    ("mirror copy;", "\"mirror\" needs a path of this server"),
    ("mirror /a$uri;", "\"mirror\" needs a path of this server"),
    ("mirror /a; mirror off;", "\"mirror off\" beside another \"mirror\""),
    ("mirror_request_body 1;", "must be \"on\" or \"off\""), ("mirror /a /b;", "takes 1 argument"),
  ])
  func whatCannotBeMirroredIsRefused(directive: String, message: String) throws {
    let site = try Site(config: "http { server { \(directive) } }")
    let finished = try Portico.run(site, ["-t"])
    #expect(finished.code == 1 && finished.standardError.contains(message))
  }
}
