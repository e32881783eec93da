// HTTP/1 as clients and upstreams speak it, beyond plain requests: pipelining, pieces,
// 100-continue, responses without a body, both codings, both versions, every form of target (RFC
// 9110, 9112).

import Foundation
import Testing

@Suite struct HTTP1Tests {
  private static let proxy = """
    http { server {
      listen 127.0.0.1:%%PORT_0%%;
      location / { proxy_pass http://%%UPSTREAM_0%%; }
      location /streamed { proxy_pass http://%%UPSTREAM_0%%; proxy_request_buffering off; }
      location /unbuffered { proxy_pass http://%%UPSTREAM_0%%; proxy_buffering off; }
      location /old { proxy_pass http://%%UPSTREAM_0%%; proxy_http_version 1.0; }
      location = /fixed { return 200 "fixed"; }
      location /small { client_max_body_size 4; proxy_pass http://%%UPSTREAM_0%%; }
    } }
    """

  @Test func answersPipelinedRequestsInOrder() async throws {
    let app = try TestUpstream {
      .answer(body: "\($0.path) \(String(decoding: $0.body, as: UTF8.self))")
    }
    let door = try await Portico.start(config: Self.proxy, upstreams: [app])
    let client = try door.client()
    try client.send(
      "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n\r\n"
        + "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nfour"
        + "GET /fixed HTTP/1.1\r\nHost: a\r\n\r\n"
        + "POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
        + "HEAD /4 HTTP/1.1\r\nHost: a\r\n\r\n"
        + "GET /5 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /never HTTP/1.1\r\nHost: a\r\n\r\n"
    )
    for expected in ["/1 ", "/2 four", "fixed", "/3 abc"] {
      #expect(try client.response().text == expected)
    }
    #expect(try client.response(to: "HEAD")["content-length"] == "3")
    #expect(try client.response().text == "/5 ")
    #expect(client.isClosed())
    #expect(app.requests.map(\.path) == ["/1", "/2", "/3", "/4", "/5"])
    try door.stop()
  }

  @Test func takesARequestByteByByte() async throws {
    let app = try TestUpstream { .answer(body: String(decoding: $0.body, as: UTF8.self)) }
    let door = try await Portico.start(config: Self.proxy, upstreams: [app])
    let client = try door.client()
    var on: Int32 = 1
    setsockopt(client.descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, 4)
    for body in [
      "Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ] {
      for byte in Array("POST /x HTTP/1.1\r\nHost: a\r\n\(body)".utf8) { try client.send([byte]) }
      #expect(try client.response().text == "hello")
    }
    try door.stop()
  }

  @Test func takesAResponseByteByByte() async throws {
    let whole =
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nT: v\r\n\r\n"
    let app = try TestUpstream { _ in .steps(whole.utf8.map { .bytes([$0]) }) }
    let door = try await Portico.start(config: Self.proxy, upstreams: [app])
    for path in ["/", "/unbuffered"] { #expect(try door.get(path).text == "hello") }
    try door.stop()
  }

  @Test func invitesABodyThatWaitsForContinue() async throws {
    let app = try TestUpstream { .answer(body: String(decoding: $0.body, as: UTF8.self)) }
    let door = try await Portico.start(config: Self.proxy, upstreams: [app])
    for path in ["/", "/streamed"] {
      let client = try door.client()
      try client.send(
        "POST \(path) HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
      #expect(try client.read(until: "\r\n\r\n") == "HTTP/1.1 100 Continue\r\n\r\n")
      try client.send("body")
      #expect(try client.response().text == "body")
    }
    #expect(app.requests.allSatisfy { $0["expect"] == nil })
    // Refused: no invitation, and the body that isn't coming is no next request.
    let client = try door.client()
    try client.send(
      "POST /small HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 40\r\n\r\n")
    #expect(try client.read(until: "\r\n\r\n").hasPrefix("HTTP/1.1 413 "))
    try door.stop()
  }

  /// HEAD, be it refused before anything looks at it.
  @Test func refusesHeadWithoutABody() async throws {
    let door = try await Portico.start(
      config: "http { server { listen 127.0.0.1:%%PORT_0%%; } }")
    for request in ["HEAD / HTTP/1.1\r\n\r\n", "HEAD / HTTP/1.1\r\nHost: a\r\nno field\r\n\r\n"] {
      let client = try door.client()
      try client.send(request)
      #expect(try client.read(until: "\r\n\r\n").hasPrefix("HTTP/1.1 400 "))
      #expect(try client.readToEnd().isEmpty)
    }
    try door.stop()
  }

  @Test func sendsNoBodyWhereThereIsNone() async throws {
    let app = try TestUpstream { request in
      switch request.path {
      case "/204": .steps([.bytes("HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n")])
      case "/304":
        .steps([.bytes("HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 9\r\n\r\n")])
      case "/chunked": .steps([.bytes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")])
      default: .steps([.bytes("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n")])
      }
    }
    let door = try await Portico.start(config: Self.proxy, upstreams: [app])
    let client = try door.client()
    func ask(_ method: String, _ path: String) throws -> Response {
      try client.send("\(method) \(path) HTTP/1.1\r\nHost: a\r\n\r\n")
      return try client.response(to: method)
    }
    for _ in 0..<2 {
      #expect(try ask("HEAD", "/")["content-length"] == "1234")
      let empty = try ask("GET", "/204")
      #expect(empty.status == 204 && empty["content-length"] == nil && empty["x-a"] == "b")
      #expect(empty["transfer-encoding"] == nil)
      let same = try ask("GET", "/304")
      #expect(same.status == 304 && same["etag"] == "\"x\"" && same["transfer-encoding"] == nil)
      #expect(try ask("HEAD", "/fixed")["content-length"] == "5")
      #expect(try ask("HEAD", "/chunked")["content-length"] == nil)
    }
    // None of these cost the upstream's connection.
    #expect(app.connectionCount == 1)
    try door.stop()
  }

  @Test func chunksBothWays() async throws {
    let app = try TestUpstream { request in
      let body = String(decoding: request.body, as: UTF8.self)
      return .steps([
        .bytes(
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Coding: \(request["transfer-encoding"] ?? request["content-length"] ?? "-")\r\n\r\n3\r\nabc\r\n"
        ),
        .bytes("\(String(body.utf8.count, radix: 16))\r\n\(body)\r\n0\r\n\r\n"),
      ])
    }
    let door = try await Portico.start(config: Self.proxy, upstreams: [app])
    let client = try door.client()
    for (path, coding) in [("/", "6"), ("/streamed", "6"), ("/unbuffered", "6")] {
      try client.send(
        "PUT \(path) HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n2\r\n56\r\n0\r\n\r\n"
      )
      let response = try client.response(to: "PUT")
      #expect(response["transfer-encoding"] == "chunked")
      #expect(response.text == "abc123456")
      #expect(response["x-coding"] == coding, "\(path)")
    }
    // The body isn't there yet when its head is passed on: chunked to the upstream too.
    try client.send(
      "PUT /streamed HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n")
    try waitUntil("a connection") { app.connectionCount > 0 }
    try client.send("2\r\n56\r\n0\r\n\r\n")
    #expect(try client.response(to: "PUT").text == "abc123456")
    try door.stop()
  }

  @Test func servesHTTP10Clients() async throws {
    let app = try TestUpstream { request in
      request.path == "/length"
        ? .answer(body: request.version)
        : .steps([
          .bytes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
        ])
    }
    let door = try await Portico.start(config: Self.proxy, upstreams: [app])
    let plain = try door.client()
    try plain.send("GET / HTTP/1.0\r\n\r\n")
    let whole = String(decoding: try plain.readToEnd(), as: UTF8.self)
    #expect(whole.hasPrefix("HTTP/1.1 200") && whole.hasSuffix("\r\n\r\nhello"))
    #expect(!whole.lowercased().contains("chunked"))
    let kept = try door.client()
    for _ in 0..<2 {
      try kept.send("GET /length HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
      let response = try kept.response()
      #expect(response["connection"] == "keep-alive")
      #expect(response.text == "HTTP/1.1")
    }
    try door.stop()
  }

  @Test func speaksToHTTP10Upstreams() async throws {
    let app = try TestUpstream { request in
      .steps([
        .bytes("HTTP/1.0 200 OK\r\n\r\n\(request.version) \(request["connection"] ?? "")"), .close,
      ])
    }
    let door = try await Portico.start(config: Self.proxy, upstreams: [app])
    let client = try door.client()
    for (path, text) in [("/", "HTTP/1.1 "), ("/old", "HTTP/1.0 close"), ("/", "HTTP/1.1 ")] {
      try client.send("GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n")
      let response = try client.response()
      // Without a length from the upstream the client still learns where the body ends.
      #expect(response["transfer-encoding"] == "chunked")
      #expect(response.text == text)
    }
    #expect(app.connectionCount == 3)
    try door.stop()
  }

  @Test func takesEveryFormOfTarget() async throws {
    let app = try TestUpstream { .answer(body: "\($0.path) \($0["host"] ?? "")") }
    let config = """
      http {
        server {
          listen 127.0.0.1:%%PORT_0%%; server_name other;
          location / { return 200 "other"; }
        }
        server {
          listen 127.0.0.1:%%PORT_0%%; server_name shop;
          location / { proxy_pass http://%%UPSTREAM_0%%; proxy_set_header Host $host; }
        }
      }
      """
    let door = try await Portico.start(config: config, upstreams: [app])
    let client = try door.client()
    func ask(_ line: String, host: String) throws -> Response {
      try client.send("\(line) HTTP/1.1\r\nHost: \(host)\r\n\r\n")
      return try client.response()
    }
    // The authority of an absolute form outranks Host.
    #expect(try ask("GET http://shop/a?b=c", host: "other").text == "/a?b=c shop")
    #expect(try ask("GET http://shop", host: "other").text == "/ shop")
    #expect(try ask("GET http://SHOP:80/x", host: "other").text == "/x shop")
    #expect(try ask("GET /y", host: "shop").text == "/y shop")
    #expect(try ask("GET /y", host: "nobody").text == "other")
    // OPTIONS * is about the server, not about a path of it.
    let options = try ask("OPTIONS *", host: "shop")
    #expect(options.status != 404 && options.status < 500)
    let star = try door.client()
    try star.send("GET * HTTP/1.1\r\nHost: shop\r\n\r\n")
    #expect(try star.response().status == 400)
    let authority = try door.client()
    try authority.send("CONNECT shop:443 HTTP/1.1\r\nHost: shop\r\n\r\n")
    #expect([400, 405].contains(try authority.response().status))
    #expect(
      !app.requests.contains { $0.method == "CONNECT" || ($0.path == "*" && $0.method == "GET") })
    try door.stop()
  }

  @Test func skipsInterimResponses() async throws {
    let app = try TestUpstream { _ in
      .steps([
        .bytes("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"),
        .bytes("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
      ])
    }
    let door = try await Portico.start(config: Self.proxy, upstreams: [app])
    #expect(try door.get().text == "ok")
    try door.stop()
  }
}
