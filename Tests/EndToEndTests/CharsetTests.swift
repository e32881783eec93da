// `charset`: what Content-Type says, and bodies turned from one charset into another. `gunzip` and
// `gzip_static` with them.

import Foundation
import Testing

@Suite struct CharsetTests {
  private static let config = """
    http {
      types { text/html html; image/png png; application/javascript js; }
      charset_map one two { 41 42; C0 E0; }
      charset_map one utf-8 { C0 D18E; C1 E282AC; }
      charset_map fifth _ { }
      server {
        listen 127.0.0.1:%%PORT_0%%;
        default_type text/html;
        root %%DIR%%/www;
        gzip_min_length 0;
        location / { charset two; }
        location /off/ { charset two; location /off/in/ { charset off; alias %%DIR%%/www/; } }
        location /types/ { charset two; charset_types image/png; alias %%DIR%%/www/; }
        location /variable/ { charset $arg_c; alias %%DIR%%/www/; }
        location /bytes/ { charset two; source_charset one; alias %%DIR%%/www/; }
        location /back/ { charset one; source_charset two; alias %%DIR%%/www/; }
        location /encode/ { charset UTF-8; source_charset one; alias %%DIR%%/www/; }
        location /decode/ { charset one; source_charset utf-8; alias %%DIR%%/www/; }
        location /same/ { charset one; source_charset ONE; alias %%DIR%%/www/; }
        location /unknown/ { charset $arg_c; source_charset one; alias %%DIR%%/www/; }
        location /zip/ { gzip on; charset two; source_charset one; alias %%DIR%%/www/; }
        location /text { charset two; source_charset one; return 200 "A text"; }
        location /moved { charset two; return 301 /elsewhere; }
        location /found { charset two; return 307 /elsewhere; }
        location /static/ { gzip_static on; gzip_vary on; alias %%DIR%%/www/; }
        location /plain/ { gzip_static on; alias %%DIR%%/www/; }
        location /app/ { charset two; proxy_pass http://%%UPSTREAM_0%%; }
        location /over/ { charset two; override_charset on; proxy_pass http://%%UPSTREAM_0%%; }
        location /ignored/ { proxy_ignore_headers X-Accel-Charset; proxy_pass http://%%UPSTREAM_0%%; }
        location /recoded/ { charset utf-8; source_charset one; proxy_pass http://%%UPSTREAM_0%%; }
        location /renamed/ { charset utf-8; override_charset on; proxy_pass http://%%UPSTREAM_0%%; }
        location /ordered/ { proxy_pass http://%%UPSTREAM_0%%; }
      }
    }
    """

  private func start(
    _ fields: [String: String] = [:], status: String = "200 OK"
  ) async throws -> RunningPortico {
    let app = try TestUpstream { _ in .answer(status, fields: fields, body: "A from the app") }
    let door = try await Portico.start(
      config: Self.config, files: ["www/a.html": "A page", "www/a.png": "A picture"],
      upstreams: [app])
    let bytes: [UInt8] = [0x41, 0xC0, 0xC1, 0x7A, 0xFF]
    try write(bytes, "www/bytes.html", door)
    try write(Array("zA\u{44E}\u{20AC}\u{E9}\u{1F600}.".utf8), "www/utf8.html", door)
    try write([0x61, 0xD1, 0x62, 0xE2, 0x82, 0x63, 0x80, 0xC0, 0xAF, 0xE2], "www/bad.html", door)
    try write(gzipped(Array("A page, compressed".utf8)), "www/a.html.gz", door)
    return door
  }

  private func write(_ bytes: [UInt8], _ path: String, _ door: RunningPortico) throws {
    let file = door.site.folder + path
    try Data(bytes).write(to: URL(fileURLWithPath: file))
    chmod(file, 0o644)
  }

  // --- Content-Type ------------------------------------------------------------------------------

  @Test(arguments: [
    ("/a.html", "text/html; charset=two"), ("/a.png", "image/png"),
    ("/off/in/a.html", "text/html"), ("/types/a.png", "image/png; charset=two"),
    ("/variable/a.html?c=utf-8", "text/html; charset=utf-8"), ("/variable/a.html", "text/html"),
    ("/variable/a.html?c=off", "text/html"), ("/same/a.html", "text/html; charset=one"),
    ("/variable/a.html?c=a;b", "text/html"), ("/text", "text/html; charset=two"),
    ("/moved", "text/html"), ("/found", "text/html; charset=two"),
  ])
  func contentTypeNamesTheCharset(path: String, expected: String) async throws {
    let door = try await start()
    let answer = try door.get(path)
    #expect(answer["content-type"] == expected)
    #expect(try door.get(path, method: "HEAD")["content-type"] == expected)
    try door.stop()
  }

  @Test(arguments: [
    ("/app/", "text/html", "text/html; charset=two", "A"),
    ("/app/", "text/html; charset=one", "text/html; charset=one", "A"),
    ("/over/", "text/html; charset=one", "text/html; charset=two", "B"),
    ("/over/", "text/html; Charset=\"ONE\"; x=y", "text/html; charset=two", "B"),
    ("/over/", "text/html; charset=three", "text/html; charset=three", "A"),
    ("/over/", "image/png; charset=one", "image/png; charset=one", "A"),
  ])
  func anUpstreamMayNameItItself(
    path: String, type: String, expected: String, first: String
  ) async throws {
    let door = try await start(["Content-Type": type])
    let answer = try door.get(path)
    #expect(answer["content-type"] == expected)
    #expect(answer.text == first + " from the app")
    try door.stop()
  }

  @Test(arguments: [
    ("/ordered/", "one", "text/html; charset=one"), ("/ordered/", "none", "text/html"),
    ("/ignored/", "one", "text/html"), ("/app/", "fifth", "text/html; charset=fifth"),
  ])
  func anUpstreamMayOrderIt(path: String, charset: String, expected: String) async throws {
    let door = try await start(["Content-Type": "text/html", "X-Accel-Charset": charset])
    let answer = try door.get(path)
    #expect(answer["content-type"] == expected)
    #expect(answer["x-accel-charset"] == nil)
    if charset == "none" { try door.waitForLog("unknown charset \"none\"") }
    try door.stop()
  }

  // --- recoding ----------------------------------------------------------------------------------

  @Test(
    arguments: [
      ("/bytes/bytes.html", [0x42, 0xE0, 0x3F, 0x7A, 0x3F]),
      ("/back/bytes.html", [0x41, 0x3F, 0x3F, 0x7A, 0x3F]),
      ("/encode/bytes.html", Array("A\u{44E}\u{20AC}z?".utf8)),
      ("/decode/utf8.html", Array("zA".utf8) + [0xC0, 0xC1] + Array("&#233;&#128512;.".utf8)),
      ("/decode/bad.html", Array("a?b?c????".utf8)),
      ("/same/bytes.html", [0x41, 0xC0, 0xC1, 0x7A, 0xFF]),
      ("/text", Array("B text".utf8)),
    ] as [(String, [UInt8])])
  func bodiesAreTurnedIntoTheCharset(path: String, expected: [UInt8]) async throws {
    let door = try await start()
    #expect(try door.get(path).body == expected)
    try door.stop()
  }

  /// Whatever charset a part is in, the page it becomes a part of is in one.
  @Test func partsAreTurnedIntoTheCharsetOfThePage() async throws {
    let app = try TestUpstream { _ in
      .answer(fields: ["Content-Type": "text/html; charset=one"], body: "A")
    }
    let door = try await Portico.start(
      config: """
        http {
          charset_map one two { 41 42; }
          server {
            listen 127.0.0.1:%%PORT_0%%; root %%DIR%%;
            location / { ssi on; charset two; }
            location /added { default_type text/html; charset two; add_after_body /app; alias %%DIR%%/page.html; }
            location /source { source_charset one; default_type text/html; return 200 "A"; }
            location /app { proxy_pass http://%%UPSTREAM_0%%; }
            location /plain { default_type text/plain; return 200 "A"; }
          }
        }
        """,
      files: [
        "page.html": """
        A<!--#include virtual="/source" --><!--#include virtual="/app" -->\
        <!--#include virtual="/plain" -->
        """
      ], upstreams: [app])
    #expect(try door.get("/page.html").text == "ABBA")
    #expect(try door.get("/added").text.hasSuffix("B"))
    #expect(try door.get("/app").text == "A")
    try door.stop()
  }

  @Test func whatKeepsItsLengthKeepsItsRanges() async throws {
    let door = try await start()
    let part = try door.get("/bytes/bytes.html", headers: ["Range": "bytes=1-3"])
    #expect(part.status == 206 && part.body == [0xE0, 0x3F, 0x7A])
    #expect(part["content-length"] == "3")
    let whole = try door.get("/encode/bytes.html", headers: ["Range": "bytes=1-3"])
    #expect(whole.status == 200 && whole["etag"]?.hasPrefix("W/") == true)
    try door.stop()
  }

  @Test(arguments: [
    ("/recoded/", "text/html"), ("/recoded/", "text/html; charset=one"),
    ("/renamed/", "text/html; charset=one"),
  ])
  func aPartThatIsNotRecodedKeepsItsCharset(path: String, type: String) async throws {
    let door = try await start(
      ["Content-Type": type, "Content-Range": "bytes 0-13/99"], status: "206 Partial Content")
    let answer = try door.get(path)
    #expect(answer.status == 206 && answer["content-type"] == "text/html; charset=one")
    #expect(answer.text == "A from the app" && answer["content-length"] == "14")
    try door.stop()
  }

  @Test func aBodyIsRecodedBeforeItIsCompressed() async throws {
    let door = try await start()
    let answer = try door.get("/zip/bytes.html", headers: ["Accept-Encoding": "gzip"])
    #expect(gunzipped(answer.body) == [0x42, 0xE0, 0x3F, 0x7A, 0x3F])
    try door.stop()
  }

  @Test func aCharsetWithoutATableIsLoggedNotSent() async throws {
    let door = try await start()
    let answer = try door.get("/unknown/a.html?c=fifth")
    #expect(answer["content-type"] == "text/html" && answer.text == "A page")
    try door.waitForLog("no \"charset_map\" between the charsets \"one\" and \"fifth\"")
    try door.stop()
  }

  // --- gzip_static -------------------------------------------------------------------------------

  @Test func aCompressedFileStandsForThePlainOne() async throws {
    let door = try await start()
    let accept = ["Accept-Encoding": "gzip"]
    for path in ["/static/a.html", "/plain/a.html"] {
      let answer = try door.get(path, headers: accept)
      #expect(answer["content-encoding"] == "gzip" && answer["content-type"] == "text/html")
      #expect(gunzipped(answer.body) == Array("A page, compressed".utf8))
      #expect(answer["content-length"] == "\(answer.body.count)")
      let tag = try #require(answer["etag"])
      #expect(
        try door.get(path, headers: accept.merging(["If-None-Match": tag]) { $1 }).status == 304)
      let plain = try door.get(path)
      #expect(plain["content-encoding"] == nil && plain.text == "A page" && plain["etag"] != tag)
      #expect(plain["vary"] == (path == "/static/a.html" ? "Accept-Encoding" : nil))
      #expect(try door.get(path, headers: accept, method: "HEAD")["content-encoding"] == "gzip")
      #expect(try door.get(path, headers: accept, method: "POST").status == 405)
    }
    // Without such a file the plain one answers.
    let other = try door.get("/static/a.png", headers: accept)
    #expect(other["content-encoding"] == nil && other.text == "A picture" && other["vary"] == nil)
    try door.stop()
  }

  // --- bad configurations ------------------------------------------------------------------------

  @Test(arguments: [
    ("charset a; source_charset b;", "", "no \"charset_map\" between the charsets \"b\" and \"a\""),
    ("", "charset_map a b { 41; }", "is two codes"),
    ("", "charset_map a b { 41 142; }", "is two codes"),
    ("", "charset_map a utf-8 { C0 D1; }", "is two codes"),
    ("", "charset_map a a { }", "same charsets"),
    ("", "charset_map a b { } charset_map b a { }", "duplicate \"charset_map\""),
    ("charset \"a b\";", "", "can't be the name of a charset"),
    ("override_charset 1;", "", "must be \"on\" or \"off\""),
  ])
  func refusesWhatIsNoCharset(inServer: String, inHTTP: String, message: String) throws {
    let site = try Site(
      config: "http { \(inHTTP) server { listen 127.0.0.1:%%PORT_0%%; \(inServer) } }")
    let finished = try Portico.run(site, ["-t"])
    #expect(finished.code == 1 && finished.standardError.contains(message), "\(finished)")
  }
}
