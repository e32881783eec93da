// Parts of what a location changes: nobody gets at what stands there before by asking for a range.

import Foundation
import Testing

@Suite struct PartOfTextTests {
  private static let config = """
    http {
      access_log off;
      server {
        listen 127.0.0.1:%%PORT_0%%;
        location /ssi/ { ssi on; proxy_pass http://%%UPSTREAM_0%%/; }
        location /sub/ { sub_filter secret public; proxy_pass http://%%UPSTREAM_0%%/; }
        location /add/ { add_after_body /behind; proxy_pass http://%%UPSTREAM_0%%/; }
        location /plain/ { proxy_pass http://%%UPSTREAM_0%%/; }
        location /ssi-asked/ {
          ssi on; proxy_set_header Range $http_range; proxy_pass http://%%UPSTREAM_0%%/;
        }
        location /sub-asked/ {
          sub_filter secret public; proxy_set_header Range $http_range;
          proxy_pass http://%%UPSTREAM_0%%/;
        }
        location /behind { return 200 " (behind)"; }
      }
    }
    """

  private static let page = #"a secret <!--#echo var="arg_a" --> page"#

  /// Answers with the part that is asked for.
  private static func app() throws -> TestUpstream {
    try TestUpstream { request in
      let isInclusive = request.path.hasPrefix("/outer")
      let page = isInclusive ? #"[<!--#include virtual="/plain/part" -->]"# : Self.page
      let type = request.path.hasPrefix("/image") ? "image/png" : "text/html"
      let bytes = Array(page.utf8)
      var fields = ["Content-Type": type, "Accept-Ranges": "bytes", "ETag": "\"x\""]
      let ends = request["range"]?.dropFirst(6).split(separator: "-").compactMap { Int($0) } ?? []
      guard ends.count == 2, ends[0] < bytes.count else {
        return .answer(fields: fields, body: page)
      }
      let last = min(ends[1], bytes.count - 1)
      fields["Content-Range"] = "bytes \(ends[0])-\(last)/\(bytes.count)"
      let part = String(decoding: bytes[ends[0]...last], as: UTF8.self)
      return .answer("206 Partial Content", fields: fields, body: part)
    }
  }

  @Test(arguments: [
    ("/ssi/", "a secret 1 page"), ("/sub/", page.replacing("secret", with: "public")),
    ("/add/", page + " (behind)"),
  ])
  func textThatIsChangedIsAskedForWhole(path: String, expected: String) async throws {
    let app = try Self.app()
    let door = try await Portico.start(config: Self.config, upstreams: [app])
    for range in ["bytes=0-11", "bytes=3-5", "bytes=10-20"] {
      let answer = try door.get(
        path + "?a=1", headers: ["Range": range, "If-Range": "\"x\""])
      #expect(answer.status == 200 && answer.text == expected)
      #expect(answer["content-range"] == nil && answer["accept-ranges"] == nil)
      let request = try #require(app.requests.last)
      #expect(request["range"] == nil && request["if-range"] == nil)
    }
    try door.stop()
  }

  @Test func whatIsNotChangedThereStillHasParts() async throws {
    let app = try Self.app()
    let door = try await Portico.start(config: Self.config, upstreams: [app])
    for path in ["/ssi/image", "/sub/image", "/add/image", "/plain/"] {
      let answer = try door.get(path, headers: ["Range": "bytes=2-7", "If-Range": "\"x\""])
      #expect(answer.status == 206 && answer.text == "secret")
      #expect(answer["content-range"] == "bytes 2-7/\(Self.page.utf8.count)")
      #expect(answer["content-length"] == "6")
      #expect((app.requests.last?["range"] != nil) == (path == "/plain/"))
      let other = try door.get(path, headers: ["Range": "bytes=2-7", "If-Range": "\"y\""])
      #expect(path == "/plain/" || other.status == 200 && other.text == Self.page)
    }
    let beyond = try door.get("/ssi/image", headers: ["Range": "bytes=900-"])
    #expect(beyond.status == 416)
    try door.stop()
  }

  @Test func aPartThatComesAllTheSameIsChanged() async throws {
    let app = try Self.app()
    let door = try await Portico.start(config: Self.config, upstreams: [app])
    let page = try door.get("/ssi-asked/?a=1", headers: ["Range": "bytes=9-90"])
    #expect(page.status == 206 && page.text == "1 page" && page["content-length"] == nil)
    #expect(page["content-range"]?.hasPrefix("bytes 9-") == true)
    let text = try door.get("/sub-asked/", headers: ["Range": "bytes=0-8"])
    #expect(text.status == 206 && text.text == "a public ")
    #expect(app.requests.allSatisfy { $0["range"] != nil })
    try door.stop()
  }

  @Test func includesAreAskedForWhole() async throws {
    let app = try Self.app()
    let door = try await Portico.start(config: Self.config, upstreams: [app])
    let answer = try door.get("/ssi/outer", headers: ["Range": "bytes=0-5"])
    #expect(answer.status == 200 && answer.text == "[" + Self.page + "]")
    #expect(app.requests.count == 2)
    try door.stop()
  }
}
