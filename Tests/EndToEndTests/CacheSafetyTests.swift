// What must not pass from one response of a cache to another.

import Testing

@Suite struct CacheSafetyTests {
  @Test func whatFailsBesideTheCacheTakesNothingFromIt() async throws {
    let app = try CountingApp()
    let cache = try await CacheDoor(
      app, server: "proxy_cache_valid any 1h; proxy_cache_bypass $http_x_around;")
    #expect(try cache.get("/a") == "MISS /a 1")
    app.answer(.steps([.close]))
    #expect(try cache.door.get("/a", headers: ["X-Around": "1"]).status == 502)
    #expect(try cache.get("/a") == "HIT /a 1")
    try cache.door.stop()
  }

  @Test func theErrorPageOfARangeHasACacheOfItsOwn() async throws {
    let app = try CountingApp(["ETag": "\"t\""])
    let cache = try await CacheDoor(
      app, server: "proxy_cache_valid 1h; proxy_force_ranges on;",
      locations: "location = /a { error_page 416 = /longer; proxy_pass http://%%UPSTREAM_0%%; }")
    #expect(try cache.get("/a") == "MISS /a 1")
    // Behind the end of the one, inside of the other.
    let range = ["Range": "bytes=6-"]
    #expect(try cache.get("/a", range) == "MISS r 2")
    #expect(try cache.get("/longer") == "HIT /longer 2")
    try cache.door.stop()
  }

  @Test func noKeyIsAVariantOfAnother() async throws {
    let app = try CountingApp(["Vary": "Accept-Encoding"])
    let cache = try await CacheDoor(
      app,
      server: """
        proxy_cache_key $uri; proxy_cache_valid any 1h;
        proxy_intercept_errors on; error_page 404 @none; location @none { return 404; }
        """)
    let gzip = ["Accept-Encoding": "gzip"]
    #expect(try cache.get("/p") == "MISS /p 1")
    app.answer(.answer("404 Not Found"))
    #expect(try cache.door.get("/p%0aaccept-encoding:gzip,").status == 404)
    app.answer(nil)
    #expect(try cache.get("/p", gzip) == "MISS /p 3")
    try cache.door.stop()
  }

  /// Its conditions go to the upstream where nothing is stored: what they come to says nothing of
  /// what is stored.
  @Test func a304ToTheClientsOwnConditionsRenewsNothing() async throws {
    let app = try CountingApp([
      "X-Accel-Expires": "@1", "ETag": "\"old\"", "Accept-Ranges": "bytes",
    ])
    let cache = try await CacheDoor(
      app, server: "proxy_cache_revalidate on; proxy_cache_max_range_offset 2;")
    #expect(try cache.get("/a") == "MISS /a 1")
    app.answer(.steps([.bytes("HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=60\r\n\r\n")]))
    let mine = try cache.door.get(
      "/a", headers: ["Range": "bytes=3-", "If-None-Match": "\"mine\""])
    #expect(mine.status == 304 && mine["X-Cache"] == "EXPIRED")
    #expect(app.last?["If-None-Match"] == "\"mine\"")
    app.answer(nil)
    #expect(try cache.get("/a") == "EXPIRED /a 3")
    try cache.door.stop()
  }

  @Test func anErrorIsNotRememberedAgainstProxyNoCache() async throws {
    let app = try CountingApp()
    let cache = try await CacheDoor(
      app,
      server: """
        proxy_cache_valid any 1h; proxy_cache_key $uri; proxy_no_cache $arg_no;
        proxy_intercept_errors on; error_page 404 @none; location @none { return 404; }
        """)
    for answer in [TestUpstream.Answer.steps([.close]), .answer("404 Not Found")] {
      app.answer(answer)
      #expect(try cache.door.get("/a?no=1").status >= 400)
      app.answer(nil)
      #expect(try cache.get("/a?no=1").hasPrefix("MISS /a"))
    }
    try cache.door.stop()
  }

  @Test func bodiesOfGETChooseNothingForOthers() async throws {
    let app = try CountingApp()
    let cache = try await CacheDoor(
      app, server: "proxy_cache_valid any 1h;",
      locations: """
        location /keyed { proxy_cache_key $uri$request_body; proxy_pass http://%%UPSTREAM_0%%; }
        """)
    func send(_ path: String, _ body: String) throws -> String {
      let client = try cache.door.client()
      let length = "Content-Length: \(body.utf8.count)"
      try client.send("GET \(path) HTTP/1.1\r\nHost: a\r\n\(length)\r\n\r\n\(body)")
      let answer = try client.response()
      return "\(answer["X-Cache"] ?? "-") \(answer.text)"
    }
    #expect(try send("/a", "no") == "MISS /a 1")
    #expect(try cache.get("/a") == "MISS /a 2")
    #expect(try send("/a", "no") == "HIT /a 2")
    #expect(try send("/keyed", "b1") == "MISS /keyed 3")
    #expect(try send("/keyed", "b1") == "HIT /keyed 3")
    #expect(try send("/keyed", "b2") == "MISS /keyed 4")
    // `$request_body` is empty when the body is in a file: such a request has no key.
    let large = String(repeating: "x", count: 40_000)
    #expect(try send("/keyed?1", large) == "- /keyed?1 5")
    #expect(try cache.get("/keyed?1") == "MISS /keyed?1 6")
    // An error that it caused isn't remembered either.
    app.answer(.steps([.close]))
    #expect(try send("/b", "no").hasPrefix("MISS "))
    app.answer(nil)
    #expect(try cache.get("/b").hasPrefix("MISS /b "))
    try cache.door.stop()
  }

  /// Whoever sends a body as slowly as it likes would keep the others from what is fresh.
  @Test func aSlowSenderDoesNotHoldTheRightToFetch() async throws {
    let app = try CountingApp(["X-Accel-Expires": "@1"])
    let cache = try await CacheDoor(
      app,
      server: """
        proxy_cache_use_stale updating; proxy_cache_methods POST; proxy_request_buffering off;
        proxy_cache_key $uri$request_method;
        """)
    #expect(try cache.get("/a", ["Content-Length": "0"], method: "POST") == "MISS /a 1")
    let slow = try cache.door.client()
    try slow.send(
      "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n")
    _ = try slow.read(until: "100 Continue\r\n\r\n")
    try slow.send("slow")
    #expect(try cache.get("/a", ["Content-Length": "0"], method: "POST") == "EXPIRED /a 2")
    try slow.send("slow.")
    #expect(try slow.response().text == "/a 3")
    try cache.door.stop()
  }

  /// What stands in the body of a request that a stored response answers is no request.
  @Test(arguments: ["on", "off"])
  func bodiesOfHitsAreNoRequests(buffering: String) async throws {
    let app = try CountingApp()
    let cache = try await CacheDoor(
      app, server: "proxy_cache_valid 1h; proxy_request_buffering \(buffering);")
    #expect(try cache.get("/a") == "MISS /a 1")
    let hidden = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
    for framing in [
      "Content-Length: \(hidden.utf8.count)\r\n\r\n\(hidden)",
      "Transfer-Encoding: chunked\r\n\r\n\(String(hidden.utf8.count, radix: 16))\r\n\(hidden)\r\n0\r\n\r\n",
    ] {
      for pieces in [1, 2] {
        let client = try cache.door.client()
        let request = Array("GET /a HTTP/1.1\r\nHost: a\r\n\(framing)".utf8)
        let first = pieces == 1 ? request.count : request.count - hidden.utf8.count / 2
        try client.send(Array(request[..<first]))
        if pieces == 2 && buffering == "off" {
          #expect(try client.response().text == "/a 1")
        }
        // The rest may meet a closed connection.
        _ = try? client.send(Array(request[first...]))
        if pieces == 1 || buffering == "on" { #expect(try client.response().text == "/a 1") }
        let next = Array("GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".utf8)
        _ = try? client.send(next)
        let rest = (try? client.readToEnd()) ?? []
        #expect(!String(decoding: rest, as: UTF8.self).contains("/hidden"))
      }
    }
    #expect(!app.upstream.requests.contains { $0.path == "/hidden" })
    try cache.door.stop()
  }
}
