// The way of a response into a cache: only what is whole gets there, whoever leaves meanwhile, and
// however slow its client is.

import Foundation
import Testing

@Suite struct CacheStoringTests {
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
      ("/early", "", 499), ("/late", "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf", 200),
    ]
    for (index, (path, sent, status)) in cases.enumerated() {
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
          door.errorLog.components(separatedBy: "its request is carried out").count
            == index + 2
        }
        try server.send(
          sent.isEmpty ? "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalfhalf" : "half")
        // The line is written when all is done.
        try waitUntil("the response to be stored") {
          door.site.text("access.log").contains("\(path) \(status)")
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
}
