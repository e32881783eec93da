// What is not fresh any more: stale responses for errors and while they are fetched anew, and who may
// fetch them.

import Foundation
import Testing

@Suite struct CacheStaleTests {
  private static let stale = ["X-Accel-Expires": "@1"]

  @Test(arguments: [
    ("http_500", TestUpstream.Answer.answer("500 Internal Server Error")),
    ("http_502", .answer("502 Bad Gateway")), ("http_503", .answer("503 Service Unavailable")),
    ("http_504", .answer("504 Gateway Timeout")), ("http_403", .answer("403 Forbidden")),
    ("http_404", .answer("404 Not Found")), ("http_429", .answer("429 Too Many Requests")),
    ("error", .steps([.close])), ("error", .steps([.reset])),
    ("invalid_header", .steps([.bytes("nonsense\r\n\r\n"), .close])),
    ("timeout", .steps([.silence])),
  ])
  func aStaleResponseStandsForAnError(word: String, answer: TestUpstream.Answer) async throws {
    let app = try CountingApp(Self.stale)
    let cache = try await CacheDoor(
      app, server: "proxy_cache_use_stale \(word); proxy_read_timeout 1s;",
      locations: "location /off { proxy_cache_use_stale off; proxy_pass http://%%UPSTREAM_0%%; }")
    #expect(try cache.get("/a") == "MISS /a 1")
    #expect(try cache.get("/off") == "MISS /off 2")
    app.answer(answer)
    #expect(try cache.get("/a") == "STALE /a 1")
    #expect(try cache.door.get("/off").status >= 400)
    app.answer(nil)
    #expect(try cache.get("/a").hasPrefix("EXPIRED /a "))
    try cache.door.stop(SIGTERM)
  }

  @Test func noServerIsAnErrorToo() async throws {
    let app = try CountingApp(Self.stale)
    let cache = try await CacheDoor(app, server: "proxy_cache_use_stale error;")
    #expect(try cache.get("/a") == "MISS /a 1")
    app.upstream.stop()
    #expect(try cache.get("/a") == "STALE /a 1")
    try cache.door.stop()
  }

  @Test func theResponseItselfAllowsItForAWhile() async throws {
    let app = try CountingApp([
      "X-Accel-Expires": "@1", "Cache-Control": "stale-if-error=9999999999",
    ])
    let cache = try await CacheDoor(app, server: "")
    #expect(try cache.get("/a") == "MISS /a 1")
    app.answer(.steps([.close]))
    #expect(try cache.get("/a") == "STALE /a 1")
    // A status is an answer.
    app.answer(.answer("500 Internal Server Error"))
    #expect(try cache.door.get("/a").status == 500)
    app.answer(nil)
    app.set(Self.stale)
    #expect(try cache.get("/a").hasPrefix("EXPIRED"))
    app.answer(.steps([.close]))
    #expect(try cache.door.get("/a").status == 502)
    try cache.door.stop()
  }

  @Test func whoeverComesWhileItIsFetchedGetsTheStaleOne() async throws {
    let upstream = RawServer()
    let door = try await Portico.start(
      config: """
        http { proxy_cache_path %%DIR%%/cache keys_zone=one:1m; server {
          listen 127.0.0.1:%%PORT_0%%; add_header X-Cache $upstream_cache_status;
          proxy_cache one; proxy_cache_use_stale updating;
          location / { proxy_pass http://\(upstream.address); }
          location /strict { proxy_cache_use_stale off; proxy_pass http://\(upstream.address); }
        } }
        """)
    func answer(_ text: String) throws {
      let server = try upstream.accept()
      _ = try server.read(until: "\r\n\r\n")
      try server.send(
        "HTTP/1.1 200 OK\r\nX-Accel-Expires: @1\r\nConnection: close\r\nContent-Length: \(text.utf8.count)\r\n\r\n\(text)"
      )
    }
    for path in ["/a", "/strict"] {
      let first = try door.client()
      try first.send("GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n")
      try answer("old")
      #expect(try first.response().text == "old")
    }
    let fetching = try door.client()
    try fetching.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
    let server = try upstream.accept()
    _ = try server.read(until: "\r\n\r\n")
    let other = try door.get("/a")
    #expect(other["X-Cache"] == "UPDATING" && other.text == "old")
    try server.send(
      "HTTP/1.1 200 OK\r\nX-Accel-Expires: 60\r\nConnection: close\r\nContent-Length: 3\r\n\r\nnew")
    let fetched = try fetching.response()
    #expect(fetched["X-Cache"] == "EXPIRED" && fetched.text == "new")
    #expect(try door.get("/a").text == "new")
    // Where that isn't allowed everybody asks.
    let clients = try (0..<2).map { _ in try door.client() }
    for client in clients { try client.send("GET /strict HTTP/1.1\r\nHost: a\r\n\r\n") }
    for _ in clients { try answer("new") }
    for client in clients { #expect(try client.response()["X-Cache"] == "EXPIRED") }
    try door.stop(SIGTERM)
  }

  @Test func aStaleResponseIsFetchedAnewInTheBackground() async throws {
    let app = try CountingApp([
      "X-Accel-Expires": "@1", "Cache-Control": "stale-while-revalidate=9999999999",
    ])
    let cache = try await CacheDoor(
      app,
      server: """
        proxy_cache_background_update on;
        proxy_set_header X-Proto $scheme; proxy_set_header X-Arg $arg_a; set $var "$arg_a!";
        proxy_set_header X-Var $var; proxy_cache_key $uri;
        """)
    #expect(try cache.get("/a") == "MISS /a 1")
    app.set(["X-Accel-Expires": "60"])
    #expect(try cache.get("/a?a=1", ["X-Client": "c"]) == "STALE /a 1")
    try waitUntil("the update") { try cache.get("/a").hasPrefix("HIT") }
    #expect(try cache.get("/a") == "HIT /a?a=1 2")
    #expect(app.last?["X-Client"] == "c" && app.last?["X-Arg"] == "1" && app.last?["X-Var"] == "1!")
    #expect(app.last?["X-Proto"] == "http")
    #expect(app.count == 2)
    try cache.door.stop()
  }

  @Test func anUpdateThatFailsLeavesWhatIsThere() async throws {
    let app = try CountingApp(Self.stale)
    let cache = try await CacheDoor(
      app, server: "proxy_cache_background_update on; proxy_cache_use_stale updating;")
    #expect(try cache.get("/a") == "MISS /a 1")
    app.answer(
      .steps([
        .bytes("HTTP/1.1 200 OK\r\nX-Accel-Expires: 60\r\nContent-Length: 9\r\n\r\nhalf"), .close,
      ]))
    #expect(try cache.get("/a") == "STALE /a 1")
    try cache.door.waitForLog("prematurely closed connection")
    // The right to fetch was given back, and used again.
    app.answer(nil)
    app.set(["X-Accel-Expires": "60"])
    #expect(try cache.get("/a") == "STALE /a 1")
    try waitUntil("the update") { try cache.get("/a") == "HIT /a 3" }
    try cache.door.stop()
  }

  @Test func anUpdateThatIsNotStoredIsNotReadToItsEnd() async throws {
    let upstream = RawServer()
    let door = try await Portico.start(
      config: """
        http { proxy_cache_path %%DIR%%/cache keys_zone=one:1m; server {
          listen 127.0.0.1:%%PORT_0%%; proxy_cache one;
          proxy_cache_background_update on; proxy_cache_use_stale updating;
          location / { proxy_pass http://\(upstream.address); }
        } }
        """)
    let client = try door.client()
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    try client.send(request)
    let first = try upstream.accept()
    _ = try first.read(until: "\r\n\r\n")
    try first.send(
      "HTTP/1.1 200 OK\r\nConnection: close\r\nX-Accel-Expires: @1\r\nContent-Length: 3\r\n\r\nold")
    #expect(try client.response().text == "old")
    // The second of them has the right to fetch that the first gave back.
    for _ in 1...2 {
      try client.send(request)
      #expect(try client.response().text == "old")
      let update = try upstream.accept()
      _ = try update.read(until: "\r\n\r\n")
      try update.send(
        "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 100000\r\n\r\nhalf")
      #expect(update.isClosed())
    }
    try door.stop(SIGTERM)
  }

  // --- for how long one fetches -------------------------------------------------------------------

  /// The right to fetch ends with the fetch, not with the client that caused it.
  @Test func aSlowReaderOfAPartDoesNotHoldTheUpdateUp() async throws {
    let app = try CountingApp(["X-Accel-Expires": "@1", "Accept-Ranges": "bytes"])
    let cache = try await CacheDoor(
      app, server: "proxy_cache_use_stale updating; proxy_max_temp_file_size 0;")
    #expect(try cache.get("/a") == "MISS /a 1")
    let size = 24 << 20
    let body = (0..<size).map { UInt8(truncatingIfNeeded: $0 % 251) }
    app.answer(
      .steps([
        .bytes(
          "HTTP/1.1 200 OK\r\nX-Accel-Expires: 60\r\nAccept-Ranges: bytes\r\nContent-Length: \(size)\r\n\r\n"
        ), .bytes(body),
      ]))
    let slow = try cache.door.client()
    try slow.send("GET /a HTTP/1.1\r\nHost: a\r\nRange: bytes=1000-\(size - 1000)\r\n\r\n")
    let head = try slow.read(until: "\r\n\r\n")
    #expect(head.hasPrefix("HTTP/1.1 206 ") && head.contains("X-Cache: EXPIRED"))
    try waitUntil("the update") { try cache.door.get("/a", method: "HEAD")["X-Cache"] == "HIT" }
    #expect(try cache.door.get("/a").body == body)
    #expect(try residentKilobytes(cache.door.workerPid) < 150_000)
    #expect(try slow.read(count: size - 1999) == Array(body[1000...(size - 1000)]))
    #expect(app.count == 2)
    try cache.door.stop()
  }

  /// What isn't stored goes out as fast as its client reads: meanwhile another one may try.
  @Test(arguments: ["Cache-Control: no-store", "X-Accel-Expires: 60\r\nX-Accel-Buffering: no"])
  func whoGetsWhatIsNotStoredDoesNotHoldTheUpdateUp(fields: String) async throws {
    let upstream = RawServer()
    let door = try await Portico.start(
      config: """
        http { proxy_cache_path %%DIR%%/cache keys_zone=one:1m; server {
          listen 127.0.0.1:%%PORT_0%%; add_header X-Cache $upstream_cache_status;
          proxy_cache one; proxy_cache_use_stale updating;
          location / { proxy_pass http://\(upstream.address); }
        } }
        """)
    func answer(_ fields: String, _ text: String, length: Int) throws -> RawClient {
      let server = try upstream.accept()
      _ = try server.read(until: "\r\n\r\n")
      try server.send(
        "HTTP/1.1 200 OK\r\n\(fields)\r\nConnection: close\r\nContent-Length: \(length)\r\n\r\n\(text)")
      return server
    }
    func ask() throws -> RawClient {
      let client = try door.client()
      try client.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
      return client
    }
    let first = try ask()
    _ = try answer("X-Accel-Expires: @1", "old", length: 3)
    #expect(try first.response().text == "old")
    let second = try ask()
    let unfinished = try answer(fields, "half", length: 8)
    _ = try second.read(until: "half")
    let third = try ask()
    _ = try answer("X-Accel-Expires: 60", "new", length: 3)
    let fetched = try third.response()
    #expect(fetched["X-Cache"] == "EXPIRED" && fetched.text == "new")
    try unfinished.send("half")
    #expect(try second.read(count: 4) == Array("half".utf8))
    #expect(try door.get("/a").text == "new")
    try door.stop(SIGTERM)
  }
}
