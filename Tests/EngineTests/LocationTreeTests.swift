// Locations: nginx's order of exact, prefix, regex and nested ones, redirects, and a brute-force
// comparison of the longest prefix.

import HTTP
import TestSupport
import Testing

@testable import Engine

struct LocationTreeTests {
  /// The example of nginx's documentation, and what it says.
  @Test(arguments: [
    ("/", "A"), ("/index.html", "B"), ("/documents/document.html", "C"),
    ("/images/1.gif", "D"), ("/documents/1.jpg", "E"), ("/x.JPG", "E"), ("/images", "B"),
  ])
  func followsTheExampleOfTheDocumentation(path: String, expected: String) throws {
    let tree = LocationTree<String>()
    tree.insert("/", .exact, "A")
    tree.insert("/", .prefix, "B")
    tree.insert("/documents/", .prefix, "C")
    tree.insert("/images/", .prefixBeforeRegex, "D")
    tree.insert(try Regex(pattern: "\\.(gif|jpg|jpeg)$", caseless: true), "E")
    #expect(find(path, in: tree) == expected)
  }

  @Test func findsNothingInAnEmptyTree() {
    #expect(find("/", in: LocationTree<String>()) == nil)
  }

  @Test(arguments: [
    ("/app", "redirect app"), ("/app/", "app"), ("/app/x", "app"), ("/ap", "root"),
    ("/own", "own"), ("/own/", "own slash"), ("/plain", "root"), ("/app-x", "root"),
    ("/app/in", "redirect in"), ("/app/in/x", "in"), ("/strict", "redirect strict"),
  ])
  func redirectsToTheSlashOnlyWhereAsked(path: String, expected: String) throws {
    let nested = LocationTree<String>()
    nested.insert("/app/in/", .prefix, "in", redirectsToSlash: true)
    let tree = LocationTree<String>()
    tree.insert("/", .prefix, "root", redirectsToSlash: true)
    tree.insert("/app/", .prefix, "app", nested: nested, redirectsToSlash: true)
    tree.insert("/app-", .exact, "dash")
    tree.insert("/app.", .prefix, "dot")
    tree.insert("/own", .exact, "own")
    tree.insert("/own/", .prefix, "own slash", redirectsToSlash: true)
    tree.insert("/plain/", .prefix, "plain")
    tree.insert("/strict/", .exact, "strict", redirectsToSlash: true)
    tree.insert(try Regex(pattern: "^/app$", caseless: false), "never")
    #expect(find(path, in: tree) == expected)
  }

  @Test(arguments: [
    ("/a/x.php", "inner regex"), ("/a/b", "inner exact"), ("/a/c/x", "inner prefix"),
    ("/a/c/x.txt", "outer regex"), ("/a/x.txt", "outer regex"), ("/a/x", "a"),
    ("/s/x.txt", "s"), ("/s/in/x.txt", "s inner"), ("/t/in/x.txt", "outer regex"),
    ("/r/1.bin", "r"), ("/r/2.bin", "r two"), ("/r/2", nil),
  ])
  func looksIntoNestedLocationsFirst(path: String, expected: String?) throws {
    let a = LocationTree<String>()
    a.insert("/a/b", .exact, "inner exact")
    a.insert("/a/c/", .prefix, "inner prefix")
    a.insert(try Regex(pattern: "\\.php$", caseless: false), "inner regex")
    let s = LocationTree<String>()
    s.insert("/s/in/", .prefix, "s inner")
    let t = LocationTree<String>()
    t.insert("/t/in/", .prefixBeforeRegex, "t inner")
    let r = LocationTree<String>()
    r.insert("/r/2", .prefix, "r two")
    let tree = LocationTree<String>()
    tree.insert("/a/", .prefix, "a", nested: a)
    tree.insert("/s/", .prefixBeforeRegex, "s", nested: s)
    tree.insert("/t/", .prefix, "t", nested: t)
    tree.insert(try Regex(pattern: "\\.(txt|php)$", caseless: false), "outer regex")
    tree.insert(try Regex(pattern: "\\.bin$", caseless: false), "r", nested: r)
    #expect(find(path, in: tree) == expected)
  }

  @Test func givesTheGroupsOfTheExpressionThatDecided() throws {
    let tree = LocationTree<String>()
    tree.insert(try Regex(pattern: "^/one/(.*)", caseless: false), "one")
    tree.insert(try Regex(pattern: "^/two/(.*)$", caseless: false), "two")
    var captures = CaptureSet()
    _ = tree.find(path: Bytes("/two/rest"), captures: &captures)
    let group = captures.capture(1)
    #expect(group?.count == 4)
  }

  @Test func knowsDuplicatesAndNames() {
    let tree = LocationTree<String>()
    tree.insert("/a", .prefix, "a")
    tree.insert("@fallback", .named, "named")
    #expect(tree.contains("/a", .prefix))
    #expect(tree.contains("/a", .prefixBeforeRegex))
    #expect(!tree.contains("/a", .exact))
    #expect(!tree.contains("/A", .prefix))
    #expect(tree.contains("@fallback", .named))
    #expect(tree.named(Bytes("@fallback")) == "named")
    #expect(tree.named(Bytes("@other")) == nil)
    #expect(find("@fallback", in: tree) == nil)
  }

  @Test func agreesWithTryingEachLocation() {
    var random = Dice(seed: 7)
    let alphabet = Array("ab/-")
    func word() -> String {
      "/"
        + String(
          (0..<Int.random(in: 0...5, using: &random)).map { _ in
            alphabet.randomElement(using: &random) ?? "a"
          })
    }
    for _ in 0..<200 {
      let tree = LocationTree<String>()
      var prefixes: Set<String> = []
      var exacts: Set<String> = []
      for _ in 0..<Int.random(in: 1...20, using: &random) {
        let path = word()
        if Bool.random(using: &random) {
          if exacts.insert(path).inserted { tree.insert(path, .exact, "=" + path) }
        } else if prefixes.insert(path).inserted {
          tree.insert(path, .prefix, path)
        }
      }
      for _ in 0..<50 {
        let path = word()
        let longest = prefixes.filter { path.hasPrefix($0) }.max { $0.count < $1.count }
        #expect(find(path, in: tree) == (exacts.contains(path) ? "=" + path : longest))
      }
    }
  }

  @Test func findsEachOfTenThousandLocations() {
    let tree = LocationTree<String>()
    for number in 0..<10_000 { tree.insert("/l\(number)/", .prefix, "\(number)") }
    tree.prepare()
    for number in 0..<10_000 { #expect(find("/l\(number)/x", in: tree) == "\(number)") }
  }

  private func find(_ path: String, in tree: LocationTree<String>) -> String? {
    var captures = CaptureSet()
    let match = path.withBytes { tree.find(path: $0, captures: &captures) }
    return switch match {
    case .none: nil
    case .found(let value): value
    case .redirect(let value): "redirect " + value
    }
  }
}
