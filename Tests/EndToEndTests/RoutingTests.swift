// What answers a request: locations, rewrites, error pages, files, as nginx decides it. And what
// malformed or broken-off requests come to: an answer or an end, never the end of the worker.

import Foundation
import Testing

/// A request and what comes of it.
struct Routed: Sendable, CustomTestStringConvertible {
  let path: String
  let status: Int
  var text: String?
  var location: String?
  var host = "localhost"
  var testDescription: String { "\(host) \(path)" }
}

@Suite struct RoutingTests {
  /// `/a` of a location `/a/` is answered by that location: its rules hold, its log has it.
  @Test func theRedirectToASlashIsItsLocations() async throws {
    let door = try await Portico.start(
      config: """
        http { access_log off; server {
          listen 127.0.0.1:%%PORT_0%%; root %%DIR%%;
          location /a/ {
            absolute_redirect off; add_header X-Here yes; access_log %%DIR%%/a.log;
            proxy_pass http://127.0.0.1:1;
          }
          location /in/ { internal; proxy_pass http://127.0.0.1:1; }
          location /small/ { client_max_body_size 1; proxy_pass http://127.0.0.1:1; }
        } }
        """)
    let answer = try door.get("/a?b=c")
    #expect(answer.status == 301 && answer["location"] == "/a/?b=c" && answer["x-here"] == "yes")
    #expect(try door.get("/in").status == 404)
    #expect(try door.get("/small", headers: ["Content-Length": "2"]).status == 413)
    try waitUntil("the log") { door.site.text("a.log").contains("GET /a?b=c") }
    try door.stop()
  }

  /// Where an error page is another site's URL, the status is 302 unless the line says another.
  @Test(arguments: [("", 302), ("=308", 308), ("=404", 302)])
  func anErrorPageElsewhereIsARedirect(_ sign: String, _ status: Int) async throws {
    let door = try await Portico.start(
      config: """
        http { server { listen 127.0.0.1:%%PORT_0%%; error_page 301 404 \(sign) https://x.test/;
          location /moved { return 301 /there; } location /none { return 404; } } }
        """)
    for path in ["/moved", "/none"] {
      let answer = try door.get(path)
      #expect(answer.status == status && answer["location"] == "https://x.test/", "\(path)")
    }
    try door.stop()
  }

  /// A head that is refused for what follows its Host is its site's affair.
  @Test func aRefusedRequestIsAnsweredByItsSite() async throws {
    let door = try await Portico.start(
      config: """
        http {
          server { listen 127.0.0.1:%%PORT_0%%; add_header X-Site first always; return 204; }
          server {
            listen 127.0.0.1:%%PORT_0%%; server_name b.test; add_header X-Site $host always;
            return 204;
          }
        }
        """)
    for (host, site) in [("b.test", "b.test"), ("c.test", "first"), ("b test", "first")] {
      let client = try door.client()
      try client.send("GET / HTTP/1.1\r\nHost: \(host)\r\nContent-Length: x\r\n\r\n")
      let answer = try client.response()
      #expect(answer.status == 400 && answer["X-Site"] == site, "\(host)")
    }
    try door.stop()
  }

  /// What a client encoded stays encoded where it would end a line, or be no field by HTTP/2.
  @Test func controlCharactersStayOutOfFields() async throws {
    let door = try await Portico.start(
      config: """
        http { server { listen 127.0.0.1:%%PORT_0%%; add_header X-Path "$uri" always; return 204; } }
        """)
    #expect(try door.get("/a%01%7f%0d%09b")["X-Path"] == "/a%01%7F%0D\tb")
    try door.stop()
  }

  private static let config = """
    http {
      map $uri $kind { default none; /map/a A; ~^/map/(?<rest>b.*)$ "B-$rest"; }
      server { listen 127.0.0.1:%%PORT_0%%; server_name ~^(?<label>\\w+)\\.example\\.com$;
        location / { return 200 "$label"; } }
      server {
        listen 127.0.0.1:%%PORT_0%% default_server; server_name localhost; root %%DIR%%;
        absolute_redirect off;
        location = /exact { return 200 exact; }
        location /page { error_page 404 /error.html; }
        location /answer { error_page 404 =200 /error.html; }
        location /own { error_page 404 = /exact; }
        location /named { set $page @named; error_page 404 = $page; return 404; }
        location @named { return 200 "named $uri"; }
        location /unnamed { set $page @nowhere; error_page 404 = $page; return 404; }
        location /twice { recursive_error_pages on; error_page 404 /again/x; }
        location /again { error_page 404 = /exact; }
        location /text { error_page 404 /error.html; return 404 "mine"; }
        location /error302 { error_page 302 /moved; return 302 first; }
        location /error301 { error_page 301 /error.html; return 301 /exact; }
        location /moved { return 302 http://example.com/; }
        location /folder { try_files $uri $uri/ =404; }
        location /asked/ { rewrite ^/asked/(.*)$ /show/$1?own=1 last; }
        location /told/ { rewrite ^/told/(.*)$ /show/$1 permanent; }
        location /show { return 200 "$uri|$args"; }
        location /inside { internal; return 200 inside; }
        location /in { rewrite ^ /inside last; }
        location /map { return 200 $kind; }
        location /split { return 302 /x$arg_a$uri; }
        location /trailer { add_trailer A b; return 200 body; }
      }
    }
    """

  private static let table = [
    Routed(path: "/page", status: 404, text: "sorry"),
    Routed(path: "/answer", status: 200, text: "sorry"),
    Routed(path: "/own", status: 200, text: "exact"),
    Routed(path: "/twice", status: 200, text: "exact"),
    Routed(path: "/text", status: 404, text: "mine"),
    Routed(path: "/named/x", status: 200, text: "named /named/x"),
    Routed(path: "/unnamed", status: 500),
    Routed(path: "/error301", status: 301, text: "sorry", location: "/exact"),
    Routed(path: "/error302", status: 302, location: "http://example.com/"),
    Routed(path: "/folder", status: 301, location: "/folder/"),
    Routed(path: "/folder/", status: 200, text: "index"),
    Routed(path: "/asked/a%3Fb?c=d", status: 200, text: "/show/a?b|own=1&c=d"),
    Routed(path: "/told/a%20b?q", status: 301, location: "/show/a%20b?q"),
    Routed(path: "/inside", status: 404),
    Routed(path: "/in", status: 200, text: "inside"),
    Routed(path: "/map/a", status: 200, text: "A"),
    Routed(path: "/map/bc", status: 200, text: "B-bc"),
    Routed(path: "/split/%0d%0aX:y", status: 302, location: "/x/split/%0D%0AX:y"),
    Routed(path: "/", status: 200, text: "www", host: "WWW.Example.com"),
  ]

  @Test func locationsRewritesAndErrorPagesAreThoseOfNginx() async throws {
    let door = try await Portico.start(
      config: Self.config, files: ["error.html": "sorry", "folder/index.html": "index"])
    for row in Self.table {
      let response = try door.get(row.path, headers: ["Host": row.host])
      #expect(response.status == row.status, "\(row.testDescription)")
      if let text = row.text { #expect(response.text == text, "\(row.testDescription)") }
      if let location = row.location {
        #expect(response["location"] == location, "\(row.testDescription)")
      }
    }
    #expect(try door.get("/exact", method: "TRACE").status == 405)
    #expect(try door.get("/trailer").trailers == ["A: b"])
  }
}

@Suite struct BrokenRequestTests {
  private static let config = """
    http { access_log %%DIR%%/access.log; server {
      listen 127.0.0.1:%%PORT_0%%; large_client_header_buffers 2 1k;
      location / { return 200 "$http_x"; }
      location /small { client_max_body_size 5; error_page 413 /sorry; return 200 unread; }
      location /sorry { return 200 sorry; }
    } }
    """

  @Test func aHeadThatEndsAnywhereHarmsNobody() async throws {
    let door = try await Portico.start(config: Self.config)
    let request = "GET /a HTTP/1.1\r\nHost: a\r\nReferer: b\r\nUser-Agent: c\r\n\r\n"
    let worker = try door.workerPid
    for length in 1..<request.utf8.count {
      let client = try door.client()
      try client.send(String(request.prefix(length)))
      if length % 2 == 0 { client.reset() } else { client.finishSending() }
    }
    #expect(try door.get("/").status == 200)
    #expect(try door.workerPid == worker)
  }

  @Test func linesBeyondTheirBufferAreRefused() async throws {
    let door = try await Portico.start(config: Self.config)
    let long = String(repeating: "a", count: 1100)
    #expect(try door.get("/?" + long).status == 414)
    #expect(try door.get("/", headers: ["X": long]).status == 400)
    #expect(try door.get("/", headers: ["X": String(long.prefix(900))]).text.count == 900)
  }

  /// A head counts the same however it comes: here with what stands behind the request before it,
  /// which was read when that one is answered, and whole.
  @Test func aHeadHasTheSameLimitsHoweverItIsCut() async throws {
    let door = try await Portico.start(config: Self.config)
    // Buffers of 1k, and two of 1k.
    for (size, status) in [(3_072, 200), (3_073, 400)] {
      var head = "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n"
      while size - head.utf8.count > 1_000 {
        head += "Y: " + String(repeating: "y", count: 700) + "\r\n"
      }
      let rest = size - head.utf8.count - "Z: \r\n\r\n".utf8.count
      head += "Z: " + String(repeating: "z", count: rest) + "\r\n\r\n"
      for cut in [0, 1, 900, 2_048, 2_049, 2_500, 3_000, size - 1] {
        let client = try door.client()
        try client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n" + head.prefix(cut))
        #expect(try client.response().status == 200)
        try client.send(String(head.dropFirst(cut)))
        #expect(try client.response().status == status, "\(size) bytes cut at \(cut)")
      }
    }
    try door.stop()
  }

  @Test func aBodyThatIsTooLargeIsRefusedBeforeAnythingAnswers() async throws {
    let door = try await Portico.start(config: Self.config)
    let client = try door.client()
    try client.send("POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n123456")
    let response = try client.response(to: "POST")
    #expect(response.status == 413)
    #expect(response.text == "sorry")
    #expect(client.isClosed())
  }

  @Test func nothingFollowsAnAnswerThatLeftOutContinue() async throws {
    let door = try await Portico.start(config: Self.config)
    let client = try door.client()
    try client.send(
      "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    let all = String(decoding: try client.readToEnd(), as: UTF8.self)
    #expect(all.hasPrefix("HTTP/1.1 200 "))
    #expect(!all.contains("100 Continue"))
  }

  /// An alias in a location by a regular expression has the words of try_files behind it.
  @Test func tryFilesLooksBehindAWholeAlias() async throws {
    let door = try await Portico.start(
      config: """
        http { server {
          listen 127.0.0.1:%%PORT_0%%; autoindex on;
          location ~ ^/u/([^/]+)(/.*)?$ { alias %%DIR%%/tree/$1; try_files $2 $2/ =404; }
          location ~ ^/w/(?<f>.*)$ { alias %%DIR%%/tree/; try_files $f $f.txt plain.txt =404; }
          location ~ ^/z/(?<f>.*)$ { alias %%DIR%%/tree/$f; try_files $uri =404; }
          location ~ ^/v/(?<f>.*)$ { alias %%DIR%%/tree/; try_files $arg_f =404; }
        } }
        """,
      files: ["tree/a/b.html": "b", "tree/a/c/d": "d", "tree/plain.txt": "plain", "secret": "no"])
    let rows: [(String, Int, String)] = [
      ("/u/a/b.html", 200, "b"), ("/u/a/none", 404, ""), ("/w/plain", 200, "plain"),
      ("/w/https:/other.test", 200, "plain"), ("/w/a/b.html", 200, "b"), ("/z/plain.txt", 404, ""),
      ("/v/x?f=a/c/d", 200, "d"), ("/v/x?f=../secret", 404, ""),
    ]
    for (path, status, text) in rows {
      let response = try door.get(path)
      #expect(response.status == status, "\(path)")
      if status == 200 { #expect(response.text == text, "\(path)") }
    }
    #expect(try door.get("/u/a/b.html")["content-type"] == "text/html")
    try door.stop()
  }

  /// A regular expression that takes too many steps decides nothing: a rule that denies is not
  /// passed by.
  @Test func anExpressionThatGivesUpIsAnsweredWith500() async throws {
    let rule = "^/(.+/)*(internal|admin)/"
    let door = try await Portico.start(
      config: """
        http {
          map $uri $mapped { ~\(rule) yes; default no; }
          server { listen 127.0.0.1:%%PORT_0%%; server_name a;
            location / { return 200 "open $mapped"; } location ~ \(rule) { deny all; } }
          server { listen 127.0.0.1:%%PORT_0%%; server_name b;
            if ($uri ~ \(rule)) { return 403; } location / { return 200 open; } }
          server { listen 127.0.0.1:%%PORT_0%%; server_name c;
            rewrite \(rule) /denied break; location / { return 200 open; } location /denied { deny all; } }
          server { listen 127.0.0.1:%%PORT_0%%; server_name ~^(.+x)*(y)$; return 403; }
          server { listen 127.0.0.1:%%PORT_0%%; server_name d; return 200 "$mapped"; }
          server { listen 127.0.0.1:%%PORT_0%%; server_name e;
            if ($mapped = yes) { return 403; } return 200 open; }
        }
        """)
    let path = "/admin/" + String(repeating: "x/", count: 40)
    for name in ["a", "b", "c", "e"] {
      #expect(try door.get("/admin/x/", headers: ["Host": name]).status == 403, "\(name)")
      #expect(try door.get(path, headers: ["Host": name]).status == 500, "\(name)")
      #expect(try door.get("/other", headers: ["Host": name]).status == 200, "\(name)")
    }
    let host = String(repeating: "x", count: 60) + "yx"
    #expect(try door.get("/", headers: ["Host": host]).status == 500)
    // A map has a default for that, where nothing is decided by it.
    #expect(try door.get(path, headers: ["Host": "d"]).text == "no")
    #expect(door.errorLog.contains("takes too many steps"))
    try door.stop()
  }

  @Test func theSlashIsMissingFromAnExactLocation() async throws {
    let app = try TestUpstream { _ in .answer(body: "app") }
    let door = try await Portico.start(
      config: """
        http { server { listen 127.0.0.1:%%PORT_0%%;
          location = /ex/ { proxy_pass http://%%UPSTREAM_0%%; } location ~ ^/ex { return 205; }
          location ^~ /pt { location = /pt/ { proxy_pass http://%%UPSTREAM_0%%; } } } }
        """, upstreams: [app])
    #expect(try door.get("/ex/").text == "app")
    #expect(try door.get("/ex")["location"]?.hasSuffix("/ex/") == true)
    #expect(try door.get("/exit").status == 205)
    #expect(try door.get("/pt")["location"]?.hasSuffix("/pt/") == true)
    try door.stop()
  }
}
