// What many want at once and nobody has (`proxy_cache_lock`): one request for all that wait.

import Foundation
import Testing

@Suite struct CacheLockTests {
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

  /// Who waited asks as the first one did, and stores what he gets.
  @Test func whoWaitedForWhatIsNotStoredFillsTheCache() async throws {
    let upstream = RawServer()
    let door = try await lockDoor(upstream, "proxy_cache_lock_timeout 10m;")
    let first = try door.client()
    try first.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
    var server = try upstream.accept()
    _ = try server.read(until: "\r\n\r\n")
    let second = try door.client()
    try second.send("GET /a HTTP/1.1\r\nHost: a\r\nRange: bytes=0-0\r\n\r\n")
    #expect(!upstream.waits(within: 0.2))
    try server.send(
      "HTTP/1.1 503 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    #expect(try first.response().status == 503)
    server = try upstream.accept()
    #expect(try !server.read(until: "\r\n\r\n").contains("Range"))
    try server.send("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\nok")
    let answer = try second.response()
    #expect(answer.text == "ok" && answer["X-Cache"] == "MISS")
    #expect(try door.get("/a")["X-Cache"] == "HIT")
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
    // It says nothing, but holds the right: a connection that ends would give it back.
    let silent = try upstream.accept()
    _ = try silent.read(until: "\r\n\r\n")
    let second = try door.client()
    try second.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
    let server = try upstream.accept()
    _ = try server.read(until: "\r\n\r\n")
    try server.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond")
    #expect(try second.response().text == "second")
    #expect(try door.get("/a").text == "second")
    withExtendedLifetime(silent) {}
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

  /// Had one of them kept its place, it would be told in vain, and the last one wait for its
  /// timeout.
  @Test func placesOfThoseWhoLeftAreGone() async throws {
    let upstream = RawServer()
    let door = try await lockDoor(
      upstream, "proxy_cache_lock_timeout 60s; proxy_cache_lock_age 60s;", workers: 2)
    func ask() throws -> RawClient {
      let client = try door.client()
      try client.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
      return client
    }
    let first = try ask()
    let server = try upstream.accept()
    _ = try server.read(until: "\r\n\r\n")
    for client in try (0..<100).map({ _ in try ask() }) { client.reset() }
    func leaverCount() -> Int {
      door.errorLog.split(separator: "\n").count {
        $0.contains("client prematurely closed connection")
      }
    }
    try waitUntil("all to be missed") { leaverCount() == 100 }
    let last = try ask()
    #expect(!upstream.waits(within: 0.1))
    try server.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nfirst")
    #expect(try first.response().text == "first")
    // Nothing was stored: the next one asks for itself.
    let other = try upstream.accept(within: 5)
    _ = try other.read(until: "\r\n\r\n")
    try other.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nlast")
    #expect(try last.response().text == "last")
    #expect(!upstream.waits(within: 0.1))
    try door.stop(SIGTERM)
  }
}
