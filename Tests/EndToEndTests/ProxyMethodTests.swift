// `proxy_method`: what the upstream was asked by says where its response ends, whatever the client
// asked by. A connection on which more came than that is nobody's any more.

import Foundation
import Testing

@Suite struct ProxyMethodTests {
  private func start(_ address: String, _ directives: String) async throws -> RunningPortico {
    try await Portico.start(
      config: """
        http {
          proxy_cache_path %%DIR%%/cache keys_zone=one:1m;
          server {
            listen 127.0.0.1:%%PORT_0%%;
            location / { \(directives) proxy_pass http://\(address); }
          }
        }
        """)
  }

  @Test(arguments: ["GET", "POST"])
  func aBodyThatNoHeadWasAskedForIsNobodysResponse(method: String) async throws {
    let server = RawServer()
    let door = try await start(server.address, "proxy_method \(method);")
    let client = try door.client()
    try client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    let first = try server.accept()
    #expect(try first.read(until: "\r\n\r\n").hasPrefix("\(method) / "))
    // The body comes later. Were the connection kept, it would be the next client's response.
    try first.send("HTTP/1.1 200 OK\r\nContent-Length: 62\r\n\r\n")
    let response = try client.response(to: "HEAD")
    #expect(response.status == 200 && response["Content-Length"] == "62")
    #expect(first.isClosed())
    try client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    let second = try server.accept()
    _ = try second.read(until: "\r\n\r\n")
    try second.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")
    #expect(try client.response().text == "good")
    try door.stop()
  }

  @Test func aHeadThatTheClientDidNotAskForHasNoBody() async throws {
    let app = try TestUpstream { _ in
      .steps([.bytes("HTTP/1.1 200 OK\r\nContent-Length: 62\r\nX-A: b\r\n\r\n")])
    }
    let door = try await start("127.0.0.1:\(app.port)", "proxy_method $arg_method;")
    let client = try door.client()
    for _ in 0..<2 {
      try client.send("GET /?method=HEAD HTTP/1.1\r\nHost: a\r\n\r\n")
      let response = try client.response()
      #expect(response.status == 200 && response.text.isEmpty && response["X-A"] == "b")
    }
    try client.send("HEAD /?method=HEAD HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(try client.response(to: "HEAD")["Content-Length"] == "62")
    #expect(app.requests.map(\.method) == ["HEAD", "HEAD", "HEAD"])
    #expect(app.requests.map(\.connection) == [0, 0, 0])
    try door.stop()
  }

  @Test func theSameByHTTP2() async throws {
    let head = [(":status", "200"), ("content-length", "62")]
    let app = try H2TestUpstream { [.bytes(H2Frame.headers($0.stream, head, end: true))] }
    let door = try await start(app.address, "proxy_http_version 2; proxy_method HEAD;")
    let client = try door.client()
    for _ in 0..<2 {
      try client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      let response = try client.response()
      #expect(response.status == 200 && response.text.isEmpty)
    }
    try client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(try client.response(to: "HEAD")["Content-Length"] == "62")
    try door.stop()
  }

  private static let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"

  /// A connection with `response` on it, and more behind it, is closed; the next is another one.
  private func expectClosing(
    _ response: String, to method: String, _ directives: String
  ) async throws {
    let server = RawServer()
    let door = try await start(server.address, directives)
    let client = try door.client()
    try client.send("\(method) / HTTP/1.1\r\nHost: a\r\n\r\n")
    let first = try server.accept()
    _ = try first.read(until: "\r\n\r\n")
    try first.send(response + Self.evil)
    #expect(try client.response(to: method).status == 200)
    try client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    // Elsewhere than on the first.
    let second = try server.accept()
    _ = try second.read(until: "\r\n\r\n")
    try second.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")
    #expect(try client.response().text == "good")
    #expect(first.isClosed())
    try door.stop()
  }

  @Test func moreThanWasReadIsSeenBeforeAConnectionIsKept() async throws {
    // With a limit of the rate the first read takes 4 KiB: exactly the response.
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 4000\r\nX-Filler: "
    let filler = String(repeating: "x", count: 96 - 4 - head.utf8.count)
    let body = String(repeating: "y", count: 4000)
    try await expectClosing(
      "\(head)\(filler)\r\n\r\n\(body)", to: "GET", "proxy_limit_rate 10m;")
  }

  @Test func moreThanAResponseWithoutABodyEndsTheConnection() async throws {
    try await expectClosing(
      "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 0\r\n\r\n", to: "HEAD",
      "proxy_cache one;")
  }
}
