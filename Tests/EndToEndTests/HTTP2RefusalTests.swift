// What isn't HTTP/2 as it should be: refused with a response where that is possible, and others go
// on.

import Testing

@Suite struct HTTP2RefusalTests {
  @Test(arguments: [
    [("Upper", "case")], [("connection", "close")], [("a", "b\nc")], [(":late", "pseudo")],
    [("content-length", "7")],
  ])
  func saysBadRequestBeforeTheReset(_ fields: [(String, String)]) async throws {
    let door = try await HTTP2Door.start()
    let client = try H2Client(port: door.port(0))
    try client.request(1, "/app/", method: "POST", ends: false, fields: fields)
    if fields[0].0 == "content-length" {
      try client.send(.data, flags: 1, stream: 1, payload: Array("six by".utf8))
    }
    let head = try client.frame { $0.stream == 1 }
    #expect(head.type == .headers && head.status == 400 && head.endsStream)
    let reset = try client.frame { $0.stream == 1 }
    #expect(reset.type == .reset && reset.code == H2Code.protocolError)
    // Others go on, with the same tables of fields.
    try client.request(3, "/app/three")
    #expect(try client.response(3).body == Array("GET /app/three HTTP/1.1 0".utf8))
    try waitUntil("the log line") {
      door.site.text("access.log").contains("400 HTTP/2.0 h2c POST /app/ ")
    }
  }

  @Test func takesAHostThatRepeatsTheAuthority() async throws {
    let door = try await HTTP2Door.start()
    let client = try H2Client(port: door.port(0))
    try client.request(1, "/fixed", authority: "a.test:1", fields: [("host", "A.test:1")])
    #expect(try client.response(1).body == Array("|a.test|/fixed".utf8))
    try client.request(3, "/fixed", authority: "a.test", fields: [("host", "b.test")])
    #expect(try client.response(3).status == 400)
  }

  @Test func refusesAFieldThatFitsNoBuffer() async throws {
    let door = try await HTTP2Door.start(
      server: "client_header_buffer_size 256; large_client_header_buffers 4 512;")
    let client = try H2Client(port: door.port(0))
    let fits = String(repeating: "v", count: 512)
    try client.request(1, "/fixed", fields: [("a", fits), ("b", fits)])
    #expect(try client.response(1).status == 200)
    try client.request(3, "/fixed", fields: [("a", fits + "v")])
    #expect(try client.response(3).status == 400)
  }

  /// A client that sends slowly finds out late that its body isn't wanted.
  @Test func passesOverDataThatIsLateByManyRequests() async throws {
    let door = try await HTTP2Door.start()
    let client = try H2Client(port: door.port(0))
    try client.request(1, "/small.txt", method: "POST", ends: false)
    #expect(try client.frame { $0.type == .reset }.code == H2Code.noError)
    for index in 1...200 {
      try client.request(UInt32(2 * index + 1), "/small.txt")
      _ = try client.response(UInt32(2 * index + 1))
    }
    try client.send(.data, stream: 1, payload: [0])
    try client.request(403, "/small.txt")
    #expect(try client.response(403).body == Array("small".utf8))
    // What the client ended itself is another matter.
    try client.send(.data, stream: 401, payload: [0])
    #expect(client.goAwayCode() == H2Code.streamClosed)
  }

  @Test func refusesHTTP2InPlainOnATLSPort() async throws {
    let door = try await HTTP2Door.start()
    let raw = try RawClient(port: door.port(1))
    try raw.send(H2Frame.preface)
    #expect(try String(decoding: raw.readToEnd(), as: UTF8.self).contains("400 "))
  }

  @Test func refusesAPushPromiseAtItsFrameHeader() async throws {
    let door = try await HTTP2Door.start()
    let client = try H2Client(port: door.port(0))
    try client.raw.send([0, 0, 4, 5, 0, 0, 0, 0, 1])
    #expect(client.goAwayCode() == H2Code.protocolError)
  }
}
