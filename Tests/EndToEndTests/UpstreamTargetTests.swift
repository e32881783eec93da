// What variables make of the request that an upstream gets: never two, and the client's own target
// where nothing changed it.

import Foundation
import Testing

@Suite struct UpstreamTargetTests {
  /// A target begins with a slash, also where the URL has a query and no path.
  @Test func aQueryWithoutAPathIsAskedAtTheRoot() async throws {
    let app = try TestUpstream { .answer(body: $0.path) }
    let door = try await Portico.start(
      config: """
        http { server { listen 127.0.0.1:%%PORT_0%%;
          location /a { set $up %%UPSTREAM_0%%; proxy_pass http://$up?$args; }
          location /b { proxy_pass http://%%UPSTREAM_0%%?b=c; }
          location /c { set $up %%UPSTREAM_0%%; proxy_pass http://$up; }
          location /unix/ { set $sock %%DIR%%/sock; proxy_pass http://unix:$sock:; }
          location /query/ { set $sock %%DIR%%/sock; proxy_pass http://unix:$sock:?x; }
        }
        server { listen unix:%%DIR%%/sock; return 200 $request_uri; } }
        """, upstreams: [app])
    for (path, target) in [
      ("/a?x=1", "/?x=1"), ("/b", "/?b=c"), ("/c?x", "/c?x"), ("/unix/a?b", "/unix/a?b"),
      ("/query/a", "/?x"),
    ] { #expect(try door.get(path).text == target, "\(path)") }
    try door.stop()
  }

  /// A door whose locations may pass requests to `app`.
  private func start(_ upstream: TestUpstream, _ locations: String = Self.locations) async throws
    -> RunningPortico
  {
    try await Portico.start(
      config: """
        http {
          upstream app { server %%UPSTREAM_0%%; keepalive 4; }
          server { listen 127.0.0.1:%%PORT_0%%; root %%DIR%%/none; \(locations) }
        }
        """, upstreams: [upstream])
  }

  private static let locations = """
    location /field { proxy_set_header X-Path $uri; proxy_pass http://app; }
    location /old { proxy_http_version 1.0; proxy_set_header X-Path $uri; proxy_pass http://app; }
    location /target { proxy_pass http://app$uri; }
    location ~ ^/capture(.*) { proxy_pass http://app/x$1; }
    location /try { try_files $uri /index?q=$uri&$args; }
    location /method { set $m $uri; proxy_method $m; proxy_pass http://app; }
    location /index { proxy_pass http://app; }
    location /named { try_files $uri @app; }
    location /error { error_page 404 = @app; }
    location /rewritten { rewrite ^/rewritten(.*) /new$1 break; proxy_pass http://app; }
    location @app { proxy_pass http://app; }
    """

  /// What one location computed is none of the next one's business.
  @Test func aComputedTargetEndsWithItsLocation() async throws {
    let upstream = try TestUpstream {
      $0.path.hasPrefix("/first") ? .answer("418 Teapot") : .answer(body: $0.path)
    }
    let door = try await start(
      upstream,
      """
      proxy_intercept_errors on;
      location / { proxy_pass http://app/first$uri; error_page 418 /fixed/error; }
      location /fixed/ { proxy_pass http://app/pages/; }
      """)
    let response = try door.get("/a")
    #expect(response.status == 418 && response.text == "/pages/error")
    try door.stop()
  }

  /// Whatever a variable's value makes of a URL, it is judged, however short.
  @Test func computedURLsOfAnyLength() async throws {
    let upstream = try TestUpstream { _ in .answer(body: "one") }
    let door = try await start(
      upstream,
      """
      location /whole { set $url $arg_url; proxy_pass $url; }
      location /name { proxy_pass http://$arg_url; }
      location /grpc { set $url $arg_url; grpc_pass $url; }
      """)
    let urls = ["grpcs://nowhere", "https://nowhere"].flatMap { url in
      (0...url.count).map { String(url.prefix($0)) }
    }
    for url in urls + ["app"] {
      for location in ["/whole", "/name", "/grpc"] {
        let expected = url == "app" && location == "/name" ? [200] : [500, 502]
        let response = try door.get("\(location)?url=\(url)")
        #expect(expected.contains(response.status), "\(location) with \"\(url)\"")
      }
    }
    #expect(!door.errorLog.contains("exited on signal"))
    try door.stop()
  }

  /// Decoded line ends and blanks of a path reach neither the request line nor a field.
  @Test(arguments: ["/field", "/old", "/target", "/capture", "/try", "/method"])
  func aDecodedPathIsPartOfOneRequest(location: String) async throws {
    let upstream = try TestUpstream { _ in .answer(body: "one") }
    let door = try await start(upstream)
    let client = try door.client()
    let tail =
      "%0d%0aX-Injected:%20yes%0d%0a%0d%0aGET%20/smuggled%20HTTP/1.1%0d%0aHost:%20a%0d%0a%0d%0a"
    for target in [location + tail, location + "/%20HTTP/1.1%7f", location + "/second"] {
      try client.send("GET \(target) HTTP/1.1\r\nHost: a\r\n\r\n")
      #expect(try client.response().text == "one")
    }
    let requests = upstream.requests
    #expect(requests.count == 3)
    for request in requests {
      #expect(request["X-Injected"] == nil)
      #expect(request.head.split(separator: "\r\n")[0].split(separator: " ").count == 3)
    }
    try door.stop()
  }

  /// A named location gets the target in the form that the client sent it in.
  @Test func namedLocationsKeepTheTargetAsItWasSent() async throws {
    let upstream = try TestUpstream { .answer(body: $0.path) }
    let door = try await start(upstream)
    for (target, expected) in [
      ("/named/a%2Fb/%E4?x=%2f", "/named/a%2Fb/%E4?x=%2f"),
      ("/error/a%2Fb//c", "/error/a%2Fb//c"),
      ("/rewritten/a%2Fb?x", "/new/a/b?x"),
      ("/try/a%2Fb?x", "/index?q=/try/a/b&x"),
    ] {
      #expect(try door.get(target).text == expected, "\(target)")
    }
    try door.stop()
  }

  /// A request that may not be carried out twice is sent again only if the server can't have read
  /// it.
  @Test func aRequestThatWasReadIsNotRepeated() async throws {
    let upstream = try TestUpstream { request in
      request.index == 0 ? .answer(body: "\(request.connection)") : .steps([.close])
    }
    let door = try await start(upstream)
    #expect(try door.get("/index").text == "0")
    let client = try door.client()
    try client.send("POST /index HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\npay")
    #expect(try client.response().status == 502)
    #expect(upstream.requests.count == 2)
    // One that may be repeated is.
    #expect(try door.get("/index").text == "1")
    #expect(try door.get("/index").text == "2")
    try door.stop()
  }

  @Test func aRequestThatCameTooLateForAKeptConnectionIsRepeated() async throws {
    let server = RawServer()
    let door = try await Portico.start(
      config: """
        worker_processes 1;
        http { server { listen 127.0.0.1:%%PORT_0%%;
          location / { proxy_pass http://\(server.address); } } }
        """)
    let client = try door.client()
    try client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    var kept: RawClient? = try server.accept()
    _ = try kept?.read(until: "\r\n\r\n")
    try kept?.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1")
    #expect(try client.response().text == "1")
    // The request and the end of the connection come at once.
    try door.withWorkerHeld {
      try client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\npay")
      kept = nil
    }
    let second = try server.accept()
    #expect(try second.read(until: "pay").hasPrefix("POST / "))
    try second.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2")
    #expect(try client.response().text == "2")
    try door.stop()
  }

  /// Rules that look at `$request_uri` see a path, in whatever form the target came.
  @Test func theURIOfAnAbsoluteFormIsItsPath() async throws {
    let door = try await Portico.start(
      config: """
        http { server { listen 127.0.0.1:%%PORT_0%%;
          if ($request_uri ~* "^/admin") { return 403; }
          location /to { return 301 https://$host$request_uri; }
          location / { return 200 $request_uri; } } }
        """)
    for (target, expected) in [
      ("http://a/x?y=1", "/x?y=1"), ("http://a", "/"), ("http://a?q", "/?q"), ("/z", "/z"),
    ] {
      let client = try door.client()
      try client.send("GET \(target) HTTP/1.1\r\nHost: a\r\n\r\n")
      #expect(try client.response().text == expected)
    }
    let client = try door.client()
    try client.send("GET http://a/admin/x HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(try client.response().status == 403)
    try client.send("GET http://b/to?1 HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(try client.response()["Location"] == "https://b/to?1")
    try door.stop()
  }

  /// The length of a body is what it is, whatever the configuration says.
  @Test func aBodyHasOneLength() async throws {
    let app = try TestUpstream { request in
      let lines = request.head.lowercased().components(separatedBy: "\r\n")
      let framing = lines.filter { $0.hasPrefix("content-l") || $0.hasPrefix("transfer-e") }
      return .answer(body: framing.joined(separator: "|"))
    }
    let door = try await Portico.start(
      config: """
        http { server { listen 127.0.0.1:%%PORT_0%%;
          location /client { proxy_set_header Content-Length $http_content_length;
            proxy_pass http://%%UPSTREAM_0%%; }
          location /wrong { proxy_set_header Content-Length 90;
            proxy_set_header Transfer-Encoding chunked;
            proxy_set_body abc; proxy_pass http://%%UPSTREAM_0%%; }
          location /none { proxy_set_header Content-Length "";
            proxy_pass_request_body off; proxy_pass http://%%UPSTREAM_0%%; } } }
        """, upstreams: [app])
    for (path, expected) in [
      ("/client", "content-length: 5"), ("/wrong", "content-length: 3"), ("/none", ""),
    ] {
      let client = try door.client()
      try client.send("POST \(path) HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
      #expect(try client.response().text == expected, "\(path)")
    }
    #expect(door.errorLog.contains("this value isn't used"))
    try door.stop()
  }

  /// What the upstream gets may be made of a body that isn't passed on itself.
  @Test func variablesHaveABodyThatIsNotPassed() async throws {
    let app = try TestUpstream { request in
      .answer(
        body: [
          request["X-Body"] ?? "-", request["Content-Type"] ?? "-",
          String(decoding: request.body, as: UTF8.self),
        ].joined(separator: "|"))
    }
    let door = try await Portico.start(
      config: """
        http {
          log_format body '$uri $request_body';
          access_log %%DIR%%/access.log body;
          proxy_set_header X-Body $request_body;
          server { listen 127.0.0.1:%%PORT_0%%;
            location /changed { proxy_set_body "x=$request_body"; proxy_pass http://%%UPSTREAM_0%%; }
            location /none { proxy_pass_request_body off; proxy_pass http://%%UPSTREAM_0%%; }
            location /streamed { proxy_request_buffering off; proxy_set_body "x=$request_body";
              proxy_pass http://%%UPSTREAM_0%%; }
            location /file { client_body_in_file_only clean; proxy_set_body "$request_body_file";
              proxy_set_header X-Body ""; proxy_pass http://%%UPSTREAM_0%%; } } }
        """, upstreams: [app])
    func ask(_ path: String) throws -> String {
      let client = try door.client()
      try client.send(
        "POST \(path) HTTP/1.1\r\nHost: a\r\nContent-Type: text/x\r\nContent-Length: 5\r\n\r\nhe")
      try client.send("llo")
      return try client.response().text
    }
    #expect(try ask("/changed") == "hello|text/x|x=hello")
    #expect(try ask("/none") == "hello|text/x|")
    #expect(try ask("/streamed") == "hello|text/x|x=hello")
    #expect(try ask("/file").hasPrefix("-|text/x|\(door.site.folder)"))
    try waitUntil("the log") { door.site.text("access.log").contains("/none hello\n") }
    #expect(door.site.text("access.log").contains("/changed hello\n"))
    try door.stop()
  }

  /// HTTP/2 inside a tunnel would pass everything that looks at requests.
  @Test func noTunnelSpeaksHTTP2() async throws {
    let app = try TestUpstream { request in
      let upgrade = request["Upgrade"] ?? "-"
      return upgrade.contains("evil") || upgrade == "-"
        ? .answer(body: upgrade)
        : .steps([
          .bytes("HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: H2C\r\n\r\n"), .silence,
        ])
    }
    let door = try await Portico.start(
      config: """
        http { server { listen 127.0.0.1:%%PORT_0%%;
          location / { proxy_pass http://%%UPSTREAM_0%%; } } }
        """, upstreams: [app])
    func ask(_ upgrade: String) throws -> Response {
      let client = try door.client()
      try client.send(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: \(upgrade)\r\n\r\n")
      return try client.response()
    }
    for offer in ["h2c", "evil, h2c", "websocket, H2C"] { #expect(try ask(offer).text == "-") }
    #expect(try ask("websocket").status == 502)
    try door.stop()
  }

  /// The page of an error, which an upstream says is unchanged, isn't announced with its length.
  @Test func anErrorPageThatIsUnchangedHasNoBody() async throws {
    let upstream = try TestUpstream { request in
      request["If-None-Match"] == nil
        ? .answer(body: "page")
        : .steps([.bytes("HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 50\r\n\r\n")])
    }
    let door = try await Portico.start(
      config: """
        http { server { listen 127.0.0.1:%%PORT_0%%;
          error_page 404 /page; location / { return 404; }
          location /page { proxy_pass http://%%UPSTREAM_0%%; } } }
        """, upstreams: [upstream])
    let client = try door.client()
    try client.send("GET /a HTTP/1.1\r\nHost: a\r\nIf-None-Match: \"x\"\r\n\r\n")
    try client.send("GET /b HTTP/1.1\r\nHost: a\r\n\r\n")
    let first = try client.response()
    #expect(first.status == 404 && first.text == "")
    let second = try client.response()
    #expect(second.status == 404 && second.text == "page")
    try door.stop()
  }

  /// A client that goes on sending what nobody wants is listened to until it pauses for
  /// `lingering_timeout`: a reset would take its answer away.
  @Test(arguments: ["client_max_body_size 1k;", "keepalive_timeout 60s;"])
  func aClientThatGoesOnSendingIsNotReset(directive: String) async throws {
    let door = try await Portico.start(
      config: """
        http { server { listen 127.0.0.1:%%PORT_0%%;
          lingering_timeout 600ms; \(directive) return 403; } }
        """)
    let client = try door.client()
    try client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
    _ = try client.read(until: "</html>\n")
    for _ in 0..<10 {
      try client.send("more of the body")
      #expect(throws: RawClient.Failure.timedOut(received: "")) {
        try client.read(count: 1, within: 0.15)
      }
    }
    try door.stop(SIGTERM)
  }

  /// What was found by try_files is asked for as the client wrote it; a path that a server rewrote
  /// goes on whole.
  @Test func aPathThatIsNoTargetLeavesTheTargetAlone() async throws {
    let app = try TestUpstream { .answer(body: $0.path) }
    let door = try await Portico.start(
      config: """
        http { server { listen 127.0.0.1:%%PORT_0%%; root %%DIR%%/www;
          rewrite ^/old/(.*)$ /api/$1 break;
          location / { try_files $uri $uri/ /index.html; proxy_pass http://%%UPSTREAM_0%%; }
          location /a { try_files $uri /index.html =404; proxy_pass http://%%UPSTREAM_0%%; }
          location /api/ { proxy_pass http://%%UPSTREAM_0%%/new/; }
        } }
        """, files: ["www/assets/app.css": "", "www/index.html": ""], upstreams: [app])
    let rows = [
      ("/assets%2fapp.css", "/assets%2fapp.css"), ("/assets//app.css?x", "/assets//app.css?x"),
      ("/a", "/a"), ("/api/q", "/new/q"), ("/old/q", "/api/q"), ("/none", "/index.html"),
    ]
    for (path, target) in rows { #expect(try door.get(path).text == target, "\(path)") }
    try door.stop()
  }
}
