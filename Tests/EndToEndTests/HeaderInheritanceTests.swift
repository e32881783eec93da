// `add_header_inherit` and `add_trailer_inherit`: what a block's lines make of those around it. And
// `empty_gif`.

import Foundation
import Testing

@Suite struct HeaderInheritanceTests {
  private static let config = """
    http {
      add_header X-A http; add_trailer X-T http;
      server {
        listen 127.0.0.1:%%PORT_0%%;
        location /on { add_header X-B on; add_trailer X-U on; return 200 x; }
        location /merge {
          add_header X-B merge; add_trailer X-U merge;
          add_header_inherit merge; add_trailer_inherit merge;
          location /merge/inner { add_header X-C inner; add_trailer X-V inner; return 200 x; }
          location /merge/none { return 200 x; }
          return 200 x;
        }
        location /off {
          add_header_inherit off; add_trailer_inherit off;
          location /off/own {
            add_header X-B own; add_trailer X-U own;
            location /off/own/inner { return 200 x; }
            return 200 x;
          }
          return 200 x;
        }
        location = /1.gif { empty_gif; }
      }
    }
    """

  /// The values of the fields that were added, in the head and behind the body.
  private func added(_ answer: Response) -> (fields: [String], trailers: [String]) {
    let fields = answer.fields.filter { $0.name.hasPrefix("X-") }.map(\.value)
    return (fields, answer.trailers.map { String($0.drop { $0 != " " }.dropFirst()) })
  }

  @Test(arguments: [
    ("/on", ["on"]), ("/merge", ["merge", "http"]), ("/merge/inner", ["inner", "merge", "http"]),
    ("/merge/none", ["merge", "http"]), ("/off", []), ("/off/own", ["own"]),
    ("/off/own/inner", []),
  ])
  func linesAroundABlockHoldAsItSays(path: String, values: [String]) async throws {
    let door = try await Portico.start(config: Self.config)
    let answer = try door.get(path)
    #expect(added(answer).fields == values && added(answer).trailers == values)
    try door.stop()
  }

  @Test func warnsOfHiddenLinesOnlyWhereTheyAreHidden() throws {
    func check(_ rule: String) throws -> String {
      let config = """
        http { add_header X-A a; server { listen 127.0.0.1:%%PORT_0%%; add_header X-B b; \(rule) } }
        """
      return try Portico.run(Site(config: config), ["-t"]).standardError
    }
    #expect(try check("").contains("this \"add_header\" hides those inherited from outside: X-A"))
    #expect(try !check("add_header_inherit merge;").contains("hides"))
    let refusal = "must be one of \"on\", \"off\", \"merge\""
    #expect(try check("add_header_inherit x;").contains(refusal))
  }

  @Test func anEmptyImageIsOnePixel() async throws {
    let door = try await Portico.start(config: Self.config)
    let image = try door.get("/1.gif")
    #expect(image.status == 200 && image["Content-Type"] == "image/gif" && image.body.count == 43)
    #expect(image.body.starts(with: Array("GIF89a".utf8)) && image.body.last == 0x3b)
    let head = try door.get("/1.gif", method: "HEAD")
    let moment = "Mon, 28 Sep 1970 06:00:00 GMT"
    #expect(head["Content-Length"] == "43" && head["Last-Modified"] == moment)
    #expect(try door.get("/1.gif", headers: ["If-Modified-Since": moment]).status == 304)
    #expect(try door.get("/1.gif", method: "POST").status == 405)
    try door.stop()
  }
}
