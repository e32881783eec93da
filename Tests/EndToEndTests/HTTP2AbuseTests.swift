// What hostile clients of HTTP/2 do: each attack runs against the real binary, ends with the right
// code, costs little memory, and other connections don't notice.

import Foundation
import Testing

@Suite struct HTTP2AbuseTests {
  private func start(
    _ upstream: TestUpstream? = nil, http: String = "", server: String = ""
  ) async throws -> RunningPortico {
    let app = try upstream ?? TestUpstream { _ in .answer(body: "app") }
    return try await Portico.start(
      config: """
        http {
          http2 on;
          access_log off;
          \(http)
          server {
            listen 127.0.0.1:%%PORT_0%%;
            root %%DIR%%;
            \(server)
            location /fixed { return 200 fine; }
            location /app/ { proxy_pass http://%%UPSTREAM_0%%; }
          }
        }
        """, files: ["large": String(repeating: "0123456789", count: 100_000)], upstreams: [app])
  }

  /// Runs `attack` between two requests of a bystander, and holds its memory to 8 MiB.
  private func withstand(
    _ door: RunningPortico, _ attack: (H2Client) throws -> Void
  ) throws -> UInt32? {
    let bystander = try H2Client(port: door.port(0))
    try bystander.request(1, "/fixed")
    #expect(try bystander.response(1).status == 200)
    let before = try residentKilobytes(door.workerPid)
    let attacker = try H2Client(port: door.port(0))
    // The connection may end in the middle.
    try? attack(attacker)
    let code = attacker.goAwayCode()
    #expect(try residentKilobytes(door.workerPid) - before < 8 << 10)
    try bystander.request(3, "/fixed")
    #expect(try bystander.response(3).status == 200)
    return code
  }

  /// What a request took is there for the next one: nothing grows with their number.
  @Test func manyRequestsTakeNoMoreMemoryThanAFew() async throws {
    let door = try await start(server: "keepalive_requests 100000;")
    let client = try H2Client(port: door.port(0))
    var stream: UInt32 = 1
    func ask(_ count: Int) throws {
      for _ in 0..<(count / 50) {
        for _ in 0..<50 {
          // No bodies: nobody opens the connection's window.
          try client.request(stream, "/fixed", method: "HEAD")
          stream += 2
        }
        for _ in 0..<50 {
          _ = try client.frame { $0.endsStream && ($0.type == .headers || $0.type == .data) }
        }
      }
    }
    try ask(1000)
    let before = try residentKilobytes(door.workerPid)
    try ask(20_000)
    #expect(try residentKilobytes(door.workerPid) - before < 3 << 10)
  }

  // --- floods ------------------------------------------------------------------------------------

  @Test func endsRapidReset() async throws {
    let upstream = try TestUpstream { _ in .steps([.silence]) }
    let door = try await start(upstream)
    let code = try withstand(door) { client in
      for index in 0..<20_000 {
        let stream = UInt32(2 * index + 1)
        try client.request(stream, "/app/")
        try client.send(.reset, stream: stream, payload: H2Frame.number(H2Code.cancel))
      }
    }
    #expect(code == H2Code.enhanceYourCalm)
    #expect(upstream.requests.count < 500)
  }

  /// MadeYouReset (CVE-2025-8671): the server is made to reset.
  @Test func countsResetsThatItIsMadeToSend() async throws {
    let upstream = try TestUpstream { _ in .steps([.silence]) }
    let door = try await start(upstream)
    let code = try withstand(door) { client in
      for index in 0..<20_000 {
        let stream = UInt32(2 * index + 1)
        try client.request(stream, "/app/")
        // RFC 9113 §6.9: an increment of 0 is a stream error.
        try client.send(.windowUpdate, stream: stream, payload: [0, 0, 0, 0])
      }
    }
    #expect(code == H2Code.enhanceYourCalm || code == H2Code.protocolError)
    #expect(upstream.requests.count < 500)
  }

  /// A proxy in front passes on what its many clients break off.
  @Test func letsABusyClientBreakSomeRequestsOff() async throws {
    let door = try await start(server: "keepalive_requests 100000;")
    let client = try H2Client(port: door.port(0))
    var stream: UInt32 = 1
    for _ in 0..<200 {
      for _ in 0..<16 {
        try client.request(stream, "/fixed", method: "HEAD")
        stream += 2
      }
      for _ in 0..<3 {
        try client.request(stream, "/app/", method: "POST", ends: false)
        try client.send(.reset, stream: stream, payload: H2Frame.number(H2Code.cancel))
        stream += 2
      }
      var count = 0
      while count < 16 {
        let frame = try client.frame()
        try #require(frame.type != .goAway)
        if frame.type == .headers { count += 1 }
      }
    }
  }

  /// Clients of gRPC leave a stream of messages when they had those that they wanted.
  @Test func letsAClientLeaveStreamsThatWereAnswered() async throws {
    let door = try await start(server: "keepalive_requests 100000;")
    let client = try H2Client(port: door.port(0), settings: [(4, 50)])
    for round in 0..<8 {
      let streams = (0..<100).map { UInt32(2 * (100 * round + $0) + 1) }
      for stream in streams { try client.request(stream, "/large") }
      for _ in streams {
        let frame = try client.frame { $0.type == .data || $0.type == .goAway }
        try #require(frame.type == .data)
      }
      for stream in streams {
        try client.send(.reset, stream: stream, payload: H2Frame.number(H2Code.cancel))
      }
    }
    try client.request(1601, "/fixed")
    #expect(try client.response(1601).status == 200)
  }

  @Test(arguments: [
    H2Client.frame(.settings), H2Client.frame(.ping, payload: [UInt8](repeating: 0, count: 8)),
    H2Client.frame(.priority, stream: 3, payload: [0, 0, 0, 5, 1]),
    H2Client.frame(.windowUpdate, payload: [0, 0, 0, 1]),
  ])
  func endsFloodsOfFramesThatSayNothing(frame: [UInt8]) async throws {
    let door = try await start()
    let code = try withstand(door) { client in
      let batch = Array(repeating: frame, count: 1000).flatMap { $0 }
      for _ in 0..<100 { try client.raw.send(batch) }
    }
    #expect(code == H2Code.enhanceYourCalm)
  }

  @Test func endsAFloodOfEmptyData() async throws {
    let door = try await start()
    let code = try withstand(door) { client in
      try client.request(1, "/app/", method: "POST", ends: false)
      let batch = Array(repeating: H2Client.frame(.data, stream: 1), count: 1000).flatMap { $0 }
      for _ in 0..<100 { try client.raw.send(batch) }
    }
    #expect(code == H2Code.enhanceYourCalm)
  }

  @Test func endsAFloodOfContinuations() async throws {
    let door = try await start()
    let code = try withstand(door) { client in
      try client.send(.headers, flags: 0, stream: 1, payload: H2Client.block())
      for index in 0..<5000 {
        try client.send(.continuation, stream: 1, payload: H2Frame.block([("x-\(index)", "y")]))
      }
    }
    #expect(code == H2Code.enhanceYourCalm)
  }

  // --- heads -------------------------------------------------------------------------------------

  /// One indexed byte a field: 16 KiB of them stand for far more.
  @Test func refusesABombOfIndexedFields() async throws {
    let door = try await start()
    let client = try H2Client(port: door.port(0))
    let before = try residentKilobytes(door.workerPid)
    for stream in stride(from: UInt32(1), to: 41, by: 2) {
      // Indexed once with a long value, then named by one byte each (RFC 7541 §6.1).
      let field: [UInt8] =
        [0x40] + H2Frame.block([("x", String(repeating: "v", count: 3900))]).dropFirst()
      let block = H2Client.block() + field + [UInt8](repeating: 0x80 | 62, count: 10_000)
      try client.send(.headers, flags: 5, stream: stream, payload: block)
      #expect(try client.response(stream).status == 400)
    }
    #expect(try residentKilobytes(door.workerPid) - before < 8 << 10)
    #expect(door.errorLog.contains("client sent too large header"))
  }

  @Test func countsCrumbsOfCookiesOneByOne() async throws {
    let door = try await start(server: "max_headers 100;")
    let client = try H2Client(port: door.port(0))
    try client.request(1, "/fixed", fields: Array(repeating: ("cookie", "a"), count: 90))
    #expect(try client.response(1).status == 200)
    try client.request(3, "/fixed", fields: Array(repeating: ("cookie", "a"), count: 200))
    #expect(try client.response(3).status == 400)
    #expect(door.errorLog.contains("client sent too many header fields"))
  }

  @Test func refusesALargeHead() async throws {
    let door = try await start()
    let client = try H2Client(port: door.port(0))
    let fields = (0..<12).map { ("x-\($0)", String(repeating: "v", count: 1000)) }
    try client.request(1, "/fixed", fields: fields)
    #expect(try client.response(1).status == 200)
    let many = (0..<40).map { ("x-\($0)", String(repeating: "v", count: 1000)) }
    let block = H2Client.block("/fixed", fields: many)
    try client.send(.headers, flags: 1, stream: 3, payload: Array(block[..<16_000]))
    try client.send(.continuation, flags: 0, stream: 3, payload: Array(block[16_000..<32_000]))
    try client.send(.continuation, flags: 4, stream: 3, payload: Array(block[32_000...]))
    #expect(try client.response(3).status == 400)
  }

  // --- holding on --------------------------------------------------------------------------------

  /// Of the stream, or of the connection.
  @Test(arguments: [UInt32(1), 0])
  func letsGoOfAWindowThatOpensByteByByte(stream: UInt32) async throws {
    let door = try await start(server: "send_timeout 400ms;")
    let window = stream == 0 ? UInt32(1 << 20) : 0
    let client = try H2Client(port: door.port(0), settings: [(4, window)])
    try client.request(1, "/large")
    let deadline = Deadline(in: patience)
    while !deadline.hasPassed {
      try client.send(.windowUpdate, stream: stream, payload: [0, 0, 0, 1])
      // A byte each 50 ms.
      while let frame = try? client.frame(within: 0.05) {
        guard frame.type == .reset else { continue }
        #expect(frame.code == H2Code.cancel && frame.stream == 1)
        return
      }
    }
    Issue.record("the stream was held")
  }

  /// A window without bounds: what fills it isn't read from files before the socket takes it, and
  /// nobody waits meanwhile.
  @Test(arguments: ["/huge", "/cached/"])
  func readsNoMoreThanTheSocketTakes(path: String) async throws {
    let upstream = try TestUpstream { _ in
      .answer(body: String(repeating: "x", count: 64 << 20))
    }
    let door = try await start(
      upstream, http: "proxy_cache_path %%DIR%%/cache keys_zone=one:1m;",
      server: """
        location /cached/ {
          proxy_pass http://%%UPSTREAM_0%%; proxy_cache one; proxy_cache_valid 1h;
        }
        """)
    let file = door.site.folder + "huge"
    _ = FileManager.default.createFile(atPath: file, contents: nil)
    try #require(FileHandle(forWritingAtPath: file)).truncate(atOffset: 200 << 20)
    if path != "/huge" {
      let url = "http://127.0.0.1:\(door.port())\(path)"
      _ = try Command.run(["curl", "-s", "-o", "/dev/null", url], folder: door.site.folder)
    }
    let before = try residentKilobytes(door.workerPid)
    let client = try H2Client(port: door.port(0), settings: [(4, 0x7fff_ffff)])
    try client.send(.windowUpdate, payload: H2Frame.number(0x7fff_ffff - 65_535))
    try client.request(1, path)
    #expect(try client.frame { $0.type == .headers }.status == 200)
    let bystander = try H2Client(port: door.port(0))
    try bystander.request(1, "/fixed")
    #expect(try bystander.response(1).status == 200)
    #expect(try residentKilobytes(door.workerPid) - before < 8 << 10)
    // What the same client asks for next has its answer, too, once it reads.
    try client.request(3, "/fixed")
    #expect(try client.response(3).status == 200)
  }

  @Test func holdsLittleForStreamsWhoseWindowIsShut() async throws {
    let upstream = try TestUpstream { _ in
      .answer(body: String(repeating: "x", count: 300_000))
    }
    let door = try await start(upstream)
    let client = try H2Client(port: door.port(0), settings: [(4, 0)])
    let before = try residentKilobytes(door.workerPid)
    for index in 0..<100 { try client.request(UInt32(2 * index + 1), "/app/") }
    for _ in 0..<100 { _ = try client.frame { $0.type == .headers } }
    #expect(try residentKilobytes(door.workerPid) - before < 24 << 10)
  }

  @Test(arguments: [
    "PRI * HT", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0",
  ])
  func waitsForARequestOnlySoLong(beginning: String) async throws {
    let door = try await start(server: "client_header_timeout 300ms;")
    let client = try RawClient(port: door.port(0))
    try client.send(beginning)
    // Sooner than the default of a minute.
    _ = try client.readToEnd()
  }

  @Test func waitsForAHeadOnlySoLong() async throws {
    let door = try await start(server: "client_header_timeout 300ms;")
    let client = try H2Client(port: door.port(0))
    try client.send(.headers, flags: 1, stream: 1, payload: H2Client.block())
    #expect(try client.frame { $0.type == .reset }.code == H2Code.protocolError)
    // The connection lives on: a request was made, if a bad one, and `keepalive_timeout` counts.
    #expect(throws: (any Error).self) { try client.frame(within: 0.7) { $0.type == .goAway } }
    try client.send(.continuation, flags: H2Frame.endHeaders, stream: 1)
    try client.request(3, "/small.txt")
    #expect(try client.frame { $0.stream == 3 }.type == .headers)
  }

  // --- what an upstream must never see -----------------------------------------------------------

  private static let malformed: [(String, [(String, String)])] = [
    ("a line feed in a value", [("x", "a\nb")]), ("CRLF in a value", [("x", "a\r\nevil: 1")]),
    ("NUL in a value", [("x", "a\0b")]), ("a name in capitals", [("X-Up", "a")]),
    ("a space in a name", [("x y", "a")]), ("a colon in a name", [("x:y", "a")]),
    ("CRLF in a name", [("x\r\nevil", "a")]), ("no name", [("", "a")]),
    ("Connection", [("connection", "close")]), ("Keep-Alive", [("keep-alive", "1")]),
    ("Proxy-Connection", [("proxy-connection", "close")]), ("Upgrade", [("upgrade", "h2c")]),
    ("Transfer-Encoding", [("transfer-encoding", "chunked")]), ("TE", [("te", "gzip")]),
    ("a late pseudo-header field", [("x", "a"), (":path", "/b")]),
    ("an unknown pseudo-header field", [(":evil", "a")]),
    ("a second path", [(":path", "/b")]),
    ("a pseudo-header field of responses", [(":status", "200")]),
    ("a length that doesn't match", [("content-length", "5")]),
    ("a length that is none", [("content-length", "+0")]),
    ("two lengths", [("content-length", "0"), ("content-length", "0")]),
    ("a Host other than the authority", [("host", "other")]),
    ("white space around a value", [("x", " a ")]),
  ]

  @Test(arguments: malformed)
  func refusesMalformedFields(what: String, fields: [(String, String)]) async throws {
    let upstream = try TestUpstream { _ in .answer(body: "app") }
    let door = try await start(upstream)
    let client = try H2Client(port: door.port(0))
    try client.request(1, "/app/", fields: fields)
    let frame = try client.frame { $0.stream == 1 || $0.type == .goAway }
    #expect(frame.type == .reset || frame.type == .goAway || frame.status == 400, "\(what)")
    #expect(upstream.requests.isEmpty, "\(what)")
  }

  @Test(arguments: [
    ("GET", ""), ("GET", "app"), ("GET", "/app/ x"), ("GET", "/app/\r\nx"), ("GET", "/app/\0"),
    ("GET", "*"), ("GET", "http:/app/"), ("GE T", "/app/"), ("get\r\n", "/app/"), ("", "/app/"),
    ("TRACE", "/app/"), ("CONNECT", "/app/"), ("GET", "/app/%00"), ("GET", "/app/../../x"),
  ])
  func refusesMalformedTargets(method: String, path: String) async throws {
    let upstream = try TestUpstream { _ in .answer(body: "app") }
    let door = try await start(upstream)
    let client = try H2Client(port: door.port(0))
    try client.request(1, path, method: method)
    let frame = try client.frame { $0.stream == 1 || $0.type == .goAway }
    #expect(frame.type != .headers || frame.status != 200, "\(method) \(path)")
    #expect(upstream.requests.isEmpty, "\(method) \(path)")
  }

  @Test func treatsFramesOfClosedStreamsAsErrors() async throws {
    let door = try await start()
    let client = try H2Client(port: door.port(0))
    try client.request(1, "/fixed")
    _ = try client.response(1)
    try client.request(5, "/fixed")
    _ = try client.response(5)
    try client.request(3, "/fixed")
    let code = client.goAwayCode()
    #expect(code == H2Code.protocolError || code == H2Code.streamClosed)
  }
}
