// auth_request: another location, usually a service of its own, says who may go on.

import Foundation
import Testing

@Suite struct AuthorizationTests {
  private static let config = """
    worker_processes 2;
    http {
      access_log %%DIR%%/access.log;
      server {
        listen 127.0.0.1:%%PORT_0%%; http2 on; root %%DIR%%/www;
        location / { }
        location /app {
          auth_request /auth?why=app; auth_request_set $user $upstream_http_x_user;
          auth_request_set $answered $upstream_status;
          proxy_pass http://%%UPSTREAM_0%%; proxy_set_header X-User $user;
          add_header X-Answered $answered always;
        }
        location /login { auth_request /auth; error_page 401 = @login; alias %%DIR%%/www/a; }
        location @login { return 302 /sign-in; }
        location = /auth {
          internal; proxy_pass http://%%UPSTREAM_1%%/check; proxy_pass_request_body off;
          proxy_set_header X-Original-URI $request_uri; proxy_set_header X-Method $request_method; proxy_read_timeout 60s;
          # Nobody is sent its body: an answer of 100 KB takes no minutes.
          limit_rate 100;
        }
        location /here { auth_request /fixed; alias %%DIR%%/www/a;
          location /here/not { auth_request off; alias %%DIR%%/www/a; } }
        location = /fixed { internal; return 204; }
        location /file { auth_request /index.html; alias %%DIR%%/www/a; }
        location /missing { auth_request /nothing; alias %%DIR%%/www/a; }
        location /dropped { auth_request /drop; alias %%DIR%%/www/a; }
        location = /drop { return 444; }
        location /itself { auth_request /itself; alias %%DIR%%/www/a; }
        location /down { auth_request /gone; alias %%DIR%%/www/a; }
        location = /gone { proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /any {
          satisfy any; deny all; auth_basic x; auth_basic_user_file users; auth_request /auth;
          alias %%DIR%%/www/a;
        }
        location /held { auth_request /limited; alias %%DIR%%/www/a; }
        location = /limited { return 204; }
      }
    }
    """

  /// An application behind the door, and a service that knows by X-Token who may go on.
  private func start() async throws -> (RunningPortico, app: TestUpstream, guardian: TestUpstream) {
    let app = try TestUpstream { request in
      .answer(body: "\(request.method) \(request["X-User"] ?? "-") \(request.body.count)")
    }
    let guardian = try TestUpstream { request in
      switch request["X-Token"] {
      case "good": .answer(fields: ["X-User": "ann"], body: String(repeating: "x", count: 100_000))
      case "bad": .answer("403 Forbidden")
      case "broken": .answer("500 Internal Server Error")
      case "half": .steps([.bytes("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"), .reset])
      case "slow": .steps([.silence])
      default: .answer("401 Unauthorized", fields: ["WWW-Authenticate": "Bearer realm=\"a\""])
      }
    }
    let door = try await Portico.start(
      config: Self.config,
      files: ["www/a": "a", "www/index.html": "index", "users": "u:{PLAIN}p"],
      upstreams: [app, guardian])
    return (door, app, guardian)
  }

  @Test func theOtherLocationDecides() async throws {
    let (door, app, guardian) = try await start()
    for (token, status) in [
      ("good", 200), ("bad", 403), ("broken", 500), ("none", 401), ("half", 500),
    ] {
      let answer = try door.get("/app/x?y", headers: ["X-Token": token])
      #expect(answer.status == status, "\(token)")
      #expect(answer["WWW-Authenticate"] == (status == 401 ? "Bearer realm=\"a\"" : nil))
    }
    #expect(app.requests.count == 1)
    #expect(try door.get("/app", headers: ["X-Token": "good"]).text == "GET ann 0")
    #expect(try door.get("/app", headers: ["X-Token": "bad"])["X-Answered"] == "403")
    // What the service was asked.
    let asked = try #require(guardian.requests.first)
    #expect(asked.method == "GET" && asked.path == "/check?why=app")
    #expect(asked["X-Original-URI"] == "/app/x?y" && asked["X-Token"] == "good")
    try door.waitForLog("auth request unexpected status: 500")
    try door.stop()
    let lines = door.site.text("access.log").split(separator: "\n")
    #expect(lines.count == 7 && lines.allSatisfy { $0.contains("GET /app") })
  }

  @Test func theBodyIsForTheApplication() async throws {
    let (door, _, guardian) = try await start()
    for size in [1, 100_000, 900_000] {
      let client = try door.client()
      let body = String(repeating: "b", count: size)
      // Kept alive, to see that nothing of the body is taken for a request.
      for _ in 0..<3 {
        try client.send(
          "POST /app HTTP/1.1\r\nHost: a\r\nX-Token: good\r\nContent-Length: \(size)\r\n\r\n\(body)"
        )
        #expect(try client.response().text == "POST ann \(size)")
        try client.send(
          "POST /app HTTP/1.1\r\nHost: a\r\nX-Token: bad\r\nContent-Length: \(size)\r\n\r\n\(body)")
        #expect(try client.response().status == 403)
      }
      try client.send(
        "POST /app HTTP/1.1\r\nHost: a\r\nX-Token: good\r\nTransfer-Encoding: chunked\r\n\r\n"
          + "5\r\nhello\r\n0\r\n\r\n")
      #expect(try client.response().text == "POST ann 5")
    }
    #expect(guardian.requests.allSatisfy { $0.method == "GET" && $0.body.isEmpty })
    // What the client asked for.
    #expect(guardian.requests.allSatisfy { $0["X-Method"] == "POST" })
    #expect(guardian.requests.allSatisfy { $0["Content-Length"] == nil })
  }

  @Test func anyLocationCanBeAsked() async throws {
    let (door, _, _) = try await start()
    for (path, status) in [
      ("/here", 200), ("/here/not", 200), ("/file", 200), ("/missing", 500), ("/dropped", 500),
      ("/itself", 200), ("/down", 500), ("/fixed", 404), ("/auth", 404), ("/held", 200),
    ] { #expect(try door.get(path).status == status, "\(path)") }
    let page = try door.get("/login", headers: ["X-Token": "none"])
    #expect(page.status == 302 && page["Location"]?.hasSuffix("/sign-in") == true)
    #expect(try door.get("/login", headers: ["X-Token": "good"]).text == "a")
  }

  @Test func satisfyAnyAsksUntilOneLetsIn() async throws {
    let (door, _, guardian) = try await start()
    let basic = ["Authorization": "Basic " + Data("u:p".utf8).base64EncodedString()]
    #expect(try door.get("/any", headers: basic).status == 200)
    #expect(guardian.requests.isEmpty)
    #expect(try door.get("/any", headers: ["X-Token": "good"]).status == 200)
    // 401 asks for something, so 403 doesn't take its place.
    let refused = try door.get("/any", headers: ["X-Token": "bad"])
    #expect(refused.status == 401 && refused.all("WWW-Authenticate") == ["Basic realm=\"x\""])
    let both = try door.get("/any", headers: ["X-Token": "none"])
    #expect(both.all("WWW-Authenticate") == ["Basic realm=\"x\"", "Bearer realm=\"a\""])
  }

  @Test func whoLeavesWhileAskedAboutIsForgotten() async throws {
    let (door, _, guardian) = try await start()
    var client: RawClient? = try door.client()
    try client?.send("GET /app HTTP/1.1\r\nHost: a\r\nX-Token: slow\r\n\r\n")
    try waitUntil("the question") { guardian.requests.count == 1 }
    client = nil
    try waitUntil("499") { door.site.text("access.log").contains("GET /app HTTP/1.1\" 499") }
    let http2 = try H2Client(port: door.port())
    try http2.request(1, "/app", fields: [("x-token", "slow")])
    try waitUntil("the question") { guardian.requests.count == 2 }
    try http2.send(.reset, stream: 1, payload: [0, 0, 0, 8])
    try waitUntil("499") { door.site.text("access.log").contains("GET /app HTTP/2.0\" 499") }
    // Both connections to the service were given up, and streams go on.
    try waitUntil("the end of the questions") { guardian.openConnectionCount == 0 }
    try http2.request(3, "/app", fields: [("x-token", "good")])
    #expect(try http2.response(3).status == 200)
    try door.stop()
  }

  @Test func manyAtOnceGetEachItsOwnAnswer() async throws {
    let (door, _, _) = try await start()
    let clients = try (0..<60).map { _ in try door.client() }
    for round in 0..<5 {
      for (index, client) in clients.enumerated() {
        let token = ["good", "bad", "none"][(index + round) % 3]
        try client.send("GET /app HTTP/1.1\r\nHost: a\r\nX-Token: \(token)\r\n\r\n")
      }
      for (index, client) in clients.enumerated() {
        #expect(try client.response().status == [200, 403, 401][(index + round) % 3])
      }
    }
    try door.stop()
  }

  @Test(arguments: [
    ("auth_request auth;", "\"auth_request\" needs a path of this server"),
    ("auth_request http://a/;", "\"auth_request\" needs a path of this server"),
    ("auth_request /$uri;", "\"auth_request\" needs a path of this server"),
    ("auth_request_set user x;", "invalid variable name \"user\""),
    ("auth_request_set $host x;", "the \"host\" variable can't be assigned"),
    ("limit_except GET { auth_request /a; }", "\"auth_request\" is not allowed here"),
  ])
  func saysWhatIsWrongWithALine(line: String, message: String) throws {
    let site = try Site(
      config: "http { server { listen 127.0.0.1:%%PORT_0%%; location / { \(line) } } }")
    let result = try Portico.run(site, ["-t"])
    #expect(result.code == 1 && result.standardError.contains(message), "\(result.standardError)")
  }

  /// What the other location sets is seen by the request that asked it; what a map made of its path
  /// isn't.
  @Test func variablesOfTheOtherRequestAreShared() async throws {
    let door = try await Portico.start(
      config: """
        http {
          map $uri $where { default $uri; }
          server { listen 127.0.0.1:%%PORT_0%%; set $user init;
            location /m/ { auth_request /au/x; add_header U "$user|$n|$where"; empty_gif; }
            location ~ ^/au/(?<n>.*)$ { internal; set $user "bob $where"; return 204; }
          }
        }
        """)
    #expect(try door.get("/m/")["u"] == "bob /au/x|x|/m/")
    try door.stop()
  }
}
