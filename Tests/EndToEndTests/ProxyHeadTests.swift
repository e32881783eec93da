// Heads of upstreams' responses: which fields are passed on, and who judges a request's conditions.

import Testing

@Suite struct ProxyHeadTests {
  private static let moment = "Mon, 28 Sep 1970 06:00:00 GMT"

  private func start(_ upstream: TestUpstream) async throws -> RunningPortico {
    let site = try Site(
      config: """
        http {
          server {
            listen 127.0.0.1:%%PORT_0%%;
            location / { proxy_pass http://%%UPSTREAM_0%%; }
            location /pad { proxy_pass_header X-Pad; proxy_hide_header X-Own; proxy_pass http://%%UPSTREAM_0%%; }
            location /signed { proxy_pass_header Server; proxy_pass http://%%UPSTREAM_0%%; }
            location /kept { proxy_set_header If-None-Match ""; proxy_pass http://%%UPSTREAM_0%%; }
          }
        }
        """, upstreams: [upstream])
    return try await Portico.start(site)
  }

  /// An upstream may be asked without conditions on purpose, and one that ignores them has carried
  /// the request out.
  @Test(arguments: ["GET", "POST"])
  func conditionsAreTheUpstreams(method: String) async throws {
    let upstream = try TestUpstream { _ in
      .answer(fields: ["ETag": "\"a\"", "Last-Modified": Self.moment], body: "done")
    }
    let door = try await start(upstream)
    for (field, value) in [
      ("If-None-Match", "\"a\""), ("If-Modified-Since", Self.moment), ("If-Match", "\"b\""),
      ("If-Unmodified-Since", "Mon, 28 Sep 1970 05:00:00 GMT"),
    ] {
      let client = try door.client()
      try client.send(
        "\(method) / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\(field): \(value)\r\n\r\n")
      let answer = try client.response()
      #expect(answer.status == 200 && answer.text == "done", "\(field)")
      #expect(upstream.requests.last?[field] == value)
    }
    let answer = try door.get("/kept", headers: ["If-None-Match": "\"a\""])
    #expect(answer.status == 200 && upstream.requests.last?["If-None-Match"] == nil)
    try door.stop()
  }

  /// Only where the configuration sets a field to nothing it is left out.
  @Test func emptyFieldsOfClientsArePassedOn() async throws {
    let upstream = try TestUpstream { _ in .answer() }
    let door = try await start(upstream)
    let client = try door.client()
    try client.send("GET /kept HTTP/1.1\r\nHost: a\r\nX-Empty:\r\nIf-None-Match: a\r\n\r\n")
    #expect(try client.response().status == 200)
    let request = try #require(upstream.requests.last)
    #expect(request["X-Empty"] == "" && request["If-None-Match"] == nil)
    try door.stop()
  }

  @Test func paddingEndsHereUnlessItIsAskedFor() async throws {
    let upstream = try TestUpstream { _ in
      .answer(fields: ["X-Pad": "avoid browser bug", "X-Own": "a"])
    }
    let door = try await start(upstream)
    let answer = try door.get("/")
    #expect(answer["X-Pad"] == nil && answer["X-Own"] == "a")
    let padded = try door.get("/pad")
    #expect(padded["X-Pad"] == "avoid browser bug" && padded["X-Own"] == nil)
    try door.stop()
  }

  /// Date is another matter: whoever passes a response on without one adds it (RFC 9110 §6.6.1).
  @Test func ourNameDoesNotStandForAnUpstreamThatHasNone() async throws {
    let upstream = try TestUpstream { _ in .answer() }
    let door = try await start(upstream)
    #expect(try door.get("/")["Server"] == "portico")
    let answer = try door.get("/signed")
    #expect(answer["Server"] == nil && answer["Date"] != nil)
    try door.stop()
  }
}
