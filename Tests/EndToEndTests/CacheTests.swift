// Responses from a cache: what is stored and for how long, by what key, under what conditions, and
// what a file on the disk has to be to be believed.

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

  @Test func aFileLiesAtTheDigestOfItsKey() async throws {
    let app = try CountingApp()
    let cache = try await CacheDoor(
      app, path: "levels=1:2", server: "proxy_cache_valid 1h; proxy_cache_key abc;")
    #expect(try cache.get("/") == "MISS / 1")
    // MD5 of "abc".
    let file = "2/f7/900150983cd24fb0d6963f7d28e17f72"
    #expect(cache.files == [file])
    let mode = try FileManager.default.attributesOfItem(atPath: cache.path(file))
    #expect(mode[.posixPermissions] as? Int == 0o600)
    #expect(try cache.get("/other") == "HIT / 1")
    try cache.door.stop()
  }

  @Test(
    arguments: [
      (["Cache-Control": "max-age=60"], true), (["Cache-Control": "private, max-age=60"], false),
      (["Cache-Control": "no-store"], false), (["Cache-Control": "max-age=0"], false),
      (["Cache-Control": "private; max-age=60"], false),
      (["Cache-Control": "max-age=60; private"], false),
      (["Cache-Control": "no-cache no-store"], false), (["Cache-Control": "max-age=5 PRIVATE"], false),
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

  // --- what is not whole --------------------------------------------------------------------------

  @Test(arguments: [
    "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nx\r\n",
  ])
  func whatIsCutShortIsNeverStored(response: String) async throws {
    let app = try CountingApp()
    let cache = try await CacheDoor(app)
    app.answer(.steps([.bytes(response), .close]))
    _ = try? cache.door.get("/a")
    app.answer(nil)
    #expect(try cache.get("/a") == "MISS /a 2")
    #expect(try cache.get("/a") == "HIT /a 2")
    #expect(cache.files.count == 1)
    try cache.door.stop()
  }

  @Test func bodiesOfEveryFramingAreStoredWhole() async throws {
    let app = try CountingApp()
    let cache = try await CacheDoor(app)
    // Read at once, in two pieces, sent from the file; on both sides of each border.
    for size in [0, 1, 3_500, 4_096, 5_000, 15_000, 16_384, 20_000] {
      let body = String(repeating: "x", count: size)
      app.answer(.answer(body: body))
      #expect(try cache.get("/\(size)") == "MISS \(body)")
      app.answer(nil)
      for _ in 0..<3 { #expect(try cache.get("/\(size)") == "HIT \(body)") }
    }
    let big = String(repeating: "0123456789abcdef", count: 20_000)
    for (path, response) in [
      (
        "/chunks",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n5\r\nwhole\r\n0\r\n\r\n"
      ),
      ("/close", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalfwhole"),
    ] {
      app.answer(.steps([.bytes(response), .close]))
      #expect(try cache.get(path) == "MISS halfwhole")
      app.answer(nil)
      #expect(try cache.get(path) == "HIT halfwhole")
    }
    app.answer(.answer(body: big))
    #expect(try cache.get("/big") == "MISS \(big)")
    app.answer(nil)
    #expect(try cache.get("/big") == "HIT \(big)")
    let hit = try cache.door.get("/chunks")
    #expect(hit["Transfer-Encoding"] == nil && hit["Content-Length"] == "9")
    try cache.door.stop()
  }

  @Test func aResponseThatIsNotBufferedIsNotStored() async throws {
    let app = try CountingApp(["X-Accel-Buffering": "no"])
    let cache = try await CacheDoor(app)
    #expect(try cache.get("/a") == "MISS /a 1")
    #expect(try cache.get("/a") == "MISS /a 2")
    try cache.door.stop()
  }

  @Test func aClientThatLeavesDoesNotStopWhatIsFetchedForAll() async throws {
    let upstream = RawServer()
    let door = try await Portico.start(
      config: """
        http {
          proxy_cache_path %%DIR%%/cache keys_zone=one:1m;
          log_format status "$request_uri $status";
          server {
            listen 127.0.0.1:%%PORT_0%%; proxy_cache one; proxy_cache_valid 1h;
            access_log %%DIR%%/access.log status;
            location / { proxy_pass http://\(upstream.address); }
          }
        }
        """)
    let cases = [
      ("/early", ""), ("/late", "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf"),
    ]
    for (index, (path, sent)) in cases.enumerated() {
      do {
        let client = try door.client()
        try client.send("GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n")
        let server = try upstream.accept()
        _ = try server.read(until: "\r\n\r\n")
        if !sent.isEmpty {
          try server.send(sent)
          _ = try client.read(until: "half")
        }
        client.reset()
        try waitUntil("the client to be missed") {
          door.errorLog.components(separatedBy: "its response is fetched for the cache").count
            == index + 2
        }
        try server.send(
          sent.isEmpty ? "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalfhalf" : "half")
        // The line is written when all is done.
        try waitUntil("the response to be stored") {
          door.site.text("access.log").contains("\(path) 499")
        }
      }
      #expect(try door.get(path).text == "halfhalf")
    }
    #expect(!upstream.waits(within: 0.1))
    try door.stop(SIGTERM)
  }

  /// A quarter of the connections: clients that come and go don't take those of others.
  @Test func onlySoManyGoOnWithoutAClient() async throws {
    let upstream = RawServer()
    let door = try await Portico.start(
      config: """
        events { worker_connections 16; }
        http {
          proxy_cache_path %%DIR%%/cache keys_zone=one:1m;
          server {
            listen 127.0.0.1:%%PORT_0%%; proxy_cache one; proxy_cache_valid 1h;
            location / { proxy_pass http://\(upstream.address); }
          }
        }
        """)
    var servers: [RawClient] = []
    for number in 1...5 {
      let client = try door.client()
      try client.send("GET /\(number) HTTP/1.1\r\nHost: a\r\n\r\n")
      servers.append(try upstream.accept())
      _ = try servers[number - 1].read(until: "\r\n\r\n")
      client.reset()
      try waitUntil("the client to be missed") {
        let lines = door.errorLog.split(separator: "\n")
        return lines.filter { $0.contains("client prematurely closed connection") }.count == number
      }
    }
    #expect(servers[4].isClosed())
    try servers[3].send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfour")
    // A graceful stop waits for the others.
    try door.signal(SIGQUIT)
    for server in servers[0..<3] {
      try server.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nrest")
    }
    _ = try door.command.wait()
    let names = try FileManager.default.contentsOfDirectory(atPath: door.site.folder + "cache")
    #expect(names.filter { !$0.hasPrefix(".") }.count == 4)
  }

  @Test func aSlowClientReadsFromTheFileAndHoldsNobodyUp() async throws {
    let app = try CountingApp()
    let size = 32 << 20
    app.answer(.answer(body: String(repeating: "x", count: size)))
    let cache = try await CacheDoor(
      app, server: "proxy_cache_valid 1h; proxy_max_temp_file_size 0;")
    let slow = try cache.door.client()
    try slow.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
    // It is stored before the client has read a byte.
    try waitUntil("the response to be stored") {
      cache.files.first.map { !$0.hasPrefix(".") } == true
    }
    #expect(try cache.door.get("/a").body.count == size)
    #expect(try residentKilobytes(cache.door.workerPid) < 150_000)
    #expect(try slow.response().body.count == size)
    #expect(app.count == 1)
    try cache.door.stop()
  }

  // --- keys ---------------------------------------------------------------------------------------

  @Test(arguments: ["/%00", "/..%2f..%2f..%2fetc%2fpasswd", "/%0d%0aX: y", "/\u{e4}", "/%ff"])
  func aKeyIsAnyBytesAndNoPath(path: String) async throws {
    let app = try CountingApp()
    let cache = try await CacheDoor(app, server: "proxy_cache_valid 1h; proxy_cache_key $uri;")
    let first = try cache.door.get(path)
    let second = try cache.door.get(path)
    if first.status == 200 {
      #expect(first["X-Cache"] == "MISS" && second["X-Cache"] == "HIT")
      #expect(cache.files.count == 1 && cache.files.first?.count == 32)
    } else {
      #expect(first.status == 400 && cache.files.isEmpty)
    }
    try cache.door.stop()
  }

  @Test func aKeyThatIsTooLongStoresNothing() async throws {
    let cache = try await CacheDoor(
      try CountingApp(),
      server: """
        proxy_cache_valid 1h; large_client_header_buffers 4 64k;
        proxy_cache_key $http_long;
        """)
    let long = ["Long": String(repeating: "a", count: 33 << 10)]
    #expect(try cache.get("/a", long) == "- /a 1")
    #expect(try cache.get("/a", long) == "- /a 2")
    #expect(cache.files.isEmpty)
    try cache.door.stop()
  }

  /// Two keys of one digest, or a file that somebody moved: the whole key is compared.
  @Test func aFileOfAnotherKeyIsNotServed() async throws {
    let app = try CountingApp()
    let cache = try await CacheDoor(app, server: "proxy_cache_valid 1h; proxy_cache_key $uri;")
    #expect(try cache.get("/a") == "MISS /a 1")
    let a = try #require(cache.files.first)
    #expect(try cache.get("/b") == "MISS /b 2")
    let b = try #require(cache.files.first { $0 != a })
    try FileManager.default.removeItem(atPath: cache.path(b))
    try FileManager.default.copyItem(atPath: cache.path(a), toPath: cache.path(b))
    chmod(cache.path(b), 0o644)
    #expect(try cache.get("/b") == "MISS /b 3")
    #expect(try cache.get("/b") == "HIT /b 3")
    #expect(cache.door.errorLog.contains("has another key of the same digest"))
    try cache.door.stop()
  }

  @Test(arguments: ["empty", "garbage", "nginx", "cut", "long", "flipped", "folder", "gone"])
  func aFileThatIsNoGoodIsFetchedAnew(kind: String) async throws {
    let app = try CountingApp()
    let cache = try await CacheDoor(app)
    #expect(try cache.get("/a") == "MISS /a 1")
    let path = cache.path(try #require(cache.files.first))
    var content = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
    switch kind {
    case "empty": content = []
    case "garbage": content = content.map { $0 ^ 0xa5 }
    // The first bytes of a file of nginx: its version as a number.
    case "nginx": content.replaceSubrange(0..<8, with: [5, 0, 0, 0, 0, 0, 0, 0])
    case "cut": content.removeLast()
    case "long": content.append(0)
    case "flipped": content[140] ^= 1
    default: break
    }
    try FileManager.default.removeItem(atPath: path)
    if kind == "folder" {
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    } else if kind != "gone" {
      try Data(content).write(to: URL(fileURLWithPath: path))
    }
    #expect(try cache.get("/a") == "MISS /a 2")
    #expect(try cache.get("/a") == (kind == "folder" ? "MISS /a 3" : "HIT /a 2"))
    try cache.door.stop()
  }

  /// Small responses are kept in memory for a moment: never one that was replaced, and none for long.
  @Test func whatIsKeptInMemoryIsWhatIsStored() async throws {
    let app = try CountingApp()
    let cache = try await CacheDoor(
      app, server: "proxy_cache_valid 1h; proxy_cache_key $uri; proxy_cache_bypass $arg_anew;",
      main: "worker_processes 3;")
    #expect(try cache.get("/a") == "MISS /a 1")
    for round in 2...6 {
      for _ in 0..<12 { #expect(try cache.get("/a").hasPrefix("HIT")) }
      #expect(try cache.get("/a?anew=1") == "BYPASS /a?anew=1 \(round)")
      for _ in 0..<12 { #expect(try cache.get("/a") == "HIT /a?anew=1 \(round)") }
    }
    let again = try cache.door.get("/a", method: "HEAD")
    #expect(again["X-Cache"] == "HIT" && again.body.isEmpty)
    // A file that somebody removes is missed at once, or a second later.
    for file in cache.files { try FileManager.default.removeItem(atPath: cache.path(file)) }
    try waitUntil("the file to be missed") { try cache.get("/a") == "MISS /a 7" }
    try cache.door.stop()
  }

  @Test func aDiskThatTakesNothingCostsTheFileOnly() async throws {
    let app = try CountingApp()
    let cache = try await CacheDoor(app)
    // Something else is in the folder's place.
    try FileManager.default.removeItem(atPath: cache.path(""))
    #expect(try cache.get("/a") == "MISS /a 1")
    #expect(try cache.get("/a") == "MISS /a 2")
    let lines = cache.door.errorLog.split(separator: "\n").filter {
      $0.contains("the response is not cached")
    }
    #expect(lines.count == 2)
    try cache.door.stop()
  }
}
