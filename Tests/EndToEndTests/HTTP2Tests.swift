// HTTP/2 to clients: requests and responses. Real clients (curl, nghttp) where they can, raw frames
// where they can't.

import Foundation
import Testing

@Suite struct HTTP2Tests {
  @Test(arguments: [true, false])
  func answersWhatHTTP1Answers(tls: Bool) async throws {
    let door = try await HTTP2Door.start()
    let version = ["-w", "|%{http_version}|%{http_code}"]
    #expect(try HTTP2Door.curl(door, version + ["/small.txt"], tls: tls) == "small|2|200")
    #expect(try HTTP2Door.curl(door, version + ["/none"], tls: tls).hasSuffix("|2|404"))
    #expect(try HTTP2Door.curl(door, ["/app/x?y=1"], tls: tls) == "GET /app/x?y=1 HTTP/1.1 0")
    #expect(
      try HTTP2Door.curl(door, ["-d", "12345", "/app/"], tls: tls) == "POST /app/ HTTP/1.1 5")
    #expect(
      try HTTP2Door.curl(door, ["-I", "-w", "%{http_code}", "/small.txt"], tls: tls).hasSuffix(
        "200"))
    #expect(try HTTP2Door.curl(door, ["/large"], tls: tls).count == 300_000)
    #expect(try HTTP2Door.curl(door, ["-r", "0-1", "/small.txt"], tls: tls) == "sm")
    let log = door.site.text("access.log")
    #expect(log.contains("200 HTTP/2.0 \(tls ? "h2" : "h2c") GET /app/x?y=1 HTTP/2.0"))
  }

  @Test func speaksHTTP1OnTheSamePorts() async throws {
    let door = try await HTTP2Door.start()
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
    let door = try await HTTP2Door.start()
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
    let door = try await HTTP2Door.start()
    let client = try H2Client(port: door.port(0))
    try client.request(
      1, "/fixed?q", authority: "Shop.Example:80",
      fields: [("cookie", "a=1"), ("accept", "*/*"), ("cookie", "b=2"), ("cookie", "c=3")])
    let answer = try client.response(1)
    #expect(String(decoding: answer.body, as: UTF8.self) == "a=1; b=2; c=3|shop.example|/fixed?q")
  }

  @Test func servesManyStreamsOfOneConnection() async throws {
    let door = try await HTTP2Door.start()
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

  @Test func breaksOffAStreamWhoseUpstreamBreaksOff() async throws {
    let upstream = try TestUpstream { _ in
      .steps([.bytes("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart"), .reset])
    }
    let door = try await HTTP2Door.start(upstream)
    let client = try H2Client(port: door.port(0))
    try client.request(1, "/app/")
    #expect(try client.frame { $0.type == .reset }.stream == 1)
    try client.request(3, "/small.txt")
    #expect(try client.response(3).status == 200)
  }

  @Test func cancelsTheUpstreamWithTheStream() async throws {
    let upstream = try TestUpstream { _ in .steps([.silence]) }
    let door = try await HTTP2Door.start(upstream)
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
    let door = try await HTTP2Door.start()
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
    let door = try await HTTP2Door.start()
    let body = String(repeating: "x", count: 3000)
    let answer = try HTTP2Door.curl(
      door, ["-v", "--stderr", "-", "-H", "Expect: 100-continue", "-d", body, "/app/"])
    #expect(answer.contains("HTTP/2 100") && answer.contains("POST /app/ HTTP/1.1 3000"))
  }

  /// However a configuration for HTTP/1.1 asks for an upgrade, it works for extended CONNECT.
  @Test(arguments: [
    "",
    "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $http_connection;",
    "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $wish;",
  ])
  func carriesWebSocketsByExtendedConnect(fields: String) async throws {
    let server = RawServer()
    let site = try Site(
      config: """
        http {
          http2 on;
          map $http_connection $wish { "~Upgrade" $http_connection; default keep-alive; }
          server {
            listen 127.0.0.1:%%PORT_0%%;
            location / { \(fields) proxy_pass http://\(server.address); }
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
