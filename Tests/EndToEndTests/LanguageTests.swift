// What single directives of nginx's language mean, where it is easily got wrong: how often they may
// stand, in which order, in which units their values are.

import Foundation
import TestSupport
import Testing

@Suite struct LanguageTests {
  private func expect(_ http: String, isRefusedWith message: String) throws {
    let result = try Portico.run(Site(config: "http { \(http) }"), ["-t"])
    #expect(result.code == 1, "\(http)")
    #expect(result.standardError.contains(message), "\(result.standardError)")
  }

  private func expectAccepted(_ http: String) throws {
    let result = try Portico.run(Site(config: "http { \(http) }"), ["-t"])
    #expect(result.code == 0, "\(result.standardError)")
  }

  // --- fields ------------------------------------------------------------------------------------

  /// Lists of several lines, and secrets that end in a line feed, don't end a head.
  @Test(arguments: ["http", "h2"])
  func aLineBreakInAFieldIsABlank(version: String) async throws {
    let app = try TestUpstream { .answer(body: $0["Authorization"] ?? "-") }
    let door = try await Portico.start(
      config: """
        http { server { listen 127.0.0.1:%%PORT_0%%; http2 on;
          add_header Policy "
            a;
            b $scheme \t
          " always;
          location / {
            proxy_set_header Authorization "Bearer ${env:SECRET}";
            proxy_set_header X-Other other;
            proxy_pass http://%%UPSTREAM_0%%;
          } } }
        """, upstreams: [app], environment: ["SECRET": "s3cret\r\n"])
    let answer = try Command.run(
      [
        "curl", "-sS", "-D", "-", version == "h2" ? "--http2-prior-knowledge" : "--http1.1",
        "http://127.0.0.1:\(door.port())/",
      ], folder: door.site.folder
    ).standardOutput.lowercased()
    #expect(answer.hasSuffix("\r\n\r\nbearer s3cret"))
    #expect(answer.contains("\r\npolicy: a; b http\r\n"))
    try expect("add_header A \"a\u{1}b\";", isRefusedWith: "a control character can't be part")
    try door.stop()
  }

  // --- types -------------------------------------------------------------------------------------

  @Test func typesOfOneLevelAddUpAndReplaceThoseOutside() async throws {
    let door = try await Portico.start(
      config: """
        http {
          types { text/html html; text/one a; }
          types { text/javascript mjs; text/two a; }
          default_type text/none;
          server {
            listen 127.0.0.1:%%PORT_0%%; root %%DIR%%;
            location /in/ { types { text/inner b; } types { text/other c; } }
          }
        }
        """,
      files: [
        "x.html": "", "x.mjs": "", "x.a": "", "in/x.b": "", "in/x.c": "", "in/x.html": "",
      ])
    for (path, type) in [
      ("/x.html", "text/html"), ("/x.mjs", "text/javascript"), ("/x.a", "text/two"),
      ("/in/x.b", "text/inner"), ("/in/x.c", "text/other"), ("/in/x.html", "text/none"),
    ] { #expect(try door.get(path)["Content-Type"] == type, "\(path)") }
    try door.stop()
  }

  // --- if ----------------------------------------------------------------------------------------

  @Test(arguments: [
    "($request_method=POST)", "($arg_a$arg_b)", "(${arg_a}b)", "($arg_a =b)", "($arg_a= b)",
    "($arg_a$arg_b = c)", "($arg_a. ~ c)", "($arg_a = b c)",
  ])
  func aConditionIsOneVariableOrHasBlanksAroundItsOperator(condition: String) throws {
    try expect(
      "server { location / { if \(condition) { return 204; } } }",
      isRefusedWith:
        "; it is a variable, or a variable, an operator and a value with blanks between them")
  }

  @Test(arguments: ["($arg_a)", "( $arg_a )", "(${arg_a} = b)", "($arg_a != \"b c\")"])
  func otherConditionsAreTaken(condition: String) throws {
    try expectAccepted("server { location / { if \(condition) { return 204; } } }")
  }

  // --- resolver ----------------------------------------------------------------------------------

  /// A port whose name server never answers.
  private static func silentServer() -> (descriptor: Int32, port: UInt16) {
    let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | O_CLOEXEC, 0)
    return (descriptor, bindLoopback(descriptor))
  }

  /// `text` with the directive that names the server at `port` in the place of RESOLVER.
  private static func fill(_ text: String, _ port: UInt16) -> String {
    text.replacingOccurrences(of: "RESOLVER", with: "resolver 127.0.0.1:\(port);")
  }

  @Test(arguments: [
    ("resolver_timeout 300ms; RESOLVER", ""), ("RESOLVER resolver_timeout 300ms;", ""),
    ("resolver_timeout 300ms;", "RESOLVER"), ("RESOLVER", "resolver_timeout 300ms;"),
    ("resolver_timeout 1h; RESOLVER", "resolver_timeout 300ms;"),
  ])
  func aNameIsWaitedForAsLongAsResolverTimeoutSays(http: String, server: String) async throws {
    let silent = Self.silentServer()
    defer { close(silent.descriptor) }
    let (http, server) = (Self.fill(http, silent.port), Self.fill(server, silent.port))
    let door = try await Portico.start(
      config: """
        http {
          \(http)
          server {
            listen 127.0.0.1:%%PORT_0%%; \(server)
            location / { proxy_pass http://$arg_h; }
          }
        }
        """)
    let client = try door.client()
    try client.send("GET /?h=app.test HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(try client.response(within: 15).status == 502)
    try door.waitForLog("app.test could not be resolved (no answer from DNS in time)")
    try door.stop()
  }

  @Test(arguments: [
    ("", "resolver_timeout 300ms; RESOLVER"), ("resolver_timeout 300ms;", "RESOLVER"),
    ("resolver_timeout 300ms; RESOLVER", ""), ("RESOLVER", "resolver_timeout 300ms;"),
  ])
  func theNamesOfAnUpstreamAsWell(http: String, upstream: String) async throws {
    let silent = Self.silentServer()
    defer { close(silent.descriptor) }
    let (http, upstream) = (Self.fill(http, silent.port), Self.fill(upstream, silent.port))
    let door = try await Portico.start(
      config: """
        http {
          \(http)
          upstream app { zone app 64k; server app.test:80 resolve; \(upstream) }
          server { listen 127.0.0.1:%%PORT_0%%; location / { proxy_pass http://app; } }
        }
        """)
    try door.waitForLog(
      "\"app.test:80\" in upstream \"app\" could not be resolved", within: 15)
    try door.stop()
  }

  @Test func aNameServerMayBeNamed() async throws {
    let names = NameServer(timeToLive: 60)
    names.set("app.test", 1)
    let door = try await Portico.start(
      config: """
        http {
          resolver localhost:\(names.port) ipv6=off;
          server {
            listen 127.0.0.1:%%PORT_0%%;
            location / { proxy_pass http://app.test$arg_nothing:%%PORT_1%%; }
          }
          server { listen 127.0.0.1:%%PORT_1%%; return 200 found; }
        }
        """)
    #expect(try door.get().text == "found")
    try door.stop()
  }

  @Test(arguments: [
    ("127.0.0.1 ipv6=of", "\"ipv6\" must be \"on\" or \"off\", not \"of\""),
    ("127.0.0.1 ipv4=nope", "\"ipv4\" must be \"on\" or \"off\", not \"nope\""),
    ("ipv6=off", "\"resolver\" has no name servers"),
    ("127.0.0.1 ipv4=off ipv6=off", "\"ipv4\" and \"ipv6\" can't both be \"off\""),
    ("nowhere.invalid", "host not found in resolver \"nowhere.invalid\""),
    ("127.0.0.1 valod=1s", "did you mean \"valid\"?"),
  ])
  func refusesResolversThatCanNotBeMeant(words: String, message: String) throws {
    try expect("resolver \(words);", isRefusedWith: message)
  }

  // --- server_name -------------------------------------------------------------------------------

  @Test func hostnameIsTheNameOfTheMachine() async throws {
    var storage = [CChar](repeating: 0, count: 256)
    #expect(gethostname(&storage, storage.count - 1) == 0)
    let machine = String(
      decoding: storage.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self
    ).lowercased()
    let door = try await Portico.start(
      config: """
        http {
          server { listen 127.0.0.1:%%PORT_0%%; return 200 other; }
          server {
            listen 127.0.0.1:%%PORT_0%%; server_name $hostname; valid_referers server_names;
            return 200 "$server_name [$invalid_referer]";
          }
        }
        """)
    #expect(
      try door.get(headers: ["Host": machine, "Referer": "https://\(machine)/page"]).text
        == "\(machine) []")
    #expect(
      try door.get(headers: ["Host": machine, "Referer": "http://else/"]).text == "\(machine) [1]")
    #expect(try door.get(headers: ["Host": "else"]).text == "other")
    try door.stop()
  }

  // --- directives that stand several times -------------------------------------------------------

  @Test func valuesOfSeveralDirectivesOfOneLevelAddUp() async throws {
    let app = try TestUpstream { request in
      if request.path.hasPrefix("/500") { return .answer("500 Oops", body: "") }
      if request.path.hasPrefix("/503") { return .answer("503 Oops", body: "") }
      return .answer(body: "ok")
    }
    let spare = try TestUpstream { _ in .answer(body: "spare") }
    let door = try await Portico.start(
      config: """
        http {
          proxy_next_upstream http_503;
          upstream app { server %%UPSTREAM_0%% max_fails=0; server %%UPSTREAM_1%% backup; }
          server {
            listen 127.0.0.1:%%PORT_0%%;
            location / { proxy_pass http://app; }
            location ~ /both { proxy_next_upstream Error; proxy_next_upstream HTTP_500; proxy_pass http://app; }
            location ~ /off { proxy_next_upstream off; proxy_next_upstream http_500; proxy_pass http://app; }
          }
        }
        """, upstreams: [app, spare])
    for (path, status) in [
      ("/503", 200), ("/500", 500), ("/500/both", 200), ("/503/both", 503), ("/500/off", 500),
    ] { #expect(try door.get(path).status == status, "\(path)") }
    try door.stop()
  }

  @Test(arguments: [
    "ssl_protocols TLSv1.2; ssl_protocols tlsv1.3;",
    "proxy_ssl_protocols TLSv1.2; proxy_ssl_protocols TLSv1.3;",
    "grpc_ssl_protocols TLSv1.2; grpc_ssl_protocols TLSv1.3;",
    "grpc_next_upstream error; grpc_next_upstream Timeout;",
    "grpc_ignore_headers X-Accel-Redirect; grpc_ignore_headers X-Accel-Charset;",
    "proxy_cache_use_stale error; proxy_cache_use_stale UPDATING;",
    "proxy_cache_methods get; proxy_cache_methods POST;",
    "gzip_proxied expired; gzip_proxied No-Cache;",
    "keepalive_disable msie6; keepalive_disable Safari;",
    "satisfy ANY;", "lingering_close Always;", "if_modified_since Before;",
    // Times that are counted in seconds have months and years.
    "userid_expires 1y;", "ssl_session_timeout 1M;", "resolver 127.0.0.1 valid=1M;",
    "open_file_cache max=10 inactive=1y;", "keepalive_timeout 1h 1M;",
    "upstream a { server 127.0.0.1 fail_timeout=1M; }",
    "upstream a { server 127.0.0.1; sticky cookie a expires=1y; }",
    // What else nginx takes.
    "keepalive_requests 0;", "server { listen 127.0.0.1:80 backlog=131072; }",
    "log_format a $http3; server { location / { limit_except GET { access_log off; deny all; } } }",
    "server { location / { proxy_pass HTTP://127.0.0.1; } }",
    "server { location / { grpc_pass GRPCS://127.0.0.1; } }",
  ])
  func takesWhatNginxTakes(http: String) throws { try expectAccepted(http) }

  @Test(arguments: [
    ("ssl_session_timeout 500ms;", "\"ssl_session_timeout\" must be a time of whole seconds"),
    ("userid_expires 500ms;", "\"userid_expires\" must be a time of whole seconds"),
    ("ssl_protocols TLSv1.4; ssl_protocols TLSv1.2;", "has no parameter \"TLSv1.4\""),
    ("satisfy some;", "\"satisfy\" must be one of \"all\", \"any\", not \"some\""),
  ])
  func refusesWhatNginxRefuses(http: String, message: String) throws {
    try expect(http, isRefusedWith: message)
  }

  @Test func oneRequestAndNoMoreWhereKeepaliveRequestsIsZero() async throws {
    let app = try TestUpstream { .answer(body: $0.path) }
    let door = try await Portico.start(
      config: """
        http {
          log_format short "$uri [$http3]";
          access_log off;
          server {
            listen 127.0.0.1:%%PORT_0%%; keepalive_requests 0;
            location /static { proxy_pass HTTP://%%UPSTREAM_0%%; }
            location /computed { proxy_pass HtTp://%%UPSTREAM_0%%$uri; }
            location / { return 200 ok; limit_except GET { access_log %%DIR%%/a.log short; } }
          }
        }
        """, upstreams: [app])
    let client = try door.client()
    try client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(try client.response()["Connection"] == "close")
    #expect(client.isClosed())
    for path in ["/static", "/computed"] { #expect(try door.get(path).text == path) }
    _ = try door.get("/x", method: "PUT")
    try waitUntil("the log") { door.site.text("a.log") == "/x []\n" }
    try door.stop()
  }

  @Test func aYearIsAYear() async throws {
    let app = try TestUpstream { _ in .answer(body: "ok") }
    let door = try await Portico.start(
      config: """
        http {
          upstream app { server %%UPSTREAM_0%%; sticky cookie s expires=1y; }
          server { listen 127.0.0.1:%%PORT_0%%; location / { proxy_pass http://app; } }
        }
        """, upstreams: [app])
    #expect(try door.get()["Set-Cookie"]?.contains("max-age=31536000") == true)
    try door.stop()
  }
}
