// The response parser.

import HTTP
import Testing

@Suite struct ResponseHeadTests {
  private func parse(
    _ text: String, at lengths: [Int], limits: HeadLimits = .response
  ) -> (HeadProgress, ResponseHead) {
    var parser = ResponseHeadParser(limits: limits)
    var head = ResponseHead()
    var progress = HeadProgress.incomplete
    for length in lengths {
      progress = Array(text.latin1.prefix(length)).withBytes { parser.parse($0, into: &head) }
      if progress != .incomplete { break }
    }
    return (progress, head)
  }

  @Test(arguments: [
    ("HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody", 200, "OK", 1),
    ("HTTP/1.0 404 Not  Found\r\n\r\n", 404, "Not  Found", 0),
    ("HTTP/1.1 999 \r\n\r\n", 999, "", 1),
    ("HTTP/1.1 204\r\nX_y.z: 1\r\n\r\n", 204, "", 1),
    ("HTTP/1.3 100 \u{E4}\tb\r\n\r\n", 100, "\u{E4}\tb", 1),
  ])
  func acceptsHoweverItIsCut(_ text: String, _ code: Int, _ reason: String, _ minor: Int) {
    for lengths in feedings(text.latin1.count) {
      let (progress, head) = parse(text, at: lengths)
      #expect(progress == .complete)
      #expect(head.statusCode == code)
      #expect(Int(head.minorVersion) == minor)
      let slice = text.withBytes { bytes in
        (0..<Int(head.reason.count)).map { head.reason.of(bytes)[$0] }
      }
      #expect(slice == reason.latin1)
    }
  }

  static let refused: [(String, HeadError)] = [
    ("HTTP/2 200 OK\r\n\r\n", .malformedStatusLine),
    ("HTTP/2.0 200 OK\r\n\r\n", .malformedStatusLine),
    ("HTTP/1.1  200 OK\r\n\r\n", .malformedStatusLine),
    ("HTTP/1.1 20 OK\r\n\r\n", .malformedStatusLine),
    ("HTTP/1.1 2000 OK\r\n\r\n", .malformedStatusLine),
    ("HTTP/1.1 099 OK\r\n\r\n", .malformedStatusLine),
    ("HTTP/1.1 -20 OK\r\n\r\n", .malformedStatusLine),
    ("ICY 200 OK\r\n\r\n", .malformedStatusLine),
    ("\r\nHTTP/1.1 200 OK\r\n\r\n", .malformedStatusLine),
    ("<html>\r\n", .malformedStatusLine),
    ("SEE-THIS\n", .bareLineFeed),
    ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", .foldedLine),
    ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", .spaceInFieldName),
    ("HTTP/1.1 200 OK\r\nA(: b\r\n\r\n", .invalidFieldName),
    ("HTTP/1.1 200 OK\r\nA\r\n\r\n", .missingColon),
    ("HTTP/1.1 200 OK\r\nA: \0\r\n\r\n", .controlCharacter),
    ("HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n", .bareCarriageReturn),
  ]

  @Test(arguments: refused)
  func refusesHoweverItIsCut(_ text: String, _ error: HeadError) {
    for lengths in feedings(text.latin1.count) {
      #expect(parse(text, at: lengths).0 == .failed(error))
    }
  }

  @Test func takesBareLineFeedsOnlyWhenAsked() {
    var limits = HeadLimits.response
    limits.allowBareLineFeed = true
    let (progress, head) = parse("HTTP/1.1 200 OK\nA: b\n\n", at: [22], limits: limits)
    #expect(progress == .complete)
    #expect(head.length == 22)
    #expect(head.fields.count == 1)
  }
}
