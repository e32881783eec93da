// Static files: conditions, ranges, indexes, redirects, try_files; and paths that try to leave the
// folder (RFC 9110 §§13, 14).

import Foundation
import Testing

@Suite struct FilesTests {
  private static let config = """
    http {
      types { text/html html; text/plain txt; }
      default_type application/octet-stream;
      server {
        listen 127.0.0.1:%%PORT_0%%;
        root %%DIR%%/www;
        location / { }
        location /off-by-slash { alias %%DIR%%/www/sub/; }
        location ~ ^/regex(.*)$ { alias %%DIR%%/www/sub/$1; }
        location /variable/ { root %%DIR%%/www/$arg_folder; }
        location /rewritten/ { rewrite ^ /sub/$arg_file break; root %%DIR%%/www; }
        location /tried { alias %%DIR%%/www/sub/; try_files $uri =404; }
        location /dots/ { alias %%DIR%%/www/sub/../; }
        location /alias/ { alias %%DIR%%/www/sub/; }
        location /try/ { try_files $uri $uri/ /try/fallback.txt =404; }
        location /named/ { try_files $uri @app; }
        location /gone/ { try_files $uri =410; }
        location /oneindex/ { index missing.html second.txt; }
        location /otherindex/ { index missing.html /a.txt; }
        location /slash/ { root %%DIR%%/www/; add_header X-Name $request_filename; }
        location /packed/ { gzip_static always; alias %%DIR%%/www/; }
        location /text { return 200 text; }
        location /paged/ { alias %%DIR%%/www/; error_page 416 /index.html; }
        location /gif { empty_gif; }
        location @app { return 200 "app $uri"; }
      }
    }
    """
  private static let digits = "0123456789abcdefghijklmnopqrstuvwxyz"
  private static let files = [
    "secret.txt": "secret", "www/a.txt": digits, "www/index.html": "<p>home",
    "www/sub/b.txt": "b in sub", "www/sub/index.html": "<p>sub", "www/empty.txt": "",
    "www/try/real.txt": "real", "www/try/fallback.txt": "fallback", "www/try/dir/index.html": "dir",
    "www/named/x.txt": "x", "www/gone/x.txt": "x", "www/oneindex/second.txt": "second",
    "www/slash/s.txt": "s", "www/p.txt.gz": "packed", "www/we ird+%.txt": "weird",
    "www-private/p.txt": "secret", "www/sub.d/p.txt": "p",
  ]

  private func start() async throws -> RunningPortico {
    try await Portico.start(config: Self.config, files: Self.files)
  }

  @Test func answersConditionalRequests() async throws {
    let door = try await start()
    let whole = try door.get("/a.txt")
    #expect(
      whole.status == 200 && whole.text == Self.digits && whole["content-type"] == "text/plain")
    let tag = try #require(whole["etag"])
    let modified = try #require(whole["last-modified"])
    let past = "Sun, 06 Nov 1994 08:49:37 GMT"
    let cases: [([String: String], Int)] = [
      (["If-None-Match": tag], 304), (["If-None-Match": "\"x\", W/\(tag)"], 304),
      (["If-None-Match": "*"], 304), (["If-None-Match": "\"x\""], 200),
      (["If-Modified-Since": modified], 304), (["If-Modified-Since": past], 200),
      (["If-Modified-Since": "nonsense"], 200),
      // The tag outranks the date.
      (["If-None-Match": "\"x\"", "If-Modified-Since": modified], 200),
      (["If-Match": tag], 200), (["If-Match": "\"x\""], 412), (["If-Match": "*"], 200),
      (["If-Unmodified-Since": modified], 200), (["If-Unmodified-Since": past], 412),
    ]
    for (headers, status) in cases {
      let response = try door.get("/a.txt", headers: headers)
      #expect(response.status == status, "\(headers)")
      if status == 304 {
        #expect(response["etag"] == tag && response["last-modified"] == modified, "\(headers)")
      }
    }
    #expect(try door.get("/a.txt", method: "HEAD")["content-length"] == "36")
    try door.stop()
  }

  /// The page stands in the place of a body from wherever, and the next response behind it.
  @Test func aFailedConditionIsAnsweredByItsPage() async throws {
    let door = try await start()
    #expect(try door.get("/packed/p.txt")["content-encoding"] == "gzip")
    for path in ["/gif", "/text", "/packed/p.txt", "/a.txt"] {
      let client = try door.client()
      try client.send("GET \(path) HTTP/1.1\r\nHost: a\r\nIf-Match: \"other\"\r\n\r\n")
      try client.send("GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n")
      let refused = try client.response()
      #expect(refused.status == 412 && refused["content-encoding"] == nil, "\(path)")
      #expect(refused.text.contains("412 Precondition Failed"), "\(path)")
      #expect(try client.response().text == Self.digits, "\(path)")
    }
    #expect(try door.get("/text", headers: ["If-None-Match": "*"]).status == 304)
    try door.stop()
  }

  @Test func answersRanges() async throws {
    let door = try await start()
    let cases: [(String, String, String)] = [
      ("bytes=0-0", "0", "bytes 0-0/36"),
      ("bytes=10-", "abcdefghijklmnopqrstuvwxyz", "bytes 10-35/36"),
      ("bytes=-2", "yz", "bytes 34-35/36"), ("bytes=30-99", "uvwxyz", "bytes 30-35/36"),
      ("bytes=-99", Self.digits, "bytes 0-35/36"),
    ]
    for (range, text, field) in cases {
      let response = try door.get("/a.txt", headers: ["Range": range])
      #expect(response.status == 206 && response.text == text, "\(range)")
      #expect(response["content-range"] == field, "\(range)")
    }
    for range in ["bytes=36-", "bytes=99-100", "bytes=-0"] {
      let response = try door.get("/a.txt", headers: ["Range": range])
      #expect(response.status == 416 && response["content-range"] == "bytes */36", "\(range)")
    }
    let tag = try #require(try door.get("/a.txt")["etag"])
    for (condition, status) in [(tag, 206), ("\"x\"", 200), ("W/\(tag)", 200)] {
      let response = try door.get("/a.txt", headers: ["Range": "bytes=1-2", "If-Range": condition])
      #expect(response.status == status, "\(condition)")
    }
    #expect(try door.get("/a.txt", headers: ["Range": "lines=1-2"]).status == 200)
    let page = try door.get("/paged/a.txt", headers: ["Range": "bytes=99-"])
    #expect(page.status == 416 && page["content-range"] == "bytes */36" && page.text == "<p>home")
    try door.stop()
  }

  @Test func answersSeveralRangesAtOnce() async throws {
    let door = try await start()
    let response = try door.get("/a.txt", headers: ["Range": "bytes=0-1,4-5,-1"])
    #expect(response.status == 206)
    let type = try #require(response["content-type"])
    #expect(type.hasPrefix("multipart/byteranges; boundary="))
    let boundary = type.split(separator: "=")[1]
    #expect(
      response.text == [("0-1", "01"), ("4-5", "45"), ("35-35", "z")].map {
        "\r\n--\(boundary)\r\nContent-Type: text/plain\r\nContent-Range: bytes \($0.0)/36\r\n\r\n\($0.1)"
      }.joined() + "\r\n--\(boundary)--\r\n")
    try door.stop()
  }

  @Test func findsIndexesAndRedirectsToFolders() async throws {
    let door = try await start()
    let cases: [(String, Int, String)] = [
      ("/", 200, "<p>home"), ("/sub/", 200, "<p>sub"), ("/oneindex/", 200, "second"),
      ("/try/dir/", 200, "dir"), ("/try/real.txt", 200, "real"), ("/try/none.txt", 200, "fallback"),
      ("/named/x.txt", 200, "x"), ("/named/none", 200, "app /named/none"), ("/gone/none", 410, ""),
      ("/otherindex/", 404, ""), ("/slash/s.txt", 200, "s"), ("/alias/b.txt", 200, "b in sub"),
      ("/empty.txt", 200, ""), ("/none.txt", 404, ""),
      ("/we%20ird%2B%25.txt", 200, "weird"), ("/a.txt/", 404, ""), ("/a.txt/more", 404, ""),
    ]
    for (path, status, text) in cases {
      let response = try door.get(path)
      #expect(response.status == status, "\(path)")
      if status == 200 { #expect(response.text == text, "\(path)") }
    }
    for (path, target) in [("/sub", "/sub/"), ("/sub?a=b", "/sub/?a=b"), ("/try/dir", "/try/dir/")]
    {
      let response = try door.get(path)
      #expect(response.status == 301, "\(path)")
      #expect(response["location"] == "http://localhost:\(door.port())\(target)", "\(path)")
    }
    #expect(try door.get("/try", method: "DELETE").status == 405)
    // What can't be looked at isn't absent.
    let loop = door.site.folder + "www/loop"
    try FileManager.default.createSymbolicLink(atPath: loop, withDestinationPath: loop)
    for path in ["/loop", "/loop/"] { #expect(try door.get(path).status == 403, "\(path)") }
    #expect(try door.get("/slash/s.txt")["x-name"] == door.site.folder + "www/slash/s.txt")
    try door.stop()
  }

  @Test func noPathLeavesItsFolder() async throws {
    let door = try await start()
    let paths = [
      "/../secret.txt", "/sub/../../secret.txt", "/%2e%2e/secret.txt", "/%2E%2e/secret.txt",
      "/.%2e/secret.txt", "/sub/%2e%2e/%2e%2e/secret.txt", "/..%2fsecret.txt",
      "/sub/..%2f..%2fsecret.txt",
      "/%252e%252e/secret.txt", "/..%5csecret.txt", "/..\\secret.txt", "/sub\\..\\..\\secret.txt",
      "/a.txt%00.html", "/%00", "/../www-private/p.txt", "//../secret.txt", "/./../secret.txt",
      "/alias../secret.txt", "/alias/../../secret.txt", "/alias/..%2f..%2fsecret.txt",
      "/off-by-slash../a.txt", "/off-by-slash../../secret.txt", "/off-by-slash..%2fa.txt",
      "/off-by-slash%2e%2e/a.txt", "/off-by-slash.d/p.txt", "/%c0%ae%c0%ae/secret.txt",
      "/regex../a.txt", "/regex/../../secret.txt", "/tried../a.txt",
      "/variable/../secret.txt?folder=..", "/secret.txt?folder=..",
      "/rewritten/?file=../../secret.txt",
      "/off-by-slash..", "/off-by-slash../", "/..;/secret.txt", "/%", "/%2", "/%zz",
    ]
    for path in paths {
      let client = try door.client()
      try client.send("GET \(path) HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
      let response = try client.response()
      #expect(
        [400, 403, 404].contains(response.status), "\(path): \(response.status) \(response.text)")
    }
    // What stays inside is fine, however it is written.
    for path in [
      "/sub/../a.txt", "/%61.txt", "/./a.txt", "//a.txt", "/sub/%2e%2e/a.txt", "/dots/a.txt",
    ] {
      let client = try door.client()
      try client.send("GET \(path) HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
      #expect(try client.response().text == Self.digits, "\(path)")
    }
    try door.stop()
  }

  @Test func aFileThatIsTruncatedWhileItIsSentBreaksOff() async throws {
    let door = try await Portico.start(
      config: """
        http { server {
          listen 127.0.0.1:%%PORT_0%% sndbuf=64k; root %%DIR%%;
          location /plain { sendfile off; alias %%DIR%%/big; }
        } }
        """)
    for path in ["/big", "/plain"] {
      let big = door.site.folder + "big"
      let size = 20 << 20
      try Data(repeating: 65, count: size).write(to: URL(fileURLWithPath: big))
      let client = try door.client()
      try client.send("GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n")
      #expect(try Response(head: client.read(until: "\r\n\r\n"))["content-length"] == "\(size)")
      #expect(truncate(big, 100) == 0)
      // Fewer bytes than announced, then the end: not a byte that wasn't in the file.
      let rest = try client.readToEndOrReset()
      #expect(rest.count < size && rest.allSatisfy { $0 == 65 || $0 == 0 }, "\(path)")
      try FileManager.default.removeItem(atPath: big)
    }
    try door.site.write("small", "fine")
    #expect(try door.get("/small").text == "fine")
    try door.stop()
  }

  @Test func aFileThatIsReplacedWhileItIsSentStaysWhatItWas() async throws {
    let door = try await Portico.start(
      config: "http { server { listen 127.0.0.1:%%PORT_0%% sndbuf=64k; root %%DIR%%; } }")
    let big = URL(fileURLWithPath: door.site.folder + "big")
    let size = 20 << 20
    try Data(repeating: 65, count: size).write(to: big)
    let client = try door.client()
    try client.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
    _ = try client.read(until: "\r\n\r\n")
    try Data(repeating: 66, count: size).write(to: big, options: .atomic)
    let body = try client.read(count: size)
    #expect(body.allSatisfy { $0 == 65 })
    #expect(try door.get("/big", headers: ["Range": "bytes=0-2"]).text == "BBB")
    try door.stop()
  }

  @Test func aFileThatIsTruncatedWhileItIsSentBreaksOffUnderTLSToo() async throws {
    let site = try Site(
      config: """
        http { server {
          listen 127.0.0.1:%%PORT_0%% ssl sndbuf=64k;
          ssl_certificate %%DIR%%/localhost.crt; ssl_certificate_key %%DIR%%/localhost.key;
          root %%DIR%%/www; open_file_cache max=10;
        } }
        """, files: ["www/small": "fine"])
    try site.makeCertificate("localhost")
    let big = site.folder + "www/big"
    let size = 20 << 20
    try Data(repeating: 65, count: size).write(to: URL(fileURLWithPath: big))
    let door = try await Portico.start(site)
    let address = "https://127.0.0.1:\(door.port())"
    let curl = try Command(
      ["curl", "-sk", "--limit-rate", "1M", "-o", site.folder + "got", address + "/big"],
      folder: site.folder)
    try waitUntil("the transfer to begin") {
      ((try? Data(contentsOf: URL(fileURLWithPath: site.folder + "got")))?.count ?? 0) > 100_000
    }
    #expect(truncate(big, 100) == 0)
    #expect(try curl.wait().code != 0)
    let got = try Data(contentsOf: URL(fileURLWithPath: site.folder + "got"))
    #expect(got.count < size && got.allSatisfy { $0 == 65 || $0 == 0 })
    let small = try Command.run(["curl", "-sk", address + "/small"], folder: site.folder)
    #expect(small.standardOutput == "fine")
    try door.stop()
  }
}
