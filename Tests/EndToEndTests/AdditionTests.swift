// Responses with others around them (`add_before_body`, `add_after_body`).

import Foundation
import Testing

@Suite struct AdditionTests {
  private static let config = """
    worker_processes 1;
    http {
      access_log off;
      server {
        listen 127.0.0.1:%%PORT_0%%; http2 on; root %%DIR%%/www; default_type text/html;
        add_before_body /before; add_after_body /after;
        location / { }
        location /fixed { return 200 "<fixed>"; }
        location /sub { sub_filter_once off; sub_filter e E; return 200 "<here>"; }
        location /page { ssi on; return 200 '<!--#include virtual="/part" -->'; }
        location /zip { gzip on; gzip_min_length 0; return 200 "<zip>"; }
        location /half { add_before_body ""; return 200 "<half>"; }
        location /plain { default_type text/plain; return 200 "plain"; }
        location /types { default_type text/x; addition_types text/x; return 200 "x"; }
        location /none { return 404; }
        location /lost { add_before_body /404; add_after_body /closed; return 200 "<lost>"; }
        location /app/ { proxy_pass http://%%UPSTREAM_0%%; }
        location /around { add_before_body /app/part; add_after_body /app/half; return 200 "<a>"; }
        location /big { add_before_body /app/big; add_after_body /app/big; alias %%DIR%%/www/b.html; }
        location /part { return 200 "<part>"; }
        location = /before { internal; return 200 "<before>"; }
        location = /after { internal; return 200 "<after>"; }
        location /closed { return 444; }
      }
    }
    """

  private func start() async throws -> RunningPortico {
    let app = try TestUpstream { request in
      switch request.path {
      case "/app/coded":
        return .answer(fields: ["Content-Type": "text/html", "Content-Encoding": "br"], body: "br")
      case "/app/part": return .answer(body: "<\(request.method)>")
      case "/app/half":
        return .steps([.bytes("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"), .reset])
      case "/app/big": return .answer(body: String(repeating: "b", count: 300_000))
      default: return .answer(fields: ["Content-Type": "text/html"], body: "<app>")
      }
    }
    return try await Portico.start(
      config: Self.config,
      files: ["www/index.html": "<index>", "www/b.html": String(repeating: "f", count: 300_000)],
      upstreams: [app])
  }

  @Test func othersStandAroundTheBody() async throws {
    let door = try await start()
    let cases = [
      ("/", "<before><index><after>"), ("/fixed", "<before><fixed><after>"),
      ("/half", "<half><after>"), ("/plain", "plain"), ("/types", "<before>x<after>"),
      // What is added goes by its own location's rules only.
      ("/sub", "<before><hErE><after>"), ("/page", "<before><part><after>"),
      ("/app/", "<before><app><after>"), ("/app/coded", "br"),
    ]
    for (path, body) in cases { #expect(try door.get(path).text == body, "\(path)") }
    #expect(try !door.get("/none").text.contains("before"))
    #expect(try door.get("/lost").text.contains("<lost>"))
    let http2 = try H2Client(port: door.port())
    try http2.request(1, "/")
    #expect(String(decoding: try http2.response(1).body, as: UTF8.self) == "<before><index><after>")
  }

  @Test func theHeadSpeaksOfWhatIsMade() async throws {
    let door = try await start()
    let page = try door.get("/", headers: ["Range": "bytes=0-1"])
    #expect(page.status == 200 && page["Content-Length"] == nil && page["Accept-Ranges"] == nil)
    #expect(page["ETag"]?.hasPrefix("W/") == true && page["Last-Modified"] != nil)
    #expect(try door.get("/", headers: ["If-None-Match": page["ETag"] ?? ""]).status == 304)
    let head = try door.get("/", method: "HEAD")
    #expect(head.status == 200 && head["Content-Length"] == nil)
    let zipped = try door.get("/zip", headers: ["Accept-Encoding": "gzip"])
    #expect(zipped["Content-Encoding"] == "gzip")
    #expect(gunzipped(zipped.body) == Array("<before><zip><after>".utf8))
  }

  @Test func largePartsArePassedOnAsTheyCome() async throws {
    let door = try await start()
    let body = try door.get("/big").body
    #expect(body.count == 900_000 && Set(body[..<300_000]) == [98] && Set(body[600_000...]) == [98])
    #expect(Set(body[300_000..<600_000]) == [102])
  }

  @Test func whatBreaksOffBreaksTheResponseOff() async throws {
    let door = try await start()
    let client = try door.client()
    try client.send("POST /around HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    let text = String(decoding: try client.readToEnd(), as: UTF8.self)
    // Parts are asked for by GET, and the last chunk is missing.
    #expect(text.contains("<GET>") && text.contains("<a>") && !text.hasSuffix("0\r\n\r\n"))
    try door.waitForLog("what is added to a response was broken off")
  }

  @Test(arguments: [
    ("add_before_body part;", "\"add_before_body\" needs a path of this server"),
    ("add_after_body /$uri;", "\"add_after_body\" needs a path of this server"),
    ("add_after_body /a /b;", "takes 1 argument"),
  ])
  func whatCannotBeAddedIsRefused(directive: String, message: String) throws {
    let site = try Site(config: "http { server { \(directive) } }")
    let finished = try Portico.run(site, ["-t"])
    #expect(finished.code == 1 && finished.standardError.contains(message))
  }
}
