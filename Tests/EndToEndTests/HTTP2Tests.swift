// HTTP/2 to clients: requests and responses, flow control, the way a connection ends. Real clients
// (curl, nghttp) where they can, raw frames where they can't.

import Foundation
import Testing

@Suite struct HTTP2Tests {
  /// A plain port (0) and a TLS port (1), in front of `upstream`.
  private func start(
    _ upstream: TestUpstream, http: String = "", server: String = ""
  ) async throws -> RunningPortico {
    let site = try Site(
      config: """
        http {
          http2 on;
          log_format short "$status $server_protocol $http2 $request";
          access_log %%DIR%%/access.log short;
          \(http)
          server {
            listen 127.0.0.1:%%PORT_0%%;
            listen 127.0.0.1:%%PORT_1%% ssl;
            ssl_certificate localhost.crt; ssl_certificate_key localhost.key;
            root %%DIR%%/files;
            \(server)
            location /fixed { return 200 "$http_cookie|$host|$request_uri"; }
            location /app/ { proxy_pass http://%%UPSTREAM_0%%; }
            location /stream/ {
              proxy_pass http://%%UPSTREAM_0%%;
              proxy_request_buffering off; proxy_buffering off;
            }
          }
        }
        """,
      files: [
        "files/small.txt": "small", "files/large": String(repeating: "0123456789", count: 30_000),
      ],
      upstreams: [upstream])
    try site.makeCertificate("localhost")
    return try await Portico.start(site)
  }

  private func echo() throws -> TestUpstream {
    try TestUpstream { request in
      .answer(body: "\(request.method) \(request.path) \(request.version) \(request.body.count)")
    }
  }

  private func curl(_ door: RunningPortico, _ options: [String], tls: Bool = true) throws -> String
  {
    let url = tls ? "https://127.0.0.1:\(door.port(1))" : "http://127.0.0.1:\(door.port(0))"
    let mode = tls ? "--http2" : "--http2-prior-knowledge"
    let words =
      ["curl", "-sk", mode, "-m", "35"] + options.dropLast() + [url + (options.last ?? "/")]
    return try Command.run(words, folder: door.site.folder).standardOutput
  }

  @Test(arguments: [true, false])
  func answersWhatHTTP1Answers(tls: Bool) async throws {
    let door = try await start(try echo())
    let version = ["-w", "|%{http_version}|%{http_code}"]
    #expect(try curl(door, version + ["/small.txt"], tls: tls) == "small|2|200")
    #expect(try curl(door, version + ["/none"], tls: tls).hasSuffix("|2|404"))
    #expect(try curl(door, ["/app/x?y=1"], tls: tls) == "GET /app/x?y=1 HTTP/1.1 0")
    #expect(try curl(door, ["-d", "12345", "/app/"], tls: tls) == "POST /app/ HTTP/1.1 5")
    #expect(try curl(door, ["-I", "-w", "%{http_code}", "/small.txt"], tls: tls).hasSuffix("200"))
    #expect(try curl(door, ["/large"], tls: tls).count == 300_000)
    #expect(try curl(door, ["-r", "0-1", "/small.txt"], tls: tls) == "sm")
    let log = door.site.text("access.log")
    #expect(log.contains("200 HTTP/2.0 \(tls ? "h2" : "h2c") GET /app/x?y=1 HTTP/2.0"))
  }

  @Test func speaksHTTP1OnTheSamePorts() async throws {
    let door = try await start(try echo())
    #expect(try door.get("/small.txt").text == "small")
    let answer = try Command.run(
      [
        "curl", "-sk", "--http1.1", "-w", "%{http_version}",
        "https://127.0.0.1:\(door.port(1))/small.txt",
      ],
      folder: door.site.folder)
    #expect(answer.standardOutput == "small1.1")
    // The beginning of the preface may come byte by byte.
    let client = try RawClient(port: door.port(0))
    for byte in "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8 { try client.send([byte]) }
    try client.send(H2Client.frame(.settings))
    #expect(try client.read(count: 9)[3] == 4)
  }

  /// nginx serves clients without SETTINGS; an answer to what they didn't send would be an error.
  @Test(arguments: [false, true])
  func acknowledgesSettingsThatCame(_ came: Bool) async throws {
    let door = try await start(try echo())
    let client = try RawClient(port: door.port(0))
    try client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    if came { try client.send(H2Client.frame(.settings)) }
    try client.send(H2Client.frame(.ping, payload: [UInt8](repeating: 7, count: 8)))
    var kinds: [UInt8] = []
    var acknowledgements = 0
    while kinds.last != H2Frame.Kind.ping.rawValue {
      let head = try client.read(count: 9)
      _ = try client.read(count: H2Frame.length(head: head))
      kinds.append(head[3])
      if head[3] == H2Frame.Kind.settings.rawValue && head[4] == 1 { acknowledgements += 1 }
    }
    #expect(acknowledgements == (came ? 1 : 0))
  }

  @Test func offersHTTP2OnlyWhereItIsOn() async throws {
    let site = try Site(
      config: """
        http {
          server {
            listen 127.0.0.1:%%PORT_0%% ssl; server_name one.test; http2 on; return 200 one;
            ssl_certificate one.test.crt; ssl_certificate_key one.test.key;
          }
          server {
            listen 127.0.0.1:%%PORT_0%% ssl; server_name two.test; return 200 two;
            ssl_certificate one.test.crt; ssl_certificate_key one.test.key;
          }
          server {
            listen 127.0.0.1:%%PORT_1%% ssl http2; server_name three.test; return 200 three;
            ssl_certificate one.test.crt; ssl_certificate_key one.test.key;
          }
        }
        """)
    try site.makeCertificate("one.test")
    let door = try await Portico.start(site)
    for (name, port, version) in [
      ("one.test", 0, "2"), ("two.test", 0, "1.1"), ("three.test", 1, "2"),
    ] {
      let number = door.port(port)
      let result = try Command.run(
        [
          "curl", "-sk", "--http2", "--resolve", "\(name):\(number):127.0.0.1", "-w",
          " %{http_version}",
          "https://\(name):\(number)/",
        ], folder: site.folder)
      #expect(result.standardOutput == "\(name.dropLast(5)) \(version)")
    }
  }

  @Test func joinsCookieCrumbsAndTakesAuthorityForHost() async throws {
    let door = try await start(try echo())
    let client = try H2Client(port: door.port(0))
    try client.request(
      1, "/fixed?q", authority: "Shop.Example:80",
      fields: [("cookie", "a=1"), ("accept", "*/*"), ("cookie", "b=2"), ("cookie", "c=3")])
    let answer = try client.response(1)
    #expect(String(decoding: answer.body, as: UTF8.self) == "a=1; b=2; c=3|shop.example|/fixed?q")
  }

  @Test func servesManyStreamsOfOneConnection() async throws {
    let door = try await start(try echo())
    let client = try H2Client(port: door.port(0))
    for index in 0..<100 { try client.request(UInt32(2 * index + 1), "/app/\(index)") }
    var bodies: [UInt32: String] = [:]
    var ended = 0
    while ended < 100 {
      let frame = try client.frame()
      if frame.type == .data {
        bodies[frame.stream, default: ""] += String(decoding: frame.payload, as: UTF8.self)
      }
      if frame.endsStream && frame.type == .data { ended += 1 }
    }
    for index in 0..<100 {
      #expect(bodies[UInt32(2 * index + 1)] == "GET /app/\(index) HTTP/1.1 0")
    }
  }

  @Test func sendsNoMoreThanTheWindowTakes() async throws {
    let door = try await start(try echo())
    let client = try H2Client(port: door.port(0), settings: [(4, 1000)])
    try client.request(1, "/large")
    var received = 0
    while received < 1000 {
      let frame = try client.frame()
      if frame.type == .data { received += frame.payload.count }
    }
    #expect(received == 1000)
    // Another stream isn't held up.
    try client.request(3, "/small.txt")
    #expect(try client.response(3).body == Array("small".utf8))
    try client.send(.windowUpdate, stream: 1, payload: H2Frame.number(500))
    #expect(try client.frame { $0.type == .data }.payload.count == 500)
  }

  @Test func passesALargeBodyEitherWay() async throws {
    let door = try await start(try echo())
    let path = door.site.folder + "upload"
    try Data(repeating: 7, count: 900_000).write(to: URL(fileURLWithPath: path))
    for location in ["/app/", "/stream/"] {
      #expect(
        try curl(door, ["--data-binary", "@\(path)", location])
          == "POST \(location) HTTP/1.1 900000")
      // Without a length.
      #expect(
        try curl(door, ["-X", "POST", "-H", "content-length:", "-T", path, location]).hasSuffix(
          "900000"))
    }
  }

  @Test func sendsTrailersBehindABody() async throws {
    let door = try await start(
      try echo(),
      server: "location /trailing { add_trailer X-Sum $request_method; return 200 body; }")
    let result = try Command.run(
      ["nghttp", "-v", "http://127.0.0.1:\(door.port(0))/trailing"], folder: door.site.folder)
    #expect(result.standardOutput.contains("x-sum: GET"))
  }

  @Test func breaksOffAStreamWhoseUpstreamBreaksOff() async throws {
    let upstream = try TestUpstream { _ in
      .steps([.bytes("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart"), .reset])
    }
    let door = try await start(upstream)
    let client = try H2Client(port: door.port(0))
    try client.request(1, "/app/")
    #expect(try client.frame { $0.type == .reset }.stream == 1)
    try client.request(3, "/small.txt")
    #expect(try client.response(3).status == 200)
  }

  @Test func cancelsTheUpstreamWithTheStream() async throws {
    let upstream = try TestUpstream { _ in .steps([.silence]) }
    let door = try await start(upstream)
    let client = try H2Client(port: door.port(0))
    try client.request(1, "/app/")
    try waitUntil("the request at the upstream") { upstream.requests.count == 1 }
    try client.send(.reset, stream: 1, payload: H2Frame.number(H2Code.cancel))
    try waitUntil("the log line") {
      door.site.text("access.log").contains("499 HTTP/2.0 h2c GET /app/")
    }
    try client.request(3, "/small.txt")
    #expect(try client.response(3).status == 200)
  }

  @Test func answersBeforeTheBodyIsComplete() async throws {
    let door = try await start(try echo())
    let client = try H2Client(port: door.port(0))
    try client.request(1, "/fixed", method: "POST", ends: false, fields: [("content-length", "50")])
    #expect(try client.response(1).status == 200)
    // RFC 9113 §8.1: the rest isn't needed, and that is no error.
    #expect(try client.frame { $0.type == .reset }.code == H2Code.noError)
    try client.send(.data, flags: 1, stream: 1, payload: [UInt8](repeating: 0, count: 50))
    try client.request(3, "/small.txt")
    #expect(try client.response(3).status == 200)
  }

  @Test func saysContinueToAClientThatWaits() async throws {
    let door = try await start(try echo())
    let body = String(repeating: "x", count: 3000)
    let answer = try curl(
      door, ["-v", "--stderr", "-", "-H", "Expect: 100-continue", "-d", body, "/app/"])
    #expect(answer.contains("HTTP/2 100") && answer.contains("POST /app/ HTTP/1.1 3000"))
  }

  @Test(arguments: [
    [("Upper", "case")], [("connection", "close")], [("a", "b\nc")], [(":late", "pseudo")],
    [("content-length", "7")],
  ])
  func saysBadRequestBeforeTheReset(_ fields: [(String, String)]) async throws {
    let door = try await start(try echo())
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
    try waitUntil("the log line") { door.site.text("access.log").contains("400 HTTP/2.0 h2c POST /app/ ") }
  }

  @Test func takesAHostThatRepeatsTheAuthority() async throws {
    let door = try await start(try echo())
    let client = try H2Client(port: door.port(0))
    try client.request(1, "/fixed", authority: "a.test:1", fields: [("host", "A.test:1")])
    #expect(try client.response(1).body == Array("|a.test|/fixed".utf8))
    try client.request(3, "/fixed", authority: "a.test", fields: [("host", "b.test")])
    #expect(try client.response(3).status == 400)
  }

  @Test func refusesAFieldThatFitsNoBuffer() async throws {
    let door = try await start(
      try echo(), server: "client_header_buffer_size 256; large_client_header_buffers 4 512;")
    let client = try H2Client(port: door.port(0))
    let fits = String(repeating: "v", count: 512)
    try client.request(1, "/fixed", fields: [("a", fits), ("b", fits)])
    #expect(try client.response(1).status == 200)
    try client.request(3, "/fixed", fields: [("a", fits + "v")])
    #expect(try client.response(3).status == 400)
  }

  @Test func refusesHTTP2InPlainOnATLSPort() async throws {
    let door = try await start(try echo())
    let raw = try RawClient(port: door.port(1))
    try raw.send(H2Frame.preface)
    #expect(try String(decoding: raw.readToEnd(), as: UTF8.self).contains("400 "))
  }

  @Test func refusesAPushPromiseAtItsFrameHeader() async throws {
    let door = try await start(try echo())
    let client = try H2Client(port: door.port(0))
    try client.raw.send([0, 0, 4, 5, 0, 0, 0, 0, 1])
    #expect(client.goAwayCode() == H2Code.protocolError)
  }

  @Test func waitsForTheBodyOnlySoLong() async throws {
    let door = try await start(try echo(), server: "client_body_timeout 300ms;")
    let client = try H2Client(port: door.port(0))
    try client.request(1, "/app/", method: "POST", ends: false)
    _ = try client.response(1)
    try waitUntil("the log line") { door.site.text("access.log").contains("408 HTTP/2.0") }
  }

  @Test func theTimeForABodyStandsStillWhileTheUpstreamTakesNoneOfIt() async throws {
    let server = RawServer(receiveRoom: 16 << 10)
    let site = try Site(
      config: """
        http { server {
          listen 127.0.0.1:%%PORT_0%%; http2 on;
          client_body_timeout 1s; client_max_body_size 0;
          location / { proxy_pass http://\(server.address); proxy_request_buffering off; }
        } }
        """)
    let door = try await Portico.start(site)
    let body = site.folder + "body"
    _ = FileManager.default.createFile(atPath: body, contents: Data(count: 16 << 20))
    let curl = try Command(
      ["curl", "-sS", "--http2-prior-knowledge", "-T", body, "http://127.0.0.1:\(door.port())/"],
      folder: site.folder)
    let upstream = try server.accept()
    _ = try upstream.read(until: "\r\n\r\n")
    // More than the time for the body, in which the upstream is the one who is late.
    #expect(throws: DeadlinePassed.self) {
      try waitUntil("the end of curl", within: 2) { curl.hasEnded }
    }
    _ = try upstream.read(count: 16 << 20, within: 60)
    try upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    #expect(try curl.wait().standardOutput == "ok")
  }

  @Test func endsAnIdleConnectionWithGoAway() async throws {
    let door = try await start(try echo(), server: "keepalive_timeout 300ms;")
    let client = try H2Client(port: door.port(0))
    try client.request(1, "/small.txt")
    #expect(try client.response(1).status == 200)
    #expect(client.goAwayCode() == H2Code.noError)
  }

  @Test func givesMemoryOfAnIdleConnectionBackBeforeItEnds() async throws {
    // After a second memory is given back; the connection stays for the rest of its time.
    let door = try await start(try echo(), server: "keepalive_timeout 1300ms;")
    let client = try H2Client(port: door.port(0))
    let watch = Stopwatch()
    try client.request(1, "/small.txt")
    #expect(try client.response(1).status == 200)
    #expect(client.goAwayCode() == H2Code.noError)
    #expect(watch.seconds > 1.29)
  }

  @Test func endsAConnectionAfterKeepaliveRequests() async throws {
    let door = try await start(try echo(), server: "keepalive_requests 2;")
    let client = try H2Client(port: door.port(0))
    try client.request(1, "/small.txt")
    #expect(try client.response(1).status == 200)
    try client.request(3, "/small.txt")
    var seen = (goAway: false, ended: false)
    while let frame = try? client.frame(within: 10) {
      if frame.type == .goAway { seen.goAway = true }
      if frame.stream == 3 && frame.endsStream { seen.ended = true }
    }
    #expect(seen.goAway && seen.ended)
  }

  @Test func finishesWhatIsUnderWayWhenItStops() async throws {
    let upstream = try TestUpstream { _ in
      .steps([.pause(seconds: 0.5), .bytes("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")])
    }
    let door = try await start(upstream)
    let idle = try H2Client(port: door.port(0))
    try idle.request(1, "/small.txt")
    _ = try idle.response(1)
    let client = try H2Client(port: door.port(0))
    try client.request(1, "/app/")
    try waitUntil("the request at the upstream") { upstream.requests.count == 1 }
    try door.signal(SIGQUIT)
    #expect(idle.goAwayCode() == H2Code.noError)
    let answer = try client.response(1)
    #expect(answer.body == Array("done".utf8))
    #expect(client.goAwayCode() == H2Code.noError)
    #expect(try door.command.wait().code == 0)
  }

  @Test func survivesReloads() async throws {
    let door = try await start(try echo())
    let client = try H2Client(port: door.port(0))
    try client.request(1, "/small.txt")
    #expect(try client.response(1).status == 200)
    let config = door.site.text("portico.conf").replacingOccurrences(
      of: "return 200 \"$http_cookie|$host|$request_uri\"", with: "return 200 changed")
    #expect(try door.reload(config: config).code == 0)
    try client.request(3, "/fixed")
    #expect(try client.response(3).body == Array("changed".utf8))
  }

  @Test func carriesWebSocketsByExtendedConnect() async throws {
    let server = RawServer()
    let site = try Site(
      config: """
        http {
          http2 on;
          server {
            listen 127.0.0.1:%%PORT_0%%;
            location / { proxy_pass http://\(server.address); }
            location /file { root %%DIR%%; }
          }
        }
        """, files: ["file": "no socket"])
    let door = try await Portico.start(site)
    let client = try H2Client(port: door.port(0))
    // RFC 8441 §3: announced before anybody asks.
    let settings = try client.frame { $0.type == .settings }
    #expect(firstIndex(of: [0, 8, 0, 0, 0, 1], in: settings.payload) != nil)
    let ask = { (stream: UInt32, path: String) in
      try client.request(
        stream, path, method: "CONNECT", ends: false,
        fields: [("sec-websocket-version", "13")], protocolName: "websocket")
    }
    try ask(1, "/chat")
    let upstream = try server.accept()
    let head = try upstream.read(until: "\r\n\r\n").lowercased()
    #expect(head.hasPrefix("get /chat http/1.1\r\n"))
    #expect(
      head.contains("\r\nupgrade: websocket\r\n") && head.contains("\r\nconnection: upgrade\r\n"))
    #expect(
      head.contains("\r\nsec-websocket-key: ") && head.contains("\r\nsec-websocket-version: 13\r\n")
    )
    try client.send(.data, stream: 1, payload: Array("early".utf8))
    try upstream.send(
      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
    #expect(try client.frame { $0.type == .headers }.status == 200)
    #expect(try client.frame { $0.type == .data }.payload == Array("hello".utf8))
    #expect(try upstream.read(count: 5) == Array("early".utf8))
    try client.send(.data, stream: 1, payload: Array("more".utf8))
    #expect(try upstream.read(count: 4) == Array("more".utf8))
    try client.send(.data, flags: 1, stream: 1)
    #expect(upstream.isClosed())
    // What is no WebSocket must not look like one.
    try ask(3, "/file")
    #expect(try client.frame { $0.stream == 3 && $0.type == .headers }.status == nil)
  }
}
