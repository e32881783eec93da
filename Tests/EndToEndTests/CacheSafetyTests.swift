// What must not pass from one response of a cache to another.

import Testing

@Suite struct CacheSafetyTests {
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
}
