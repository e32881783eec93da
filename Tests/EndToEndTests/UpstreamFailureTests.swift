// An upstream or a client that goes away, at each stage: who is asked next, what the client is
// told, and that no body that broke off can be taken for a whole one.

import Foundation
import Testing

private func config(_ servers: String, location: String = "") -> String {
  """
  http {
    log_format attempts "$status $request_uri $upstream_status $upstream_addr";
    access_log %%DIR%%/access.log attempts;
    upstream app { \(servers) }
    server {
      listen 127.0.0.1:%%PORT_0%%;
      location / { proxy_pass http://app; \(location) }
    }
  }
  """
}

@Suite struct UpstreamFailureTests {
  @Test func asksTheNextServerWhenOneRefuses() async throws {
    let app = try TestUpstream { .answer(body: "\($0.method) here") }
    let door = try await Portico.start(
      config: config("server 127.0.0.1:%%PORT_5%% weight=9; server %%UPSTREAM_0%%;"),
      upstreams: [app])
    let client = try door.client()
    // A request that was not sent may be repeated, whatever its method.
    for method in ["GET", "POST", "GET"] {
      try client.send("\(method) /\(method) HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
      #expect(try client.response().text == "\(method) here")
    }
    #expect(door.errorLog.contains("Connection refused"))
    try waitUntil("both tries in the access log") {
      door.site.text("access.log").contains("200 /GET 502, 200 ")
    }
    try door.stop()
  }

  /// A stream of events that is silent for longer than `proxy_read_timeout`, a download that breaks
  /// off: the server answered, and is asked again.
  @Test(arguments: [TestUpstream.Step.silence, .close, .reset])
  func aServerThatAnsweredStaysWhateverBecomesOfTheBody(_ ending: TestUpstream.Step) async throws {
    let servers = try ["a", "b"].map { name in
      try TestUpstream { request in
        request.path == "/half"
          ? .steps([.bytes("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"), ending])
          : .answer(body: name)
      }
    }
    let door = try await Portico.start(
      config: config(
        "server %%UPSTREAM_0%%; server %%UPSTREAM_1%%;",
        location: "proxy_read_timeout 1s; proxy_buffering off;"),
      upstreams: servers)
    for _ in 0..<2 {
      let client = try door.client()
      try client.send("GET /half HTTP/1.1\r\nHost: a\r\n\r\n")
      _ = try client.readToEndOrReset()
    }
    #expect(try Set((0..<4).map { _ in try door.get().text }) == ["a", "b"])
    #expect(!door.errorLog.contains("temporarily disabled"))
    try door.stop()
  }

  @Test func answers502WhenNobodyIsThere() async throws {
    let door = try await Portico.start(
      config: config("server 127.0.0.1:%%PORT_5%%; server 127.0.0.1:%%PORT_6%%;"))
    for _ in 0..<3 { #expect(try door.get().status == 502) }
    #expect(door.errorLog.contains("Connection refused"))
    try door.stop()
  }

  @Test(arguments: [
    ("close before the head", [TestUpstream.Step.close], 502),
    ("reset before the head", [.reset], 502),
    ("half a head", [.bytes("HTTP/1.1 200 OK\r\nContent-Le"), .close], 502),
    ("half a status line", [.bytes("HTTP/1."), .reset], 502),
    ("garbage", [.bytes("\u{1}\u{2}\u{3} hello\r\n\r\n"), .silence], 502),
    ("nothing in time", [.silence], 504),
    ("half a head in time", [.bytes("HTTP/1.1 200 OK\r\n"), .silence], 504),
  ])
  func goesOnToTheNextServerUntilTheHeadIsThere(
    name: String, steps: [TestUpstream.Step], status: Int
  ) async throws {
    let broken = try TestUpstream { _ in .steps(steps) }
    let app = try TestUpstream { .answer(body: "\($0.method)") }
    let door = try await Portico.start(
      config: config(
        "server %%UPSTREAM_0%% max_fails=0 weight=100; server %%UPSTREAM_1%%;",
        location: "proxy_read_timeout 1s; proxy_next_upstream error timeout invalid_header;"),
      upstreams: [broken, app])
    #expect(try door.get().text == "GET", "\(name)")
    try waitUntil("both tries in the access log") {
      door.site.text("access.log").hasPrefix("200 / \(status), 200 ")
    }
    // Sent already: it may have been carried out.
    let client = try door.client()
    try client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
    #expect(try client.response().status == status, "\(name)")
    #expect(app.requests.map(\.method) == ["GET"], "\(name)")
    #expect(broken.requests.map(\.method) == ["GET", "POST"], "\(name)")
    try door.stop()
  }

  @Test(arguments: ["", "proxy_buffering off;"])
  func noBodyThatBrokeOffLooksComplete(location: String) async throws {
    let app = try TestUpstream { request in
      let head = "HTTP/1.1 200 OK\r\n"
      let end: TestUpstream.Step = request.path.hasSuffix("reset") ? .reset : .close
      switch request.path.split(separator: "-")[0] {
      case "/length": return .steps([.bytes("\(head)Content-Length: 10\r\n\r\nhalf"), end])
      case "/chunked":
        return .steps([.bytes("\(head)Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"), end])
      case "/chunk":
        return .steps([.bytes("\(head)Transfer-Encoding: chunked\r\n\r\n8\r\nhalf"), end])
      default:
        return .steps([.bytes("\(head)Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n"), end])
      }
    }
    let other = try TestUpstream { _ in .answer(body: "other") }
    let door = try await Portico.start(
      config: config(
        "server %%UPSTREAM_0%% max_fails=0; server %%UPSTREAM_1%% backup;", location: location),
      upstreams: [app, other])
    for kind in ["length", "chunked", "chunk", "garbage"] {
      for end in ["close", "reset"] {
        let client = try door.client()
        try client.send("GET /\(kind)-\(end) HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(throws: RawClient.Failure.self, "\(kind), \(end)") { try client.response() }
        // HTTP/1.0 knows an end by close only: nothing but a reset tells it.
        let old = try door.client()
        try old.send("GET /\(kind)-\(end) HTTP/1.0\r\n\r\n")
        do {
          let bytes = String(decoding: try old.readToEnd(), as: UTF8.self)
          #expect(bytes.contains("Content-Length: 10"), "\(kind), \(end): \(bytes)")
        } catch RawClient.Failure.reset {}
      }
    }
    #expect(other.requests.isEmpty)
    try door.stop()
  }

  /// Nobody else is asked once `proxy_next_upstream_timeout` is over, so that the error is the
  /// answer, with all that the server says.
  @Test func anErrorThatComesTooLateForAnotherTryIsPassedOn() async throws {
    let ill = try TestUpstream { _ in
      .steps([
        .pause(seconds: 0.3),
        .bytes("HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 8\r\n\r\nnot well"),
      ])
    }
    let app = try TestUpstream { _ in .answer(body: "fine") }
    let door = try await Portico.start(
      config: config(
        "server %%UPSTREAM_0%% max_fails=0; server %%UPSTREAM_1%% backup;",
        location: "proxy_next_upstream http_503; proxy_next_upstream_timeout 200ms;"),
      upstreams: [ill, app])
    let response = try door.get()
    #expect(response.status == 503 && response.text == "not well")
    #expect(response["Retry-After"] == "7")
    #expect(app.requests.isEmpty)
    try door.stop()
  }

  @Test func passesAnEarlyAnswerOn() async throws {
    let upstream = RawServer()
    let door = try await Portico.start(
      config: config(
        "server \(upstream.address);",
        location: "proxy_request_buffering off; client_max_body_size 0;"))
    let client = try door.client()
    try client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nsome")
    let server = try upstream.accept()
    _ = try server.read(until: "some")
    try server.send("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!")
    server.finishSending()
    let response = try client.response()
    #expect(response.status == 413 && response.text == "no!")
    try door.stop()
  }

  @Test func aResponseWithoutLengthEndsWithItsConnection() async throws {
    let app = try TestUpstream { _ in
      .steps([.bytes("HTTP/1.1 200 OK\r\n\r\n"), .bytes("all "), .bytes("of it"), .close])
    }
    let door = try await Portico.start(
      config: config("server %%UPSTREAM_0%%;"), upstreams: [app])
    let client = try door.client()
    for _ in 0..<2 {
      try client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      let response = try client.response()
      #expect(response["transfer-encoding"] == "chunked" && response.text == "all of it")
    }
    try door.stop()
  }

  @Test func aClientThatGoesIsA499AndEndsTheRequestToTheUpstream() async throws {
    let upstream = RawServer()
    let door = try await Portico.start(config: config("server \(upstream.address);"))
    for reset in [false, true] {
      let client = try door.client()
      try client.send("GET /\(reset) HTTP/1.1\r\nHost: a\r\n\r\n")
      let server = try upstream.accept()
      _ = try server.read(until: "\r\n\r\n")
      if reset { client.reset() } else { shutdown(client.descriptor, Int32(SHUT_RDWR)) }
      #expect(server.isClosed())
      try waitUntil("499 in the access log") {
        door.site.text("access.log").contains("499 /\(reset) ")
      }
    }
    #expect(door.errorLog.contains("client prematurely closed connection"))
    try door.stop()
  }

  @Test func retriesOnceWhenAKeptConnectionWasClosedJustThen() async throws {
    let upstream = RawServer()
    let door = try await Portico.start(config: config("server \(upstream.address) max_fails=1;"))
    for method in ["GET", "PUT"] {
      let client = try door.client()
      let request = "\(method) /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"
      try client.send(request)
      let first = try upstream.accept()
      _ = try first.read(until: "body")
      try first.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none")
      #expect(try client.response().text == "one")
      // The kept connection takes the request, and goes without a word.
      try client.send(request)
      _ = try first.read(until: "body")
      shutdown(first.descriptor, Int32(SHUT_RDWR))
      let second = try upstream.accept()
      _ = try second.read(until: "body")
      try second.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\ntwo")
      #expect(try client.response().text == "two")
      // It counted as no failure: with max_fails=1 the server would be out.
      #expect(!door.errorLog.contains("temporarily disabled"))
    }
    // Once only: a fresh connection that goes the same way is an error.
    let client = try door.client()
    try client.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
    let first = try upstream.accept()
    _ = try first.read(until: "\r\n\r\n")
    try first.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none")
    #expect(try client.response().text == "one")
    try client.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
    _ = try first.read(until: "\r\n\r\n")
    shutdown(first.descriptor, Int32(SHUT_RDWR))
    let second = try upstream.accept()
    _ = try second.read(until: "\r\n\r\n")
    shutdown(second.descriptor, Int32(SHUT_RDWR))
    #expect(try client.response().status == 502)
    #expect(!upstream.waits(within: 0.2))
    try door.stop()
  }

  @Test func aKeptConnectionThatClosesWhileIdleIsNotUsed() async throws {
    let app = try TestUpstream { .answer(body: "\($0.connection)") }
    let door = try await Portico.start(config: config("server %%UPSTREAM_0%%;"), upstreams: [app])
    let client = try door.client()
    for index in 0..<5 {
      try client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      #expect(try client.response().text == "\(index)")
      app.closeConnections()
    }
    try door.stop()
  }

  @Test func nonIdempotentRequestsAreRepeatedOnlyIfAllowed() async throws {
    let broken = try TestUpstream { _ in .steps([.close]) }
    let app = try TestUpstream { .answer(body: $0.method) }
    for (flag, status, count) in [("", 502, 0), ("non_idempotent", 200, 1)] {
      let before = app.requests.count
      let door = try await Portico.start(
        config: config(
          "server %%UPSTREAM_0%% max_fails=0 weight=100; server %%UPSTREAM_1%%;",
          location: "proxy_next_upstream error \(flag);"),
        upstreams: [broken, app])
      let client = try door.client()
      try client.send("PATCH / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
      #expect(try client.response().status == status)
      #expect(app.requests.count - before == count)
      try door.stop()
    }
  }
}
