// Streams whose response begins before their request has ended: which deadlines they have.

import Foundation
import Testing

@Suite struct HTTP2TwoWayTests {
  private func start(_ address: String, version: String = "1.1", _ settings: String) async throws
    -> RunningPortico
  {
    try await Portico.start(
      config: """
        http {
          http2 on; proxy_request_buffering off; proxy_buffering off;
          \(settings)
          server {
            listen 127.0.0.1:%%PORT_0%%;
            location / { proxy_pass http://\(address); proxy_http_version \(version); }
          }
        }
        """)
  }

  private static let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

  /// A stream on which both sides have said something, and neither has ended.
  private func begin(
    _ door: RunningPortico, _ upstream: RawServer
  ) throws -> (client: H2Client, server: RawClient) {
    let client = try H2Client(port: door.port())
    try client.request(1, method: "POST", ends: false)
    let server = try upstream.accept()
    _ = try server.read(until: "\r\n\r\n")
    try server.send(Self.head + "5\r\nhello\r\n")
    #expect(try client.frame { $0.type == .data }.payload == Array("hello".utf8))
    return (client, server)
  }

  /// Neither side has to go on by itself; but one of them has to.
  @Test func endsAStreamOnWhichNobodyGoesOn() async throws {
    let upstream = RawServer()
    let door = try await start(upstream.address, "proxy_read_timeout 300ms;")
    let ends = try begin(door, upstream)
    #expect(try ends.client.frame { $0.type == .reset }.stream == 1)
    try door.waitForLog("upstream timed out (110: Connection timed out) while reading upstream")
  }

  @Test func endsAStreamOfAnUpstreamByHTTP2OnWhichNobodyGoesOn() async throws {
    let upstream = try H2TestUpstream(answersEarly: true) { request in
      let head = H2Frame.headers(request.stream, [(":status", "200")])
      return [.bytes(head + H2Frame.data(request.stream, "hello"))]
    }
    let door = try await start(upstream.address, version: "2", "proxy_read_timeout 300ms;")
    let client = try H2Client(port: door.port())
    try client.request(1, method: "POST", ends: false)
    #expect(try client.frame { $0.type == .data }.payload == Array("hello".utf8))
    #expect(try client.frame { $0.type == .reset }.stream == 1)
    try door.waitForLog("upstream timed out (110: Connection timed out) while reading upstream")
  }

  @Test func aClientThatGoesOnKeepsTheStream() async throws {
    let upstream = RawServer()
    let door = try await start(upstream.address, "proxy_read_timeout 1s;")
    let (client, server) = try begin(door, upstream)
    let watch = Stopwatch()
    var count = 0
    while watch.seconds < 1.5 {
      try client.send(.data, stream: 1, payload: [0x2e])
      count += 1
      // What doesn't come is what paces this.
      let frame = try? client.frame(within: 0.1) { $0.type == .reset }
      try #require(frame == nil)
    }
    try client.send(.data, flags: H2Frame.endStream, stream: 1, payload: [0x2e])
    _ = try server.read(until: "0\r\n\r\n")
    try server.send("0\r\n\r\n")
    #expect(try client.frame { $0.type == .data }.endsStream)
  }

  /// A client that sends, but doesn't take what is there for it.
  @Test func endsAStreamWhoseClientOnlySends() async throws {
    let upstream = RawServer()
    let door = try await start(upstream.address, "send_timeout 400ms; client_body_timeout 300ms;")
    let client = try H2Client(port: door.port(), settings: [(4, 5)])
    try client.request(1, method: "POST", ends: false)
    let server = try upstream.accept()
    _ = try server.read(until: "\r\n\r\n")
    try server.send(Self.head + "a\r\nhelloworld\r\n")
    #expect(try client.frame { $0.type == .data }.payload == Array("hello".utf8))
    try client.send(.data, stream: 1, payload: Array("more".utf8))
    _ = try server.read(until: "more")
    #expect(try client.frame { $0.type == .reset }.code == H2Code.cancel)
  }
}
