// Ranges, entity tags, lists and status lines.

import HTTP
import Testing

@Suite struct ByteRangesTests {
  private func parse(
    _ value: String, size: Int, maxRanges: Int = .max
  ) -> (RangeOutcome, [ByteRange]) {
    var ranges = [ByteRange(start: 1, end: 2)]
    let outcome = value.withBytes {
      ByteRanges.parse($0, size: size, maxRanges: maxRanges, into: &ranges)
    }
    return (outcome, ranges)
  }

  @Test(arguments: [
    ("bytes=0-0", [0, 1]), ("bytes=0-9", [0, 10]), ("bytes=5-", [5, 100]), ("bytes=-5", [95, 100]),
    ("BYTES=0-9", [0, 10]), ("bytes=0-1000", [0, 100]), ("bytes=-1000", [0, 100]),
    ("bytes= 0 - 9 , 20 - 29 ", [0, 10, 20, 30]), ("bytes=0-9,10-19,-1", [0, 10, 10, 20, 99, 100]),
    ("bytes=200-300,5-6", [5, 7]), ("bytes=5-2,1-1", [1, 2]), ("bytes=99-", [99, 100]),
    ("bytes=20-29,0-9", [20, 30, 0, 10]), ("bytes=0-9223372036854775807", [0, 100]),
  ])
  func findsRanges(_ value: String, _ bounds: [Int]) {
    let (outcome, ranges) = parse(value, size: 100)
    #expect(outcome == .ranges)
    #expect(ranges.flatMap { [$0.start, $0.end] } == bounds)
  }

  @Test(arguments: [
    "bytes=100-", "bytes=200-300", "bytes=x", "bytes=1", "bytes=-", "bytes=1-x", "bytes=1-2x",
    "bytes=1-2,", "bytes=,1-2", "bytes=--1", "bytes=-0", "bytes=5-2", "bytes=1-2;3-4",
    "bytes=9223372036854775808-", "bytes=0-9223372036854775808", "bytes=1 2-3",
  ])
  func refusesWhatCantBeSatisfied(_ value: String) {
    #expect(parse(value, size: 100).0 == .unsatisfiable)
  }

  @Test(arguments: [
    ("bytes=", 100, Int.max), ("lines=1-2", 100, .max), ("", 100, .max), ("bytes=0-1", 100, 0),
    ("bytes=0-", 0, .max), ("bytes=-1", 0, .max), ("bytes=0-60,0-60", 100, .max),
    ("bytes=0-0,2-2,4-4", 100, 2),
  ])
  func ignores(_ value: String, _ size: Int, _ maxRanges: Int) {
    #expect(parse(value, size: size, maxRanges: maxRanges).0 == .ignore)
  }

  @Test func boundsWhatPartsCost() {
    let many = "bytes=" + (0..<17).map { "\($0)-\($0)" }.joined(separator: ",")
    #expect(parse(many, size: 100).0 == .ignore)
    #expect(parse(many, size: 1000).0 == .ranges)
    #expect(parse(many, size: 100, maxRanges: 20).0 == .ranges)
  }

  @Test func manyRangesOfTheLargestFileDontOverflow() {
    let (outcome, _) = parse("bytes=0-,0-,0-", size: .max)
    #expect(outcome == .unsatisfiable)
    #expect(parse("bytes=0-1,2-3", size: .max).0 == .ranges)
  }
}

@Suite struct EntityTagTests {
  @Test(arguments: [
    ("\"a\"", "\"a\"", true, true), ("W/\"a\"", "\"a\"", false, true),
    ("\"a\"", "W/\"a\"", false, true), ("W/\"a\"", "W/\"a\"", false, true),
    ("\"a\"", "\"b\"", false, false), ("a", "a", true, true),
  ])
  func compares(_ left: String, _ right: String, _ strong: Bool, _ weak: Bool) {
    left.withBytes { left in
      right.withBytes { right in
        #expect(EntityTag.matches(left, right, .strong) == strong)
        #expect(EntityTag.matches(left, right, .weak) == weak)
      }
    }
  }

  @Test(arguments: [
    ("*", "\"a\"", true), ("\"a\"", "\"a\"", true), ("\"b\", \"a\"", "\"a\"", true),
    ("\"b\",\t W/\"a\" ,\"c\"", "\"a\"", true), ("\"x,y\", \"a\"", "\"x,y\"", true),
    ("\"x,\"a\"", "\"a\"", false), ("\"a\\\", \"b\"", "\"b\"", true), ("", "\"a\"", false),
    (",,\"a\"", "\"a\"", true), ("\"ab\"", "\"a\"", false), ("\"a\"b", "\"a\"", false),
  ])
  func findsTagsInLists(_ list: String, _ tag: String, _ found: Bool) {
    list.withBytes { list in
      tag.withBytes { #expect(EntityTag.list(list, holds: $0, .weak) == found) }
    }
  }

  @Test func onlyTheStarMatchesNoTag() {
    #expect(EntityTag.list(Bytes("*"), holds: nil, .strong))
    #expect(!EntityTag.list(Bytes("\"a\""), holds: nil, .weak))
  }
}

@Suite struct HeaderListTests {
  @Test(arguments: [
    ("", []), (",, ,", []), ("a", ["a"]), ("a, b ,\tc", ["a", "b", "c"]),
    ("a=\"x,y\", b", ["a=\"x,y\"", "b"]), ("\"a\\\",b\",c", ["\"a\\\",b\"", "c"]),
    ("\"open, b", ["\"open, b"]), ("\"a\\", ["\"a\\"]),
  ])
  func yieldsElements(_ value: String, _ elements: [String]) {
    value.withBytes { bytes in #expect(HeaderList(bytes).map(\.string) == elements) }
  }

  @Test func containsIgnoresCase() {
    #expect(HeaderList.contains(Bytes("gzip"), in: Bytes("br, GZip")))
    #expect(!HeaderList.contains(Bytes("gzip"), in: Bytes("br, xgzip")))
  }
}

@Suite struct StatusCodeTests {
  @Test func eachLineHoldsItsCode() {
    var known = 0
    for code in 0..<1000 {
      guard let line = StatusCode.statusLine(code) else {
        #expect(StatusCode.reason(code).isEmpty)
        continue
      }
      known += 1
      #expect(line.string == "HTTP/1.1 \(code) \(StatusCode.reason(code).string)\r\n")
      #expect(StatusCode.reason(code).count > 1)
    }
    #expect(known == 61)
  }

  @Test func phrasesAreThoseOfNginx() {
    #expect(StatusCode.reason(302).string == "Moved Temporarily")
    #expect(StatusCode.reason(405).string == "Not Allowed")
    #expect(StatusCode.reason(504).string == "Gateway Time-out")
  }
}
