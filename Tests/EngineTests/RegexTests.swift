// Regular expressions: matching, groups, errors and limits.

import HTTP
import Testing

@testable import Engine

struct RegexTests {
  @Test func givesNumberedAndNamedGroups() throws {
    let regex = try Regex(pattern: "^/u/(?<user>[a-z]+)(-x)?/(\\d+)", caseless: false)
    #expect(regex.captureCount == 3)
    #expect(regex.names.map(\.name) == ["user"])
    #expect(regex.names.map(\.group) == [1])
    var captures = CaptureSet()
    #expect(regex.match(Bytes("/u/ann/42/rest"), into: &captures))
    #expect(text(captures.capture(0)) == "/u/ann/42")
    #expect(text(captures.capture(1)) == "ann")
    #expect(captures.capture(2) == nil)
    #expect(text(captures.capture(3)) == "42")
    #expect(captures.capture(4) == nil)
    #expect(captures.capture(-1) == nil)
  }

  @Test func keepsTheGroupsOfTheLastMatchWhenNothingMatches() throws {
    let regex = try Regex(pattern: "(a+)", caseless: false)
    var captures = CaptureSet()
    #expect(regex.match(Bytes("xaay"), into: &captures))
    #expect(!regex.match(Bytes("zzz"), into: &captures))
    #expect(text(captures.capture(1)) == "aa")
    captures.removeAll()
    #expect(captures.capture(1) == nil)
  }

  @Test func foldsCaseOnlyWhenAsked() throws {
    #expect(try Regex(pattern: "\\.PHP$", caseless: true).matches(Bytes("/a.php")))
    #expect(try !Regex(pattern: "\\.PHP$", caseless: false).matches(Bytes("/a.php")))
  }

  @Test func matchesTheEmptySubjectAndTheEmptyPattern() throws {
    #expect(try Regex(pattern: "", caseless: false).matches(Bytes()))
    #expect(try Regex(pattern: "^$", caseless: false).matches(Bytes()))
    #expect(try !Regex(pattern: ".", caseless: false).matches(Bytes()))
  }

  @Test func matchesBytesThatAreNotUTF8() throws {
    let subject: [UInt8] = [0x2f, 0xff, 0x00, 0x61]
    let regex = try Regex(pattern: "a$", caseless: false)
    subject.withUnsafeBufferPointer {
      #expect(regex.matches(unsafe Bytes(base: $0.baseAddress!, count: 4)))
    }
  }

  @Test(arguments: [
    ("(abc", "missing closing parenthesis", 4),
    ("a{2,1}", "numbers out of order in {} quantifier", 5),
    ("(*UTF)a", "using UTF is disabled by the application", 6),
  ])
  func saysWhatIsWrongAndWhere(pattern: String, message: String, offset: Int) {
    #expect(throws: RegexError(message: message, pattern: pattern, offset: offset)) {
      try Regex(pattern: pattern, caseless: false)
    }
  }

  @Test func takesMoreGroupsThanItKeepsButNamesOnlyKeptOnes() throws {
    let many = String(repeating: "(a)", count: 40)
    let regex = try Regex(pattern: many, caseless: false)
    let subject = Array(String(repeating: "a", count: 40).utf8)
    var captures = CaptureSet()
    subject.withUnsafeBufferPointer {
      #expect(regex.match(unsafe Bytes(base: $0.baseAddress!, count: 40), into: &captures))
    }
    #expect(captures.count == 32)
    #expect(throws: RegexError.self) { try Regex(pattern: many + "(?<n>b)", caseless: false) }
  }

  @Test func givesUpAtALimitAndSaysSo() throws {
    let regex = try Regex(pattern: "^(a+)+$", caseless: false)
    let subject = Array((String(repeating: "a", count: 64) + "b").utf8)
    let easy = try Regex(pattern: "^a", caseless: false)
    subject.withUnsafeBufferPointer {
      let bytes = unsafe Bytes(base: $0.baseAddress!, count: subject.count)
      #expect(!regex.matches(bytes))
      var captures = CaptureSet()
      #expect(!regex.match(bytes, into: &captures) && captures.gaveUp)
      // Who looks at the flag late gets no decision that was made behind it.
      #expect(!easy.match(bytes, into: &captures))
      captures.removeAll()
      #expect(easy.match(bytes, into: &captures) && !captures.gaveUp)
    }
  }

  @Test func fallsBackToTheHeapWhenTheStackIsTooSmall() throws {
    let regex = try Regex(pattern: "^(?:(a)|b)*$", caseless: false)
    let subject = [UInt8](repeating: UInt8(ascii: "a"), count: 8_000)
    subject.withUnsafeBufferPointer {
      #expect(regex.matches(unsafe Bytes(base: $0.baseAddress!, count: subject.count)))
    }
  }

  private func text(_ bytes: Bytes?) -> String? {
    guard let bytes else { return nil }
    return String(decoding: (0..<bytes.count).map { bytes[$0] }, as: UTF8.self)
  }
}
