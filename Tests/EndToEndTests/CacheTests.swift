// Responses from a cache: what is stored and for how long, and under what conditions.

import Foundation
import Testing

@Suite struct CacheTests {
  @Test func aResponseIsFetchedOnce() async throws {
    let app = try CountingApp(["Cache-Control": "max-age=60", "X-Field": "kept", "Date": "today"])
    let cache = try await CacheDoor(app, server: "")
    #expect(try cache.get("/a") == "MISS /a 1")
    #expect(try cache.get("/a") == "HIT /a 1")
    #expect(try cache.get("/a?b") == "MISS /a?b 2")
    let hit = try cache.door.get("/a")
    #expect(hit["X-Field"] == "kept" && hit["Content-Length"] == "4" && hit["Date"] != "today")
    #expect(app.count == 2)
    #expect(cache.files.count == 2)
    try cache.door.stop()
  }

  @Test(
    arguments: [
      (["Cache-Control": "max-age=60"], true), (["Cache-Control": "private, max-age=60"], false),
      (["Cache-Control": "no-store"], false), (["Cache-Control": "max-age=0"], false),
      (["Cache-Control": "private; max-age=60"], false),
      (["Cache-Control": "max-age=60; private"], false),
      (["Cache-Control": "no-cache no-store"], false),
      (["Cache-Control": "max-age=5 PRIVATE"], false),
      (["Cache-Control": "max-age=x"], false), (["Cache-Control": "s-maxage=60, max-age=0"], true),
      (["Expires": "Thu, 31 Dec 2037 23:55:55 GMT"], true),
      (["Expires": "Thu, 01 Jan 1970 00:00:01 GMT"], false), (["Expires": "0"], false),
      (["Cache-Control": "max-age=60", "Expires": "0"], true),
      (["X-Accel-Expires": "60", "Cache-Control": "no-cache"], true),
      (["X-Accel-Expires": "0", "Cache-Control": "max-age=60"], false), ([:], false),
      (["Cache-Control": "max-age=60", "Set-Cookie": "a=b"], false),
      (["Cache-Control": "max-age=60", "Vary": "*"], false),
      (["Cache-Control": "max-age=60", "Vary": "Accept, *"], false),
      (["Cache-Control": "max-age=60", "Vary": String(repeating: "a", count: 129)], false),
      (["Cache-Control": "max-age=60", "Vary": "Accept"], true),
    ] as [([String: String], Bool)])
  func theResponseSaysIfItIsStored(fields: [String: String], isStored: Bool) async throws {
    let cache = try await CacheDoor(try CountingApp(fields), server: "")
    #expect(try cache.get("/a") == "MISS /a 1")
    #expect(try cache.get("/a") == (isStored ? "HIT /a 1" : "MISS /a 2"))
    #expect(cache.files.count == (isStored ? 1 : 0))
    try cache.door.stop()
  }

  @Test func anUpgradeThatIsNotPassedIsAnsweredFromTheCache() async throws {
    let cache = try await CacheDoor(try CountingApp())
    let upgrade = ["Connection": "upgrade", "Upgrade": "h2c"]
    #expect(try cache.get("/a", upgrade) == "MISS /a 1")
    #expect(try cache.get("/a", upgrade) == "HIT /a 1")
    #expect(try cache.get("/a") == "HIT /a 1")
    try cache.door.stop()
  }

  @Test func fieldsThatAreIgnoredHaveNoEffect() async throws {
    let app = try CountingApp([
      "Cache-Control": "no-store", "Set-Cookie": "a=b", "Vary": "*", "X-Accel-Expires": "0",
      "Expires": "0",
    ])
    let cache = try await CacheDoor(
      app,
      server: """
        proxy_cache_valid 1h;
        proxy_ignore_headers Cache-Control Set-Cookie;
        proxy_ignore_headers Vary X-Accel-Expires Expires;
        """)
    #expect(try cache.get("/a") == "MISS /a 1")
    #expect(try cache.get("/a") == "HIT /a 1")
    try cache.door.stop()
  }

  @Test func statusesAreStoredForTheirTime() async throws {
    let app = try CountingApp()
    let cache = try await CacheDoor(
      app, server: "proxy_cache_valid 404 1h; proxy_cache_valid 200 0; proxy_cache_valid any 1h;")
    app.answer(.answer("404 Not Found", body: "no"))
    #expect(try cache.get("/a") == "MISS no")
    app.answer(nil)
    #expect(try cache.get("/a") == "HIT no")
    #expect(try cache.get("/b") == "MISS /b 2")
    #expect(try cache.get("/b") == "MISS /b 3")
    app.answer(.answer("503 Service Unavailable", body: "down"))
    #expect(try cache.get("/c") == "MISS down")
    app.answer(nil)
    #expect(try cache.get("/c") == "HIT down")
    // A part is no whole, whatever the location says.
    app.answer(.answer("206 Partial Content", fields: ["Content-Range": "bytes 0-0/9"], body: "p"))
    #expect(try cache.get("/d") == "MISS p")
    app.answer(nil)
    #expect(try cache.get("/d").hasPrefix("MISS /d"))
    try cache.door.stop()
  }

  @Test func conditionsSayIfTheCacheIsAskedAndIfAnythingIsStored() async throws {
    let app = try CountingApp()
    let cache = try await CacheDoor(
      app,
      server: """
        proxy_cache_valid 1h; proxy_cache_key $uri;
        proxy_cache_bypass $arg_bypass; proxy_no_cache $arg_no $http_x_no;
        """)
    #expect(try cache.get("/a?no=1") == "MISS /a?no=1 1")
    #expect(try cache.get("/a", ["X-No": "yes"]) == "MISS /a 2")
    #expect(try cache.get("/a?no=0") == "MISS /a?no=0 3")
    #expect(try cache.get("/a?no=1") == "HIT /a?no=0 3")
    // What passed the cache by is stored all the same.
    #expect(try cache.get("/a?bypass=1") == "BYPASS /a?bypass=1 4")
    #expect(try cache.get("/a") == "HIT /a?bypass=1 4")
    try cache.door.stop()
  }

  @Test func methodsAndUsesAreCounted() async throws {
    let app = try CountingApp()
    let cache = try await CacheDoor(
      app, server: "proxy_cache_valid 1h; proxy_cache_min_uses 3;",
      locations: """
        location /post { proxy_cache_methods POST; proxy_cache_min_uses 1; proxy_pass http://%%UPSTREAM_0%%; }
        location /off { proxy_cache off; proxy_pass http://%%UPSTREAM_0%%; }
        """)
    #expect(try cache.get("/a") == "MISS /a 1")
    #expect(try cache.get("/a") == "MISS /a 2")
    #expect(try cache.get("/a") == "MISS /a 3")
    #expect(try cache.get("/a") == "HIT /a 3")
    #expect(try cache.get("/b", ["Content-Length": "0"], method: "POST") == "- /b 4")
    #expect(try cache.get("/post", ["Content-Length": "0"], method: "POST") == "MISS /post 5")
    #expect(try cache.get("/post", ["Content-Length": "0"], method: "POST") == "HIT /post 5")
    #expect(try cache.get("/off") == "- /off 6")
    try cache.door.stop()
  }

  @Test func aNameOfACacheMayBeComputed() async throws {
    let cache = try await CacheDoor(
      try CountingApp(), server: "proxy_cache_valid 1h;",
      locations: "location /v { proxy_cache $arg_c; proxy_pass http://%%UPSTREAM_0%%; }")
    #expect(try cache.get("/v?c=one") == "MISS /v?c=one 1")
    #expect(try cache.get("/v?c=one") == "HIT /v?c=one 1")
    #expect(try cache.get("/v") == "- /v 2")
    #expect(try cache.door.get("/v?c=two").status == 500)
    #expect(cache.door.errorLog.contains("cache \"two\" not found"))
    try cache.door.stop()
  }

  @Test func errorsAreStoredInPlaceOfResponses() async throws {
    let app = try CountingApp()
    let cache = try await CacheDoor(
      app,
      server: """
        proxy_cache_valid 404 502 1h; proxy_intercept_errors on;
        error_page 404 =403 /page; location = /page { return 200 "page"; }
        """)
    app.answer(.answer("404 Not Found"))
    #expect(try cache.door.get("/a").status == 403)
    app.answer(.steps([.close]))
    #expect(try cache.door.get("/b").status == 502)
    let count = app.count
    app.answer(nil)
    #expect(try cache.door.get("/a").status == 403)
    #expect(try cache.door.get("/b").status == 502)
    #expect(app.count == count && cache.files.isEmpty)
    try cache.door.stop()
  }
}
