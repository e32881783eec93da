// The chunked coding: decoded whole, byte by byte and split at every point; every refusal a row.

import HTTP
import Testing

/// What a decoder made of its input.
private struct Decoded: Equatable {
  var body: [UInt8] = []
  var error: ChunkedError?
  /// Where the body ended, if it did.
  var end: Int?
}

private func decode(_ input: [UInt8], at lengths: [Int]) -> Decoded {
  var decoder = ChunkedDecoder()
  var decoded = Decoded()
  var position = 0
  for length in lengths {
    while true {
      let piece = Array(input[position..<length])
      let step = piece.withBytes { decoder.next($0) }
      switch step {
      case .data(let start, let count, let consumed):
        #expect(count > 0 && start + count == consumed)
        decoded.body += piece[start..<start + count]
        position += consumed
        continue
      case .needMore(let consumed):
        #expect(consumed == piece.count)
        position += consumed
      case .end(let consumed):
        decoded.end = position + consumed
        #expect(decoder.isFinished)
        return decoded
      case .failed(let error):
        decoded.error = error
        return decoded
      }
      break
    }
  }
  return decoded
}

@Suite struct ChunkedTests {
  @Test(arguments: [
    ("0\r\n\r\n", "", ""), ("5\r\nhello\r\n0\r\n\r\nGET", "hello", "GET"),
    ("3\r\nabc\r\n00A\r\n0123456789\r\n000\r\n\r\n", "abc0123456789", ""),
    ("a;x=y;z=\"q \\\" r\"\r\n0123456789\r\n0;e\r\n\r\n", "0123456789", ""),
    ("5  \r\nhello\r\n0 \t;a\r\n\r\n", "hello", ""),
    ("1\r\n\r\r\n2\r\n\r\n\r\n0\r\nTrailer: a\tb\r\nX-Y:\r\n\r\nz", "\r\r\n", "z"),
  ])
  func decodesHoweverItIsCut(_ text: String, _ body: String, _ rest: String) {
    let input = text.latin1
    for lengths in feedings(input.count) {
      let decoded = decode(input, at: lengths)
      #expect(decoded == Decoded(body: body.latin1, end: input.count - rest.utf8.count))
    }
  }

  static let refused: [(String, ChunkedError)] = [
    ("\r\n", .invalidSize), ("g\r\n", .invalidSize), ("-1\r\n", .invalidSize),
    ("+1\r\n", .invalidSize), ("0x5\r\n", .invalidSize), (" 5\r\n", .invalidSize),
    ("5 5\r\nhello", .invalidSize), (";a\r\n", .invalidSize), ("5\r\nhello\r\n\r\n", .invalidSize),
    ("1000000000000000\r\n", .sizeTooLarge), ("0000000000000005\r\n", .sizeTooLarge),
    ("FFFFFFFFFFFFFFFFF\r\n", .sizeTooLarge),
    ("5\nhello", .missingLineEnd), ("5\rhello", .missingLineEnd), ("5;a\n", .missingLineEnd),
    ("5;a\rb\r\n", .missingLineEnd), ("5 \n", .missingLineEnd),
    ("5\r\nhello0\r\n\r\n", .missingLineEnd), ("5\r\nhello\n0\r\n\r\n", .missingLineEnd),
    ("5\r\nhello\rx", .missingLineEnd), ("0\r\n\rx", .missingLineEnd),
    ("0\r\nA: b\n\r\n", .missingLineEnd), ("0\r\nA: b\rC: d\r\n", .missingLineEnd),
    ("5;a\0b\r\n", .controlCharacter), ("0\r\nA: \u{7F}\r\n", .controlCharacter),
    ("0\r\nA\r\n\r\n", .malformedTrailer), ("0\r\n: a\r\n\r\n", .malformedTrailer),
    ("0\r\nA : b\r\n\r\n", .malformedTrailer), ("0\r\n a\r\n\r\n", .malformedTrailer),
    ("0\r\nA: b\r\n c\r\n\r\n", .malformedTrailer), ("0\r\n\n", .malformedTrailer),
  ]

  @Test(arguments: refused)
  func refusesHoweverItIsCut(_ text: String, _ error: ChunkedError) {
    let input = text.latin1
    for lengths in feedings(input.count) {
      #expect(decode(input, at: lengths).error == error)
    }
  }

  @Test func eachErrorHasARow() {
    let seen = ChunkedTests.refused.map(\.1) + [.tooMuchOverhead]
    #expect(ChunkedError.allCases.allSatisfy { seen.contains($0) })
  }

  @Test func refusesEndlessExtensions() {
    let one = ("5;" + String(repeating: "a", count: 20_000)).latin1
    #expect(decode(one, at: [one.count]).error == .tooMuchOverhead)
    let many = String(
      repeating: "1;" + String(repeating: "a", count: 100) + "\r\nx\r\n", count: 200)
    #expect(decode(many.latin1, at: [many.utf8.count]).error == .tooMuchOverhead)
  }

  @Test func acceptsASignatureOnEachChunk() {
    let chunk = "400;chunk-signature=" + String(repeating: "f", count: 64) + "\r\n"
    let text = String(
      repeating: chunk + String(repeating: "x", count: 1024) + "\r\n", count: 500)
    let decoded = decode((text + "0\r\n\r\n").latin1, at: [text.utf8.count + 5])
    #expect(decoded.error == nil)
    #expect(decoded.body.count == 512_000)
  }

  @Test func refusesEndlessTrailers() {
    let text = "0\r\n" + String(repeating: "A: b\r\n", count: 3000)
    #expect(decode(text.latin1, at: [text.utf8.count]).error == .tooMuchOverhead)
  }

  @Test(arguments: [
    (1, "1\r\n"), (9, "9\r\n"), (10, "a\r\n"), (15, "f\r\n"), (16, "10\r\n"), (0x1a2b, "1a2b\r\n"),
    (Int.max, "7fffffffffffffff\r\n"),
  ])
  func writesHeaders(_ size: Int, _ expected: String) {
    let text = written(ChunkedEncoder.maxHeaderLength) {
      ChunkedEncoder.writeHeader(size: size, into: $0)
    }
    #expect(text == expected)
  }

  @Test func decodesWhatItWrites() {
    var input: [UInt8] = []
    for size in [1, 15, 16, 255, 4096] {
      input += written(18) { ChunkedEncoder.writeHeader(size: size, into: $0) }.latin1
      input += [UInt8](repeating: 0x78, count: size) + ChunkedEncoder.dataEnd.string.latin1
    }
    input += ChunkedEncoder.bodyEnd.string.latin1
    let decoded = decode(input, at: [input.count])
    #expect(decoded.body.count == 1 + 15 + 16 + 255 + 4096)
    #expect(decoded.end == input.count)
  }

  @Test func saysWhereTrailersAre() {
    let text = Array("3\r\nabc\r\n0;x=1\r\nA: 1\r\nB-c: two\r\n\r\nGET".utf8)
    for split in 0...text.count {
      var decoder = ChunkedDecoder()
      var trailers: [UInt8] = []
      for piece in [Array(text[..<split]), Array(text[split...])] {
        var position = 0
        loop: while !decoder.isFinished {
          let rest = Array(piece[position...])
          switch rest.withBytes({ decoder.next($0) }) {
          case .data(_, _, let consumed): position += consumed
          case .needMore(let consumed), .end(let consumed):
            if decoder.trailerStart >= 0 { trailers += rest[decoder.trailerStart..<consumed] }
            break loop
          case .failed: break loop
          }
        }
      }
      #expect(String(decoding: trailers, as: UTF8.self) == "A: 1\r\nB-c: two\r\n\r\n", "\(split)")
    }
    Array("A: 1\r\nB-c:\ttwo \r\n\r\n".utf8).withBytes { bytes in
      var section = TrailerSection(bytes)
      var seen: [String] = []
      while let field = section.next() {
        seen.append(field.name.of(bytes).string + "=" + field.value.of(bytes).string)
      }
      #expect(seen == ["A=1", "B-c=two"])
    }
  }
}
