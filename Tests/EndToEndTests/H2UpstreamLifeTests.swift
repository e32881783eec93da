// HTTP/2 connections that servers end: over a number of requests, of resets, or a head that is too
// long for them. Clients who had no part in it notice nothing.

import Foundation
import Testing

@Suite struct H2UpstreamLifeTests {
  private static let app = "upstream app { server %%H2_0%%; keepalive 8; }"
  private static let pass = "location / { proxy_pass http://app; }"

  /// A server that takes three requests on a connection, and says so when it has them.
  @Test func connectionsThatEndAfterFewRequestsCostNoRequest() async throws {
    let upstream = try H2TestUpstream { request in
      if request.index > 2 { return [] }
      var bytes = request.index == 2 ? H2Frame.goAway(last: request.stream) : []
      bytes += H2Frame.answer(request.stream, "well")
      return [.bytes(bytes)]
    }
    let door = try await H2UpstreamDoor.start(
      [upstream], Self.pass, http: Self.app, timeout: "10s")
    var excluded: [Int] = []
    for round in 0..<3 {
      let clients = try (0..<40).map { _ in try door.client() }
      for client in clients {
        try client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
      }
      for client in clients { #expect(try client.response().text == "well", "round \(round)") }
      excluded.append(upstream.requests.count { $0.index > 2 })
    }
    // What a connection takes is known after the first of them: few are asked for more than that.
    #expect(excluded[2] - excluded[0] < 20, "\(excluded)")
    #expect(!door.errorLog.contains("[error]"))
    try door.stop()
  }

  /// Servers end a connection over many resets: those who leave are kept apart from those who stay.
  @Test func manyResetsAreNotOnOneConnection() async throws {
    let upstream = try H2TestUpstream(answersEarly: true) { _ in [] }
    let door = try await H2UpstreamDoor.start([upstream], Self.pass, http: Self.app)
    for number in 0..<120 {
      let client = try door.client()
      try client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
      try waitUntil("request \(number)") { upstream.requests.count == number + 1 }
      client.reset()
      try waitUntil("reset \(number)") {
        upstream.received.count { $0.kind == H2Frame.Kind.reset.rawValue } == number + 1
      }
    }
    for connection in 0..<3 {
      #expect(upstream.requests.count { $0.connection == connection } <= 50)
    }
  }

  /// nginx announces no limit, and ends the connection over a head that is longer than its own;
  /// HAProxy over more than a hundred fields.
  @Test(arguments: [(3, 3000), (110, 1)])
  func aLongHeadGoesAloneToAServerThatAnnouncesNoLimit(count: Int, length: Int) async throws {
    let upstream = try H2TestUpstream(answersEarly: true) { request in
      request.index == 0 && request.connection == 0
        ? [.bytes(H2Frame.answer(request.stream, "first"))] : []
    }
    let door = try await H2UpstreamDoor.start([upstream], Self.pass, http: Self.app)
    #expect(try door.get("/").text == "first")
    let stays = try door.client()
    try stays.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    try waitUntil("who stays") { upstream.requests.count == 2 }
    let long = try door.client()
    let value = String(repeating: "x", count: length)
    let fields = (0..<count).map { "X-\($0): \(value)\r\n" }.joined()
    try long.send("GET / HTTP/1.1\r\nHost: x\r\n\(fields)\r\n")
    try waitUntil("the long head") { upstream.requests.count == 3 }
    #expect(upstream.requests.map(\.connection) == [0, 0, 1])
  }
}
