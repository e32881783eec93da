// Views of bytes: comparing, searching, hashing, reading numbers, across the eight-byte steps.

import HTTP
import Testing

@Suite struct BytesTests {
  private static let texts = [
    "", "a", "abcdefg", "abcdefgh", "abcdefghi", "The quick brown fox jumps over the lazy dog",
  ]

  @Test(arguments: texts)
  func equalsOnlyTheSameBytes(_ text: String) {
    text.withBytes { bytes in
      text.withBytes { #expect(bytes == $0) }
      (text + "x").withBytes { #expect(bytes != $0) }
      for index in text.latin1.indices {
        var other = text.latin1
        other[index] ^= 1
        other.withBytes { #expect(bytes != $0) }
      }
    }
  }

  @Test func ignoresCaseOfLettersOnly() {
    for first in UInt8.min...UInt8.max {
      for position in [0, 7, 9] {
        var left = "xxxxxxxxxx".latin1
        left[position] = first
        for second in UInt8.min...UInt8.max {
          var right = left
          right[position] = second
          let isLetter = (first | 0x20) >= 0x61 && (first | 0x20) <= 0x7A
          let expected = first == second || (isLetter && first | 0x20 == second | 0x20)
          let equal = left.withBytes { a in right.withBytes { a.equalsIgnoringCase($0) } }
          if equal != expected { Issue.record("\(first) and \(second) at \(position)") }
        }
      }
    }
  }

  @Test(arguments: texts)
  func hashesIgnoreCaseWhenAsked(_ text: String) {
    text.withBytes { bytes in
      text.lowercased().withBytes { lower in
        text.uppercased().withBytes { upper in
          #expect(bytes.hash64IgnoringCase == lower.hash64)
          #expect(upper.hash64IgnoringCase == lower.hash64)
          #expect(bytes.hash64(seed: 1) != bytes.hash64(seed: 2))
        }
      }
    }
  }

  @Test func hashesSpread() {
    var low = Set<UInt64>()
    for index in 0..<10_000 {
      "server-\(index).example.com".withBytes { _ = low.insert($0.hash64 & 0xFFFF) }
    }
    // 10,000 keys in 65,536 buckets fill about 9,280 of them when they fall at random.
    #expect(low.count > 9_100)
  }

  @Test func findsBytesEverywhere() {
    let filler = [UInt8](repeating: 0x80, count: 20)
    for position in 0..<20 {
      var bytes = filler
      bytes[position] = 0x00
      bytes.withBytes { view in
        #expect(view.firstIndex(of: 0) == position)
        #expect(view.lastIndex(of: 0) == position)
        #expect(view.firstIndex(of: 0, from: position + 1) == nil)
        #expect(view.contains(0))
        #expect(!view.contains(0x81))
        #expect(!view.contains(0x01))
      }
    }
  }

  /// Words reach over both ends of what is searched: what stands there doesn't count.
  @Test func findsNothingOutsideOfTheView() {
    for count in 0...20 {
      for start in 0...count {
        let before = [UInt8](repeating: 0, count: start)
        let searched = [UInt8](repeating: 0x80, count: count - start)
        (before + searched + [0]).withBytes { bytes in
          let view = bytes.prefix(count)
          #expect(view.firstIndex(of: 0, from: start) == nil)
          #expect(view.firstIndex(of: 0x80, from: start) == (start < count ? start : nil))
        }
      }
    }
  }

  @Test(arguments: [
    ("hello world", "o w", 4), ("aaab", "aab", 1), ("abc", "", 0), ("abc", "abcd", -1),
    ("abcabd", "abd", 3), ("", "a", -1),
  ])
  func findsNeedles(_ text: String, _ needle: String, _ index: Int) {
    let found = text.withBytes { bytes in needle.withBytes { bytes.firstIndex(of: $0) } }
    #expect(found ?? -1 == index)
  }

  @Test func comparesPrefixesAndOrder() {
    let bytes = Bytes("Content-Type")
    #expect(bytes.hasPrefix(Bytes("Content-")))
    #expect(!bytes.hasPrefix(Bytes("content-")))
    #expect(bytes.hasPrefixIgnoringCase(Bytes("CONTENT-t")))
    #expect(bytes.hasSuffix(Bytes("Type")))
    #expect(!bytes.hasSuffix(Bytes("xContent-Type")))
    #expect(Bytes("a").compare(Bytes("b")) == -1)
    #expect(Bytes("ab").compare(Bytes("a")) == 1)
    #expect(Bytes("ab").compare(Bytes("ab")) == 0)
    #expect(Bytes(" \t a b\t ").trimmed == Bytes("a b"))
    #expect(Bytes(" \t ").trimmed.isEmpty)
  }

  @Test(
    arguments: [
      ("0", 0), ("007", 7), ("9223372036854775807", Int.max), ("", nil),
      ("9223372036854775808", nil),
      ("92233720368547758070", nil), ("-1", nil), ("+1", nil), ("1 ", nil), ("1a", nil), ("/", nil),
      (":", nil),
    ] as [(String, Int?)])
  func readsDecimals(_ text: String, _ value: Int?) {
    #expect(text.withBytes { $0.decimal } == value)
  }

  @Test func decodesTextWithRepair() {
    #expect([0x61, 0xFF, 0x62].withBytes { $0.string } == "a\u{FFFD}b")
    #expect("\(Bytes("x"))" == "x")
  }
}

@Suite struct FieldNameTests {
  @Test(arguments: FieldName.allCases.filter { $0 != .other })
  func isFoundInAnySpelling(_ name: FieldName) {
    let text = name.name.string
    #expect(text.count > 1)
    for spelling in [text, text.lowercased(), text.uppercased()] {
      #expect(spelling.withBytes { FieldName.lookup($0) } == name)
    }
    (text + "x").withBytes { #expect(FieldName.lookup($0) == .other) }
    for index in text.latin1.indices {
      var other = text.latin1
      other[index] = 0x7E
      other.withBytes { #expect(FieldName.lookup($0) == .other) }
    }
  }

  @Test func otherNamesAreOther() {
    #expect(FieldName.lookup(Bytes()) == .other)
    #expect(FieldName.lookup(Bytes("X-My-Own")) == .other)
    #expect(FieldName.lookup(Bytes("content_length")) == .other)
  }

  @Test func hopByHopFieldsAreKnown() {
    let expected: [FieldName] = [
      .connection, .transferEncoding, .te, .trailer, .upgrade, .keepAlive, .proxyConnection,
      .proxyAuthorization, .proxyAuthenticate, .http2Settings,
    ]
    #expect(Set(FieldName.allCases.filter(\.isHopByHop)) == Set(expected))
  }

  @Test func setsHoldEachName() {
    for name in FieldName.allCases {
      let set = FieldNames(name)
      #expect(FieldName.allCases.filter { set.contains($0) } == [name])
      #expect(set.intersects(FieldNames(.host, name)))
    }
  }
}

@Suite struct MethodTests {
  @Test(arguments: Method.allCases.filter { $0 != .other })
  func isFoundInItsSpellingOnly(_ method: Method) {
    let text = method.name.string
    #expect(text.withBytes { Method.lookup($0) } == method)
    #expect(text.lowercased().withBytes { Method.lookup($0) } == .other)
    #expect((text + "X").withBytes { Method.lookup($0) } == .other)
  }

  @Test func safeAndIdempotentMethodsAreKnown() {
    #expect(Method.allCases.filter(\.isSafe) == [.get, .head, .options, .trace, .propfind])
    #expect(Method.allCases.filter { !$0.isIdempotent } == [.other, .post, .patch, .lock])
  }
}

@Suite struct AuthorityTests {
  @Test(
    arguments: [
      ("l", "l", nil), ("A.b-C_~!$&'()*+,;=%41", "A.b-C_~!$&'()*+,;=%41", nil),
      ("a.xyz:", "a.xyz", nil), ("a.xyz:8080", "a.xyz", 8080), ("a.xyz.", "a.xyz", nil),
      ("a.xyz.:88", "a.xyz", 88), ("1.2.3.4:65535", "1.2.3.4", 65535), ("[::1]", "[::1]", nil),
      ("[::ffff:1.2.3.4]:5", "[::ffff:1.2.3.4]", 5), ("a:0080", "a", 80), ("a:0", "a", 0),
    ] as [(String, String, UInt16?)])
  func accepts(_ text: String, _ host: String, _ port: UInt16?) {
    text.withBytes { bytes in
      let authority = Authority(bytes)
      #expect(authority?.host.string == host)
      #expect(authority?.port == port)
    }
  }

  @Test(arguments: [
    "", ".", ":80", "..a", "a..b", "a..:", "a:1.2", "a:98777", "a:123456", "a:9000:80", "a/b",
    "a\\b", "a b", "user@a", "a#", "a?", "[", "[]", "[::1", "[::1].", "[::1].:98", "[::1]x",
    "[a/b]", "[a\\b]:1", "[1..2]", "\u{E4}", "a:-1", "a:+1", "<a>", "a\"", "[::1]]", "a]",
  ])
  func refuses(_ text: String) {
    #expect(text.withBytes { Authority($0) == nil })
  }
}
