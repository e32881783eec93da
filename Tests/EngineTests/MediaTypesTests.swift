// Media types by extension.

import HTTP
import Testing

@testable import Engine

struct MediaTypesTests {
  @Test(arguments: [
    ("/index.html", "text/html"), ("/A.HTML", "text/html"), ("/a.b.gif", "image/gif"),
    ("/a.jpg", "image/jpeg"), ("/a.html/b", nil), ("/a", nil), ("/", nil), ("", nil),
    ("/.html", nil), ("/d/.html", nil), ("/a.", nil), ("/a..html", "text/html"), ("/a.htmlx", nil),
    ("a.gif", "image/gif"), ("/..html", "text/html"),
  ])
  func looksAtTheLastExtensionOfTheLastPart(path: String, expected: String?) {
    let types = MediaTypes.standard()
    let found = path.withBytes { types.type(forPath: $0) }
    #expect(found.map(text) == expected)
  }

  @Test func aLaterTypeReplacesAnEarlierOne() {
    var types = MediaTypes()
    let first = types.insert("js", type: "text/javascript")
    let second = types.insert("JS", type: "application/javascript")
    #expect(first == nil)
    #expect(second.map(text) == "text/javascript")
    #expect(types.type(forPath: Bytes("/a.js")).map(text) == "application/javascript")
  }

  private func text(_ bytes: Bytes) -> String {
    String(decoding: (0..<bytes.count).map { bytes[$0] }, as: UTF8.self)
  }
}

struct MediaTypeSetTests {
  @Test(arguments: ["text/javascript", "application/javascript"])
  func bothNamesOfJavaScriptAreOne(name: String) {
    let set = MediaTypeSet(["text/html", name])
    for type in ["text/javascript; charset=utf-8", "application/javascript", "Text/JavaScript"] {
      #expect(type.withBytes { set.contains($0) }, "\(type)")
    }
    #expect(!"text/javascript".withBytes { MediaTypeSet().contains($0) })
  }
}
