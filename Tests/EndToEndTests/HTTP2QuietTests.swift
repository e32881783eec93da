// HTTP/2 connections on which nothing happens for a while: their memory is put away after a second,
// and what comes then finds them as they were.

import Foundation
import Testing

@Suite struct HTTP2QuietTests {
  /// Port 0 keeps idle connections, port 1 for so long that their memory has been put away before.
  private func start() async throws -> RunningPortico {
    try await Portico.start(
      try Site(
        config: """
          http {
            http2 on;
            server { listen 127.0.0.1:%%PORT_0%%; location / { return 200 "$host$uri"; } }
            server {
              listen 127.0.0.1:%%PORT_1%%; keepalive_timeout 1300ms;
              location / { return 200 "$host$uri"; }
            }
          }
          """))
  }

  /// Returns when a connection that is quiet from now on has been so for longer than a second.
  private func letQuietTimePass(_ door: RunningPortico) throws {
    let other = try H2Client(port: door.port(1))
    try other.request(1)
    #expect(try other.response(1).status == 200)
    let start = ContinuousClock.now
    #expect(other.goAwayCode() == H2Code.noError)
    #expect(start.duration(to: .now) > .milliseconds(1200))
  }

  @Test func goesOnAfterAWhile() async throws {
    let door = try await start()
    let client = try H2Client(port: door.port(0))
    // :authority and :path go into the table of fields (RFC 7541 §6.2.1), 63 and 62 from then on.
    let first = [0x82, 0x86, 0x41, 1] + Array("a".utf8) + [0x44, 6] + Array("/fixed".utf8)
    try client.send(.headers, flags: 5, stream: 1, payload: first)
    #expect(try client.response(1).body == Array("a/fixed".utf8))
    for stream in [UInt32(3), 5] {
      try letQuietTimePass(door)
      try client.send(.headers, flags: 5, stream: stream, payload: [0x82, 0x86, 0xbf, 0xbe])
      let response = try client.response(stream)
      #expect(response.status == 200)
      #expect(response.body == Array("a/fixed".utf8))
    }
  }

  @Test func answersAPingAfterAWhile() async throws {
    let door = try await start()
    let client = try H2Client(port: door.port(0))
    try client.request(1)
    #expect(try client.response(1).status == 200)
    for byte in [UInt8(7), 8] {
      try letQuietTimePass(door)
      try client.send(.ping, payload: [UInt8](repeating: byte, count: 8))
      let pong = try client.frame { $0.type == .ping }
      #expect(pong.payload == [UInt8](repeating: byte, count: 8))
    }
    try client.request(3, "/again")
    #expect(try client.response(3).body == Array("localhost/again".utf8))
  }

  @Test func saysGoodbyeAfterAWhile() async throws {
    let door = try await start()
    let client = try H2Client(port: door.port(0))
    try client.request(1)
    #expect(try client.response(1).status == 200)
    try letQuietTimePass(door)
    try door.signal(SIGQUIT)
    #expect(client.goAwayCode() == H2Code.noError)
  }
}
