// Server names: nginx's precedence, conflicts, case, and many of them.

import HTTP
import Testing

@testable import Engine

struct ServerNamesTests {
  @Test(arguments: [
    ("example.com", "exact"), ("EXAMPLE.com", "exact"), ("example.com.", "exact"),
    ("www.example.com", "leading"), ("a.b.example.com", "leading"), ("x.deep.example.com", "deep"),
    ("deep.example.com", "leading"), ("both.org", "both"), ("a.both.org", "both"),
    ("mail.net", "trailing"), ("mail.b.a.net", "trailing"), ("mail.a.b.org", "long trailing"),
    ("mail.example.com", "leading"), ("mail", nil), ("shop7.io", "regex"), ("shopx.io", nil),
    ("com", nil), ("", nil), (".", nil), ("..", nil), ("mail.", nil), ("notexample.com", nil),
  ])
  func choosesAsNginxDoes(host: String, expected: String?) throws {
    let names = ServerNames<String>()
    for (name, value) in [
      ("*.example.com", "leading"), ("example.com", "exact"), ("*.deep.example.com", "deep"),
      (".both.org", "both"), ("mail.*", "trailing"), ("mail.a.*", "long trailing"),
    ] {
      let inserted = names.insert(name, value)
      #expect(inserted)
    }
    names.insert(try Regex(pattern: "^shop(?<number>\\d)\\.io$", caseless: true), "regex")
    names.insert(try Regex(pattern: "^shop7", caseless: true), "later regex")
    var captures = CaptureSet()
    let found = host.withBytes { names.find($0, captures: &captures) }
    #expect(found?.value == expected)
    #expect((found?.regexMatched != nil) == (expected == "regex"))
  }

  @Test func ignoresConflictingNames() {
    let names = ServerNames<Int>()
    let order = [
      ("a.com", true), ("A.COM", false), (".a.com", false), ("*.a.com", true), ("*.a.com", false),
      (".b.com", true), ("b.com", false), ("*.b.com", false), ("c.*", true), ("c.*", false),
      ("", true), ("", false),
    ]
    for (value, (name, isNew)) in order.enumerated() {
      let inserted = names.insert(name, value)
      #expect(inserted == isNew, "\(name)")
    }
    var captures = CaptureSet()
    var value = names.find(Bytes("a.com"), captures: &captures)?.value
    #expect(value == 0)
    value = names.find(Bytes("x.a.com"), captures: &captures)?.value
    #expect(value == 3)
    value = names.find(Bytes("x.b.com"), captures: &captures)?.value
    #expect(value == 5)
    value = names.find(Bytes(""), captures: &captures)?.value
    #expect(value == 10)
  }

  @Test(arguments: ["*", "*.", "a.*.b", "*a.com", "a*", "*.a.*", "a..b", "..", "a.com*", "**"])
  func refusesWildcardsInOtherPlaces(name: String) {
    let names = ServerNames<Int>()
    let inserted = names.insert(name, 1)
    #expect(!inserted)
    #expect(!name.withBytes { ServerNames<Int>.isValid($0) })
  }

  @Test(arguments: [
    "_", "", "a", "localhost", "*.a", ".a", "a.*", "xn--bcher-kva.example", "[::1]",
  ])
  func acceptsNamesAndWildcards(name: String) {
    #expect(name.withBytes { ServerNames<Int>.isValid($0) })
  }

  @Test func findsEachOfTenThousandNames() {
    let names = ServerNames<Int>()
    for number in 0..<10_000 {
      _ = names.insert("host\(number).example.com", number)
      _ = names.insert("*.wild\(number).example.com", number)
    }
    var captures = CaptureSet()
    for number in 0..<10_000 {
      let host = "host\(number).Example.com"
      let exact = host.withBytes { names.find($0, captures: &captures)?.value }
      #expect(exact == number)
      let wild = "a.b.wild\(number).example.com"
      let leading = wild.withBytes { names.find($0, captures: &captures)?.value }
      #expect(leading == number)
    }
  }

  @Test func anEmptyTableFindsNothing() {
    let names = ServerNames<Int>()
    var captures = CaptureSet()
    let found = names.find(Bytes("a.com"), captures: &captures)
    #expect(found == nil)
  }
}
