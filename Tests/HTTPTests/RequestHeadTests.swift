// The request parser: what it accepts, what it refuses, and that cutting its input changes nothing.

import HTTP
import Testing

/// A request that is accepted.
struct AcceptedRequest: CustomTestStringConvertible, Sendable {
  let text: String
  let method: Method
  let form: TargetForm
  let path: String
  let query: String?
  var testDescription: String { text }
}

/// A request that is refused.
struct RefusedRequest: CustomTestStringConvertible, Sendable {
  let text: String
  let error: HeadError
  init(_ text: String, _ error: HeadError) {
    self.text = text
    self.error = error
  }
  var testDescription: String { text }
}

@Suite struct RequestHeadTests {
  static let accepted = [
    AcceptedRequest(
      text: "GET / HTTP/1.1\r\nHost: a\r\n\r\n", method: .get, form: .origin, path: "/",
      query: nil),
    AcceptedRequest(
      text: "POST /a/b?c=d&e HTTP/1.0\r\n\r\n", method: .post, form: .origin, path: "/a/b",
      query: "c=d&e"),
    AcceptedRequest(
      text: "HEAD /? HTTP/1.1\r\nX:\r\n\r\n", method: .head, form: .origin, path: "/", query: ""),
    AcceptedRequest(
      text: "GET /a#b?c HTTP/1.1\r\n\r\n", method: .get, form: .origin, path: "/a", query: nil),
    AcceptedRequest(
      text: "GET /a?b#c HTTP/1.1\r\n\r\n", method: .get, form: .origin, path: "/a", query: "b"),
    AcceptedRequest(
      text: "GET http://h:80/p?q HTTP/1.1\r\n\r\n", method: .get, form: .absolute, path: "/p",
      query: "q"),
    AcceptedRequest(
      text: "GET http://localhost HTTP/1.1\r\n\r\n", method: .get, form: .absolute, path: "",
      query: nil),
    AcceptedRequest(
      text: "GET http://localhost?args#frag HTTP/1.1\r\n\r\n", method: .get, form: .absolute,
      path: "", query: "args"),
    AcceptedRequest(
      text: "OPTIONS * HTTP/1.1\r\n\r\n", method: .options, form: .asterisk, path: "", query: nil),
    AcceptedRequest(
      text: "CONNECT h:443 HTTP/1.1\r\n\r\n", method: .connect, form: .authority, path: "",
      query: nil),
    AcceptedRequest(
      text: "\r\n\r\nM-SEARCH /x HTTP/1.9\r\nA: \t b c\u{FF} \r\n\r\nrest", method: .other,
      form: .origin, path: "/x", query: nil),
  ]

  @Test(arguments: accepted)
  func acceptsHoweverItIsCut(_ row: AcceptedRequest) throws {
    let input = row.text.latin1
    let whole = parseRequest(input, at: [input.count])
    let head = try #require(whole.head)
    #expect(head.method == row.method)
    #expect(head.form == row.form)
    #expect(whole.path == row.path)
    #expect(whole.query == row.query)
    for lengths in feedings(input.count) {
      #expect(parseRequest(input, at: lengths) == whole)
    }
  }

  static let refused = [
    RefusedRequest("GET /\0 HTTP/1.1\r\n\r\n", .controlCharacter),
    RefusedRequest("GET /\u{02} HTTP/1.1\r\n\r\n", .controlCharacter),
    RefusedRequest("GET /\u{7F} HTTP/1.1\r\n\r\n", .controlCharacter),
    RefusedRequest("\u{16}\u{03}\u{01}", .controlCharacter),
    RefusedRequest("GET / HTTP/1.1\r\nA: b\0c\r\n\r\n", .controlCharacter),
    RefusedRequest("GET / HTTP/1.1\r\nA\u{01}: b\r\n\r\n", .controlCharacter),
    RefusedRequest("GET / HTTP/1.1\r\nA: b\u{1B}\r\n\r\n", .controlCharacter),
    RefusedRequest("GET / HTTP/1.1\rHost: a\r\n\r\n", .bareCarriageReturn),
    RefusedRequest("GET / HTTP/1.1\r\nA: b\rC: d\r\n\r\n", .bareCarriageReturn),
    RefusedRequest("GET / HTTP/1.1\r\nA: b\r\n\r\r\n", .bareCarriageReturn),
    RefusedRequest("GET / HTTP/1.1\nHost: a\r\n\r\n", .bareLineFeed),
    RefusedRequest("GET / HTTP/1.1\r\nA: b\nC: d\r\n\r\n", .bareLineFeed),
    RefusedRequest("GET / HTTP/1.1\r\nA: b\r\n\n", .bareLineFeed),
    RefusedRequest("\nGET / HTTP/1.1\r\n\r\n", .bareLineFeed),
    RefusedRequest("GET /\r\n\r\n", .malformedRequestLine),
    RefusedRequest("GET\r\n\r\n", .malformedRequestLine),
    RefusedRequest("GET  / HTTP/1.1\r\n\r\n", .malformedRequestLine),
    RefusedRequest("GET /  HTTP/1.1\r\n\r\n", .malformedRequestLine),
    RefusedRequest("GET / HTTP/1.1 \r\n\r\n", .malformedRequestLine),
    RefusedRequest("GET / / HTTP/1.1\r\n\r\n", .malformedRequestLine),
    RefusedRequest("GET / HTTP/1.\r\n\r\n", .malformedRequestLine),
    RefusedRequest("GET / HTTP/1\r\n\r\n", .malformedRequestLine),
    RefusedRequest("GET / HTTP/1.11\r\n\r\n", .malformedRequestLine),
    RefusedRequest("GET / HTTP/0.9\r\n\r\n", .malformedRequestLine),
    RefusedRequest("GET / http/1.1\r\n\r\n", .malformedRequestLine),
    RefusedRequest("GET / FTP/1.1\r\n\r\n", .malformedRequestLine),
    RefusedRequest("\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n", .malformedRequestLine),
    RefusedRequest("get / HTTP/1.1\r\n\r\n", .invalidMethod),
    RefusedRequest("G(T / HTTP/1.1\r\n\r\n", .invalidMethod),
    RefusedRequest(" GET / HTTP/1.1\r\n\r\n", .invalidMethod),
    RefusedRequest("GET a HTTP/1.1\r\n\r\n", .invalidTarget),
    RefusedRequest("GET * HTTP/1.1\r\n\r\n", .invalidTarget),
    RefusedRequest("OPTIONS ** HTTP/1.1\r\n\r\n", .invalidTarget),
    RefusedRequest("GET http:// HTTP/1.1\r\n\r\n", .invalidTarget),
    RefusedRequest("GET http:/a HTTP/1.1\r\n\r\n", .invalidTarget),
    RefusedRequest("GET 1://a/ HTTP/1.1\r\n\r\n", .invalidTarget),
    RefusedRequest("GET http://user@host/ HTTP/1.1\r\n\r\n", .invalidTarget),
    RefusedRequest("GET http://a:99999/ HTTP/1.1\r\n\r\n", .invalidTarget),
    RefusedRequest("GET /a\tb HTTP/1.1\r\n\r\n", .invalidTarget),
    RefusedRequest("CONNECT / HTTP/1.1\r\n\r\n", .invalidTarget),
    RefusedRequest("CONNECT localhost HTTP/1.1\r\n\r\n", .invalidTarget),
    RefusedRequest("CONNECT localhost: HTTP/1.1\r\n\r\n", .invalidTarget),
    RefusedRequest("GET / HTTP/2.0\r\n\r\n", .unsupportedVersion),
    RefusedRequest("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", .invalidTarget),
    RefusedRequest("INVALID CONNECTION PREFACE\r\n\r\n", .malformedRequestLine),
    RefusedRequest("GET / HTTP/3\r\n\r\n", .unsupportedVersion),
    RefusedRequest("GET / HTTP/11.1\r\n\r\n", .unsupportedVersion),
    RefusedRequest("GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", .foldedLine),
    RefusedRequest("GET / HTTP/1.1\r\n\tA: b\r\n\r\n", .foldedLine),
    RefusedRequest("GET / HTTP/1.1\r\nHost\r\n\r\n", .missingColon),
    RefusedRequest("GET / HTTP/1.1\r\n:foo: bar\r\n\r\n", .emptyFieldName),
    RefusedRequest("GET / HTTP/1.1\r\nHost : a\r\n\r\n", .spaceInFieldName),
    RefusedRequest("GET / HTTP/1.1\r\nHost\t: a\r\n\r\n", .spaceInFieldName),
    RefusedRequest("GET / HTTP/1.1\r\nX Y: a\r\n\r\n", .spaceInFieldName),
  ]

  @Test(arguments: refused)
  func refusesHoweverItIsCut(_ row: RefusedRequest) {
    let input = row.text.latin1
    for lengths in feedings(input.count) {
      #expect(parseRequest(input, at: lengths).progress == .failed(row.error))
    }
  }

  @Test func eachErrorOfRequestsHasARow() {
    let others: [HeadError] = [
      .malformedStatusLine, .invalidFieldName, .tooManyFields, .requestLineTooLong, .headTooLong,
    ]
    let seen = RequestHeadTests.refused.map(\.error) + others
    #expect(HeadError.allCases.allSatisfy { seen.contains($0) })
  }

  @Test func errorsAreAnsweredAsNginxDoes() {
    #expect(HeadError.unsupportedVersion.status == 505)
    #expect(HeadError.tooManyFields.status == 494)
    #expect(HeadError.bareLineFeed.status == 400)
    #expect(HeadError.requestLineTooLong.status == 414)
    #expect(HeadError.headTooLong.status == 494)
  }

  @Test func isIncompleteUntilTheEmptyLine() {
    let input = "GET / HTTP/1.1\r\nHost: a\r\n\r\n".latin1
    for length in 0..<input.count {
      #expect(parseRequest(Array(input.prefix(length)), at: [length]).progress == .incomplete)
    }
  }

  @Test func lengthEndsBehindTheEmptyLine() {
    let parsed = parseRequest("GET / HTTP/1.1\r\nA: b\r\n\r\nGET".latin1, at: [27])
    #expect(parsed.head?.length == 24)
  }

  @Test func trimsValuesAndKeepsOrder() {
    let text = "GET / HTTP/1.1\r\nb:  x \t\r\nA:\r\nb: y z\r\nHost:a:1\r\n\r\n"
    let parsed = parseRequest(text.latin1, at: [text.utf8.count])
    #expect(parsed.fields == ["b=x", "A=", "b=y z", "Host=a:1"])
    #expect(parsed.head?.first(.host) != nil)
    #expect(parsed.head?.first(.cookie) == nil)
  }

  @Test func findsFieldsByNameWhateverItsCase() {
    let text = "GET / HTTP/1.1\r\nHOST: a\r\nX-My: 1\r\nx-my: 2\r\n\r\n"
    let head = parseRequest(text.latin1, at: [text.utf8.count]).head
    text.withBytes { bytes in
      #expect(head?.first(named: Bytes("hOsT"), in: bytes)?.value.of(bytes).string == "a")
      #expect(head?.first(named: Bytes("x-MY"), in: bytes)?.value.of(bytes).string == "1")
      #expect(head?.first(named: Bytes("x-you"), in: bytes) == nil)
      #expect(head?.value(.host, in: bytes)?.string == "a")
    }
  }

  @Test func tellsRepeatedFields() throws {
    let text = "GET / HTTP/1.1\r\nHost: a\r\nCookie: b\r\ncookie: c\r\n\r\n"
    let head = try #require(parseRequest(text.latin1, at: [text.utf8.count]).head)
    #expect(head.repeated == FieldNames(.cookie))
    #expect(head.present == FieldNames(.cookie, .host))
  }

  @Test func ignoresNamesThatNginxIgnores() {
    let text =
      "GET / HTTP/1.1\r\nx_foo: 1\r\n_y: 2\r\nx.z: 3\r\n</k>: 4\r\n\u{E4}: 5\r\nok: 6\r\n\r\n"
    let input = text.latin1
    #expect(parseRequest(input, at: [input.count]).fields == ["ok=6"])
    var limits = HeadLimits()
    limits.allowUnderscores = true
    let underscores = parseRequest(input, at: [input.count], limits: limits)
    #expect(underscores.fields == ["x_foo=1", "_y=2", "ok=6"])
  }

  @Test func keepsAnyTokenWhenNothingIsIgnored() {
    var limits = HeadLimits()
    limits.ignoreInvalidFields = false
    let tokens = "GET / HTTP/1.1\r\nx_foo: 1\r\n.z: 3\r\n\r\n".latin1
    #expect(parseRequest(tokens, at: [tokens.count], limits: limits).fields == ["x_foo=1", ".z=3"])
    let others = "GET / HTTP/1.1\r\n</k>: 4\r\n\r\n".latin1
    #expect(
      parseRequest(others, at: [others.count], limits: limits).progress
        == .failed(.invalidFieldName))
  }

  @Test func refusesMoreFieldsThanAllowedIgnoredOnesIncluded() {
    var limits = HeadLimits()
    limits.maxFields = 2
    let two = "GET / HTTP/1.1\r\na: 1\r\nx.y: 2\r\n\r\n".latin1
    #expect(parseRequest(two, at: [two.count], limits: limits).progress == .complete)
    let three = "GET / HTTP/1.1\r\na: 1\r\nx.y: 2\r\nb: 3\r\n\r\n".latin1
    #expect(
      parseRequest(three, at: [three.count], limits: limits).progress == .failed(.tooManyFields))
  }

  @Test func takesBareLineFeedsOnlyWhenAsked() {
    var limits = HeadLimits()
    limits.allowBareLineFeed = true
    let input = "GET / HTTP/1.0\nHost: a\r\nB: c\n\n".latin1
    for lengths in feedings(input.count) {
      let parsed = parseRequest(input, at: lengths, limits: limits)
      #expect(parsed.fields == ["Host=a", "B=c"])
    }
  }

  /// Heads against limits of 24 bytes a line and 64 in all.
  static let lengths: [(text: String, progress: HeadProgress)] = [
    ("GET /aaaaaaaa HTTP/1.1\r\n\r\n", .complete),
    ("GET /aaaaaaaaa HTTP/1.1\r\n\r\n", .failed(.requestLineTooLong)),
    ("GET /aaaaaaaaaaaaaaaaaaaaaaaa\u{0} HTTP/1.1\r\n\r\n", .failed(.requestLineTooLong)),
    ("GET /aaaaaaaaaaaaaaaaaaa\u{0}aaaaaaaaaaaaa", .failed(.controlCharacter)),
    ("GET / HTTP/1.1\r\nA: bbbbbbbbbbbbbbbbbbb\r\n\r\n", .complete),
    ("GET / HTTP/1.1\r\nA: bbbbbbbbbbbbbbbbbbbb\r\n\r\n", .failed(.headTooLong)),
    ("GET / HTTP/1.1\r\nA: b                   \r\n\r\n", .failed(.headTooLong)),
    ("GET / HTTP/1.1\r\n: bbbbbbbbbbbbbbbbbbbbbbb\r\n\r\n", .failed(.headTooLong)),
    ("GET / HTTP/1.1\r\nA: bbbbbbbbbbbbbbbbbbbb\rb\r\n\r\n", .failed(.bareCarriageReturn)),
    ("GET / HTTP/1.1\r\nA: bbbbbbbbbbbbbbbbbbbbb\rb\r\n\r\n", .failed(.headTooLong)),
    ("GET / HTTP/1.1\r\nA: bbbbbbbbbbbb\r\nC: dddddddddddd\r\nE: fffffff\r\n\r\n", .complete),
    (
      "GET / HTTP/1.1\r\nA: bbbbbbbbbbbb\r\nC: dddddddddddd\r\nE: ffffffff\r\n\r\n",
      .failed(.headTooLong)
    ),
    (
      "GET / HTTP/1.1\r\nA: bbbbbbbbbbbb\r\nC: dddddddddddd\r\nE: fffffffff\r\nG\r\n\r\n",
      .failed(.headTooLong)
    ),
  ]

  @Test(arguments: lengths)
  func isHeldAgainstItsLimitsHoweverItIsCut(_ text: String, _ progress: HeadProgress) {
    var limits = HeadLimits()
    limits.maxLineBytes = 24
    limits.maxBytes = 64
    let input = text.latin1
    for lengths in feedings(input.count) {
      #expect(parseRequest(input, at: lengths, limits: limits).progress == progress, "\(lengths)")
    }
  }

  @Test func aResetParserStartsAnew() {
    var parser = RequestHeadParser()
    var head = RequestHead()
    let text = "POST /a?b HTTP/1.0\r\nHost: a\r\n\r\n"
    #expect(text.withBytes { parser.parse($0, into: &head) } == .complete)
    parser.reset()
    head.reset()
    #expect("GET /c HTTP/1.1\r\n\r\n".withBytes { parser.parse($0, into: &head) } == .complete)
    #expect(head.method == .get)
    #expect(head.query == nil)
    #expect(head.minorVersion == 1)
    #expect(head.fields.isEmpty)
    #expect(head.first(.host) == nil)
  }
}
