// Requests and responses that two readers could cut differently, through the real door: refused and
// closed, and nothing of them reaches the other side (RFC 9112 §§6, 11).

import Foundation
import Testing

/// What is refused, after its name. Behind each stands a request that must not be seen as one.
private let refusedRequests: [(name: String, bytes: String)] = [
  ("length and coding", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
  ("coding and length", "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n"),
  ("two different lengths", "Content-Length: 0\r\nContent-Length: 3\r\n\r\nabc"),
  ("two equal lengths", "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
  ("a list of lengths", "Content-Length: 3, 3\r\n\r\nabc"),
  ("a length with a sign", "Content-Length: +3\r\n\r\nabc"),
  ("a negative length", "Content-Length: -1\r\n\r\nabc"),
  ("a hexadecimal length", "Content-Length: 0x3\r\n\r\nabc"),
  ("an empty length", "Content-Length: \r\n\r\n"),
  ("a length beyond 64 bits", "Content-Length: 18446744073709551619\r\n\r\nabc"),
  ("two codings", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
  ("chunked twice", "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
  ("an empty coding", "Transfer-Encoding: \r\n\r\n0\r\n\r\n"),
  ("space before a colon", "Content-Length : 3\r\n\r\nabc"),
  ("space before the colon of a coding", "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
  ("a folded line", "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
  ("a folded value", "X-Note: one\r\n\ttwo\r\n\r\n"),
  ("a carriage return in a value", "X-Note: one\rContent-Length: 3\r\n\r\nabc"),
  ("a NUL in a value", "X-Note: one\0two\r\n\r\n"),
  ("a second host", "Host: b\r\n\r\n"),
  ("a chunk size that is no number", "Transfer-Encoding: chunked\r\n\r\nxyz\r\n\r\n"),
  ("a chunk size with a prefix", "Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n"),
  ("a chunk size with a sign", "Transfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n"),
  ("an empty chunk size", "Transfer-Encoding: chunked\r\n\r\n\r\nabc\r\n0\r\n\r\n"),
  (
    "a chunk size beyond 64 bits",
    "Transfer-Encoding: chunked\r\n\r\n10000000000000003\r\nabc\r\n0\r\n\r\n"
  ),
  ("a chunk longer than its size", "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n"),
]

@Suite struct SmugglingTests {
  private static let proxy = """
    http { server {
      listen 127.0.0.1:%%PORT_0%%;
      location / { proxy_pass http://%%UPSTREAM_0%%; }
      location /streamed { proxy_pass http://%%UPSTREAM_0%%; proxy_request_buffering off; }
    } }
    """

  @Test func refusesWhatTwoReadersCouldCutDifferently() async throws {
    let app = try TestUpstream { .answer(body: $0.path) }
    let door = try await Portico.start(config: Self.proxy, upstreams: [app])
    for (name, bytes) in refusedRequests {
      let client = try door.client()
      try client.send("POST /first HTTP/1.1\r\nHost: a\r\n\(bytes)")
      // Refused before it is sent, this can meet a closed connection.
      try? client.send("GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
      let response = try? client.response()
      #expect(response?.status == 400, "\(name)")
      #expect(client.isClosed(), "\(name): the connection lives on")
    }
    #expect(try door.get("/good").text == "/good")
    #expect(app.requests.map(\.path) == ["/good"])
    try door.stop()
  }

  @Test func refusesHeadsThatAreNoHTTP() async throws {
    let app = try TestUpstream { .answer(body: $0.path) }
    let door = try await Portico.start(config: Self.proxy, upstreams: [app])
    let heads = [
      "GET / HTTP/1.1\r\n\r\n", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
      "GET / HTTP/1.1 \rHost: a\r\n\r\n", "G T / HTTP/1.1\r\nHost: a\r\n\r\n",
      "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n",
      "GET / HTTP/1.1\r\n Host: a\r\n\r\n", "GET / HTTP/1.1\r\n: a\r\nHost: a\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
      "GET / JUNK/1.1\r\nHost: a\r\n\r\n", "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\r\n\r\n",
    ]
    for head in heads {
      let client = try door.client()
      try client.send(head)
      #expect(try client.response().status == 400, "\(head.debugDescription)")
      #expect(client.isClosed(), "\(head.debugDescription)")
    }
    let other = try door.client()
    try other.send("GET / HTTP/2.7\r\nHost: a\r\n\r\n")
    #expect(try other.response().status == 505)
    #expect(app.requests.isEmpty)
    try door.stop()
  }

  @Test func refusesCodingsThatItDoesNotKnow() async throws {
    let app = try TestUpstream { .answer(body: $0.path) }
    let door = try await Portico.start(config: Self.proxy, upstreams: [app])
    for coding in ["gzip, chunked", "identity", "xchunked", "chunked;q=1"] {
      let client = try door.client()
      try client.send(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \(coding)\r\n\r\n0\r\n\r\n")
      let status = try client.response().status
      #expect(status == 501 || status == 400, "\(coding)")
      #expect(client.isClosed(), "\(coding)")
    }
    #expect(app.requests.isEmpty)
    try door.stop()
  }

  @Test func whatReachesTheUpstreamIsExactlyOneRequest() async throws {
    let upstream = RawServer()
    let door = try await Portico.start(
      config: Self.proxy.replacingOccurrences(of: "%%UPSTREAM_0%%", with: upstream.address))
    let client = try door.client()
    // Whatever the client's framing was, the upstream is told one length, and nothing follows it.
    try client.send(
      """
      POST /one HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\nConnection: keep-alive, X-Hop\r
      X-Hop: secret\r\nTE: trailers\r\nKeep-Alive: 3\r\nProxy-Connection: x\r\n\r
      5;name="a;b"\r\nGET /\r\n0\r\nX-Late: GET /smuggled HTTP/1.1\r\n\r\n
      """)
    let server = try upstream.accept()
    let head = try server.read(until: "\r\n\r\n").lowercased()
    #expect(head.hasPrefix("post /one http/1.1\r\n"))
    #expect(head.contains("\r\ncontent-length: 5\r\n"))
    for field in ["transfer-encoding", "x-hop", "\r\nte:", "keep-alive", "proxy-connection"] {
      #expect(!head.contains(field), "\(field)")
    }
    #expect(try server.read(count: 5) == Array("GET /".utf8))
    try server.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    #expect(try client.response().text == "ok")
    #expect(throws: RawClient.Failure.timedOut(received: "")) {
      try server.read(count: 1, within: 0.2)
    }
    try door.stop()
  }

  @Test func aStreamedBodyThatBreaksNeverLooksComplete() async throws {
    let upstream = RawServer()
    let door = try await Portico.start(
      config: Self.proxy.replacingOccurrences(of: "%%UPSTREAM_0%%", with: upstream.address))
    let client = try door.client()
    try client.send(
      "POST /streamed HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    let server = try upstream.accept()
    #expect(try server.read(until: "abc\r\n").hasSuffix("\r\n\r\n3\r\nabc\r\n"))
    try client.send("nonsense\r\n0\r\n\r\n")
    #expect(try client.response().status == 400)
    #expect(client.isClosed())
    #expect(try server.readToEnd().isEmpty)
    try door.stop()
  }

  @Test func refusesResponsesThatTwoReadersCouldCutDifferently() async throws {
    let responses = [
      "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", "Content-Length: 3, 3\r\n\r\nabc",
      "Content-Length: x\r\n\r\nabc", "Transfer-Encoding: gzip\r\n\r\nabc",
      "Content-Length : 3\r\n\r\nabc", "X: a\0b\r\nContent-Length: 3\r\n\r\nabc",
      "X: a\r\n folded\r\nContent-Length: 3\r\n\r\nabc",
    ]
    let app = try TestUpstream { request in
      let index = Int(request.path.dropFirst()) ?? 0
      return .steps([.bytes("HTTP/1.1 200 OK\r\n\(responses[index])")])
    }
    let door = try await Portico.start(config: Self.proxy, upstreams: [app])
    for index in responses.indices {
      #expect(try door.get("/\(index)").status == 502, "\(responses[index].debugDescription)")
    }
    try door.stop()
  }

  @Test func bytesBehindAResponseAreNobodysAnswer() async throws {
    let app = try TestUpstream { request in
      let spare = request.path == "/first" ? "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil" : ""
      return .steps([
        .bytes("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood\(spare)")
      ])
    }
    let door = try await Portico.start(config: Self.proxy, upstreams: [app])
    let client = try door.client()
    for path in ["/first", "/second", "/third"] {
      try client.send("GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n")
      #expect(try client.response().text == "good")
    }
    #expect(app.requests.map(\.connection) == [0, 1, 1])
    try door.stop()
  }
}
