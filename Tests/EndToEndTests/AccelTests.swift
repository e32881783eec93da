// What an upstream orders by X-Accel fields, and locations that don't listen
// (`proxy_ignore_headers`).

import Foundation
import Testing

@Suite struct AccelTests {
  private func start(_ location: String, _ upstreams: [TestUpstream]) async throws -> RunningPortico
  {
    try await Portico.start(
      config: """
        http { server {
          listen 127.0.0.1:%%PORT_0%% sndbuf=64k;
          location / { \(location) proxy_temp_path %%DIR%%/spool; proxy_pass http://%%UPSTREAM_0%%; }
          location /inside { internal; return 200 inside; }
        } }
        """, files: ["spool/.keep": ""], upstreams: upstreams)
  }

  @Test(arguments: [
    ("no", "", false), ("NO", "", false), ("yes", "", true),
    ("no", "proxy_ignore_headers x-accel-buffering Expires;", true),
    ("no", "proxy_ignore_headers X-Accel-Redirect;", false),
  ])
  func aResponseMayAskNotToBeBuffered(order: String, location: String, buffers: Bool) async throws {
    let size = 20 << 20
    let app = try TestUpstream { _ in
      .steps([
        .bytes("HTTP/1.1 200 OK\r\nContent-Length: \(size)\r\nX-Accel-Buffering: \(order)\r\n\r\n"),
        .bytes([UInt8](repeating: 65, count: size)),
      ])
    }
    let door = try await start(location, [app])
    let client = try door.client()
    try client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    _ = try client.read(until: "\r\n\r\n")
    // The client stops for a while; whether that is spooled shows in the log.
    if buffers { try door.waitForLog("buffered to a temporary file") }
    #expect(try client.read(count: size).allSatisfy { $0 == 65 })
    #expect(door.errorLog.contains("buffered to a temporary file") == buffers)
    try door.stop()
  }

  /// Frameworks say so to have the type of the file.
  @Test func anEmptyTypeLeavesItToWhereTheRedirectLeads() async throws {
    let app = try TestUpstream { _ in
      .answer(fields: ["X-Accel-Redirect": "/inside", "Content-Type": ""])
    }
    let door = try await start("", [app])
    #expect(try door.get()["content-type"] == "text/plain")
    try door.stop()
  }

  @Test func aRedirectInsideMayBeIgnored() async throws {
    let app = try TestUpstream { _ in .answer(fields: ["X-Accel-Redirect": "/inside"], body: "own")
    }
    let listening = try await start("", [app])
    #expect(try listening.get().text == "inside")
    try listening.stop()
    let deaf = try await start("proxy_ignore_headers X-Accel-Redirect;", [app])
    let answer = try deaf.get()
    #expect(answer.text == "own" && answer["x-accel-redirect"] == nil)
    try deaf.stop()
  }

  /// What the location says of errors goes before what the upstream orders.
  @Test func anErrorThatIsInterceptedRedirectsNowhere() async throws {
    let app = try TestUpstream { _ in
      .answer("404 Not Found", fields: ["X-Accel-Redirect": "/inside"], body: "own")
    }
    let door = try await start("proxy_intercept_errors on; error_page 404 =410 /inside;", [app])
    let answer = try door.get()
    #expect(answer.status == 410 && answer.text == "inside")
    try door.stop()
  }

  @Test func cookiesOfARedirectInsideAreRewritten() async throws {
    let app = try TestUpstream { _ in
      .answer(
        fields: ["X-Accel-Redirect": "/inside", "Set-Cookie": "a=b; Domain=up.local"], body: "own")
    }
    let door = try await start(
      "proxy_cookie_flags ~ secure; proxy_cookie_domain ~^(?<name>.*)\\.local$ $name.org;", [app])
    #expect(try door.get()["set-cookie"] == "a=b; Domain=up.org; Secure")
    try door.stop()
  }

  /// A session that begins with the redirect begins also if what it leads to is refused.
  @Test func cookiesOfARedirectInsideComeWithAnError() async throws {
    let app = try TestUpstream { request in
      .answer(
        fields: [
          "X-Accel-Redirect": String(request.path.dropFirst(2)), "Set-Cookie": "session=1",
          "Cache-Control": "max-age=60",
        ], body: "own")
    }
    let door = try await Portico.start(
      config: """
        http { server { listen 127.0.0.1:%%PORT_0%%; root %%DIR%%;
          location /x/ { proxy_pass http://%%UPSTREAM_0%%; }
          location /forbidden { internal; deny all; }
          location /paged { internal; error_page 403 /page; deny all; }
          location = /page { internal; return 200 page; }
          location /here { internal; return 200 here; } } }
        """, upstreams: [app])
    for (path, status) in [("here", 200), ("none", 404), ("forbidden", 403), ("paged", 403)] {
      let answer = try door.get("/x/\(path)")
      #expect(answer.status == status && answer["Set-Cookie"] == "session=1", "\(path)")
      #expect((answer["Cache-Control"] != nil) == (status == 200), "\(path)")
    }
    // The next request of the connection has none of it.
    #expect(try door.get("/none")["Set-Cookie"] == nil)
    try door.stop()
  }

  @Test func refusesFieldsThatCanNotBeIgnored() throws {
    let site = try Site(
      config: "http { server { listen 127.0.0.1:%%PORT_0%%; proxy_ignore_headers Location; } }")
    let result = try Portico.run(site, ["-t"])
    #expect(result.code == 1)
    #expect(result.standardError.contains("\"proxy_ignore_headers\" has no parameter \"Location\""))
  }
}
