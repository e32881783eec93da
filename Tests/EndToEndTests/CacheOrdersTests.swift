// What an upstream ordered by X-Accel fields holds whenever the response that says so is used, and
// what is said by a head that was in memory outlives it.

import Foundation
import Synchronization
import Testing

@Suite struct CacheOrdersTests {
  @Test func ordersOfAStoredResponseHold() async throws {
    let app = try CountingApp([
      "X-Accel-Expires": "@1", "X-Accel-Limit-Rate": "5000000", "X-Accel-Charset": "koi8-r",
      "Content-Type": "text/html", "ETag": "\"t\"",
    ])
    let cache = try await CacheDoor(
      app,
      server: """
        proxy_cache_revalidate on; proxy_cache_use_stale error;
        add_header X-Rate $limit_rate;
        """, locations: "location /known { charset koi8-r; return 200; }")
    func ask() throws -> [String?] {
      let answer = try cache.door.get("/a")
      #expect(answer.fields.allSatisfy { !$0.name.lowercased().hasPrefix("x-accel") })
      return [answer["X-Cache"], answer["X-Rate"], answer["Content-Type"]]
    }
    // A charset has to be known.
    let orders: [String?] = ["5000000", "text/html; charset=koi8-r"]
    #expect(try ask() == ["MISS"] + orders)
    // The 304 says something else, but of itself.
    app.answer(
      .steps([.bytes("HTTP/1.1 304 No\r\nX-Accel-Limit-Rate: 7\r\nX-Accel-Expires: @2\r\n\r\n")]))
    #expect(try ask() == ["REVALIDATED"] + orders)
    app.answer(.steps([.close]))
    #expect(try ask() == ["STALE"] + orders)
    app.answer(
      .steps([.bytes("HTTP/1.1 304 No\r\nX-Accel-Expires: 60\r\n\r\n")]))
    #expect(try ask() == ["REVALIDATED"] + orders)
    #expect(try ask() == ["HIT"] + orders)
    try cache.door.stop()
  }

  @Test func theTimeInXAccelExpiresComesBeforeAllElse() async throws {
    let app = try CountingApp()
    let cache = try await CacheDoor(app)
    app.set(["X-Accel-Expires": "@0", "Cache-Control": "private"])
    // Not fresh, so not for anybody else: that it is 0 doesn't mean that there was nothing.
    #expect(try cache.get("/past") == "MISS /past 1")
    #expect(try cache.get("/past") == "EXPIRED /past 2")
    app.set(["X-Accel-Expires": "60", "Cache-Control": "max-age=x"])
    #expect(try cache.get("/then") == "MISS /then 3")
    #expect(try cache.get("/then") == "HIT /then 3")
    app.set(["Cache-Control": "max-age=x"])
    #expect(try cache.get("/odd") == "MISS /odd 4")
    #expect(try cache.get("/odd") == "MISS /odd 5")
    try cache.door.stop()
  }

  /// One location stores what leads elsewhere, another one is led.
  @Test func aStoredRedirectLeadsElsewhere() async throws {
    let app = try CountingApp([
      "X-Accel-Expires": "@1", "X-Accel-Redirect": "/inside", "ETag": "\"t\"",
      "Content-Disposition": "kept",
    ])
    let cache = try await CacheDoor(
      app,
      server: "proxy_cache_key $arg_k; proxy_cache_revalidate on; proxy_cache_use_stale error;",
      locations: """
        location /store { proxy_ignore_headers X-Accel-Redirect; proxy_pass http://%%UPSTREAM_0%%; }
        location /inside { internal; return 200 inside; }
        """)
    func ask() throws -> String {
      let answer = try cache.door.get("/serve?k=1")
      return "\(answer["X-Cache"] ?? "-") \(answer.text) \(answer["Content-Disposition"] ?? "-")"
    }
    #expect(try cache.get("/store?k=1") == "MISS /store?k=1 1")
    app.answer(.steps([.bytes("HTTP/1.1 304 No\r\nX-Accel-Expires: @2\r\n\r\n")]))
    #expect(try ask() == "REVALIDATED inside kept")
    app.answer(.steps([.close]))
    #expect(try ask() == "STALE inside kept")
    app.answer(.steps([.bytes("HTTP/1.1 304 No\r\nX-Accel-Expires: 60\r\n\r\n")]))
    #expect(try ask() == "REVALIDATED inside kept")
    #expect(try ask() == "HIT inside kept")
    try cache.door.stop()
  }

  /// A response in memory says that another one is to be sent, and is replaced meanwhile. Freed
  /// memory is filled with other bytes here.
  @Test func fieldsOutliveTheMemoryThatTheyCameFrom() async throws {
    let isHeld = Mutex(false)
    let targets = Mutex(0)
    let app = try TestUpstream { request in
      guard request.path == "/target" else {
        return .answer(
          fields: ["X-Accel-Redirect": "/target", "Content-Disposition": "kept for the client"])
      }
      let number = targets.withLock { count in
        count += 1
        return count
      }
      if number == 1 {
        return .answer(fields: ["X-Accel-Expires": "@1", "ETag": "\"t\""], body: "target")
      }
      try? waitUntil("the end of waiting", within: 20) { !isHeld.withLock { $0 } }
      return .steps([.bytes("HTTP/1.1 304 Not Modified\r\nX-Accel-Expires: 60\r\n\r\n")])
    }
    let door = try await Portico.start(
      config: """
        worker_processes 1;
        http { proxy_cache_path %%DIR%%/cache keys_zone=one:1m; server {
          listen 127.0.0.1:%%PORT_0%%; add_header X-Cache $upstream_cache_status;
          proxy_cache one; proxy_cache_valid 1h; proxy_cache_key $arg_k;
          location /store {
            proxy_ignore_headers X-Accel-Redirect; proxy_cache_bypass $arg_anew;
            proxy_pass http://%%UPSTREAM_0%%;
          }
          location /serve { proxy_pass http://%%UPSTREAM_0%%; }
          location /target {
            proxy_cache_key target; proxy_cache_revalidate on; proxy_pass http://%%UPSTREAM_0%%;
          }
        } }
        """, upstreams: [app],
      environment: ["GLIBC_TUNABLES": "glibc.malloc.tcache_count=0:glibc.malloc.perturb=165"])
    #expect(try door.get("/target").text == "target")
    for status in ["MISS", "HIT", "HIT"] {
      #expect(try door.get("/store?k=x")["X-Cache"] == status)
    }
    isHeld.withLock { $0 = true }
    let client = try door.client()
    try client.send("GET /serve?k=x HTTP/1.1\r\nHost: a\r\n\r\n")
    try waitUntil("the question about the target") { targets.withLock { $0 } == 2 }
    for (path, status) in [
      ("/store?k=x&anew=1", "BYPASS"), ("/store?k=x", "HIT"), ("/store?k=x", "HIT"),
    ] {
      #expect(try door.get(path)["X-Cache"] == status)
    }
    isHeld.withLock { $0 = false }
    let answer = try client.response()
    #expect(answer.text == "target" && answer["Content-Disposition"] == "kept for the client")
    try door.stop()
  }
}
