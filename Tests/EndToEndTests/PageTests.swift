// Server-side includes: commands in pages, and parts of pages from other locations.

import Foundation
import Testing

@Suite struct PageTests {
  private static let config = """
    worker_processes 1;
    http {
      access_log off;
      server {
        listen 127.0.0.1:%%PORT_0%%; http2 on; root %%DIR%%/www;
        default_type text/html; ssi on;
        set $page "";
        location / { }
        location /off/ { ssi off; alias %%DIR%%/www/; }
        location /silent/ { ssi_silent_errors on; alias %%DIR%%/www/; }
        location /short/ { ssi_value_length 8; alias %%DIR%%/www/; }
        location /kept/ { ssi_last_modified on; alias %%DIR%%/www/; }
        location /zip/ { gzip on; gzip_min_length 0; alias %%DIR%%/www/; }
        location /hidden { internal; return 200 "<hidden>"; }
        location /text { default_type text/plain; return 200 '<!--#echo var="arg_a" -->'; }
        location /types { default_type text/x; ssi_types text/x; return 200 '<!--#echo var="arg_a" -->'; }
        location /small { subrequest_output_buffer_size 4; return 200 "12345"; }
        location /down { proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /closed { return 444; }
        location /app/ { ssi off; proxy_pass http://%%UPSTREAM_0%%; proxy_read_timeout 60s; }
        location /scanned/ { proxy_pass http://%%UPSTREAM_0%%; }
        location /echo { default_type text/html; return 200 $arg_p; }
      }
    }
    """

  private static func app() throws -> TestUpstream {
    try TestUpstream { request in
      switch request.path {
      case let path where path.hasPrefix("/app/big"):
        return .answer(body: String(repeating: "b", count: 3_000_000))
      case let path where path.hasPrefix("/app/huge"):
        return .answer(body: String(repeating: "b", count: 120_000_000))
      case let path where path.hasPrefix("/app/half"):
        return .steps([.bytes("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"), .reset])
      case let path where path.hasPrefix("/app/slow"): return .steps([.silence])
      case let path where path.hasPrefix("/app/error"):
        return .answer("500 Internal Server Error", body: "oops")
      case let path where path.hasPrefix("/scanned/split"):
        let page = #"a<!--#set var="x" value="1" -->b<!--#echo var="x" --><!<!-<!--c"#
        let pieces = page.utf8.map { byte in "1\r\n" + String(UnicodeScalar(byte)) + "\r\n" }
        return .steps(
          [
            .bytes(
              "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n")
          ]
            + pieces.map { .bytes($0) } + [.bytes("0\r\n\r\n")])
      default: return .answer(body: #"<!--#echo var="arg_a" -->"#)
      }
    }
  }

  private func start(
    _ pages: [String: String], app: TestUpstream? = nil, environment: [String: String] = [:]
  ) async throws -> RunningPortico {
    var files: [String: String] = [:]
    for (name, text) in pages { files["www/" + name] = text }
    return try await Portico.start(
      config: Self.config, files: files, upstreams: [try app ?? Self.app()],
      environment: environment)
  }

  /// What a client may fill in leads nowhere that the page doesn't name.
  @Test(arguments: [
    "%2e%2e/hidden", ".%2e/hidden", "%2E./hidden", "..%2fhidden", "x/%2e%2e/%2e%2e/hidden",
    "../hidden", "..",
  ])
  func partsNeverLeadUpwards(_ part: String) async throws {
    let door = try await start([
      "a": #"[<!--#include virtual="/echo/$arg_p" -->|<!--#include file="$arg_p" -->]"#
    ])
    #expect(try door.get("/a?p=\(part)").text == "[\(Self.failed)|\(Self.failed)]")
    #expect(door.errorLog.contains("unsafe URI"))
    try door.stop()
  }

  @Test func aVariableGetsSuccessfulAnswersOnly() async throws {
    let door = try await start([
      "b": #"<!--#include virtual="/none" set="v" --><!--#echo var="v" -->"#,
      "c": #"<!--#include virtual="/echo?p=x" set="v" --><!--#echo var="v" -->"#,
    ])
    #expect(try door.get("/b").text == "")
    #expect(try door.get("/c").text == "x")
    try door.stop()
  }

  private static let failed = "[an error occurred while processing the directive]"

  @Test(arguments: [
    (#"x<!--#echo var="arg_a" -->y"#, "x1y"), (#"<!--#echo var="arg_none" -->"#, "(none)"),
    (#"<!--#echo var="nothing" default="no$arg_a" -->"#, "no$arg_a"),
    (#"<!--#set var="v" value="<${arg_a}\$&'>" --><!--#echo var="v" -->"#, "&lt;1$&amp;'&gt;"),
    (#"<!--#set var="v" value="<>" --><!--#echo var="v" encoding="none" -->"#, "<>"),
    (#"<!--#set var="v" value="<>" --><!--#echo var="v" encoding="url" -->"#, "%3C%3E"),
    (#"<!--#set var="v" value='"\'-->' --><!--#echo var="v" encoding="none" -->"#, #""'-->"#),
    (
      #"<!--#if expr="$arg_a = 1" -->A<!--#elif expr="$arg_a" -->B<!--#else -->C<!--#endif -->"#,
      "A"
    ),
    (
      #"<!--#if expr="$arg_a != 1" -->A<!--#elif expr="$arg_a" -->B<!--#else -->C<!--#endif -->"#,
      "B"
    ),
    (#"<!--#if expr="$arg_x" -->A<!--#elif expr="$arg_y" -->B<!--#else -->C<!--#endif -->"#, "C"),
    (#"<!--#if expr="$uri = /p(.)ge/" --><!--#echo var="1" --><!--#endif -->"#, "a"),
    (
      #"<!--#if expr="$arg_x" --><!--#if expr="1" -->A<!--#else -->B<!--#endif --><!--#endif -->C"#,
      "C"
    ),
    (#"<!--#include virtual="/hidden" -->"#, "<hidden>"),
    (#"<!--#include file="part.html" -->."#, "part."),
    (#"<!--#include virtual="/part%2ehtml?a" wait="yes" -->."#, "part."),
    (#"<!--#include virtual="/hidden" set="v" -->[<!--#echo var="v" -->]"#, "[&lt;hidden&gt;]"),
    (#"<!--#include virtual="/small" set="v" -->"#, failed),
    (#"<!--#include virtual="../part.html" -->"#, failed), (#"<!--#include -->"#, failed),
    (#"<!--#include virtual="/closed" -->"#, failed), (#"<!--#dance -->"#, failed),
    (#"<!--#echo var="a" x="b" -->"#, failed), (#"<!--#endif -->"#, failed),
    (#"<!--#if expr="a = /(/" -->x<!--#endif -->"#, failed), (#"<!--#echo var=a -->"#, failed),
    (#"<!--#config errmsg="E" --><!--#endblock -->"#, "E"),
    (#"<!--#config timefmt="%Y!" --><!--#if expr="$date_gmt = /^20..!$/" -->Y<!--#endif -->"#, "Y"),
    (
      #"<!--#block name="b" -->S<!--#echo var="arg_a" --><!--#endblock -->"#
        + #"<!--#include virtual="/down" stub="b" --><!--#include virtual="/app/error" stub="b" -->"#
        + #"<!--#include virtual="/empty.html" stub="b" --><!--#include virtual="/part.html" stub="b" -->"#,
      "S1S1S1part"
    ),
    ("<!-- text --><!--", "<!-- text --><!--"), ("a<!--#echo ", "a"),
  ])
  func commandsAreObeyed(page: String, expected: String) async throws {
    let door = try await start(["page.html": page, "part.html": "part", "empty.html": ""])
    #expect(try door.get("/page.html?a=1").text == expected)
    try door.stop()
  }

  @Test func anIfInsideOfABlockIsDecidedWhereTheBlockIsUsed() async throws {
    let use = #"<!--#include virtual="/empty.html" stub="b" -->"#
    let page = """
      <!--#block name="b" --><!--#if expr="$v" -->A<!--#if expr="$w" -->B<!--#else -->C<!--#endif -->\
      <!--#else -->D<!--#endif -->.<!--#endblock -->\(use)\
      <!--#set var="v" value="1" -->\(use)<!--#set var="w" value="1" -->\(use)
      """
    let door = try await start(["page.html": page, "empty.html": ""])
    #expect(try door.get("/page.html").text == "D.AC.AB.")
    try door.stop()
  }

  @Test func onlyWhatIsToBeScannedIs() async throws {
    let page = #"<!--#echo var="arg_a" -->"#
    let door = try await start(["a.html": page, "b.html": #"[<!--#echo var="arg_a" -->]"#])
    #expect(try door.get("/off/a.html?a=1").text == page)
    #expect(try door.get("/text?a=1").text == page)
    #expect(try door.get("/types?a=1").text == "1")
    #expect(try door.get("/app/x?a=1").text == page)
    // What a client sent is never a command, encoded or not.
    let injected = "%3C!--%23echo%20var=%22host%22%20--%3E"
    #expect(try door.get("/b.html?a=\(injected)").text == "[\(injected)]")
    let head = try door.get("/a.html?a=1", headers: ["Range": "bytes=0-1"])
    #expect(head.status == 200 && head["last-modified"] == nil && head["content-length"] == nil)
    #expect(head["etag"] == nil)
    #expect(try door.get("/kept/a.html?a=1")["last-modified"] != nil)
    #expect(try door.get("/short/a.html?a=1").text == "1")
    #expect(try door.get("/silent/b.html?a=1").text == "[1]")
    let zipped = try door.get("/zip/b.html?a=1", headers: ["Accept-Encoding": "gzip"])
    #expect(gunzipped(zipped.body) == Array("[1]".utf8))
    try door.stop()
  }

  @Test func aPageMayComeInPiecesOfOneByte() async throws {
    let door = try await start([:])
    #expect(try door.get("/scanned/split").text == "ab1<!<!-<!--c")
    try door.stop()
  }

  @Test func pagesThatIncludeThemselvesEnd() async throws {
    let door = try await start([
      "once.html": #"o<!--#include virtual="/once.html" -->"#,
      "twice.html":
        #"t<!--#include virtual="/twice.html" --><!--#include virtual="/twice.html" -->"#,
    ])
    let once = try door.get("/once.html").text
    #expect(once == String(repeating: "o", count: 51) + Self.failed)
    let twice = try door.get("/twice.html").text
    #expect(
      twice.split(separator: Self.failed).count > 0 && twice.filter { $0 == "t" }.count >= 1000)
    try door.waitForLog("pages include each other too often")
    try door.stop()
  }

  @Test func whatAPageKeepsIsBounded() async throws {
    // Bound: 4 MiB, where each command counts as 64 bytes at least.
    let door = try await start([
      "many.html": String(repeating: #"<!--#set var="v" value="x" -->"#, count: 60_000) + "END",
      "large.html": #"<!--#block name="b" -->"# + String(repeating: "t", count: 5 << 20)
        + #"<!--#endblock -->END"#,
    ])
    let text = try door.get("/many.html").text
    #expect(text.hasPrefix(Self.failed) && text.hasSuffix("END"), "\(text.suffix(90))")
    // A block that is never ended swallows the rest.
    #expect(try door.get("/large.html").text == Self.failed)
    try door.waitForLog("too many commands")
    #expect(try door.get("/text?a=1").status == 200)
    try door.stop()
  }

  @Test func whatABlockKeepsOfCommandsIsBoundedToo() async throws {
    // 32 MB of commands, of which a block keeps 4 MiB.
    let command = "<!--#echo var=\"" + String(repeating: "v", count: 2_000) + "\" -->"
    let door = try await start([
      "small.html": #"<!--#block name="b" -->"# + command,
      "page.html": #"<!--#block name="b" -->"# + String(repeating: command, count: 16_000),
    ])
    #expect(try door.get("/small.html").status == 200)
    let before = try peakKibibytes(door.workerPid)
    #expect(try door.get("/page.html").text == "")
    let growth = try peakKibibytes(door.workerPid) - before
    #expect(growth < 20_000, "\(growth) KiB")
    try door.stop()
  }

  @Test func secondsSince1970AreTheSameEverywhere() async throws {
    // Nine hours ahead of UTC.
    let page = #"<!--#config timefmt="%s" --><!--#echo var="date_gmt" -->"#
    let door = try await start(
      ["page.html": page + #" <!--#echo var="date_local" -->"#], environment: ["TZ": "TST-9"])
    let before = Int(Date().timeIntervalSince1970)
    let shown = try door.get("/page.html").text.split(separator: " ").compactMap { Int($0) }
    let after = Int(Date().timeIntervalSince1970)
    #expect(shown.count == 2 && shown.allSatisfy { (before - 1...after).contains($0) })
    try door.stop()
  }

  @Test(arguments: [("big", 40), ("huge", 1)])
  func aSlowReaderHoldsThePartsBack(part: String, partCount: Int) async throws {
    let app = try Self.app()
    let page = String(repeating: #"<!--#include virtual="/app/\#(part)" -->"#, count: partCount)
    let door = try await start(["page.html": page], app: app)
    let client = try door.client()
    try client.send("GET /page.html HTTP/1.1\r\nHost: a\r\n\r\n")
    _ = try client.read(until: "\r\n\r\n")
    // 120 MB follow, of which the sockets take some.
    _ = try client.read(until: "bbbb")
    try waitUntil("nothing to move any more") {
      let before = (app.requests.count, try residentKilobytes(door.workerPid))
      for _ in 0..<20 { _ = try door.get("/text?a=1") }
      return try before == (app.requests.count, residentKilobytes(door.workerPid))
    }
    #expect(app.requests.count < 10, "\(app.requests.count)")
    let kibibytes = try peakKibibytes(door.workerPid)
    #expect(kibibytes < 90_000, "\(kibibytes) KiB")
    // It gets all of it in its time.
    var count = 0
    while count < 120_000_000 { count += try client.read(count: 1_000_000).count }
    #expect(app.requests.count == partCount)
    try door.stop()
  }

  /// How much memory a process had at most.
  private func peakKibibytes(_ process: Int32) throws -> Int {
    let status = try String(contentsOfFile: "/proc/\(process)/status", encoding: .utf8)
    let peak = try #require(status.firstMatch(of: /VmHWM:\s+(\d+) kB/))
    return try #require(Int(peak.1))
  }

  @Test func bigPartsPassWholeByBothProtocols() async throws {
    let door = try await start([
      "page.html": #"<<!--#include virtual="/app/big" -->|<!--#include virtual="/app/big" -->>"#,
      "tiny.html": #"[<!--#include virtual="/hidden" -->]"#,
    ])
    let expected =
      "<" + String(repeating: "b", count: 3_000_000) + "|"
      + String(repeating: "b", count: 3_000_000) + ">"
    #expect(try door.get("/page.html").text == expected)
    let http2 = try H2Client(port: door.port())
    try http2.request(1, "/tiny.html")
    let body = String(decoding: try http2.response(1).body, as: UTF8.self)
    #expect(body == "[<hidden>]", "\(body)")
    try door.stop()
  }

  @Test func aPartThatBreaksOffBreaksThePage() async throws {
    let door = try await start(["page.html": #"a<!--#include virtual="/app/half" -->b"#])
    let client = try door.client()
    try client.send("GET /page.html HTTP/1.1\r\nHost: a\r\n\r\n")
    let text = String(decoding: try client.readToEnd(), as: UTF8.self)
    #expect(!text.hasSuffix("0\r\n\r\n") && text.hasPrefix("HTTP/1.1 200"))
    try door.waitForLog("an include was broken off")
    try door.stop()
  }

  @Test func whoLeavesTakesThePartsAlong() async throws {
    let app = try Self.app()
    let door = try await start(["page.html": #"a<!--#include virtual="/app/slow" -->b"#], app: app)
    var client: RawClient? = try door.client()
    try client?.send("GET /page.html HTTP/1.1\r\nHost: a\r\n\r\n")
    try waitUntil("the part") { app.requests.count == 1 }
    client = nil
    try door.stop()
  }

  @Test(arguments: [
    ("ssi maybe;", "\"ssi\""), ("ssi_value_length x;", "\"ssi_value_length\""),
    ("ssi_min_file_chunk x;", "\"ssi_min_file_chunk\""),
    ("subrequest_output_buffer_size x;", "\"subrequest_output_buffer_size\""),
  ])
  func saysWhatIsWrongWithALine(line: String, message: String) throws {
    let site = try Site(
      config: "http { server { listen 127.0.0.1:%%PORT_0%%; location / { \(line) } } }")
    let result = try Portico.run(site, ["-t"])
    #expect(result.code == 1 && result.standardError.contains(message), "\(result.standardError)")
  }
}
