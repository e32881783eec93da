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

  @Test func aTargetThatFitsNoBufferIsTooLong() async throws {
    let door = try await Portico.start(
      config: """
        http { large_client_header_buffers 2 1k; server {
          listen 127.0.0.1:%%PORT_0%%; http2 on; return 204; } }
        """)
    let path = "/" + String(repeating: "x", count: 2_000)
    for version in ["--http1.1", "--http2-prior-knowledge"] {
      let options = [version, "-o", "/dev/null", "-w", "%{http_code}", path]
      #expect(try HTTP2Door.curl(door, options, tls: false) == "414")
    }
    try door.stop()
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

  /// The rest of a request that is answered already may be on its way: it has a moment to come
  /// before its stream is reset.
  @Test func waitsAMomentForTheRestOfARequest() async throws {
    let door = try await HTTP2Door.start()
    let client = try H2Client(port: door.port(0))
    let watch = Stopwatch()
    try client.request(1, "/small.txt", method: "POST", ends: false)
    _ = try client.response(1)
    #expect(try client.frame { $0.type == .reset }.code == H2Code.noError)
    #expect(watch.seconds > 0.09)
  }

  /// What comes late on a stream that we reset is ignored, but what never can be right is refused:
  /// the client's own end of the stream, its announced length, padding, and trailers count as ever.
  @Test(arguments: [
    LateFrames("a body after its reset", code: H2Code.streamClosed) {
      try $0.send(.reset, stream: 1, payload: H2Frame.number(H2Code.cancel))
      try $0.send(.data, stream: 1, payload: [0])
    },
    LateFrames("trailers after its reset", code: H2Code.streamClosed) {
      try $0.send(.reset, stream: 1, payload: H2Frame.number(H2Code.cancel))
      try $0.send(.headers, flags: 5, stream: 1, payload: [])
    },
    LateFrames("padding longer than the frame", code: H2Code.protocolError) {
      try $0.send(.data, flags: 8, stream: 1, payload: [6, 0, 0, 0, 0, 0])
    },
    LateFrames("a second head", code: H2Code.protocolError) {
      try $0.send(.headers, flags: 4, stream: 1, payload: H2Client.block())
    },
    LateFrames("a window update of zero", code: H2Code.protocolError) {
      try $0.send(.windowUpdate, stream: 1, payload: [0, 0, 0, 0])
    },
  ])
  func refusesWhatIsWrongHoweverLateItComes(_ frames: LateFrames) async throws {
    let door = try await HTTP2Door.start()
    let client = try H2Client(port: door.port(0))
    try client.request(1, "/small.txt", method: "POST", ends: false)
    #expect(try client.frame { $0.type == .reset }.code == H2Code.noError)
    try frames.send(client)
    #expect(client.goAwayCode() == frames.code, "\(frames.what)")
  }

  /// Late bodies are compared with the length that was announced, too.
  @Test(arguments: [([5], true), ([2, 3], true), ([2], false), ([4, 2], false)])
  func countsLateBodies(pieces: [Int], isSound: Bool) async throws {
    let door = try await HTTP2Door.start()
    let client = try H2Client(port: door.port(0))
    try client.request(
      1, "/small.txt", method: "POST", ends: false, fields: [("content-length", "5")])
    #expect(try client.frame { $0.type == .reset }.code == H2Code.noError)
    for (index, count) in pieces.enumerated() {
      let isLast = index == pieces.count - 1
      try client.send(
        .data, flags: isLast ? 1 : 0, stream: 1, payload: [UInt8](repeating: 0, count: count))
    }
    try client.request(3, "/small.txt")
    let frame = try client.frame { $0.type == .reset || $0.stream == 3 }
    #expect((frame.stream == 3) == isSound)
    if !isSound { #expect(frame.code == H2Code.protocolError) }
  }

  /// And so are windows.
  @Test func refusesALateWindowThatIsTooLarge() async throws {
    let door = try await HTTP2Door.start()
    let client = try H2Client(port: door.port(0))
    try client.request(1, "/small.txt", method: "POST", ends: false)
    #expect(try client.frame { $0.type == .reset }.code == H2Code.noError)
    try client.send(.windowUpdate, stream: 1, payload: H2Frame.number(0x7FFF_0000))
    try client.send(.ping, payload: [UInt8](repeating: 0, count: 8))
    #expect(try client.frame { $0.type == .reset || $0.type == .ping }.type == .ping)
    try client.send(.windowUpdate, stream: 1, payload: H2Frame.number(0x7FFF_0000))
    #expect(try client.frame { $0.type == .reset }.code == H2Code.flowControlError)
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

/// Frames that a client sends on stream 1 after the server has reset it.
struct LateFrames: Sendable, CustomTestStringConvertible {
  let what: String
  let code: UInt32
  let send: @Sendable (H2Client) throws -> Void

  init(_ what: String, code: UInt32, _ send: @escaping @Sendable (H2Client) throws -> Void) {
    (self.what, self.code, self.send) = (what, code, send)
  }

  var testDescription: String { what }
}
