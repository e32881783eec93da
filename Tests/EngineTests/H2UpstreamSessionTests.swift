// HTTP/2 to upstreams without sockets: what a session makes of bytes, whole and in pieces, and what
// a health check by gRPC concludes.

import HTTP
import Testing

@testable import Engine

@Suite struct H2UpstreamSessionTests {
  private static func frame(_ type: UInt8, _ flags: UInt8, _ stream: UInt8, _ payload: [UInt8])
    -> [UInt8]
  {
    let count = payload.count
    return [
      UInt8(count >> 16), UInt8(count >> 8 & 255), UInt8(count & 255), type, flags, 0, 0, 0, stream,
    ]
      + payload
  }

  private static func fields(_ fields: [(String, String)]) -> [UInt8] {
    fields.flatMap {
      [0, UInt8($0.0.utf8.count)] + $0.0.utf8 + [UInt8($0.1.utf8.count)] + $0.1.utf8
    }
  }

  /// The server's, and its acknowledgement of ours, from which on our window holds.
  private static let settings = frame(4, 0, 0, []) + frame(4, 1, 0, [])
  private static let response =
    settings
    + frame(1, 4, 1, fields([(":status", "103"), ("link", "</a>")]))
    + frame(1, 4, 1, fields([(":status", "200"), ("x-one", "1")]))
    + frame(0, 0, 1, Array("hello ".utf8)) + frame(0, 0, 1, Array("world".utf8))
    + frame(1, 5, 1, fields([("grpc-status", "0"), ("x-two", "2")]))

  /// A session with one request on it, whose bytes were produced.
  private final class Asked {
    let pool = BufferPool()
    let session: H2UpstreamSession
    let stream = H2UpstreamStream()

    /// - Parameter isSent: the request has left; otherwise it waits to be produced.
    init(body: String? = nil, isSent: Bool = true) throws {
      session = try #require(H2UpstreamSession(pool: pool))
      try ask(stream, body: body)
      if isSent { _ = produce() }
    }

    /// Puts a request on `stream`; an empty body is one of which nothing came yet.
    func ask(_ stream: H2UpstreamStream, body: String?) throws {
      session.attach(stream)
      let block = Buffer(capacity: 512)
      for (name, value) in [
        (":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a"),
      ] {
        name.withBytes { name in value.withBytes { H2FieldBlock.append(name, $0, to: block) } }
      }
      #expect(session.submit(stream, block.unread, hasBody: body != nil))
      if let body { #expect(body.withBytes { session.write($0, to: stream) } == body.utf8.count) }
    }

    deinit { session.detach(stream) }

    func receive(_ bytes: [UInt8]) -> Bool {
      let buffer = Buffer(capacity: max(bytes.count, 1))
      for byte in bytes { buffer.append(byte) }
      return session.receive(buffer.unread)
    }

    func produce() -> [UInt8] {
      let buffer = Buffer(capacity: 128 << 10)
      #expect(session.produce(into: buffer))
      return (0..<buffer.count).map { buffer.unread[$0] }
    }

    func body() -> String {
      var text = ""
      while let piece = stream.takeInput(.max, pool) { text += piece.unread.string }
      return text
    }

    func value(_ name: String, _ fields: [Field]) -> String? {
      guard let bytes = stream.fieldBytes?.unread else { return nil }
      return fields.first { $0.name.of(bytes).string == name }?.value.of(bytes).string
    }
  }

  @Test func readsAResponseSplitAnywhere() throws {
    for split in 0...Self.response.count {
      let asked = try Asked()
      #expect(asked.receive(Array(Self.response[..<split])))
      #expect(asked.receive(Array(Self.response[split...])))
      #expect(asked.stream.hasEnded && asked.stream.failure == nil, "\(split)")
      #expect(asked.stream.head.statusCode == 200)
      #expect(asked.value("x-one", asked.stream.head.fields) == "1")
      #expect(asked.value("link", asked.stream.head.fields) == nil)
      #expect(asked.value("x-two", asked.stream.trailers) == "2")
      #expect(asked.body() == "hello world")
    }
  }

  @Test func readsAResponseByteByByte() throws {
    let asked = try Asked()
    for byte in Self.response { #expect(asked.receive([byte])) }
    #expect(asked.stream.hasEnded && asked.body() == "hello world")
  }

  @Test func survivesBytesThatWereChanged() throws {
    // Every byte of the response in turn, by several values: no trap, and no half response taken
    // for a whole one with another length than the frames say.
    for index in Self.response.indices {
      for change in [0x01, 0x80, 0xff] as [UInt8] {
        let asked = try Asked()
        var bytes = Self.response
        bytes[index] ^= change
        _ = asked.receive(bytes)
        _ = asked.produce()
        if asked.stream.hasEnded { #expect(asked.stream.hasHead) }
      }
    }
  }

  @Test func sendsTheBodyOnlyAsFarAsTheWindowGoes() throws {
    let asked = try Asked(body: String(repeating: "x", count: 30), isSent: false)
    // The server allows ten bytes at first (SETTINGS_INITIAL_WINDOW_SIZE), then five more.
    #expect(asked.receive(Self.frame(4, 0, 0, [0, 4, 0, 0, 0, 10])))
    #expect(asked.produce().count { $0 == UInt8(ascii: "x") } == 10)
    #expect(asked.receive(Self.frame(8, 0, 1, [0, 0, 0, 5])))
    #expect(asked.produce().count { $0 == UInt8(ascii: "x") } == 5)
    #expect(asked.session.hasRoom(expecting: 100))
  }

  /// While another body is under way a stream leaves three eighths of its own window, whatever the
  /// server says how large that is.
  @Test func leavesRoomToAnotherBody() throws {
    let asked = try Asked(body: String(repeating: "x", count: 90), isSent: false)
    let other = H2UpstreamStream()
    try asked.ask(other, body: "")
    defer { asked.session.detach(other) }
    let count = { asked.produce().count { $0 == UInt8(ascii: "x") } }
    #expect(asked.session.takesBody)
    #expect(asked.receive(Self.frame(4, 0, 0, [0, 4, 0, 0, 0, 16])))
    #expect(count() == 10)
    #expect(!asked.session.takesBody)
    // The connection's window is nothing that this stream waits for.
    #expect(asked.receive(Self.frame(8, 0, 0, [0, 0, 0, 5])))
    #expect(count() == 0)
    #expect(asked.receive(Self.frame(8, 0, 1, [0, 0, 0, 10])))
    #expect(count() == 10)
    // How large a window is isn't known any more once the server changed all of them: what is
    // free is twelve bytes, and then, with four less, none.
    #expect(asked.receive(Self.frame(4, 0, 0, [0, 4, 0, 0, 0, 22])))
    #expect(count() == 8)
    #expect(asked.receive(Self.frame(4, 0, 0, [0, 4, 0, 0, 0, 18])))
    #expect(count() == 0)
    #expect(asked.receive(Self.frame(8, 0, 1, [0, 0, 0, 8])))
    #expect(count() == 5)
    // Alone it has all.
    asked.session.endOutput(other)
    #expect(count() == 3)
    #expect(asked.session.takesBody)
  }

  /// nginx opens a stream's window as wide as it goes, and again when a quarter is left.
  @Test func leavesNoMoreThanServersWaitFor() throws {
    let asked = try Asked(body: "x", isSent: false)
    let other = H2UpstreamStream()
    try asked.ask(other, body: "")
    defer { asked.session.detach(other) }
    #expect(asked.receive(Self.frame(4, 0, 0, [0, 4, 0x7f, 0xff, 0xff, 0xff])))
    _ = asked.produce()
    #expect(asked.session.share(of: asked.stream) == Int(Int32.max) - 1 - (4 << 20))
  }

  @Test func opensAStreamsWindowOnlyForWhatWasTaken() throws {
    let asked = try Asked()
    #expect(asked.receive(Self.settings + Self.frame(1, 4, 1, Self.fields([(":status", "200")]))))
    _ = asked.produce()
    // WINDOW_UPDATE of stream 1: type 8 in front of that stream's number.
    let updates = { (bytes: [UInt8]) in
      firstRange(of: [0, 0, 4, 8, 0, 0, 0, 0, 1], in: bytes) != nil
    }
    // At first 64 KiB, and four times as much once a client has taken them.
    for count in [4, 16, 16] {
      let piece = [UInt8](repeating: 7, count: 16_000)
      for _ in 0..<count {
        let isWell = asked.receive(Self.frame(0, 0, 1, piece))
        #expect(isWell)
      }
      #expect(!updates(asked.produce()))
      var taken = 0
      while let buffer = asked.stream.takeInput(.max, asked.pool) { taken += buffer.count }
      #expect(taken == 16_000 * count)
      // What is left of the first window is too little for the library to speak of.
      asked.session.consume(asked.stream, taken + (count == 4 ? 1536 : 0))
      #expect(updates(asked.produce()))
    }
  }

  @Test func aServerThatIgnoresTheWindowLosesItsConnection() throws {
    let asked = try Asked()
    #expect(asked.receive(Self.settings + Self.frame(1, 4, 1, Self.fields([(":status", "200")]))))
    let piece = [UInt8](repeating: 7, count: 16_000)
    for _ in 0..<40 { _ = asked.receive(Self.frame(0, 0, 1, piece)) }
    #expect(asked.stream.inputByteCount <= (64 << 10) + 16_384)
    _ = asked.produce()
    #expect(asked.stream.failure != nil || asked.session.isBroken)
  }

  // --- gRPC health -------------------------------------------------------------------------------

  private static func health(
    _ trailers: [(String, String)], message: [UInt8], status: String = "200"
  ) -> [UInt8] {
    settings + frame(1, 4, 1, fields([(":status", status)]))
      + frame(0, 0, 1, [0, 0, 0, 0, UInt8(message.count)] + message)
      + frame(1, 5, 1, fields(trailers))
  }

  @Test(
    arguments: [
      (health([("grpc-status", "0")], message: [8, 1]), nil, HealthVerdict.passed("SERVING")),
      (health([("grpc-status", "0")], message: [8, 2]), nil, .failed("NOT_SERVING")),
      (health([("grpc-status", "0")], message: []), nil, .failed("service status 0")),
      (health([("grpc-status", "0")], message: [0x12, 1, 65, 8, 1]), nil, .passed("SERVING")),
      (health([("grpc-status", "0")], message: [0x12, 90, 65]), nil, .failed("service status 0")),
      (health([("grpc-status", "5")], message: []), nil, .failed("grpc-status 5")),
      (health([("grpc-status", "12")], message: []), 12, .passed("grpc-status 12")),
      (health([], message: [8, 1]), nil, .failed("the answer has no grpc-status")),
      (
        health([("grpc-status", "0")], message: [8, 1], status: "503"), nil,
        .failed("HTTP status 503")
      ),
      (
        settings + frame(1, 5, 1, fields([(":status", "200"), ("grpc-status", "12")])), 12,
        .passed("grpc-status 12")
      ),
      (settings + frame(3, 0, 1, [0, 0, 0, 7]), nil, .failed("the call was refused")),
    ] as [([UInt8], Int?, HealthVerdict)])
  func judgesHealthChecks(bytes: [UInt8], healthyStatus: Int?, verdict: HealthVerdict) {
    let call = GRPCHealthCall(service: "s", healthyStatus: healthyStatus, host: "a", isTLS: false)
    let output = Buffer(capacity: 128 << 10)
    #expect(call.produce(into: output) && output.count > 100)
    let input = Buffer(capacity: bytes.count)
    for byte in bytes { input.append(byte) }
    #expect(call.receive(input.unread) == verdict)
  }

  @Test func knowsAnAnswerThatIsNotHTTP2() {
    let call = GRPCHealthCall(service: "", healthyStatus: nil, host: "a", isTLS: false)
    let output = Buffer(capacity: 128 << 10)
    #expect(call.produce(into: output))
    output.reset()
    for byte in "HTTP/1.1 400 Bad Request\r\n\r\n".utf8 { output.append(byte) }
    let verdict = call.receive(output.unread)
    output.reset()
    #expect(verdict != nil || !call.produce(into: output))
  }
}

private func firstRange(of wanted: [UInt8], in bytes: [UInt8]) -> Int? {
  guard bytes.count >= wanted.count else { return nil }
  return (0...bytes.count - wanted.count).first { Array(bytes[$0..<$0 + wanted.count]) == wanted }
}
