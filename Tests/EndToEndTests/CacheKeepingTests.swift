// A cache over time: what survives a reload and a restart, what is given up, and what is refused in
// its configuration.

import Foundation
import Testing

@Suite struct CacheKeepingTests {
  @Test func aReloadKeepsWhatIsKnown() async throws {
    let app = try CountingApp()
    let cache = try await CacheDoor(app)
    #expect(try cache.get("/a") == "MISS /a 1")
    let other = CacheDoor.config(
      path: "max_size=1g inactive=1h", server: "proxy_cache_valid 1h; proxy_cache_lock on;")
    #expect(try cache.door.reload(config: other).code == 0)
    #expect(try cache.get("/a") == "HIT /a 1")
    // Files elsewhere are another cache.
    #expect(
      try cache.door.reload(
        config: CacheDoor.config(path: "levels=2", server: "proxy_cache_valid 1h;")
      ).code == 0)
    try cache.door.waitForLog("cache \"one\" begins anew")
    #expect(try cache.get("/a") == "MISS /a 2")
    // The former ones are not in their place.
    try waitUntil("the former file to be removed") { cache.files.allSatisfy { $0.contains("/") } }
    #expect(cache.files.count == 1)
    try cache.door.stop()
  }

  @Test func aRestartFindsTheFiles() async throws {
    let app = try CountingApp(["Vary": "Accept"])
    let cache = try await CacheDoor(app, path: "levels=1:2")
    for path in ["/a", "/b"] { #expect(try cache.get(path).hasPrefix("MISS")) }
    #expect(try cache.get("/a", ["Accept": "x"]) == "MISS /a 3")
    try cache.door.stop()
    let folder = cache.door.site.folder + "cache/"
    try Data("x".utf8).write(to: URL(fileURLWithPath: folder + "note.txt"))
    try Data("x".utf8).write(to: URL(fileURLWithPath: folder + ".99999999-0-1"))
    let again = try await Portico.start(cache.door.site)
    for (path, accept, answer) in [("/a", "", "/a 1"), ("/b", "", "/b 2"), ("/a", "x", "/a 3")] {
      let hit = try again.get(path, headers: accept.isEmpty ? [:] : ["Accept": accept])
      #expect(hit["X-Cache"] == "HIT" && hit.text == answer)
    }
    #expect(app.count == 3)
    // What is no file of the cache is removed.
    try waitUntil("foreign files to be removed") { cache.files.count == 3 }
    try again.stop()
  }

  /// Folders above those of a cache or of bodies that root makes don't keep the worker's user out.
  @Test(.enabled(if: geteuid() == 0))
  func foldersThatAreMissingCanBeEntered() async throws {
    let app = try TestUpstream { .answer(body: "\($0.body.count)") }
    let door = try await Portico.start(
      config: """
        user nobody;
        http {
          proxy_cache_path %%DIR%%/var/new/cache keys_zone=one:1m;
          client_body_temp_path %%DIR%%/var/other/bodies; client_body_buffer_size 1k;
          server {
            listen 127.0.0.1:%%PORT_0%%;
            proxy_cache one; proxy_cache_valid 1h; add_header X-Cache $upstream_cache_status;
            location / { proxy_pass http://%%UPSTREAM_0%%; }
          }
        }
        """, upstreams: [app])
    #expect(try door.get("/a")["X-Cache"] == "MISS")
    #expect(try door.get("/a")["X-Cache"] == "HIT")
    let client = try door.client()
    let body = String(repeating: "x", count: 20_000)
    try client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n\(body)")
    #expect(try client.response().text == "20000")
    try door.stop()
  }

  @Test func whatNobodyAsksForIsRemoved() async throws {
    let cache = try await CacheDoor(try CountingApp(), path: "inactive=1s")
    #expect(try cache.get("/a") == "MISS /a 1")
    try waitUntil("the file to be removed") { cache.files.isEmpty }
    #expect(try cache.get("/a") == "MISS /a 2")
    try cache.door.stop()
  }

  @Test func whatIsTooMuchIsGivenUpFromTheOldest() async throws {
    let app = try CountingApp()
    app.answer(.answer(body: String(repeating: "x", count: 20_000)))
    // A file takes 24 KiB: three are below 80.
    let cache = try await CacheDoor(app, path: "max_size=80k manager_sleep=100ms")
    for number in 1...8 { _ = try cache.get("/\(number)") }
    try waitUntil("files to be removed") { cache.files.count <= 3 }
    #expect(try cache.get("/8").hasPrefix("HIT"))
    #expect(try cache.get("/1").hasPrefix("MISS"))
    try cache.door.stop()
  }

  @Test func aResponseThatDoesNotFitIsNotStored() async throws {
    let app = try CountingApp()
    let body = String(repeating: "x", count: 20_000)
    let cache = try await CacheDoor(app, path: "max_size=16k")
    for response in [
      "HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n\(body)",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4e20\r\n\(body)\r\n0\r\n\r\n",
    ] {
      app.answer(.steps([.bytes(response)]))
      #expect(try cache.get("/a") == "MISS \(body)")
      #expect(try cache.get("/a") == "MISS \(body)")
      #expect(cache.files.isEmpty)
    }
    try cache.door.stop()
  }

  @Test func aZoneThatIsFullMakesRoom() async throws {
    let cache = try await CacheDoor(try CountingApp())
    // 16 KiB know 64 keys.
    let config = CacheDoor.config(server: "proxy_cache_valid 1h;").replacing(
      "one:1m", with: "one:16k")
    #expect(try cache.door.reload(config: config).code == 0)
    for number in 1...100 { #expect(try cache.get("/\(number)").hasPrefix("MISS")) }
    #expect(try cache.get("/100").hasPrefix("HIT"))
    #expect(try cache.get("/1").hasPrefix("MISS"))
    try waitUntil("files to be removed") { cache.files.count <= 64 }
    try cache.door.stop()
  }

  @Test func aFileSystemThatIsTooFullKeepsNothing() async throws {
    let cache = try await CacheDoor(
      try CountingApp(), path: "min_free=1000000g manager_sleep=50ms")
    for number in 1...5 { _ = try cache.get("/\(number)") }
    try waitUntil("files to be removed") { cache.files.isEmpty }
    try cache.door.stop()
  }

  // --- configuration -----------------------------------------------------------------------------

  @Test(arguments: [
    ("proxy_cache_path cache;", "takes"),
    ("proxy_cache_path cache levels=1:2;", "needs \"keys_zone=NAME:SIZE\""),
    ("proxy_cache_path cache keys_zone=a;", "write a name and a size"),
    ("proxy_cache_path cache keys_zone=a:1k;", "must have at least 8k"),
    ("proxy_cache_path cache keys_zone=a:1m levels=3;", "such as \"levels=1:2\""),
    ("proxy_cache_path cache keys_zone=a:1m levels=1:1:1:1;", "such as \"levels=1:2\""),
    ("proxy_cache_path cache keys_zone=a:1m purger=on;", "purging is not supported"),
    ("proxy_cache_path cache keys_zone=a:1m use_temp_path=yes;", "must be \"on\" or \"off\""),
    ("proxy_cache_path cache keys_zone=a:1m inactve=1m;", "did you mean \"inactive\""),
    ("proxy_cache_path cache keys_zone=a:1m manager_files=0;", "must be between"),
    ("proxy_cache_path a keys_zone=a:1m; proxy_cache_path b keys_zone=a:1m;", "is there already"),
    ("proxy_cache_path a keys_zone=a:1m; proxy_cache_path a/ keys_zone=b:1m;", "another cache has"),
    ("proxy_cache_path a keys_zone=cache:1m; proxy_cache cahe;", "did you mean \"cache\"?"),
    ("proxy_cache_valid 200;  proxy_cache_valid 600 1m;", "must be between 100 and 599"),
    ("proxy_cache_valid 1x;", "must be a time"), ("proxy_cache_methods FETCH;", "is not a method"),
    ("proxy_cache_use_stale http_501;", "has no parameter"),
    ("proxy_cache_min_uses 0;", "must be between"),
    ("proxy_cache_purge 1;", "purging is not supported"),
  ])
  func refuses(directives: String, message: String) throws {
    let site = try Site(
      config: "events {} http { \(directives) server { listen 127.0.0.1:%%PORT_0%%; } }")
    let finished = try Portico.run(site, ["-t"])
    #expect(finished.code == 1)
    #expect(finished.standardError.contains(message), "\(finished.standardError)")
  }
}
