// What is not fresh any more, and what many want at once: stale responses for errors and while they
// are fetched anew, one request for all that wait.

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

  // --- one for all --------------------------------------------------------------------------------

  private func lockDoor(_ upstream: RawServer, _ server: String, workers: Int = 1) async throws
    -> RunningPortico
  {
    try await Portico.start(
      config: """
        worker_processes \(workers);
        http { proxy_cache_path %%DIR%%/cache keys_zone=one:1m; server {
          listen 127.0.0.1:%%PORT_0%%; add_header X-Cache $upstream_cache_status;
          proxy_cache one; proxy_cache_lock on; \(server)
          location / { proxy_pass http://\(upstream.address); }
        } }
        """)
  }

  @Test(arguments: [1, 4])
  func oneRequestIsMadeForAllThatWait(workers: Int) async throws {
    let upstream = RawServer()
    let door = try await lockDoor(
      upstream, "proxy_cache_valid 1h; proxy_cache_lock_timeout 10m;", workers: workers)
    let clients = try (0..<20).map { _ in try door.client() }
    for client in clients { try client.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n") }
    let server = try upstream.accept()
    _ = try server.read(until: "\r\n\r\n")
    #expect(!upstream.waits(within: 0.2))
    try server.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nall")
    for client in clients { #expect(try client.response().text == "all") }
    #expect(!upstream.waits(within: 0.1))
    try door.stop(SIGTERM)
  }

  @Test func whoWaitsForWhatIsNotStoredGoesOnItself() async throws {
    let upstream = RawServer()
    // Who waits for his time's end goes on, too: that is not soon.
    let door = try await lockDoor(upstream, "proxy_cache_lock_timeout 10m;")
    let clients = try (0..<3).map { _ in try door.client() }
    for client in clients { try client.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n") }
    for number in 0..<3 {
      let server = try upstream.accept()
      _ = try server.read(until: "\r\n\r\n")
      try server.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n\(number)")
    }
    let answers = try clients.map { try $0.response().text }
    #expect(Set(answers) == ["0", "1", "2"])
    try door.stop(SIGTERM)
  }

  @Test func waitingHasAnEnd() async throws {
    let upstream = RawServer()
    let door = try await lockDoor(upstream, "proxy_cache_valid 1h; proxy_cache_lock_timeout 200ms;")
    let first = try door.client()
    try first.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
    let slow = try upstream.accept()
    _ = try slow.read(until: "\r\n\r\n")
    let second = try door.client()
    try second.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
    let server = try upstream.accept()
    _ = try server.read(until: "\r\n\r\n")
    #expect(door.errorLog.contains("cache lock timeout"))
    try server.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond")
    #expect(try second.response().text == "second")
    try slow.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst")
    #expect(try first.response().text == "first")
    #expect(try door.get("/a").text == "first")
    try door.stop(SIGTERM)
  }

  @Test func aRightThatIsTooOldIsGivenToAnother() async throws {
    let upstream = RawServer()
    let door = try await lockDoor(upstream, "proxy_cache_valid 1h; proxy_cache_lock_age 200ms;")
    let first = try door.client()
    try first.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
    _ = try upstream.accept().read(until: "\r\n\r\n")
    let second = try door.client()
    try second.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
    let server = try upstream.accept()
    _ = try server.read(until: "\r\n\r\n")
    try server.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond")
    #expect(try second.response().text == "second")
    #expect(try door.get("/a").text == "second")
    try door.stop(SIGTERM)
  }

  @Test func whoLeavesWhileWaitingIsForgotten() async throws {
    let upstream = RawServer()
    let door = try await lockDoor(upstream, "proxy_cache_valid 1h;")
    let first = try door.client()
    try first.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
    let server = try upstream.accept()
    _ = try server.read(until: "\r\n\r\n")
    do {
      let second = try door.client()
      try second.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
      #expect(!upstream.waits(within: 0.1))
      second.reset()
    }
    try door.waitForLog("client prematurely closed connection")
    try server.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst")
    #expect(try first.response().text == "first")
    #expect(try door.get("/a").text == "first")
    try door.stop(SIGTERM)
  }
}
