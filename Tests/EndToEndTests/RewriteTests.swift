// rewrite, set, if, map, return and error_page, as nginx documents them.

import Foundation
import Testing

@Suite struct RewriteTests {
  /// What a client encoded stays encoded on its way through `set` into an upstream's target.
  @Test func capturesOfAnEncodedPathAreSetEncoded() async throws {
    let app = try TestUpstream { .answer(body: $0.path) }
    let door = try await Portico.start(
      config: """
        http { server { listen 127.0.0.1:%%PORT_0%%;
          location ~ ^/file/(.*)$ { set $file $1; proxy_pass http://%%UPSTREAM_0%%/g/$file; }
          location ~ ^/args/(.*)$ { set $args "k=$1"; proxy_pass http://%%UPSTREAM_0%%; }
          location ~ ^/named/(?<rest>.*)$ { set $file $rest; return 200 $file; }
          location ~ ^/after/(.*)$ {
            rewrite ^/after/(.*)$ /x; set $file $1; return 200 $file;
          }
        } }
        """, upstreams: [app])
    for (path, expected) in [
      ("/file/a%20b%3Fx=1", "/g/a%20b%3Fx=1"), ("/file/100%25", "/g/100%25"),
      ("/file/a+b", "/g/a%2Bb"), ("/file/plain", "/g/plain"),
      ("/args/a%26b%23", "/args/a&b%23?k=a%26b%23"), ("/named/a%20b", "a b"),
      ("/after/a%20b", "a b"),
    ] { #expect(try door.get(path).text == expected, "\(path)") }
    try door.stop()
  }

  /// What was rewritten before `break` goes on as it is: no part of it is the location's.
  @Test func aBreakBehindARewriteKeepsTheRewrittenPath() async throws {
    let app = try TestUpstream { .answer(body: $0.path) }
    let door = try await Portico.start(
      config: """
        http { server { listen 127.0.0.1:%%PORT_0%%;
          location /a/ { rewrite ^/a/(.*)$ /new/$1; break; proxy_pass http://%%UPSTREAM_0%%/b/; }
          location /c/ { break; proxy_pass http://%%UPSTREAM_0%%/b/; }
        } }
        """, upstreams: [app])
    #expect(try door.get("/a/q").text == "/new/q")
    #expect(try door.get("/c/q").text == "/b/q")
    try door.stop()
  }

  @Test(arguments: [("/?f", "/"), ("/?c=1", "/?1"), ("/a%2fb?c=x%20y", "/a/b?x%20y")])
  func passesArgumentsThatWereSet(sent: String, passed: String) async throws {
    let app = try TestUpstream { .answer(body: $0.path) }
    let door = try await Portico.start(
      config: """
        http { server {
          listen 127.0.0.1:%%PORT_0%%;
          location / { set $args $arg_c; proxy_pass http://%%UPSTREAM_0%%; }
        } }
        """, upstreams: [app])
    #expect(try door.get(sent).text == passed)
  }

  /// A name of a family that `set` assigns: what was set counts where it was, the field elsewhere.
  @Test func assignsVariablesThatAlsoAreFields() async throws {
    let app = try TestUpstream { .answer(body: $0["x-told"] ?? "none") }
    let door = try await Portico.start(
      config: """
        http {
          log_format kinds "$uri $http_x_kind";
          access_log %%DIR%%/access.log kinds;
          server {
            listen 127.0.0.1:%%PORT_0%%;
            location /unset { return 200 "[$http_x_kind]"; }
            location /set { set $http_x_kind own; return 200 "[$http_x_kind]"; }
            location /told {
              set $http_x_kind "more $http_x_kind";
              proxy_set_header X-Told $http_x_kind; proxy_pass http://%%UPSTREAM_0%%;
            }
            location /page { ssi on; set $http_x_kind own; return 200 "<!--#echo var='http_x_kind' -->"; }
            location /field { ssi on; return 200 "<!--#echo var='http_x_kind' -->"; }
          }
        }
        """, upstreams: [app])
    let client = try door.client()
    for (path, body) in [
      ("/unset", "[sent]"), ("/set", "[own]"), ("/told", "more sent"), ("/page.html", "own"),
      ("/field.html", "sent"),
    ] {
      try client.send("GET \(path) HTTP/1.1\r\nHost: x\r\nX-Kind: sent\r\n\r\n")
      #expect(try client.response().text == body, "\(path)")
    }
    #expect(try door.get("/unset").text == "[]")
    try waitUntil("the log") {
      let log = door.site.text("access.log")
      return log.contains("/set own\n") && log.contains("/unset sent\n")
        && log.contains("/unset -\n")
    }
  }

  private static let config = """
    http {
      map $arg_color $shade {
        default grey; red crimson; ~^gr(?<rest>.+)$ "gr-$rest"; "" none;
      }
      map $host $area { hostnames; *.example.org wild; .example.com both; default other; }
      server {
        listen 127.0.0.1:%%PORT_0%%;
        rewrite ^/old/(.*)$ /new/$1 last;
        rewrite ^/moved/(.*)$ /there/$1 permanent;
        rewrite ^/for-now/(.*)$ /there/$1? redirect;
        location /new/ { return 200 "new $uri $args"; }
        location /break/ { rewrite ^/break/(.*)$ /files/$1 break; root %%DIR%%; }
        location /loop/ { rewrite ^ /loop/x last; }
        location /set/ {
          set $word one; set $both "$word-two";
          if ($arg_x = 1) { set $word three; }
          return 200 "$word $both";
        }
        location /if/ {
          if ($request_method = POST) { return 405 "no post"; }
          if ($http_x_kind ~* "^admin(.*)$") { return 200 "admin $1"; }
          if ($arg_stop) { return 403; }
          if (-f %%DIR%%/files/flag) { return 200 "flag"; }
          if ($arg_a != b) { return 200 "not b"; }
          return 200 "plain";
        }
        location /map { return 200 "$shade $area"; }
        location /text { default_type text/x-own; return 201 "$request_method $arg_q"; }
        location /go { return 307 /text?q=1; }
        location /away { return https://example.org/x; }
        location /split { return 302 /there$uri; }
        location /closed { return 444; }
        location /app {
          proxy_pass http://%%UPSTREAM_0%%; proxy_intercept_errors on;
          error_page 404 =200 /new/spare; error_page 500 502 @down;
        }
        location /raw { proxy_pass http://%%UPSTREAM_0%%; error_page 404 /new/spare; }
        location /errors/ {
          root %%DIR%%; error_page 404 /pages/404.html;
        }
        location = /errors/gone { return 410; error_page 410 https://example.org/gone; }
        location = /errors/forbidden { return 403; error_page 403 =503 @down; }
        location = /pages/404.html { internal; root %%DIR%%; }
        location @down { return 503 "down $uri"; }
      }
    }
    """

  private static let files = [
    "files/a.txt": "file a", "pages/404.html": "<p>nothing here", "errors/x.txt": "x",
  ]

  private func start() async throws -> RunningPortico {
    let app = try TestUpstream { request in
      switch request.path {
      case "/app/404", "/raw/404": .answer("404 Not Found", body: "app's own")
      case "/app/500": .answer("500 Oops", body: "app's own")
      default: .answer(body: "app")
      }
    }
    return try await Portico.start(config: Self.config, files: Self.files, upstreams: [app])
  }

  @Test func rewritesAndReturns() async throws {
    let door = try await start()
    let cases: [(String, Int, String)] = [
      ("/old/x/y?a=1", 200, "new /new/x/y a=1"), ("/break/a.txt", 200, "file a"),
      ("/break/none", 404, ""), ("/loop/", 500, ""), ("/set/", 200, "one one-two"),
      ("/set/?x=1", 200, "three one-two"), ("/if/?a=b", 200, "plain"), ("/if/", 200, "not b"),
      ("/if/?stop=1", 403, ""), ("/if/?stop=0&a=b", 200, "plain"),
      ("/map?color=red", 200, "crimson other"),
      ("/map?color=green", 200, "gr-een other"), ("/map?color=blue", 200, "grey other"),
      ("/map", 200, "none other"), ("/text?q=a%20b", 201, "GET a%20b"),
    ]
    for (path, status, text) in cases {
      let response = try door.get(path)
      #expect(response.status == status, "\(path)")
      if !text.isEmpty { #expect(response.text == text, "\(path)") }
    }
    #expect(try door.get("/text")["content-type"] == "text/x-own")
    #expect(try door.get("/if/", headers: ["X-Kind": "ADMIN!"]).text == "admin !")
    #expect(try door.get("/if/", method: "POST").status == 405)
    for (host, area) in [
      ("a.example.org", "wild"), ("example.com", "both"), ("b.example.com", "both"),
      ("example.org", "other"),
    ] {
      #expect(try door.get("/map", headers: ["Host": host]).text == "none \(area)")
    }
    try door.stop()
  }

  @Test func redirects() async throws {
    let door = try await start()
    let here = "http://localhost:\(door.port())"
    let cases: [(String, Int, String)] = [
      ("/moved/a?b=c", 301, here + "/there/a?b=c"), ("/for-now/a?b=c", 302, here + "/there/a"),
      ("/go", 307, here + "/text?q=1"), ("/away", 302, "https://example.org/x"),
      ("/errors/gone", 302, "https://example.org/gone"),
    ]
    for (path, status, target) in cases {
      let response = try door.get(path)
      #expect(response.status == status && response["location"] == target, "\(path)")
    }
    // A line break in the path can't begin a field of its own.
    let split = try door.get("/split/%0d%0aX-Evil:%20yes")
    #expect(split.status == 302 && split["x-evil"] == nil)
    #expect(split["location"] == here + "/there/split/%0D%0AX-Evil: yes")
    let closed = try door.client()
    try closed.send("GET /closed HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(closed.isClosed())
    try door.stop()
  }

  @Test func showsErrorPages() async throws {
    let door = try await start()
    let cases: [(String, Int, String)] = [
      ("/errors/none", 404, "<p>nothing here"), ("/app/404", 200, "new /new/spare "),
      ("/app/500", 500, "down /app/500"), ("/app/fine", 200, "app"), ("/raw/404", 404, "app's own"),
      ("/errors/forbidden", 503, "down /errors/forbidden"), ("/pages/404.html", 404, ""),
    ]
    for (path, status, text) in cases {
      let response = try door.get(path)
      #expect(response.status == status, "\(path)")
      if !text.isEmpty { #expect(response.text == text, "\(path)") }
    }
    // Ours, where the configuration has none: small, and it names nothing of the inside.
    let own = try door.get("/nowhere")
    #expect(own.status == 404 && own.body.count < 1000 && own.text.contains("404 Not Found"))
    #expect(!own.text.contains(door.site.folder))
    try door.stop()
  }

  /// Names that people choose for their own, though they stand for something.
  @Test func theHostOfAnUpstreamMayBeAssigned() async throws {
    let app = try TestUpstream { .answer(body: "\($0.path) \($0["x-host"] ?? "-")") }
    let door = try await Portico.start(
      config: """
        http {
          map $arg_a $proxy_port { default none; }
          server { listen 127.0.0.1:%%PORT_0%%; proxy_set_header X-Host "$proxy_host $proxy_port";
            location ~ ^/own/(.*)$ { set $proxy_host %%UPSTREAM_0%%; proxy_pass http://$proxy_host/$1; }
            location / { proxy_pass http://%%UPSTREAM_0%%; }
          } }
        """, upstreams: [app])
    #expect(try door.get("/own/a").text == "/a 127.0.0.1:\(app.port) none")
    #expect(try door.get("/b").text == "/b 127.0.0.1:\(app.port) none")
    try door.stop()
  }

  /// `-x` asks what the owner may do, of folders as well.
  @Test func theRightOfTheOwnerDecides() async throws {
    let door = try await Portico.start(
      config: """
        http { server { listen 127.0.0.1:%%PORT_0%%; root %%DIR%%/www;
          if (-x $request_filename) { return 200 x; } return 200 -; } }
        """, files: ["www/run": "", "www/others": "", "www/folder/file": ""])
    chmod(door.site.folder + "www/run", 0o744)
    chmod(door.site.folder + "www/others", 0o611)
    for (path, text) in [("run", "x"), ("others", "-"), ("folder", "x"), ("none", "-")] {
      #expect(try door.get("/\(path)").text == text, "\(path)")
    }
    try door.stop()
  }
}
