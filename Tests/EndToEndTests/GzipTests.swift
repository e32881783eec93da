// `gzip`: who gets a compressed response, what its head says, and that its content is the same for
// every size, source and protocol.

import Foundation
import Testing

/// Text that compresses, and of which no piece looks like another.
func prose(_ count: Int) -> [UInt8] {
  var text: [UInt8] = []
  text.reserveCapacity(count + 16)
  var state: UInt32 = 7
  while text.count < count {
    state = state &* 1_664_525 &+ 1_013_904_223
    text += Array("word\(state >> 20) ".utf8)
  }
  return Array(text.prefix(count))
}

@Suite struct GzipTests {
  private static let config = """
    http {
      log_format ratio "$uri ratio=$gzip_ratio bytes=$body_bytes_sent";
      access_log %%DIR%%/access.log ratio;
      types { text/html html; text/css css; image/png png; }
      gzip on;
      server {
        listen 127.0.0.1:%%PORT_0%%;
        http2 on;
        root %%DIR%%/www;
        gzip_min_length 0;
        location / { }
        location /default/ { alias %%DIR%%/www/; }
        location /off/ { gzip off; alias %%DIR%%/www/; }
        location /least/ { gzip_min_length 1000; alias %%DIR%%/www/; }
        location /css/ { gzip_types text/css; alias %%DIR%%/www/; }
        location /any/ { gzip_types *; alias %%DIR%%/www/; }
        location /old/ { gzip_http_version 1.0; alias %%DIR%%/www/; }
        location /vary/ { gzip_vary on; alias %%DIR%%/www/; }
        location /varies/ { gzip_vary on; add_header Vary "Origin, accept-encoding"; alias %%DIR%%/www/; }
        location /disabled/ { gzip_disable "bad(bot|agent)" msie6; alias %%DIR%%/www/; }
        location /proxied/any/ { gzip_proxied any; alias %%DIR%%/www/; }
        location /proxied/auth/ { gzip_proxied auth expired; alias %%DIR%%/www/; }
        location /proxied/private/ { gzip_proxied private; add_header Cache-Control "a, private"; alias %%DIR%%/www/; }
        location /proxied/expired/ { gzip_proxied expired; expires epoch; alias %%DIR%%/www/; }
        location /proxied/fresh/ { gzip_proxied expired; expires 1h; alias %%DIR%%/www/; }
        location /proxied/untagged/ { gzip_proxied no_etag; etag off; alias %%DIR%%/www/; }
        location /proxied/tagged/ { gzip_proxied no_etag no_last_modified; alias %%DIR%%/www/; }
        location /slow/ { limit_rate 400k; alias %%DIR%%/www/; }
        location /trailers/ { add_trailer X-End yes; alias %%DIR%%/www/; }
        location /text { default_type text/html; return 200 "$arg_text"; }
        location /status/403 { return 403; }
        location /status/500 { return 500; }
        location /status/201 { default_type text/html; return 201 "made of text"; }
        location /page { error_page 404 /page.html; }
        location /level9/ { gzip_comp_level 9; gzip_buffers 2 4k; alias %%DIR%%/www/; }
        location /app/ { proxy_pass http://%%UPSTREAM_0%%; }
        location /unbuffered/ { proxy_buffering off; proxy_pass http://%%UPSTREAM_0%%; }
      }
    }
    """

  private static let sizes = [0, 1, 20, 1000, 8192, 8193, 16_384, 16_385, 131_073, 1_000_000]

  private static let files: [String: String] = {
    var files = ["www/page.html": "<p>the page of a 404</p>", "www/a.css": "p { color: red }"]
    files["www/a.png"] = "not a picture at all"
    for size in sizes { files["www/\(size).html"] = String(decoding: prose(size), as: UTF8.self) }
    return files
  }()

  private func start(_ app: TestUpstream? = nil) async throws -> RunningPortico {
    let app = try app ?? TestUpstream { _ in .answer() }
    return try await Portico.start(config: Self.config, files: Self.files, upstreams: [app])
  }

  private static let takesGzip = ["Accept-Encoding": "gzip"]

  private func isCompressed(_ response: Response) -> Bool {
    response["content-encoding"] == "gzip"
  }

  // --- contents ----------------------------------------------------------------------------------

  @Test(arguments: sizes)
  func aFileOfAnySizeComesCompressed(size: Int) async throws {
    let door = try await start()
    let client = try door.client()
    for path in ["/\(size).html", "/level9/\(size).html", "/trailers/\(size).html"] {
      try client.send("GET \(path) HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n")
      let answer = try client.response()
      #expect(isCompressed(answer))
      #expect(answer["content-length"] == nil)
      #expect(answer["accept-ranges"] == nil)
      #expect(gunzipped(answer.body) == prose(size), "\(path)")
      if size > 5000 { #expect(answer.body.count < size / 2) }
      #expect(answer.trailers == (path.hasPrefix("/trailers") ? ["X-End: yes"] : []))
    }
    // The connection is good for what is not compressed, too.
    try client.send("GET /\(size).html HTTP/1.1\r\nHost: a\r\n\r\n")
    let plain = try client.response()
    #expect(!isCompressed(plain) && plain.body == prose(size))
    #expect(plain["content-length"] == "\(size)")
    try door.stop()
  }

  @Test(arguments: sizes)
  func aProxiedBodyComesCompressedHoweverItIsFramed(size: Int) async throws {
    let body = prose(size)
    let app = try TestUpstream { request in
      let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
      switch request.path.split(separator: "/").last {
      case "counted":
        return .steps([.bytes(head + "Content-Length: \(size)\r\n\r\n"), .bytes(body)])
      case "chunked":
        var steps = [TestUpstream.Step.bytes(head + "Transfer-Encoding: chunked\r\n\r\n")]
        for start in stride(from: 0, to: size, by: 100_000) {
          let piece = body[start..<min(size, start + 100_000)]
          steps.append(
            .bytes(Array("\(String(piece.count, radix: 16))\r\n".utf8) + piece + [13, 10]))
        }
        return .steps(steps + [.bytes("0\r\n\r\n")])
      default: return .steps([.bytes(head + "\r\n"), .bytes(body), .close])
      }
    }
    let door = try await start(app)
    for folder in ["app", "unbuffered"] {
      for form in ["counted", "chunked", "closed"] {
        let answer = try door.get("/\(folder)/\(form)", headers: Self.takesGzip)
        #expect(isCompressed(answer))
        #expect(gunzipped(answer.body) == body, "/\(folder)/\(form)")
      }
    }
    try door.stop()
  }

  @Test func aBodyThatComesByteByByteIsTheSame() async throws {
    let body = prose(3000)
    let app = try TestUpstream { _ in
      let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 3000\r\n\r\n"
      return .steps([.bytes(head)] + body.map { .bytes([$0]) })
    }
    let door = try await start(app)
    for path in ["/app/", "/unbuffered/"] {
      #expect(gunzipped(try door.get(path, headers: Self.takesGzip).body) == body)
    }
    try door.stop()
  }

  @Test(arguments: ["--http1.1", "--http2-prior-knowledge"])
  func curlGetsTheSame(version: String) async throws {
    let body = prose(1_000_000)
    let app = try TestUpstream { _ in
      let head =
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: \(body.count)\r\n\r\n"
      return .steps([.bytes(head), .bytes(body)])
    }
    let door = try await start(app)
    let file = door.site.folder + "got"
    for path in ["1000000.html", "app/", "unbuffered/", "trailers/1000000.html"] {
      let answer = try Command.run(
        [
          "curl", "-s", version, "--compressed", "-o", file, "-w", "%{http_code} %{size_download}",
          "http://127.0.0.1:\(door.port())/\(path)",
        ], folder: door.site.folder)
      let words = answer.standardOutput.split(separator: " ")
      #expect(words.first == "200" && answer.code == 0)
      #expect(words.last.flatMap { Int($0) } ?? .max < body.count / 2, "\(path): not compressed")
      #expect(FileManager.default.contents(atPath: file).map { Array($0) } == body, "\(path)")
    }
    try door.stop()
  }

  @Test func aRateLimitsWhatIsSentNotWhatWasRead() async throws {
    let door = try await start()
    let watch = Stopwatch()
    let answer = try door.get("/slow/1000000.html", headers: Self.takesGzip)
    let seconds = watch.seconds
    #expect(gunzipped(answer.body) == prose(1_000_000))
    // The first second's worth goes at once.
    #expect(seconds > Double(answer.body.count - 400 << 10) / Double(400 << 10) - 0.1)
    try door.stop()
  }

  // --- who gets it -------------------------------------------------------------------------------

  @Test(arguments: [
    ("gzip", true), ("GZIP", true), ("x-gzip", true), ("deflate, gzip;q=0.5", true), ("*", true),
    ("br;q=1.0, gzip ; q=0.001", true), ("gzip;q=1", true), ("*;q=0, gzip", true),
    ("deflate", false), ("gzip;q=0", false), ("gzip; q=0.000", false), ("*;q=0", false),
    ("*, gzip;q=0", false), ("notgzip", false), ("gzipped", false), ("identity", false),
    ("gzip;q=x", false), ("", false),
  ])
  func theClientsWishCounts(accepted: String, expected: Bool) async throws {
    let door = try await start()
    let answer = try door.get("/1000.html", headers: ["Accept-Encoding": accepted])
    #expect(isCompressed(answer) == expected)
    #expect((expected ? gunzipped(answer.body) : answer.body) == prose(1000))
    try door.stop()
  }

  @Test(arguments: [
    ("/1000.html", true), ("/a.css", false), ("/css/a.css", true), ("/css/1000.html", true),
    ("/any/a.png", true), ("/a.png", false), ("/off/1000.html", false),
    ("/least/20.html", false), ("/least/1000.html", true), ("/text?text=some%20text", true),
    ("/status/403", true), ("/status/500", false), ("/status/201", false), ("/nothing", true),
    ("/page", true),
  ])
  func theLocationSaysWhatIsCompressed(path: String, expected: Bool) async throws {
    let door = try await start()
    let answer = try door.get(path, headers: Self.takesGzip)
    let plain = try door.get(path)
    #expect(isCompressed(answer) == expected)
    #expect(!isCompressed(plain) && plain.status == answer.status)
    #expect((expected ? gunzipped(answer.body) : answer.body) == plain.body)
    try door.stop()
  }

  @Test(arguments: [
    ("/1000.html", ["Via": "1.1 cache"], false),
    ("/proxied/any/1000.html", ["Via": "1.1 cache"], true),
    ("/proxied/auth/1000.html", ["Via": "1.1 cache"], false),
    ("/proxied/auth/1000.html", ["Via": "1.1 cache", "Authorization": "x"], true),
    ("/proxied/private/1000.html", ["Via": "1.1 cache"], true),
    ("/proxied/expired/1000.html", ["Via": "1.1 cache"], true),
    ("/proxied/fresh/1000.html", ["Via": "1.1 cache"], false),
    ("/proxied/untagged/1000.html", ["Via": "1.1 cache"], true),
    ("/proxied/tagged/1000.html", ["Via": "1.1 cache"], false),
    ("/proxied/tagged/1000.html", [:], true),
    ("/disabled/1000.html", ["User-Agent": "A BadBot 1"], false),
    ("/disabled/1000.html", ["User-Agent": "Mozilla/4.0 (compatible; MSIE 6.0; Windows)"], false),
    (
      "/disabled/1000.html", ["User-Agent": "Mozilla/4.0 (compatible; MSIE 6.0; Windows; SV1)"],
      true
    ),
    ("/disabled/1000.html", ["User-Agent": "Mozilla/4.0 (compatible; MSIE 7.0; Windows)"], true),
    ("/disabled/1000.html", ["User-Agent": "good"], true),
  ])
  func proxiesAndAgentsAreToldApart(
    path: String, fields: [String: String], expected: Bool
  ) async throws {
    let door = try await start()
    let answer = try door.get(path, headers: Self.takesGzip.merging(fields) { $1 })
    #expect(isCompressed(answer) == expected)
    try door.stop()
  }

  @Test func anOldClientGetsItIfTheLocationSaysSo() async throws {
    let door = try await start()
    for (path, expected) in [("/1000.html", false), ("/old/1000.html", true)] {
      let client = try door.client()
      try client.send("GET \(path) HTTP/1.0\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n")
      let answer = try client.response()
      #expect(isCompressed(answer) == expected)
      #expect((expected ? gunzipped(answer.body) : answer.body) == prose(1000))
    }
    try door.stop()
  }

  // --- what the head says ------------------------------------------------------------------------

  @Test func theHeadSpeaksOfTheCompressedBody() async throws {
    let door = try await start()
    let plain = try door.get("/1000.html")
    let answer = try door.get("/1000.html", headers: Self.takesGzip)
    let tag = try #require(plain["etag"])
    #expect(answer["etag"] == "W/" + tag)
    #expect(answer["last-modified"] == plain["last-modified"])
    let head = try door.get("/1000.html", headers: Self.takesGzip, method: "HEAD")
    #expect(isCompressed(head) && head["content-length"] == nil && head["etag"] == "W/" + tag)
    // Parts of a body that is made anew each time can't be asked for.
    let range = ["Range": "bytes=0-9", "Accept-Encoding": "gzip"]
    let whole = try door.get("/1000.html", headers: range)
    #expect(whole.status == 200 && gunzipped(whole.body) == prose(1000))
    #expect(try door.get("/1000.html", headers: ["Range": "bytes=0-9"]).status == 206)
    // Neither tag makes the client fetch what it has.
    for known in [tag, "W/" + tag] {
      let fields = ["If-None-Match": known, "Accept-Encoding": "gzip"]
      let same = try door.get("/vary/1000.html", headers: fields)
      #expect(same.status == 304 && same["content-encoding"] == nil)
      #expect(same["etag"] == "W/" + tag && same["vary"] == "Accept-Encoding")
    }
    try door.stop()
  }

  @Test func varyNamesTheFieldOnce() async throws {
    let door = try await start()
    for fields in [[:], Self.takesGzip] {
      #expect(try door.get("/vary/1000.html", headers: fields).all("vary") == ["Accept-Encoding"])
      #expect(
        try door.get("/varies/1000.html", headers: fields).all("vary") == [
          "Origin, accept-encoding"
        ])
      #expect(try door.get("/vary/a.png", headers: fields).all("vary") == [])
      #expect(try door.get("/1000.html", headers: fields).all("vary") == [])
    }
    try door.stop()
  }

  @Test(arguments: [
    ["Content-Encoding": "br"], ["Content-Encoding": "gzip"],
    ["Cache-Control": "public, no-transform"], ["Content-Type": "image/png"],
  ])
  func whatAnUpstreamSaysIsLeftAlone(fields: [String: String]) async throws {
    let all = ["Content-Type": "text/html", "ETag": "\"x\""].merging(fields) { $1 }
    let app = try TestUpstream { _ in .answer(fields: all, body: "as it came, whatever it is") }
    let door = try await start(app)
    let answer = try door.get("/app/", headers: Self.takesGzip)
    #expect(answer.text == "as it came, whatever it is")
    #expect(answer["content-length"] == "26" && answer["etag"] == "\"x\"")
    #expect(answer.all("content-encoding") == fields["Content-Encoding"].map { [$0] } ?? [])
    try door.stop()
  }

  @Test func theLogKnowsTheRatio() async throws {
    let door = try await start()
    let answer = try door.get("/131073.html", headers: Self.takesGzip)
    _ = try door.get("/1000.html")
    let ratio = 131_073 * 100 / answer.body.count
    let expected = "ratio=\(ratio / 100).\(ratio / 10 % 10)\(ratio % 10)"
    try waitUntil("both log lines") {
      let log = door.site.text("access.log")
      return log.contains("/131073.html \(expected) ")
        && log.contains("/1000.html ratio=- bytes=1000")
    }
    try door.stop()
  }

  // --- bad configurations ------------------------------------------------------------------------

  @Test(arguments: [
    ("gzip_comp_level 10", "between 1 and 9"), ("gzip_comp_level 0", "between 1 and 9"),
    ("gzip_http_version 2", "must be \"1.0\" or \"1.1\""),
    ("gzip maybe", "must be \"on\" or \"off\""),
    ("gzip_proxied sometimes", "has no parameter \"sometimes\""),
    ("gzip_buffers 0 4k", "gzip_buffers"),
    ("gzip_disable \"(\"", "missing closing parenthesis"), ("gzip_static maybe", "must be one of"),
    ("gunzip 1", "must be \"on\" or \"off\""), ("gzip_min_length -1", "gzip_min_length"),
  ])
  func refusesWhatIsNoSetting(line: String, message: String) throws {
    let site = try Site(config: "http { server { listen 127.0.0.1:%%PORT_0%%; \(line); } }")
    let finished = try Portico.run(site, ["-t"])
    #expect(finished.code == 1 && finished.standardError.contains(message), "\(finished)")
  }

  /// How long a page becomes is not known before its parts are there.
  @Test func theLengthOfWhatIsChangedIsNotJudged() async throws {
    let door = try await Portico.start(
      config: """
        http { server { listen 127.0.0.1:%%PORT_0%%; root %%DIR%%/www; gzip on; gzip_min_length 1000;
          location /page { ssi on; } location /added { add_after_body /big; } } }
        """,
      files: [
        "www/page.html": "<!--# include virtual=\"/big\" -->", "www/added.html": "short",
        "www/plain.html": "short", "www/big": String(repeating: "x", count: 5000),
      ])
    for (path, isCompressed) in [("page", true), ("added", true), ("plain", false)] {
      let response = try door.get("/\(path).html", headers: ["Accept-Encoding": "gzip"])
      #expect((response["content-encoding"] == "gzip") == isCompressed, "\(path)")
    }
    try door.stop()
  }
}
