// Bodies that go through stages while they come: pauses are passed on, slow readers hold the
// upstream back, and what breaks off can't be taken for complete.

import Foundation
import Testing

@Suite struct FilterStreamTests {
  private static let config = """
    http {
      access_log off;
      charset_map one two { 41 42; }
      server {
        listen 127.0.0.1:%%PORT_0%%;
        http2 on;
        default_type text/html;
        gzip_min_length 0;
        root %%DIR%%/www;
        location / { gzip on; gzip_types text/event-stream; proxy_pass http://%%UPSTREAM%%; }
        location /unbuffered { gzip on; proxy_buffering off; proxy_pass http://%%UPSTREAM%%; }
        location /small { gzip on; gzip_buffers 2 4k; proxy_buffering off; proxy_pass http://%%UPSTREAM%%; }
        location /recoded { charset two; source_charset one; proxy_pass http://%%UPSTREAM%%; }
        location /both { gunzip on; charset two; source_charset one; proxy_pass http://%%UPSTREAM%%; }
        location /gunzip { gunzip on; proxy_buffering off; proxy_pass http://%%UPSTREAM%%; }
        location /emptied { gunzip on; sub_filter aaaaaaaa ""; sub_filter_once off; access_log %%DIR%%/access.log; proxy_pass http://%%UPSTREAM%%; }
        location /file/ { gunzip on; gzip_static always; alias %%DIR%%/www/; }
      }
    }
    """

  private func start(_ upstream: RawServer) async throws -> RunningPortico {
    try await Portico.start(
      config: Self.config.replacingOccurrences(of: "%%UPSTREAM%%", with: upstream.address),
      files: ["www/.keep": ""])
  }

  /// Sends a request and accepts it at the upstream, whose answer begins with `head`.
  private func ask(
    _ door: RunningPortico, _ upstream: RawServer, _ path: String, _ head: String,
    version: String = "1.1", accept: String = "gzip"
  ) throws -> (client: RawClient, app: RawClient) {
    let client = try door.client()
    try client.send("GET \(path) HTTP/\(version)\r\nHost: a\r\nAccept-Encoding: \(accept)\r\n\r\n")
    let app = try upstream.accept()
    _ = try app.read(until: "\r\n\r\n")
    try app.send("HTTP/1.1 200 OK\r\n\(head)\r\n\r\n")
    return (client, app)
  }

  /// Reads chunks until what `inflater` makes of them is `expected`.
  private func expect(
    _ expected: String, from client: RawClient, _ inflater: TestInflater? = nil
  ) throws {
    var content: [UInt8] = []
    while content.count < expected.utf8.count {
      let line = try client.read(until: "\r\n").dropLast()
      let size = try #require(Int(line.prefix { $0.isHexDigit }, radix: 16))
      let piece = try client.read(count: size)
      content += try inflater?.add(piece) ?? piece
      _ = try client.read(count: 2)
    }
    #expect(String(decoding: content, as: UTF8.self) == expected)
  }

  // --- pauses ------------------------------------------------------------------------------------

  @Test(arguments: [
    ("/", "Content-Type: text/html"), ("/unbuffered", "Content-Type: text/html"),
    ("/", "Content-Type: text/event-stream"),
    ("/", "Content-Type: text/html\r\nX-Accel-Buffering: no"),
  ])
  func eachEventReachesTheClientBeforeTheNextIsSent(path: String, head: String) async throws {
    let upstream = RawServer()
    let door = try await start(upstream)
    let (client, app) = try ask(door, upstream, path, head)
    let answer = try Response(head: try client.read(until: "\r\n\r\n"))
    #expect(answer["content-encoding"] == "gzip")
    let inflater = TestInflater()
    for number in 0..<20 {
      try app.send("data: event \(number)\n\n")
      try expect("data: event \(number)\n\n", from: client, inflater)
    }
    app.finishSending()
    #expect(try inflater.add(chunks(client)).isEmpty && inflater.hasEnded)
    try door.stop()
  }

  @Test func stagesWithoutACompressorPassPausesOnToo() async throws {
    let upstream = RawServer()
    let door = try await start(upstream)
    let (client, app) = try ask(door, upstream, "/recoded", "Content-Type: text/html")
    _ = try client.read(until: "\r\n\r\n")
    for _ in 0..<5 {
      try app.send("A banana ")
      try expect("B banana ", from: client)
    }
    app.finishSending()
    #expect(try chunks(client).isEmpty)
    try door.stop()
  }

  @Test func aCompressedStreamIsDecompressedAsItComes() async throws {
    let upstream = RawServer()
    let door = try await start(upstream)
    let head = "Content-Type: text/html\r\nContent-Encoding: gzip"
    let (client, app) = try ask(door, upstream, "/both", head, accept: "identity")
    let answer = try Response(head: try client.read(until: "\r\n\r\n"))
    #expect(answer["content-encoding"] == nil)
    // Each member of gzip is complete in itself.
    for number in 0..<5 {
      try app.send(gzipped(Array("A\(number)\n".utf8)))
      try expect("B\(number)\n", from: client)
    }
    app.finishSending()
    #expect(try chunks(client).isEmpty)
    try door.stop()
  }

  @Test func anHTTP2ClientGetsEventsAtOnce() async throws {
    let upstream = RawServer()
    let door = try await start(upstream)
    let curl = try Command(
      [
        "curl", "-sN", "--http2-prior-knowledge", "--compressed", "-o", door.site.folder + "got",
        "http://127.0.0.1:\(door.port())/unbuffered",
      ], folder: door.site.folder)
    let app = try upstream.accept()
    _ = try app.read(until: "\r\n\r\n")
    try app.send("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n")
    var expected = ""
    for number in 0..<5 {
      try app.send("event \(number)\n")
      expected += "event \(number)\n"
      try waitUntil("event \(number)") { door.site.text("got") == expected }
    }
    app.finishSending()
    #expect(try curl.wait().code == 0)
    try door.stop()
  }

  // --- slow readers ------------------------------------------------------------------------------

  /// Sends until nothing is taken for a while; the number of bytes that were.
  private func fill(_ app: RawClient, _ piece: [UInt8], limit: Int) -> Int {
    _ = fcntl(app.descriptor, F_SETFL, O_NONBLOCK)
    var sent = 0
    while sent < limit {
      let count = piece.withUnsafeBytes {
        Glibc.send(app.descriptor, $0.baseAddress!, $0.count, Int32(MSG_NOSIGNAL))
      }
      if count > 0 {
        sent += count
        continue
      }
      var waiting = pollfd(fd: app.descriptor, events: Int16(POLLOUT), revents: 0)
      if poll(&waiting, 1, 500) == 0 { break }
    }
    _ = fcntl(app.descriptor, F_SETFL, 0)
    return sent
  }

  private func random(_ count: Int) -> [UInt8] {
    var state: UInt64 = 88_172_645_463_325_252
    return (0..<count).map { _ in
      state ^= state << 13
      state ^= state >> 7
      state ^= state << 17
      return UInt8(truncatingIfNeeded: state)
    }
  }

  @Test(arguments: ["/unbuffered", "/small"])
  func aClientThatStopsReadingHoldsTheUpstreamBack(path: String) async throws {
    let upstream = RawServer(receiveRoom: 64 << 10)
    let door = try await start(upstream)
    let (client, app) = try ask(door, upstream, path, "Content-Type: text/html")
    let before = try residentKilobytes(door.workerPid)
    let piece = random(1 << 20)
    let sent = fill(app, piece, limit: 200 << 20)
    // What the kernel holds of both connections is a few MiB.
    #expect(sent < 32 << 20)
    #expect(try residentKilobytes(door.workerPid) - before < 8 << 10)
    app.finishSending()
    // All of it arrives once the client reads.
    var answer = try Response(head: try client.read(until: "\r\n\r\n"))
    answer.body = try chunks(client)
    let content = try #require(gunzipped(answer.body))
    #expect(content.count == sent)
    try door.stop()
  }

  /// An upstream that is faster than the compressor waits for it: neither memory nor a file is for
  /// that.
  @Test(arguments: ["/", "/unbuffered"])
  func aFastUpstreamWaitsForTheCompressor(path: String) async throws {
    let upstream = RawServer()
    let door = try await start(upstream)
    let size = 64 << 20
    let head = "Content-Type: text/html\r\nContent-Length: \(size)"
    let (client, app) = try ask(door, upstream, path, head)
    let before = try residentKilobytes(door.workerPid)
    let thread = Thread { try? app.send([UInt8](repeating: 0, count: size)) }
    thread.start()
    _ = try client.read(until: "\r\n\r\n")
    #expect(gunzipped(try chunks(client))?.count == size)
    #expect(try residentKilobytes(door.workerPid) - before < 8 << 10)
    #expect(!door.errorLog.contains("buffered to a temporary file"))
    try door.stop()
  }

  /// The bodies of all chunks to the end.
  private func chunks(_ client: RawClient) throws -> [UInt8] {
    var body: [UInt8] = []
    while true {
      let line = try client.read(until: "\r\n").dropLast()
      let size = try #require(Int(line.prefix { $0.isHexDigit }, radix: 16))
      if size == 0 {
        _ = try client.read(count: 2)
        return body
      }
      body += try client.read(count: size)
      _ = try client.read(count: 2)
    }
  }

  @Test func whatIsDecompressedIsMadeAsItIsTaken() async throws {
    let upstream = RawServer()
    let door = try await start(upstream)
    let size = 64 << 20
    let bomb = gzipped([UInt8](repeating: 0, count: size), level: 9)
    #expect(bomb.count < 100_000)
    let head = "Content-Type: text/html\r\nContent-Encoding: gzip\r\nContent-Length: \(bomb.count)"
    let (client, app) = try ask(door, upstream, "/gunzip", head, version: "1.0", accept: "identity")
    let before = try residentKilobytes(door.workerPid)
    try app.send(bomb)
    _ = try client.read(until: "\r\n\r\n")
    // The worker has done what it can without the client by the time it answers another.
    let other = try door.client()
    try other.send("GET /file/none HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(try other.response().status == 404)
    #expect(try residentKilobytes(door.workerPid) - before < 8 << 10)
    var rest = size - client.takeBuffered().count
    while rest > 0 { rest -= try client.read(count: min(rest, 1 << 16)).count }
    #expect(client.isClosed())
    try door.stop()
  }

  /// Bytes that become many between two stages, and none behind them, leave others their turns.
  @Test func whatIsDecompressedAndDroppedHoldsUpNobodyElse() async throws {
    let upstream = RawServer()
    let door = try await start(upstream)
    let other = try door.client()
    // A few kilobytes, which arrive as one piece.
    let bomb = gzipped([UInt8](repeating: UInt8(ascii: "a"), count: 6 << 20), level: 9)
    let head = "Content-Type: text/html\r\nContent-Encoding: gzip\r\nContent-Length: \(bomb.count)"
    // Who is held up never comes first; on a busy machine a test is late sometimes, too.
    var cameFirst = 0
    for round in 1...5 {
      let (client, app) = try ask(door, upstream, "/emptied", head, accept: "identity")
      try app.send(bomb)
      // The head leaves at the end of the first turn.
      _ = try client.read(until: "\r\n\r\n")
      try other.send("GET /file/none HTTP/1.1\r\nHost: a\r\n\r\n")
      #expect(try other.response().status == 404)
      func ended() -> Int {
        door.site.text("access.log").components(separatedBy: "GET /emptied HTTP/1.1\" 200").count
          - 1
      }
      if ended() < round { cameFirst += 1 }
      #expect(try chunks(client).isEmpty)
      try waitUntil("the end") { ended() == round }
    }
    #expect(cameFirst > 0)
    try door.stop()
  }

  // --- broken off --------------------------------------------------------------------------------

  @Test func aClientThatLeavesEndsTheUpstreamsResponse() async throws {
    let upstream = RawServer()
    let door = try await start(upstream)
    let (client, app) = try ask(door, upstream, "/unbuffered", "Content-Type: text/html")
    try app.send(prose(100_000))
    _ = try client.read(until: "\r\n\r\n")
    client.reset()
    #expect(app.isClosed())
    #expect(try door.get("/file/none").status == 404)
    try door.stop()
  }

  @Test(arguments: ["/", "/unbuffered"])
  func anUpstreamThatLeavesLeavesNoCompleteResponse(path: String) async throws {
    let upstream = RawServer()
    let door = try await start(upstream)
    let head = "Content-Type: text/html\r\nContent-Length: 100000"
    let (client, app) = try ask(door, upstream, path, head)
    try app.send(prose(50_000))
    app.finishSending()
    let received = try client.readToEnd()
    #expect(!received.suffix(5).elementsEqual(Array("0\r\n\r\n".utf8)))
    try door.waitForLog("upstream prematurely closed connection")

    let curl = try Command(
      [
        "curl", "-s", "--http2-prior-knowledge", "--compressed", "-o", "/dev/null",
        "http://127.0.0.1:\(door.port())\(path)",
      ], folder: door.site.folder)
    let second = try upstream.accept()
    _ = try second.read(until: "\r\n\r\n")
    try second.send("HTTP/1.1 200 OK\r\n\(head)\r\n\r\n")
    try second.send(prose(50_000))
    second.finishSending()
    #expect(try curl.wait().code == 92, "the stream was not reset")
    try door.stop()
  }

  @Test(arguments: ["broken", "short", "longer"])
  func whatCannotBeDecompressedBreaksOff(kind: String) async throws {
    let upstream = RawServer()
    let door = try await start(upstream)
    var body = gzipped(prose(200_000))
    switch kind {
    case "broken": body[body.count / 2] ^= 0xFF
    case "short": body.removeLast(4)
    default: body += Array("that is no gzip".utf8)
    }
    let head = "Content-Type: text/html\r\nContent-Encoding: gzip\r\nContent-Length: \(body.count)"
    for version in ["1.1", "1.0"] {
      let (client, app) = try ask(
        door, upstream, "/gunzip", head, version: version, accept: "identity")
      try app.send(body)
      do {
        let received = try client.readToEnd()
        #expect(!received.suffix(5).elementsEqual(Array("0\r\n\r\n".utf8)))
        #expect(version == "1.1", "a connection that ends well ends the body")
      } catch RawClient.Failure.reset {
        #expect(version == "1.0")
      }
    }
    try door.waitForLog("while decompressing")
    // The worker is well.
    #expect(try door.get("/file/none").status == 404)
    try door.stop()
  }

  /// What could be decompressed is the client's.
  @Test func aCutBodyGoesOutAsFarAsItCame() async throws {
    let upstream = RawServer()
    let door = try await start(upstream)
    let body = Array(gzipped(prose(5_000)).dropLast(4))
    let head = "Content-Type: text/html\r\nContent-Encoding: gzip\r\nContent-Length: \(body.count)"
    let (client, app) = try ask(door, upstream, "/gunzip", head, accept: "identity")
    try app.send(body)
    #expect(try client.readToEnd().count > 5_000)
    try door.waitForLog("ended too early")
    try door.stop()
  }

  @Test func aBrokenFileBreaksOffToo() async throws {
    let upstream = RawServer()
    let door = try await start(upstream)
    let file = door.site.folder + "www/a.html.gz"
    try Data(gzipped(prose(300_000)).dropLast(100)).write(to: URL(fileURLWithPath: file))
    let client = try door.client()
    try client.send("GET /file/a.html HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(!(try client.readToEnd()).suffix(5).elementsEqual(Array("0\r\n\r\n".utf8)))
    try door.waitForLog("ended too early")
    try door.stop()
  }
}
