// Bodies in memory, in files and streamed; a slow reader holds the upstream back instead of filling
// our memory; a disk that is full is answered, not suffered.

import Foundation
import Testing

/// Bytes of which no piece looks like another.
private func pattern(_ count: Int) -> [UInt8] {
  (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8 &+ $0 >> 16) }
}

@Suite struct BufferingTests {
  /// Up to `client_body_buffer_size`, a body stays in memory, where variables find it.
  @Test func aBodyThatJustFitsStaysInMemory() async throws {
    let app = try TestUpstream { .answer(body: "\($0.body.count)") }
    let door = try await Portico.start(
      config: """
        http { client_body_buffer_size 200000; client_max_body_size 1m; server {
          listen 127.0.0.1:%%PORT_0%%; location / {
            add_header X-File $request_body_file; proxy_set_body "B$request_body";
            proxy_pass http://%%UPSTREAM_0%%;
        } } }
        """, upstreams: [app])
    for size in [4_095, 4_096, 16_384, 65_536, 131_072, 199_999, 200_000] {
      let client = try door.client()
      let body = String(repeating: "x", count: size)
      try client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \(size)\r\n\r\n\(body)")
      let answer = try client.response()
      #expect(answer.text == "\(size + 1)" && answer["X-File"] == nil, "\(size)")
    }
    try door.stop()
  }

  @Test func passesRequestBodiesOfEverySizeOn() async throws {
    let config = """
      http { server {
        listen 127.0.0.1:%%PORT_0%%;
        client_max_body_size 10m; client_body_buffer_size 16k; client_body_temp_path %%DIR%%/bodies;
        location /buffered { proxy_pass http://%%UPSTREAM_0%%; }
        location /streamed { proxy_pass http://%%UPSTREAM_0%%; proxy_request_buffering off; }
        location /file { proxy_pass http://%%UPSTREAM_0%%; client_body_in_file_only clean; }
      } }
      """
    let app = try TestUpstream { _ in .answer(body: "thanks") }
    let door = try await Portico.start(
      config: config, files: ["bodies/.keep": ""], upstreams: [app])
    let client = try door.client()
    for path in ["/buffered", "/streamed", "/file"] {
      for size in [1, 16 << 10, 16 << 10 | 1, 300_000] {
        let body = pattern(size)
        try client.send("PUT \(path) HTTP/1.1\r\nHost: a\r\nContent-Length: \(size)\r\n\r\n")
        try client.send(body)
        #expect(try client.response().text == "thanks")
        try client.send("PUT \(path) HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        try client.send("\(String(size, radix: 16))\r\n")
        try client.send(body)
        try client.send("\r\n0\r\n\r\n")
        #expect(try client.response().text == "thanks")
        #expect(app.requests.suffix(2).allSatisfy { $0.body == body }, "\(path), \(size)")
      }
    }
    #expect(app.requests.count == 24)
    #expect(door.errorLog.contains("buffered to a temporary file"))
    // The last one is removed once its answer has left.
    try waitUntil("the bodies to be removed") { try door.names(in: "bodies") == [".keep"] }
    try door.stop()
  }

  @Test func aBufferedRequestReachesTheUpstreamWholeAStreamedOneAtOnce() async throws {
    let upstream = RawServer()
    let door = try await Portico.start(
      config: """
        http { server {
          listen 127.0.0.1:%%PORT_0%%;
          location /buffered { proxy_pass http://\(upstream.address); }
          location /streamed { proxy_pass http://\(upstream.address); proxy_request_buffering off; }
        } }
        """)
    let slow = try door.client()
    try slow.send("POST /buffered HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nhalf")
    let streaming = try door.client()
    try streaming.send("POST /streamed HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nhalf")
    let first = try upstream.accept()
    #expect(try first.read(until: "half").hasPrefix("POST /streamed "))
    #expect(!upstream.waits(within: 0.2))
    try streaming.send("half")
    #expect(try first.read(count: 4) == Array("half".utf8))
    try slow.send("half")
    #expect(try upstream.accept().read(until: "halfhalf").hasPrefix("POST /buffered "))
    try door.stop(SIGTERM)
  }

  @Test(arguments: [
    "Content-Length: 10\r\n\r\n01234", "Transfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n",
  ])
  func whatIsThereOfAStreamedBodyGoesOutWithTheHead(request: String) async throws {
    let server = RawServer()
    let door = try await Portico.start(
      config: """
        http { server {
          listen 127.0.0.1:%%PORT_0%%;
          location / { proxy_request_buffering off; proxy_pass http://\(server.address); }
        } }
        """)
    let isChunked = request.hasPrefix("T")
    // Two writes would come apart in some of them.
    for _ in 0..<40 {
      let client = try door.client()
      try client.send("POST / HTTP/1.1\r\nHost: a\r\n\(request)")
      let connection = try server.accept()
      _ = try connection.read(until: "\r\n\r\n")
      let first = String(decoding: connection.takeBuffered(), as: UTF8.self)
      #expect(first == (isChunked ? "5\r\n01234\r\n" : "01234"))
      try client.send(isChunked ? "5\r\n56789\r\n0\r\n\r\n" : "56789")
      let rest = isChunked ? "5\r\n56789\r\n0\r\n\r\n" : "56789"
      #expect(try connection.read(count: rest.utf8.count) == Array(rest.utf8))
      try connection.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
      #expect(try client.response().status == 200)
    }
  }

  @Test(arguments: ["proxy_buffering off;", "proxy_max_temp_file_size 0;"])
  func aSlowReaderOfABigResponseCostsNoMemory(location: String) async throws {
    let size = 150 << 20
    let piece = pattern(1 << 20)
    let upstream = RawServer()
    let door = try await Portico.start(
      config: """
        http { server {
          listen 127.0.0.1:%%PORT_0%% sndbuf=64k;
          location / { proxy_pass http://\(upstream.address); \(location) }
        } }
        """)
    func exchange() throws -> (RawClient, RawClient) {
      let client = try door.client()
      try client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      let server = try upstream.accept()
      _ = try server.read(until: "\r\n\r\n")
      return (client, server)
    }
    // Warm: the buffers of the first exchanges are in the pool.
    for _ in 0..<3 {
      let (client, server) = try exchange()
      try server.send(
        "HTTP/1.1 200 OK\r\nContent-Length: \(piece.count)\r\nConnection: close\r\n\r\n")
      try server.send(piece)
      #expect(try client.response().body == piece)
    }
    let worker = try door.workerPid
    let before = try residentKilobytes(worker)
    let (client, server) = try exchange()
    let sender = Thread {
      try? server.send("HTTP/1.1 200 OK\r\nContent-Length: \(size)\r\nConnection: close\r\n\r\n")
      for _ in 0..<size / piece.count { try? server.send(piece) }
    }
    sender.start()
    _ = try client.read(until: "\r\n\r\n")
    var highest = 0
    var room = [UInt8](repeating: 0, count: 1 << 20)
    var sum = client.takeBuffered().count
    while sum < size {
      // Slow at first, so that everything between the ends is as full as it gets.
      if sum < 2 << 20 { usleep(20_000) }
      let wanted = sum < 2 << 20 ? 100_000 : room.count
      let count = recv(client.descriptor, &room, wanted, 0)
      guard count > 0 else { break }
      sum += count
      highest = max(highest, try residentKilobytes(worker))
    }
    #expect(sum == size)
    #expect(highest - before < 1024, "\(highest - before) kB")
    try door.stop()
  }

  @Test func aSlowReaderOfABufferedResponseIsServedFromAFile() async throws {
    let upstream = RawServer()
    let door = try await Portico.start(
      config: """
        http { server {
          listen 127.0.0.1:%%PORT_0%% sndbuf=64k;
          location / { proxy_pass http://\(upstream.address); proxy_temp_path %%DIR%%/spool; }
        } }
        """, files: ["spool/.keep": ""])
    let body = pattern(20 << 20)
    let client = try door.client()
    try client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    let server = try upstream.accept()
    _ = try server.read(until: "\r\n\r\n")
    try server.send("HTTP/1.1 200 OK\r\nContent-Length: \(body.count)\r\nConnection: close\r\n\r\n")
    // All of it is taken although the client reads nothing: the upstream is free again.
    let before = try residentKilobytes(door.workerPid)
    try server.send(body)
    #expect(server.isClosed())
    #expect(try residentKilobytes(door.workerPid) - before < 2048)
    #expect(door.errorLog.contains("buffered to a temporary file"))
    #expect(try client.response().body == body)
    try waitUntil("the response to be removed") { try door.names(in: "spool") == [".keep"] }
    try door.stop()
  }

  @Test func aSlowUpstreamHoldsAStreamedUploadBack() async throws {
    let upstream = RawServer()
    let door = try await Portico.start(
      config: """
        http { server {
          listen 127.0.0.1:%%PORT_0%% rcvbuf=64k;
          client_max_body_size 0;
          location / { proxy_pass http://\(upstream.address); proxy_request_buffering off; }
        } }
        """)
    let client = try door.client()
    let size = 40 << 20
    let piece = pattern(1 << 20)
    try client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: \(size)\r\n\r\n")
    let server = try upstream.accept()
    _ = try server.read(until: "\r\n\r\n")
    let worker = try door.workerPid
    let before = try residentKilobytes(worker)
    let sender = Thread { for _ in 0..<size / piece.count { try? client.send(piece) } }
    sender.start()
    var highest = 0
    var sum = server.takeBuffered().count
    var room = [UInt8](repeating: 0, count: 1 << 20)
    while sum < size {
      if sum < 2 << 20 { usleep(20_000) }
      let count = recv(server.descriptor, &room, sum < 2 << 20 ? 100_000 : room.count, 0)
      guard count > 0 else { break }
      sum += count
      highest = max(highest, try residentKilobytes(worker))
    }
    #expect(sum == size)
    #expect(highest - before < 1024, "\(highest - before) kB")
    try server.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    #expect(try client.response().text == "ok")
    try door.stop()
  }

  @Test(
    arguments: ["on", "off"],
    [
      "Content-Length: 6|abc|def", "Transfer-Encoding: chunked|3\r\nabc|\r\n0\r\n\r\n",
    ])
  func onlyTheClientIsBoundByTheTimeForTheBody(_ buffering: String, _ body: String) async throws {
    let app = try TestUpstream { _ in
      .steps([.pause(seconds: 1.5), .bytes("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")])
    }
    let door = try await Portico.start(
      config: """
        http { server {
          listen 127.0.0.1:%%PORT_0%%; client_body_timeout 1s;
          location / { proxy_pass http://%%UPSTREAM_0%%; proxy_request_buffering \(buffering); }
        } }
        """, upstreams: [app])
    let parts = body.components(separatedBy: "|")
    func begin() throws -> RawClient {
      let client = try door.client()
      try client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\(parts[0])\r\n\r\n")
      // Says that the body is waited for.
      #expect(try client.read(until: "\r\n\r\n").hasPrefix("HTTP/1.1 100"))
      try client.send(parts[1])
      return client
    }
    let slowUpstream = try begin()
    try slowUpstream.send(parts[2])
    #expect(try slowUpstream.response().text == "ok")
    let slowClient = try begin()
    #expect(try slowClient.response().status == 408)
    #expect(slowClient.isClosed())
    try door.stop()
  }

  @Test func theTimeForABodyStandsStillWhileTheUpstreamTakesNoneOfIt() async throws {
    let server = RawServer(receiveRoom: 16 << 10)
    let door = try await Portico.start(
      config: """
        http { server {
          listen 127.0.0.1:%%PORT_0%%; client_body_timeout 1s; client_max_body_size 0;
          location / { proxy_pass http://\(server.address); proxy_request_buffering off; }
        } }
        """)
    let size = 16 << 20
    let client = try door.client()
    let sender = Thread {
      try? client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \(size)\r\n\r\nx")
      try? client.send([UInt8](repeating: 65, count: size - 1))
    }
    sender.start()
    let upstream = try server.accept()
    _ = try upstream.read(until: "\r\n\r\n")
    // More than the time for the body, in which the upstream is the one who is late.
    #expect(throws: RawClient.Failure.timedOut(received: "")) {
      try client.read(count: 1, within: 2)
    }
    _ = try upstream.read(count: size, within: 60)
    try upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    #expect(try client.response().text == "ok")
    try door.stop()
  }

  @Test func refusesBodiesThatAreTooLarge() async throws {
    let app = try TestUpstream { _ in .answer() }
    let door = try await Portico.start(
      config: """
        http { server {
          listen 127.0.0.1:%%PORT_0%%;
          client_max_body_size 1000;
          location / { proxy_pass http://%%UPSTREAM_0%%; }
        } }
        """, upstreams: [app])
    let known = try door.client()
    try known.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n")
    #expect(try known.response().status == 413)
    let chunked = try door.client()
    try chunked.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n")
    try chunked.send([UInt8](repeating: 65, count: 1001))
    #expect(try chunked.response().status == 413)
    #expect(chunked.isClosed())
    #expect(app.requests.isEmpty)
    try door.stop()
  }
}

extension RunningPortico {
  /// Names of the files in a folder of the site.
  fileprivate func names(in folder: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: site.folder + folder)
  }
}
