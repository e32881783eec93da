// One stored response for many requests: HEAD, conditions and ranges are answered from it, Vary
// keeps variants apart, and the upstream says if it still holds.

import Foundation
import Testing

@Suite struct CacheVariantTests {
  private static let modified = "Mon, 28 Sep 1970 06:00:00 GMT"

  @Test func headIsFetchedAsGetAndAnsweredFromWhatGetStored() async throws {
    let app = try CountingApp()
    let cache = try await CacheDoor(
      app, server: "proxy_cache_valid 1h;",
      locations: """
        location /asis { proxy_cache_convert_head off; proxy_cache_key $request_method$uri;
          proxy_pass http://%%UPSTREAM_0%%; }
        location /not { proxy_no_cache 1; proxy_pass http://%%UPSTREAM_0%%; }
        """)
    let head = try cache.door.get("/a", method: "HEAD")
    #expect(head["X-Cache"] == "MISS" && head["Content-Length"] == "4" && head.body.isEmpty)
    #expect(app.last?.method == "GET")
    #expect(try cache.get("/a") == "HIT /a 1")
    #expect(try cache.door.get("/a", method: "HEAD")["X-Cache"] == "HIT")
    // What isn't stored is not waited for, and the connection goes on.
    app.answer(.steps([.bytes("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"), .silence]))
    let client = try cache.door.client()
    try client.send("HEAD /not HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(try client.response(to: "HEAD")["Content-Length"] == "1000")
    app.answer(nil)
    try client.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(try client.response().text == "/a 1")
    app.answer(.steps([.bytes("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n")]))
    #expect(try cache.door.get("/asis", method: "HEAD")["Content-Length"] == "7")
    #expect(app.last?.method == "HEAD")
    let hit = try cache.door.get("/asis", method: "HEAD")
    #expect(hit["X-Cache"] == "HIT" && hit["Content-Length"] == "7")
    try cache.door.stop(SIGTERM)
  }

  @Test func whatOnlyOneClientCanUseIsNotAskedForForAll() async throws {
    let app = try CountingApp(["Last-Modified": Self.modified, "ETag": "\"tag\""])
    let cache = try await CacheDoor(
      app, server: "proxy_cache_valid 1h;",
      locations: """
        location /own { proxy_set_header If-None-Match $http_if_none_match; proxy_pass http://%%UPSTREAM_0%%; }
        location /off { proxy_cache off; proxy_pass http://%%UPSTREAM_0%%; }
        """)
    let fields = [
      "If-Modified-Since": "x", "If-Unmodified-Since": "x", "If-None-Match": "\"x\"",
      "If-Match": "*", "Range": "bytes=0-0", "If-Range": "\"x\"",
    ]
    func passed() -> [String] { fields.keys.filter { app.last?[$0] != nil }.sorted() }
    _ = try cache.door.get("/a", headers: fields)
    #expect(passed() == [])
    _ = try cache.door.get("/own", headers: fields)
    #expect(passed() == ["If-None-Match"])
    _ = try cache.door.get("/off", headers: fields)
    #expect(passed() == fields.keys.sorted())
    try cache.door.stop()
  }

  @Test func conditionsAreAnsweredFromWhatIsStored() async throws {
    let app = try CountingApp(["Last-Modified": Self.modified, "ETag": "\"tag\""])
    let cache = try await CacheDoor(app)
    #expect(try cache.get("/a") == "MISS /a 1")
    for (field, value, status) in [
      ("If-Modified-Since", Self.modified, 304), ("If-None-Match", "\"tag\"", 304),
      ("If-None-Match", "\"other\"", 200), ("If-Match", "\"other\"", 412),
      ("If-Unmodified-Since", "Mon, 28 Sep 1970 05:00:00 GMT", 412),
    ] {
      let answer = try cache.door.get("/a", headers: [field: value])
      #expect(answer.status == status && answer["X-Cache"] == "HIT", "\(field): \(value)")
    }
    // The one who fetches it, too.
    let first = try cache.door.get("/b", headers: ["If-None-Match": "\"tag\""])
    #expect(first.status == 304 && first["X-Cache"] == "MISS")
    #expect(try cache.get("/b") == "HIT /b 2")
    let client = try cache.door.client()
    for (path, condition, status) in [
      ("/c", "If-Match: \"other\"", 412), ("/c", "If-Match: \"tag\"", 200),
      ("/d", "If-Unmodified-Since: Mon, 28 Sep 1970 05:00:00 GMT", 412),
    ] {
      try client.send("GET \(path) HTTP/1.1\r\nHost: localhost\r\n\(condition)\r\n\r\n")
      #expect(try client.response().status == status)
    }
    #expect(try cache.get("/c") == "HIT /c 3")
    #expect(try cache.get("/d") == "HIT /d 4")
    try cache.door.stop()
  }

  /// Asked for the whole, for a cache that then may not keep it, an upstream judged nothing.
  @Test func conditionsAreAnsweredOfWhatIsNotStored() async throws {
    let app = try CountingApp(
      ["ETag": "\"tag\"", "Cache-Control": "no-store", "Accept-Ranges": "bytes"])
    let cache = try await CacheDoor(app)
    for (value, status) in [("\"tag\"", 304), ("\"other\"", 200), ("\"tag\"", 304)] {
      #expect(try cache.door.get("/a", headers: ["If-None-Match": value]).status == status)
      #expect(app.last?["If-None-Match"] == nil)
    }
    let part = try cache.door.get("/a", headers: ["Range": "bytes=1-1"])
    #expect(part.status == 206 && part.text == "a" && app.last?["Range"] == nil)
    #expect(app.count == 4)
    try cache.door.stop()
  }

  @Test(arguments: [true, false])
  func rangesAreCutOut(isForced: Bool) async throws {
    let app = try CountingApp(
      isForced ? ["ETag": "\"t\""] : ["Accept-Ranges": "bytes", "ETag": "\"t\""])
    let cache = try await CacheDoor(
      app, server: "proxy_cache_valid 1h; proxy_force_ranges \(isForced ? "on" : "off");")
    // On its way into the cache: one range.
    let first = try cache.door.get("/abc", headers: ["Range": "bytes=1-3"])
    #expect(first.status == 206 && first.text == "abc" && first["Content-Range"] == "bytes 1-3/6")
    #expect(app.last?["Range"] == nil)
    #expect(try cache.get("/abc") == "HIT /abc 1")
    let last = try cache.door.get("/abc", headers: ["Range": "bytes=-1"])
    #expect(last.status == 206 && last.text == "1" && last["X-Cache"] == "HIT")
    let several = try cache.door.get("/abc", headers: ["Range": "bytes=0-0,2-2"])
    #expect(several.status == 206 && several["Content-Type"]?.contains("multipart") == true)
    let none = try cache.door.get("/abc", headers: ["Range": "bytes=9-"])
    #expect(none.status == 416 && none["Content-Range"] == "bytes */6")
    let other = try cache.door.get("/abc", headers: ["Range": "bytes=0-0", "If-Range": "\"x\""])
    #expect(other.status == 200 && other.text == "/abc 1")
    let fresh = try cache.door.get("/new", headers: ["Range": "bytes=99-"])
    #expect(fresh.status == 416 && fresh.body.isEmpty)
    #expect(try cache.get("/new") == "HIT /new 2")
    try cache.door.stop()
  }

  @Test func aRangeIsCutOutOfAResponseThatComesInPieces() async throws {
    let app = try CountingApp()
    let cache = try await CacheDoor(app)
    let body = (0..<10_000).map { String($0) }.joined(separator: " ")
    let pieces = stride(from: 0, to: body.utf8.count, by: 7_001).map { start in
      TestUpstream.Step.bytes(Array(body.utf8.dropFirst(start).prefix(7_001)))
    }
    app.answer(
      .steps(
        [
          .bytes(
            "HTTP/1.1 200 OK\r\nAccept-Ranges: bytes\r\nContent-Length: \(body.utf8.count)\r\n\r\n")
        ] + pieces.flatMap { [$0, .pause(seconds: 0.005)] }))
    let part = try cache.door.get("/a", headers: ["Range": "bytes=6990-21010"])
    #expect(part.status == 206)
    #expect(part.body == Array(body.utf8.dropFirst(6990).prefix(14_021)))
    // The rest goes into the cache, whoever has what it wanted.
    try waitUntil("the response to be stored") {
      cache.files.first.map { !$0.hasPrefix(".") } == true
    }
    #expect(try cache.get("/a") == "HIT \(body)")
    try cache.door.stop()
  }

  @Test func aRangeFarBehindIsTheUpstreamsAffair() async throws {
    let app = try CountingApp(["Accept-Ranges": "bytes"])
    let cache = try await CacheDoor(
      app, server: "proxy_cache_valid 1h; proxy_cache_max_range_offset 2;")
    for (range, isPassed) in [("bytes=2-", true), ("bytes=-1", true), ("bytes=1-", false)] {
      _ = try cache.door.get("/\(range)", headers: ["Range": range])
      #expect((app.last?["Range"] == range) == isPassed)
      #expect(try cache.door.get("/\(range)")["X-Cache"] == (isPassed ? "MISS" : "HIT"))
    }
    try cache.door.stop()
  }

  // --- Vary --------------------------------------------------------------------------------------

  @Test func variantsAreKeptApart() async throws {
    let app = try CountingApp(["Vary": "Accept, x-kind"])
    let cache = try await CacheDoor(app)
    #expect(try cache.get("/", ["Accept": "a"]) == "MISS / 1")
    #expect(try cache.get("/", ["Accept": "b"]) == "MISS / 2")
    #expect(try cache.get("/") == "MISS / 3")
    #expect(try cache.get("/", ["Accept": "a"]) == "HIT / 1")
    #expect(try cache.get("/", ["Accept": "b"]) == "HIT / 2")
    #expect(try cache.get("/") == "HIT / 3")
    #expect(try cache.get("/", ["Accept": "a", "X-Kind": "k"]) == "MISS / 4")
    // White space and empty elements make no difference, case and order do.
    #expect(try cache.get("/", ["Accept": "a,b"]) == "MISS / 5")
    #expect(try cache.get("/", ["Accept": ", a ,, b"]) == "HIT / 5")
    #expect(try cache.get("/", ["Accept": "b,a"]) == "MISS / 6")
    // A value can't look like two fields.
    #expect(try cache.get("/", ["Accept": "a,x-kind:k"]) == "MISS / 7")
    #expect(cache.files.count == 7)
    try cache.door.stop()
  }

  @Test func aResponseThatDoesNotVaryReplacesVariants() async throws {
    let app = try CountingApp(["Vary": "Accept", "X-Accel-Expires": "@1"])
    let cache = try await CacheDoor(app, server: "proxy_cache_key $uri;")
    #expect(try cache.get("/", ["Accept": "a"]) == "MISS / 1")
    #expect(try cache.get("/", ["Accept": "b"]) == "MISS / 2")
    app.set(["X-Accel-Expires": "60"])
    #expect(try cache.get("/", ["Accept": "b"]) == "EXPIRED / 3")
    #expect(try cache.get("/", ["Accept": "a"]) == "HIT / 3")
    #expect(try cache.get("/", ["Accept": "b"]) == "HIT / 3")
    try cache.door.stop()
  }

  // --- revalidating ------------------------------------------------------------------------------

  @Test func theUpstreamSaysIfWhatIsStoredHolds() async throws {
    let app = try CountingApp([
      "X-Accel-Expires": "@1", "Last-Modified": Self.modified, "ETag": "\"tag\"",
    ])
    let cache = try await CacheDoor(app, server: "proxy_cache_revalidate on;")
    #expect(try cache.get("/a") == "MISS /a 1")
    #expect(app.last?["If-None-Match"] == nil)
    // It holds, but goes on being stale.
    app.answer(.steps([.bytes("HTTP/1.1 304 Not Modified\r\nX-Accel-Expires: @2\r\n\r\n")]))
    #expect(try cache.get("/a") == "REVALIDATED /a 1")
    #expect(
      app.last?["If-None-Match"] == "\"tag\"" && app.last?["If-Modified-Since"] == Self.modified)
    // The upstream's connection is kept.
    app.answer(.steps([.bytes("HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=60\r\n\r\n")]))
    #expect(try cache.get("/a") == "REVALIDATED /a 1")
    #expect(app.upstream.connectionCount == 1)
    #expect(try cache.get("/a") == "HIT /a 1")
    #expect(app.count == 3)
    try cache.door.stop()
  }

  @Test func whatChangedReplacesWhatIsStored() async throws {
    let app = try CountingApp(["X-Accel-Expires": "@1", "ETag": "\"tag\""])
    let cache = try await CacheDoor(app, server: "proxy_cache_revalidate on;")
    #expect(try cache.get("/a") == "MISS /a 1")
    #expect(try cache.get("/a", ["If-None-Match": "\"tag\""]) == "EXPIRED ")
    #expect(try cache.get("/a") == "EXPIRED /a 3")
    // Only what was a good answer is asked about.
    app.answer(.answer("404 Not Found", fields: ["X-Accel-Expires": "@1", "ETag": "\"tag\""]))
    #expect(try cache.get("/a") == "EXPIRED ")
    #expect(try cache.get("/a") == "EXPIRED ")
    #expect(app.last?["If-None-Match"] == nil)
    try cache.door.stop()
  }
}
