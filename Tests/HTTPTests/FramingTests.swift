// Every rule of `Framing.swift`, a row each.

import HTTP
import Testing

/// What a request's fields come to.
private func frame(_ text: String) -> Result<RequestFraming, FramingError>? {
  var parser = RequestHeadParser()
  var head = RequestHead()
  return text.withBytes { bytes in
    guard parser.parse(bytes, into: &head) == .complete else { return nil }
    do throws(FramingError) {
      return .success(try Framing.request(head, bytes))
    } catch {
      return .failure(error)
    }
  }
}

/// What a response's fields come to.
private func frameResponse(
  _ text: String, to method: Method, upgradeRequested: Bool = false
) -> Result<ResponseFraming, FramingError>? {
  var parser = ResponseHeadParser()
  var head = ResponseHead()
  return text.withBytes { bytes in
    guard parser.parse(bytes, into: &head) == .complete else { return nil }
    do throws(FramingError) {
      return .success(
        try Framing.response(
          head, bytes, requestMethod: method, upgradeRequested: upgradeRequested))
    } catch {
      return .failure(error)
    }
  }
}

@Suite struct RequestFramingTests {
  private static let start = "POST / HTTP/1.1\r\nHost: a\r\n"

  @Test(arguments: [
    ("", BodyFraming.none), ("Content-Length: 0\r\n", .length(0)),
    ("content-length: 12 \r\n", .length(12)), ("Content-Length: 007\r\n", .length(7)),
    ("Content-Length: 9223372036854775807\r\n", .length(.max)),
    ("Transfer-Encoding: chunked\r\n", .chunked), ("transfer-encoding: CHUNKED\r\n", .chunked),
  ])
  func bodiesEndWhereTheirFieldSays(_ fields: String, _ body: BodyFraming) throws {
    #expect(try #require(frame(RequestFramingTests.start + fields + "\r\n")).get().body == body)
  }

  static let refused: [(String, FramingError)] = [
    ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", .lengthAndCoding),
    ("Transfer-Encoding: identity\r\nContent-Length: 5\r\n", .lengthAndCoding),
    ("Content-Length: 5\r\nContent-Length: 5\r\n", .repeatedLength),
    ("Content-Length: 5\r\nContent-Length: 6\r\n", .repeatedLength),
    ("Content-Length: 5, 5\r\n", .invalidLength),
    ("Content-Length: +5\r\n", .invalidLength),
    ("Content-Length: -1\r\n", .invalidLength),
    ("Content-Length: 0x5\r\n", .invalidLength),
    ("Content-Length: 5 5\r\n", .invalidLength),
    ("Content-Length:\r\n", .invalidLength),
    ("Content-Length: 9223372036854775808\r\n", .invalidLength),
    ("Content-Length: 18446744073709551621\r\n", .invalidLength),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", .repeatedCoding),
    ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", .repeatedCoding),
    ("Transfer-Encoding:\r\n", .malformedCoding),
    ("Transfer-Encoding: chunked,\r\n", .malformedCoding),
    ("Transfer-Encoding: , chunked\r\n", .malformedCoding),
    ("Transfer-Encoding: chunked, chunked\r\n", .malformedCoding),
    ("Transfer-Encoding: chunked, identity\r\n", .malformedCoding),
    ("Transfer-Encoding: gzip, chunked\r\n", .unknownCoding),
    ("Transfer-Encoding: identity\r\n", .unknownCoding),
    ("Transfer-Encoding: xchunked\r\n", .unknownCoding),
    ("Transfer-Encoding: chunked;q=1\r\n", .unknownCoding),
    ("Transfer-Encoding: \"chunked\"\r\n", .unknownCoding),
    ("Transfer-Encoding: \u{0B}chunked\r\n", .unknownCoding),
    ("Host: a\r\n", .repeatedHost),
    ("Authorization: a\r\nAuthorization: b\r\n", .repeatedField),
    ("If-Range: a\r\nIf-Range: a\r\n", .repeatedField),
    (
      "Connection: " + String(repeating: "a,", count: 65) + "\r\n", .tooManyConnectionOptions
    ),
  ]

  @Test(arguments: refused)
  func refuses(_ fields: String, _ error: FramingError) {
    let result = frame(RequestFramingTests.start + fields + "\r\n")
    if fields.contains("\u{0B}") {
      #expect(result == nil)  // the parser refuses the control character before
    } else {
      #expect(throws: error) { try result?.get() }
    }
  }

  @Test(arguments: [
    ("GET / HTTP/1.1\r\n\r\n", FramingError.missingHost),
    ("GET http://a/ HTTP/1.1\r\n\r\n", .missingHost),
    ("GET / HTTP/1.1\r\nHost:\r\n\r\n", .invalidHost),
    ("GET / HTTP/1.0\r\nHost: a/b\r\n\r\n", .invalidHost),
    ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", .invalidHost),
    ("GET / HTTP/1.1\r\nHost: a,b@c\r\n\r\n", .invalidHost),
    ("GET http://a/ HTTP/1.1\r\nHost: b\\c\r\n\r\n", .invalidHost),
    ("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", .repeatedHost),
    ("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", .codingInHTTP10),
    ("CONNECT a:1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n", .bodyOfConnect),
    ("CONNECT a:1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", .bodyOfConnect),
  ])
  func refusesWhole(_ text: String, _ error: FramingError) {
    #expect(throws: error) { try frame(text)?.get() }
  }

  @Test func onlyUnknownCodingsAre501() {
    #expect(FramingError.allCases.filter { $0.status == 501 } == [.unknownCoding])
    #expect(
      FramingError.allCases.filter { $0.status == 400 }.count == FramingError.allCases.count - 1)
  }

  @Test(arguments: [
    ("GET / HTTP/1.1\r\nHost: a:1\r\n\r\n", "a:1"),
    ("GET http://b:2/ HTTP/1.1\r\nHost: a\r\n\r\n", "b:2"),
    ("CONNECT c:3 HTTP/1.1\r\nHost: a\r\n\r\n", "c:3"),
    ("GET / HTTP/1.0\r\n\r\n", ""),
    ("GET http://b/ HTTP/1.0\r\n\r\n", "b"),
  ])
  func theHostOfTheTargetWins(_ text: String, _ host: String) throws {
    let framing = try #require(frame(text)).get()
    #expect(text.withBytes { framing.host.of($0).string } == host)
  }

  @Test(arguments: [
    ("HTTP/1.1", "", true), ("HTTP/1.1", "Connection: close\r\n", false),
    ("HTTP/1.1", "Connection: x, Close\r\n", false),
    ("HTTP/1.1", "Connection: keep-alive\r\nConnection: close\r\n", false),
    ("HTTP/1.1", "Connection: keep-alive\r\n", true), ("HTTP/1.0", "", false),
    ("HTTP/1.0", "Connection: Keep-Alive\r\n", true),
    ("HTTP/1.0", "Connection: keep-alive, close\r\n", false), ("HTTP/1.9", "", true),
  ])
  func keepsConnectionsAlive(_ version: String, _ fields: String, _ keepAlive: Bool) throws {
    let framing = try #require(frame("GET / \(version)\r\nHost: a\r\n\(fields)\r\n")).get()
    #expect(framing.keepAlive == keepAlive)
  }

  @Test(arguments: [
    ("HTTP/1.1", "Expect: 100-Continue\r\nContent-Length: 1\r\n", true),
    ("HTTP/1.1", "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n", true),
    ("HTTP/1.1", "Expect: 100-continue\r\n", false),
    ("HTTP/1.1", "Expect: other\r\nContent-Length: 1\r\n", false),
    ("HTTP/1.0", "Expect: 100-continue\r\nContent-Length: 1\r\n", false),
  ])
  func expectsContinueOnlyWithABody(_ version: String, _ fields: String, _ expects: Bool) throws {
    let framing = try #require(frame("PUT / \(version)\r\nHost: a\r\n\(fields)\r\n")).get()
    #expect(framing.expectsContinue == expects)
  }

  @Test(arguments: [
    ("HTTP/1.1", "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n", true),
    ("HTTP/1.1", "Connection: upgrade\r\n", false), ("HTTP/1.1", "Upgrade: websocket\r\n", false),
    ("HTTP/1.0", "Connection: upgrade\r\nUpgrade: websocket\r\n", false),
  ])
  func upgradesWhenBothFieldsSaySo(_ version: String, _ fields: String, _ upgrade: Bool) throws {
    let framing = try #require(frame("GET / \(version)\r\nHost: a\r\n\(fields)\r\n")).get()
    #expect(framing.upgrade == upgrade)
  }

  @Test func fieldsThatConnectionNamesAreKnown() throws {
    let text =
      "GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Foo\r\nConnection: host, te\r\n\r\n"
    let framing = try #require(frame(text)).get()
    #expect(framing.namesFields)
    let head = try #require(parseRequest(text.latin1, at: [text.utf8.count]).head)
    text.withBytes { bytes in
      #expect(head.connectionNames(Bytes("x-fOO"), in: bytes))
      #expect(!head.connectionNames(Bytes("x-bar"), in: bytes))
      #expect(!head.connectionNames(Bytes("Host"), in: bytes))
    }
    let plain = try #require(
      frame("GET / HTTP/1.1\r\nHost: a\r\nConnection: close, upgrade, te\r\n\r\n")
    ).get()
    #expect(!plain.namesFields)
  }
}

@Suite struct ResponseFramingTests {
  @Test(arguments: [
    ("200", "", Method.get, BodyFraming.untilClose, false),
    ("200", "Content-Length: 5\r\n", .get, .length(5), true),
    ("200", "Content-Length: 5\r\nConnection: close\r\n", .get, .length(5), false),
    ("200", "Transfer-Encoding: chunked\r\n", .post, .chunked, true),
    ("200", "Content-Length: 5\r\n", .head, .none, true),
    ("200", "", .head, .none, true),
    ("204", "", .get, .none, true), ("204", "Content-Length: 0\r\n", .get, .none, true),
    ("204", "Content-Length: 5\r\n", .get, .none, false),
    ("204", "Transfer-Encoding: chunked\r\n", .get, .none, false),
    ("304", "Content-Length: 5\r\n", .get, .none, true),
    ("200", "Content-Length: 5\r\n", .connect, .none, false),
    ("403", "Content-Length: 5\r\n", .connect, .length(5), true),
    ("100", "", .post, .none, true), ("103", "", .get, .none, true),
  ])
  func bodiesEndWhereTheRulesSay(
    _ code: String, _ fields: String, _ method: Method, _ body: BodyFraming, _ keepAlive: Bool
  ) throws {
    let text = "HTTP/1.1 \(code) x\r\n\(fields)\r\n"
    let framing = try #require(frameResponse(text, to: method)).get()
    #expect(framing.body == body)
    #expect(framing.keepAlive == keepAlive)
    #expect(framing.isInterim == code.hasPrefix("1"))
    #expect(framing.isUpgrade == (method == .connect && code == "200"))
  }

  @Test(arguments: [
    ("HTTP/1.0 200 x\r\nContent-Length: 5\r\n\r\n", false),
    ("HTTP/1.0 200 x\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n", true),
    ("HTTP/1.0 200 x\r\nConnection: keep-alive\r\n\r\n", false),
  ])
  func oldServersCloseUnlessTheySayOtherwise(_ text: String, _ keepAlive: Bool) throws {
    #expect(try #require(frameResponse(text, to: .get)).get().keepAlive == keepAlive)
  }

  @Test(arguments: [
    ("200", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", FramingError.lengthAndCoding),
    ("304", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", .lengthAndCoding),
    ("200", "Content-Length: 5\r\nContent-Length: 5\r\n", .repeatedLength),
    ("200", "Content-Length: x\r\n", .invalidLength),
    ("200", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", .repeatedCoding),
    ("200", "Transfer-Encoding: chunked, gzip\r\n", .malformedCoding),
    ("200", "Transfer-Encoding: gzip\r\n", .unknownCoding),
    ("101", "Upgrade: websocket\r\nConnection: upgrade\r\n", .unrequestedUpgrade),
  ])
  func refuses(_ code: String, _ fields: String, _ error: FramingError) {
    let text = "HTTP/1.1 \(code) x\r\n\(fields)\r\n"
    #expect(throws: error) { try frameResponse(text, to: .get)?.get() }
  }

  @Test func refusesCodingsInOldResponses() {
    let text = "HTTP/1.0 200 x\r\nTransfer-Encoding: chunked\r\n\r\n"
    #expect(throws: FramingError.codingInHTTP10) { try frameResponse(text, to: .get)?.get() }
  }

  @Test func switchesProtocolsWhenAsked() throws {
    let text = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"
    let framing = try #require(frameResponse(text, to: .get, upgradeRequested: true)).get()
    #expect(framing.isUpgrade)
    #expect(!framing.isInterim)
    #expect(!framing.keepAlive)
    #expect(framing.body == .none)
  }
}
