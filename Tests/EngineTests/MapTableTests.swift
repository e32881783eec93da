// The look-up of map blocks.

import HTTP
import Testing

@testable import Engine

struct MapTableTests {
  @Test(arguments: [
    ("gold", 1), ("GOLD", 1), ("golden", 3), ("~literal", 2), ("", 9), ("other", 9), ("*.x", 4),
    ("a.x", 9), ("user-12", 5), ("User-12", 9),
  ])
  func findsStringsThenExpressionsThenTheDefault(source: String, expected: Int) throws {
    var map = MapTable<Int>(hostnames: false)
    var inserted = [map.insert("Gold", 1), map.insert("~literal", 2), map.insert("*.x", 4)]
    #expect(inserted == [true, true, true])
    inserted = [map.insert("gold", 7)]
    #expect(inserted == [false])
    map.insert(try Regex(pattern: "^gold", caseless: false), 3)
    map.insert(try Regex(pattern: "^user-(\\d+)$", caseless: false), 5)
    map.insert(try Regex(pattern: "^$", caseless: false), 6)
    map.defaultValue = 9
    var captures = CaptureSet()
    let found = source.withBytes { map.find($0, captures: &captures) }
    #expect(found == expected)
  }

  @Test(arguments: [
    ("example.com", 2), ("example.com.", 2), ("www.example.com", 2), ("mail.org", 3),
    ("x.org", nil),
    ("", 4),
  ])
  func takesWildcardsOfHostNames(source: String, expected: Int?) {
    var map = MapTable<Int>(hostnames: true)
    let inserted = [
      map.insert(".example.com", 2), map.insert("mail.*", 3), map.insert("", 4),
      map.insert("*.example.com", 5), map.insert("a*b", 6),
    ]
    #expect(inserted == [true, true, true, false, false])
    #expect(!map.isValid("a*b"))
    var captures = CaptureSet()
    let found = source.withBytes { map.find($0, captures: &captures) }
    #expect(found == expected)
  }

  @Test func givesTheGroupsOfTheExpression() throws {
    var map = MapTable<Int>(hostnames: false)
    map.insert(try Regex(pattern: "^v(\\d+)/", caseless: false), 1)
    var captures = CaptureSet()
    let found = map.find(Bytes("v12/x"), captures: &captures)
    #expect(found == 1)
    #expect(captures.capture(1)?.count == 2)
  }
}
