// A kept connection that its server closes while a request is on its way: what may be sent again,
// and what may have been carried out (RFC 9110 §9.2.2).

import Foundation
import Testing

@Suite struct StaleConnectionTests {
  private func start(_ server: RawServer, _ location: String = "") async throws -> RunningPortico {
    try await Portico.start(
      config: """
        worker_processes 1;
        http { client_max_body_size 0; server { listen 127.0.0.1:%%PORT_0%%;
          location / { proxy_pass http://\(server.address); \(location) } } }
        """)
  }

  /// One request is answered; the connection stays.
  private func keep(_ server: RawServer, _ client: RawClient) throws -> RawClient {
    try client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    let kept = try server.accept()
    _ = try kept.read(until: "\r\n\r\n")
    try kept.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1")
    #expect(try client.response().text == "1")
    return kept
  }

  /// A POST of `count` bytes on a kept connection, of which the server reads the head before it
  /// `ends` the connection: one that may have been carried out.
  private func post(
    _ count: Int, _ server: RawServer, _ ends: (inout RawClient?) -> Void
  ) async throws {
    let door = try await start(server)
    let client = try door.client()
    var kept: RawClient? = try keep(server, client)
    try client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \(count)\r\n\r\n")
    try client.send([UInt8](repeating: 0x78, count: count))
    #expect(try kept?.read(until: "\r\n\r\n").hasPrefix("POST / ") == true)
    ends(&kept)
    #expect(try client.response().status == 502)
    #expect(!server.waits(within: 0))
    try door.stop()
  }

  /// A reset says nothing of what the server had read: its kernel acknowledges with a delay.
  @Test(arguments: [0, 50, 5_000, 3_000_000])
  func aPOSTThatWasReadIsNotSentAgain(count: Int) async throws {
    try await post(count, RawServer()) {
      $0?.resetAtClose()
      $0 = nil
    }
  }

  /// The same if the server ends its stream in the middle of the body.
  @Test func aPOSTThatWasReadInPartIsNotSentAgain() async throws {
    try await post(3_000_000, RawServer(receiveRoom: 4_096)) { $0?.finishSending() }
  }

  /// A server that answers before it has the body, and closes, has its answer passed on.
  @Test func anEarlyAnswerIsHeard() async throws {
    let server = RawServer(receiveRoom: 4_096)
    let door = try await start(server)
    for _ in 0..<5 {
      let client = try door.client()
      try client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n")
      try client.send([UInt8](repeating: 0x78, count: 3_000_000))
      var connection: RawClient? = try server.accept()
      #expect(try connection?.read(until: "\r\n\r\n").hasPrefix("POST / ") == true)
      // Answer and reset, because there are bytes unread, find a worker that is about to send more.
      try door.withWorkerHeld {
        try connection?.send("HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nmuch")
        connection = nil
      }
      #expect(try client.response().status == 413)
    }
    try door.stop()
  }

  /// What a firewall forgot: all kept connections are dead. The next request is sent again by one
  /// that is new.
  @Test func manyDeadConnectionsCostNobodyAnything() async throws {
    let gate = Gate()
    let app = try TestUpstream { request in
      if request.path == "/hold" { gate.wait() }
      return request.index == 0 ? .answer(body: "ok") : .steps([.reset])
    }
    let door = try await Portico.start(
      config: """
        worker_processes 1;
        http {
          upstream app { server %%UPSTREAM_0%%; }
          server { listen 127.0.0.1:%%PORT_0%%; location / { proxy_pass http://app; } }
        }
        """, upstreams: [app])
    let clients = try (0..<4).map { _ in try door.client() }
    for client in clients { try client.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n") }
    try waitUntil("four connections") { app.openConnectionCount == 4 }
    gate.open()
    for client in clients { #expect(try client.response().text == "ok") }
    for _ in 0..<4 { #expect(try door.get("/").text == "ok") }
    try door.stop()
  }
}
