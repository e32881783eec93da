// `sub_filter`: strings replaced wherever they stand, and whatever pieces a body comes in.

import Foundation
import Testing

@Suite struct SubstituteTests {
  private static let config = """
    http {
      access_log off;
      sub_filter_types text/plain;
      server {
        listen 127.0.0.1:%%PORT_0%%;
        default_type text/html;
        root %%DIR%%/www;
        location /once { sub_filter foo bar; return 200 "$arg_b"; }
        location /all { sub_filter foo bar; sub_filter_once off; return 200 "$arg_b"; }
        location /two { sub_filter abc 1; sub_filter abcde 2; sub_filter_once off; return 200 "$arg_b"; }
        location /long { sub_filter abcde 2; sub_filter abc 1; sub_filter_once off; return 200 "$arg_b"; }
        location /variable { sub_filter "$arg_a" "<$arg_a>"; return 200 "$arg_b"; }
        location /type { sub_filter foo bar; default_type image/png; return 200 "$arg_b"; }
        location /plain { sub_filter foo bar; default_type text/plain; return 200 "$arg_b"; }
        location /file/ { sub_filter foo bar; alias %%DIR%%/www/; }
        location /kept/ { sub_filter foo bar; sub_filter_last_modified on; alias %%DIR%%/www/; }
        location /zip/ { sub_filter foo bar; gzip on; gzip_min_length 0; alias %%DIR%%/www/; }
        location /app/ { sub_filter needle "a longer text"; sub_filter_once off; sub_filter nee N; proxy_pass http://%%UPSTREAM_0%%; }
        location /gone/ { sub_filter za ZA; proxy_buffering off; proxy_pass http://%%UPSTREAM_0%%; }
      }
    }
    """

  private func start(_ app: TestUpstream? = nil) async throws -> RunningPortico {
    let app = try app ?? TestUpstream { _ in .answer() }
    return try await Portico.start(
      config: Self.config, files: ["www/a.html": "the foo of a file"], upstreams: [app])
  }

  @Test(arguments: [
    ("/once?b=foofoo", "barfoo"), ("/once?b=FOOfoo", "barfoo"), ("/once?b=fo", "fo"),
    ("/once?b=", ""), ("/all?b=foofooxFoO", "barbarxbar"), ("/all?b=fofoofo", "fobarfo"),
    ("/two?b=abcdabcdeabc", "1d1de1"), ("/long?b=abcdabcdeabc", "1d21"),
    ("/long?b=ababcd", "ab1d"), ("/long?b=abcd", "1d"), ("/variable?a=x&b=axb", "a<x>b"),
    ("/variable?b=axb", "axb"), ("/type?b=foo", "foo"), ("/plain?b=foo", "bar"),
    ("/file/a.html", "the bar of a file"),
  ])
  func stringsAreReplaced(path: String, expected: String) async throws {
    let door = try await start()
    let answer = try door.get(path)
    #expect(answer.status == 200 && answer.text == expected)
    try door.stop()
  }

  @Test func theHeadSpeaksOfTheChangedBody() async throws {
    let door = try await start()
    let answer = try door.get("/file/a.html", headers: ["Range": "bytes=0-3"])
    #expect(answer.status == 200 && answer["content-length"] == nil)
    #expect(answer["last-modified"] == nil && answer["etag"] == nil)
    let kept = try door.get("/kept/a.html")
    #expect(kept["last-modified"] != nil && kept["etag"]?.hasPrefix("W/\"") == true)
    let zipped = try door.get("/zip/a.html", headers: ["Accept-Encoding": "gzip"])
    #expect(gunzipped(zipped.body) == Array("the bar of a file".utf8))
    try door.stop()
  }

  @Test(arguments: [1, 3, 5, 7, 64, 1000])
  func aStringMayComeInPieces(size: Int) async throws {
    let text = String(repeating: "hay neeneedle Needles; ", count: 40) + "need"
    let expected = text.lowercased().replacing("needle", with: "a longer text").replacing(
      "nee", with: "N")
    let bytes = Array(text.lowercased().utf8)
    let app = try TestUpstream { _ in
      var steps = [
        TestUpstream.Step.bytes(
          "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: \(bytes.count)\r\n\r\n")
      ]
      for start in stride(from: 0, to: bytes.count, by: size) {
        steps.append(.bytes(Array(bytes[start..<min(bytes.count, start + size)])))
      }
      return .steps(steps)
    }
    let door = try await start(app)
    #expect(try door.get("/app/").text == expected)
    try door.stop()
  }

  @Test func onlyWhatMayBeginAMatchWaits() async throws {
    let app = try TestUpstream { _ in
      .steps([
        .bytes("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 10\r\n\r\nxyz"),
        .close,
      ])
    }
    let door = try await start(app)
    let client = try door.client()
    try client.send("GET /gone/ HTTP/1.0\r\nHost: a\r\n\r\n")
    let head = try client.read(until: "\r\n\r\n")
    #expect(head.contains(" 200 "))
    #expect(try client.read(count: 2) == Array("xy".utf8))
    #expect(client.isClosed())
    try door.stop()
  }

  @Test func aCompressedBodyIsLeftAlone() async throws {
    let body = String(decoding: gzipped(Array("needle".utf8)).map { $0 & 0x7F }, as: UTF8.self)
    let app = try TestUpstream { _ in
      .answer(
        fields: ["Content-Type": "text/html", "Content-Encoding": "br", "ETag": "\"x\""], body: body
      )
    }
    let door = try await start(app)
    let answer = try door.get("/app/")
    #expect(answer.text == body && answer["etag"] == "\"x\"")
    try door.stop()
  }

  @Test(arguments: [
    ("sub_filter '' x;", "empty search pattern"),
    ("sub_filter_once maybe;", "must be \"on\" or \"off\""),
    ("sub_filter a;", "takes 2 arguments"),
  ])
  func refusesWhatIsNoSetting(line: String, message: String) throws {
    let site = try Site(config: "http { server { listen 127.0.0.1:%%PORT_0%%; \(line) } }")
    let finished = try Portico.run(site, ["-t"])
    #expect(finished.code == 1 && finished.standardError.contains(message), "\(finished)")
  }
}
