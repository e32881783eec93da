// Access logs: gathered, compressed, and with variables in their path.

import Foundation
import Testing

@Suite struct AccessLogTests {
  private func start(_ locations: String) async throws -> RunningPortico {
    let site = try Site(
      config: """
        http {
          log_format line $uri;
          server {
            listen 127.0.0.1:%%PORT_0%%;
            root %%DIR%%/www;
            \(locations)
          }
        }
        """, files: ["www/a": "a", "logs/.keep": ""])
    // Logs with variables in their path are opened by the worker, with its rights.
    chmod(site.folder + "logs", 0o777)
    return try await Portico.start(site)
  }

  /// What zcat makes of a file.
  private func unzipped(_ door: RunningPortico, _ name: String) throws -> String {
    let result = try Command.run(["zcat", door.site.folder + name], folder: door.site.folder)
    #expect(result.code == 0, "\(result.standardError)")
    return result.standardOutput
  }

  @Test(arguments: ["gzip", "gzip=9", "buffer=1k gzip=1", "gzip flush=1h"])
  func compressesWhatItWrites(parameters: String) async throws {
    let door = try await start("access_log %%DIR%%/a.gz line \(parameters);")
    let client = try door.client()
    for number in 0..<300 {
      try client.send("GET /some/path/\(number) HTTP/1.1\r\nHost: a\r\n\r\n")
      #expect(try client.response().status == 404)
    }
    try door.stop()
    let lines = (0..<300).map { "/some/path/\($0)\n" }.joined()
    #expect(try unzipped(door, "a.gz") == lines)
    #expect(door.site.text("a.gz").utf8.count < lines.utf8.count)
  }

  @Test func aCompressedLogCanBeReadWhileItIsWritten() async throws {
    let door = try await start("access_log %%DIR%%/a.gz line gzip flush=100ms;")
    for path in ["/a", "/b"] {
      let before = (try? Data(contentsOf: URL(filePath: door.site.folder + "a.gz")))?.count ?? 0
      _ = try door.get(path)
      try waitUntil("the log to be written") {
        try Data(contentsOf: URL(filePath: door.site.folder + "a.gz")).count > before
      }
    }
    #expect(try unzipped(door, "a.gz") == "/a\n/b\n")
    try door.stop()
  }

  @Test(arguments: ["", "open_log_file_cache max=2 min_uses=2;"])
  func aPathMayHaveVariables(cache: String) async throws {
    let door = try await start(
      """
      \(cache)
      location /log/ { access_log %%DIR%%/logs/x_$arg_name line; return 200; }
      location /gone/ { root %%DIR%%/nowhere; access_log %%DIR%%/logs/gone_$arg_name line; return 200; }
      location /relative/ { access_log logs/relative_$arg_name line if=$arg_log; return 200; }
      location /not/ { access_log %%DIR%%/nowhere/$arg_name line; return 200; }
      """)
    for name in ["one", "two", "one", "three", "two", "one"] {
      _ = try door.get("/log/?name=\(name)")
    }
    for name in ["one", "two", "three"] {
      let count = ["one": 3, "two": 2, "three": 1][name]!
      try waitUntil("the log of \(name)") {
        door.site.text("logs/x_\(name)") == String(repeating: "/log/\n", count: count)
      }
    }
    _ = try door.get("/gone/?name=one")
    try door.waitForLog("/nowhere\" existence failed")
    _ = try door.get("/relative/?name=yes&log=1")
    _ = try door.get("/relative/?name=no&log=0")
    try waitUntil("the relative log") { door.site.text("logs/relative_yes") == "/relative/\n" }
    _ = try door.get("/log/?name=/../../climbed")
    try door.waitForLog("can't be the path of a log")
    #expect(try door.get("/not/?name=a").status == 200)
    try door.waitForLog("/nowhere/a\" failed (2: No such file or directory)")
    let left = try FileManager.default.contentsOfDirectory(atPath: door.site.folder + "logs")
    #expect(Set(left) == [".keep", "access.log", "x_one", "x_two", "x_three", "relative_yes"])
    try door.stop()
  }

  @Test func aCachedFileIsOpenUntilItIsReplacedOrReopened() async throws {
    let door = try await start(
      """
      location / { access_log %%DIR%%/logs/$arg_name line; return 200;
        open_log_file_cache max=10 valid=2s inactive=1h; }
      """)
    let path = door.site.folder + "logs/a"
    _ = try door.get("/1?name=a")
    try waitUntil("the file") { door.site.text("logs/a") == "/1\n" }
    rename(path, path + ".old")
    _ = try door.get("/2?name=a")
    try waitUntil("the renamed file") { door.site.text("logs/a.old") == "/1\n/2\n" }
    try waitUntil("the new file") {
      _ = try door.get("/3?name=a")
      return FileManager.default.fileExists(atPath: path)
    }
    rename(path, path + ".2")
    try door.signal(SIGUSR1)
    try waitUntil("the reopened file") {
      _ = try door.get("/4?name=a")
      return FileManager.default.fileExists(atPath: path)
    }
    try door.stop()
  }

  @Test(arguments: [
    ("access_log a_$uri line gzip;", "a log with variables in its path can't be buffered"),
    ("access_log a line gzip=10;", "\"gzip\" must be between 1 and 9, not \"10\""),
    ("access_log a line flush=1s;", "\"flush\" needs \"buffer\" or \"gzip\""),
    (
      "access_log a line buffer=1k; location / { access_log a line buffer=2k; }",
      "with another buffer"
    ),
    ("open_log_file_cache inactive=1s;", "\"open_log_file_cache\" needs \"max=NUMBER\""),
    ("access_log a line zip;", "has no parameter \"zip\"; did you mean \"gzip\"?"),
  ])
  func refuses(directive: String, message: String) async throws {
    let site = try Site(
      config: """
        http { log_format line $uri; server { listen 127.0.0.1:%%PORT_0%%; \(directive) } }
        """)
    let result = try Portico.run(site, ["-t"])
    #expect(result.code == 1)
    #expect(result.standardError.contains(message), "\(result.standardError)")
  }

  @Test func theBufferOfALogFollowsAReload() async throws {
    func config(_ parameters: String) -> String {
      """
      http { log_format line $uri; server {
        listen 127.0.0.1:%%PORT_0%%; access_log %%DIR%%/a.log line \(parameters); return 200;
      } }
      """
    }
    let door = try await Portico.start(config: config("buffer=1m"))
    _ = try door.get("/1")
    #expect(door.site.text("a.log") == "")
    #expect(try door.reload(config: config("")).code == 0)
    _ = try door.get("/2")
    try waitUntil("both lines") { door.site.text("a.log") == "/1\n/2\n" }
    try door.stop()
  }

  @Test func saysWhichRequestsWerePipelined() async throws {
    let door = try await Portico.start(
      config: """
        http { log_format line "$uri $pipe"; access_log %%DIR%%/a.log line; server {
          listen 127.0.0.1:%%PORT_0%%; return 200 ok;
        } }
        """)
    let client = try door.client()
    try client.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
    for _ in 0..<2 { #expect(try client.response().text == "ok") }
    try client.send("GET /3 HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(try client.response().text == "ok")
    try waitUntil("the log") { door.site.text("a.log") == "/1 .\n/2 p\n/3 .\n" }
    try door.stop()
  }

  /// How long an upstream took is known whatever became of its answer.
  @Test func showsHowLongAnUpstreamTook() async throws {
    let app = try TestUpstream { request in
      switch request.path {
      case "/error": .answer("500 No")
      case "/accel": .answer(fields: ["X-Accel-Redirect": "/page"])
      default: .answer()
      }
    }
    let door = try await Portico.start(
      config: """
        http { log_format l "$request_uri $upstream_response_time"; access_log %%DIR%%/a.log l;
          server { listen 127.0.0.1:%%PORT_0%%; proxy_intercept_errors on; error_page 500 /page;
          location / { proxy_pass http://%%UPSTREAM_0%%; }
          location /page { return 200; } } }
        """, upstreams: [app])
    for path in ["/error", "/accel", "/fine"] { _ = try door.get(path) }
    try waitUntil("all lines") { door.site.text("a.log").split(separator: "\n").count == 3 }
    let times = door.site.text("a.log").split(separator: "\n").map { $0.split(separator: " ")[1] }
    #expect(times.allSatisfy { $0.hasPrefix("0.") }, "\(times)")
    try door.stop()
  }

  /// Of a download that breaks off, the head is no part of the body.
  @Test func countsTheBodyWithoutTheHead() async throws {
    let app = try TestUpstream { _ in
      .steps([.bytes("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), .close])
    }
    let door = try await Portico.start(
      config: """
        http { log_format l "$status $body_bytes_sent"; access_log %%DIR%%/a.log l;
          server { listen 127.0.0.1:%%PORT_0%%; location / { proxy_pass http://%%UPSTREAM_0%%; } } }
        """, upstreams: [app])
    let client = try door.client()
    try client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    _ = try client.readToEndOrReset()
    try waitUntil("a line") { !door.site.text("a.log").isEmpty }
    #expect(door.site.text("a.log") == "200 4\n")
    try door.stop()
  }

  /// What waits in a buffer when a log is rotated belongs to the old file.
  @Test func aRotatedFileGetsWhatWasBufferedForIt() async throws {
    let door = try await Portico.start(
      config: """
        worker_processes 2;
        http { log_format l "$uri"; access_log %%DIR%%/a.log l buffer=64k flush=1h;
          server { listen 127.0.0.1:%%PORT_0%%; return 204; } }
        """)
    for number in 0..<8 { _ = try door.get("/before/\(number)") }
    rename(door.site.folder + "a.log", door.site.folder + "a.log.1")
    try door.signal(SIGUSR1)
    try waitUntil("the old file") {
      door.site.text("a.log.1").split(separator: "\n").count == 8
    }
    _ = try door.get("/after")
    try door.stop()
    #expect(door.site.text("a.log") == "/after\n")
  }

  @Test func statusIsWhatAReturnAnswers() async throws {
    let door = try await Portico.start(
      config: """
        http { server { listen 127.0.0.1:%%PORT_0%%;
          location /a { return 404 "$status"; }
          location /c { return 301 https://x/$status; }
          location /b { set $early $status; return 200 "$early"; } } }
        """)
    #expect(try door.get("/a").text == "404")
    #expect(try door.get("/c")["location"] == "https://x/301")
    #expect(try door.get("/b").text == "000")
    try door.stop()
  }

  @Test func showsWhatAUnixSocketHas() async throws {
    let door = try await Portico.start(
      config: """
        http { limit_req_zone $binary_remote_addr zone=z:1m rate=1r/m;
          server { listen unix:%%DIR%%/sock; listen 127.0.0.1:%%PORT_0%%; limit_req zone=z;
            location / { add_header X-Server "$server_addr|$server_port|$remote_addr" always;
              try_files /none =404; } } }
        """)
    for status in [404, 503] {
      let client = try RawClient(path: door.site.folder + "sock")
      try client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
      let answer = try client.response()
      #expect(answer.status == status)
      #expect(answer["X-Server"] == "unix:\(door.site.folder)sock||unix:")
    }
    try door.stop()
  }

  /// What is known of a request that is refused at its head, and of a body once it is here.
  @Test func showsWhatWasUnderstoodOfARefusedRequest() async throws {
    let app = try TestUpstream { _ in .answer() }
    let door = try await Portico.start(
      config: """
        http {
          log_format l "$status $request_method $uri $args $request_uri $content_length $remote_user";
          access_log %%DIR%%/a.log l; large_client_header_buffers 2 1k;
          server { listen 127.0.0.1:%%PORT_0%%; location / { proxy_pass http://%%UPSTREAM_0%%; } }
        }
        """, upstreams: [app])
    let long = String(repeating: "x", count: 2000)
    for request in [
      "GET /a%62?c=d HTTP/1.1\r\n\r\n", "PUT /e HTTP/1.1\r\nHost: a\r\nX: \(long)\r\n\r\n",
      "POST /f HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", "what\r\n\r\n",
      "POST /g HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Basic Onh4\r\n"
        + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ] {
      let client = try door.client()
      try client.send(request)
      _ = try client.readToEndOrReset()
    }
    try waitUntil("all lines") { door.site.text("a.log").split(separator: "\n").count == 5 }
    #expect(
      door.site.text("a.log") == """
        400 GET /ab c=d /a%62?c=d - -
        400 PUT /e - /e - -
        400 POST /f - /f x -
        400 - - - - - -
        200 POST /g - /g 3 -

        """)
    try door.stop()
  }

  /// Whoever counts what was turned away looks for 444.
  @Test func showsWhatWasClosedWithoutAnAnswer() async throws {
    let door = try await Portico.start(
      config: """
        http { log_format line "$uri $status"; access_log %%DIR%%/a.log line; server {
          listen 127.0.0.1:%%PORT_0%%; return 444;
        } }
        """)
    let client = try door.client()
    try client.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(client.isClosed())
    try waitUntil("the log") { door.site.text("a.log") == "/1 444\n" }
    try door.stop()
  }

  /// "OK" is what went out whole, not what waits for the client.
  @Test(arguments: ["HTTP/1.1", "HTTP/2"])
  func saysWhatWasSentWhole(version: String) async throws {
    let door = try await Portico.start(
      config: """
        http { log_format l '$uri [$request_completion]'; server {
          listen 127.0.0.1:%%PORT_0%% sndbuf=64k; http2 on; root %%DIR%%; access_log %%DIR%%/l l;
        } }
        """, files: ["small": "s"])
    try Data(repeating: 65, count: 20 << 20).write(
      to: URL(fileURLWithPath: door.site.folder + "big"))
    let flag = version == "HTTP/2" ? "--http2-prior-knowledge" : "--http1.1"
    for path in ["/small", "/big"] {
      let curl = try Command(
        ["sh", "-c", "curl -s \(flag) http://127.0.0.1:\(door.port())\(path) | head -c 100000"],
        folder: door.site.folder)
      _ = try curl.wait()
    }
    try waitUntil("two lines") { door.site.text("l").split(separator: "\n").count == 2 }
    #expect(door.site.text("l") == "/small [OK]\n/big []\n")
    try door.stop()
  }

  /// A variable ends with the word that it stands in.
  @Test func wordsOfAFormatAreReadOneByOne() async throws {
    let door = try await Portico.start(
      config: """
        http {
          log_format a '$request' '_time' '|$arg_a' "b" '$uri' "$args" x;
          access_log %%DIR%%/access.log a;
          server { listen 127.0.0.1:%%PORT_0%%; return 200; }
        }
        """)
    _ = try door.get("/p?a=1")
    try door.stop()
    #expect(door.site.text("access.log") == "GET /p?a=1 HTTP/1.1_time|1b/pa=1x\n")
  }

  /// A semicolon that was forgotten must not take the line behind it along.
  @Test(arguments: [
    ("location /x { access_log off deny all; }", "invalid parameter \"deny\" behind \"off\""),
    ("} map $uri $a { default 1; default 2; } server {", "duplicate \"default\" in \"map\""),
  ])
  func whatStandsBehindOffIsRefused(line: String, message: String) throws {
    let result = try Portico.run(
      Site(config: "http { server { listen 127.0.0.1:%%PORT_0%%; \(line) } }"), ["-t"])
    #expect(result.code == 1 && result.standardError.contains(message))
  }
}
