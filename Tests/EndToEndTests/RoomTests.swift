// Connections on which no request is being served end before their time when descriptors or
// `worker_connections` run out: whoever comes is served, and requests under way don't notice.

import Foundation
import Testing

@Suite struct RoomTests {
  private static let files = ["www/a": "content"]

  private func isEnded(_ client: RawClient) -> Bool {
    do {
      _ = try client.response(within: 0.05)
      return false
    } catch RawClient.Failure.timedOut {
      return false
    } catch {
      return true
    }
  }

  private func get(_ client: RawClient) throws -> String {
    try client.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
    return try client.response(within: 5).text
  }

  /// What clients that fill a server up have sent: nothing, a request that was answered, a part of
  /// a request.
  @Test(arguments: ["", "GET /a HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a HTTP/1.1\r\n"])
  func idleClientsLeaveWhenDescriptorsRunOut(_ said: String) async throws {
    let door = try await Portico.start(
      config: """
        worker_rlimit_nofile 64;
        http { server { listen 127.0.0.1:%%PORT_0%%; root %%DIR%%/www; } }
        """, files: Self.files)
    let busy = try door.client()
    try busy.send("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n")
    #expect(try busy.response().status == 405)
    var idle: [RawClient] = []
    for _ in 0..<200 {
      let client = try door.client()
      try client.send(said)
      idle.append(client)
      // One by one, or whoever is given up hasn't got what it asked for yet.
      if said.hasSuffix("\r\n\r\n") { #expect(try client.response(within: 5).text == "content") }
    }
    // Served at once, and there is a descriptor for the file as well.
    let watch = Stopwatch()
    for _ in 0..<20 { #expect(try get(door.client()) == "content") }
    #expect(watch.seconds < 10)
    #expect(isEnded(idle[0]))
    try busy.send("x")
    #expect(try get(busy) == "content")
    idle.removeAll()
    let lines = door.errorLog.components(separatedBy: "client connections without a request").count
    #expect(lines == 2)
    #expect(!door.errorLog.contains("accepting pauses"))
    try door.stop()
  }

  @Test func theOldestLeavesAndKeptPromisesHold() async throws {
    let door = try await Portico.start(
      config: """
        events { worker_connections 32; }
        http { server {
          listen 127.0.0.1:%%PORT_0%%; root %%DIR%%/www;
          location = /kept { keepalive_min_timeout 1h; keepalive_timeout 1h; return 200 "kept"; }
        } }
        """, files: Self.files)
    let kept = try door.client()
    try kept.send("GET /kept HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(try kept.response().text == "kept")
    let first = try door.client()
    #expect(try get(first) == "content")
    var clients = try (0..<40).map { _ in
      let client = try door.client()
      #expect(try get(client) == "content")
      return client
    }
    #expect(isEnded(first))
    #expect(isEnded(clients[0]))
    #expect(try get(clients.removeLast()) == "content")
    #expect(try get(kept) == "content")
    try door.waitForLog("32 worker_connections are nearly used up, 1 client connections")
    try door.stop()
  }

  @Test func anUpstreamGetsTheRoomOfAnIdleClient() async throws {
    let upstream = try TestUpstream { _ in .answer(body: "ok") }
    let door = try await Portico.start(
      config: """
        events { worker_connections 8; }
        http { server {
          listen 127.0.0.1:%%PORT_0%%; location / { proxy_pass http://%%UPSTREAM_0%%; }
        } }
        """, upstreams: [upstream])
    let idle = try (0..<7).map { _ in try door.client() }
    let client = try door.client()
    try client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(try client.response().status == 200)
    #expect(idle.contains { isEnded($0) })
    #expect(!door.errorLog.contains("not enough"))
    try door.stop()
  }

  @Test func clientsOfHTTP2AreToldThatTheyLeave() async throws {
    let door = try await Portico.start(
      config: """
        events { worker_connections 32; }
        http { server { listen 127.0.0.1:%%PORT_0%%; http2 on; root %%DIR%%/www; } }
        """, files: Self.files)
    let clients = try (0..<60).map { _ in
      let client = try H2Client(port: door.port())
      try client.request(1, "/a")
      #expect(try client.response(1).body == Array("content".utf8))
      return client
    }
    #expect(clients[0].goAwayCode() == H2Code.noError)
    #expect(try door.get("/a").text == "content")
    #expect(!door.errorLog.contains("accepting pauses"))
    try door.stop()
  }
}
