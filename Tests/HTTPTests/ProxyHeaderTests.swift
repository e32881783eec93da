// PROXY protocol headers of both versions: whole, byte by byte, split at every point.

import HTTP
import Testing

private let signature = "\r\n\r\n\0\r\nQUIT\n".latin1

/// What came of a header, with its fields by value.
private struct Outcome: Equatable {
  var progress: ProxyHeader.Progress?
  var fields: [UInt8] = []
}

private func parse(_ input: [UInt8], at lengths: [Int]) -> Outcome {
  for length in lengths {
    let outcome: Outcome? = Array(input.prefix(length)).withBytes { bytes in
      let progress = ProxyHeader.parse(bytes)
      if progress == .incomplete && length < input.count { return nil }
      guard case .complete(let header) = progress else { return Outcome(progress: progress) }
      let fields = header.fields.of(bytes)
      return Outcome(progress: progress, fields: (0..<fields.count).map { fields[$0] })
    }
    if let outcome { return outcome }
  }
  return Outcome(progress: .incomplete)
}

private func endpoint(_ text: String) -> IPEndpoint? { text.withBytes { IPEndpoint($0) } }

private func field(_ type: UInt8, _ value: [UInt8]) -> [UInt8] {
  [type, UInt8(value.count >> 8), UInt8(value.count & 255)] + value
}

private func binary(_ command: UInt8, _ family: UInt8, _ body: [UInt8]) -> [UInt8] {
  signature + [command, family, UInt8(body.count >> 8), UInt8(body.count & 255)] + body
}

private let four: [UInt8] = [192, 0, 2, 1, 192, 0, 2, 2, 0, 123, 0x16, 0x2e]

@Suite struct ProxyHeaderTests {
  @Test(
    arguments: [
      ("PROXY TCP4 192.0.2.1 192.0.2.2 123 5678\r\n", "192.0.2.1:123", "192.0.2.2:5678"),
      ("PROXY TCP6 2001:Db8::1 2001:Db8::2 0 65535\r\n", "[2001:db8::1]:0", "[2001:db8::2]:65535"),
      ("PROXY UNKNOWN\r\n", nil, nil), ("PROXY UNKNOWN 1 2 3 4 5 6\r\n", nil, nil),
    ] as [(String, String?, String?)])
  func readsLines(_ line: String, _ source: String?, _ destination: String?) {
    let input = (line + "GET / HTTP/1.1\r\n").latin1
    for lengths in feedings(input.count) {
      var header = ProxyHeader()
      header.length = line.utf8.count
      header.source = source.flatMap { endpoint($0) }
      header.destination = destination.flatMap { endpoint($0) }
      #expect(parse(input, at: lengths).progress == .complete(header))
    }
  }

  @Test(
    arguments: [
      ("GET / HTTP/1.1\r\n", .missing), ("PROXX TCP4", .missing), ("\u{16}\u{3}\u{1}", .missing),
      ("\r\n\r\nGET", .missing), ("proxy TCP4 1.1.1.1 2.2.2.2 1 2\r\n", .missing),
      ("PROXY TCP4 192.0.2.1 192.0.2.2 123 5678\n", .malformedLine),
      ("PROXY TCP4 192.0.2.1 192.0.2.2 123\r\n", .malformedLine),
      ("PROXY TCP4 192.0.2.1 192.0.2.2 123 5678 9\r\n", .malformedLine),
      ("PROXY TCP4 192.0.2.1 192.0.2.2 123 5678 \r\n", .malformedLine),
      ("PROXY TCP4  192.0.2.1 192.0.2.2 123 5678\r\n", .malformedLine),
      ("PROXY TCP4 192.0.2.1 192.0.2.2 123 65536\r\n", .malformedLine),
      ("PROXY TCP4 192.0.2.1 192.0.2.2 -1 1\r\n", .malformedLine),
      ("PROXY TCP4 192.0.2.256 192.0.2.2 1 1\r\n", .malformedLine),
      ("PROXY TCP4 2001:db8::1 2001:db8::2 1 1\r\n", .malformedLine),
      ("PROXY TCP6 192.0.2.1 192.0.2.2 1 1\r\n", .malformedLine),
      ("PROXY TCP6 2001:db8::1 192.0.2.2 1 1\r\n", .malformedLine),
      ("PROXY UDP4 192.0.2.1 192.0.2.2 1 1\r\n", .malformedLine),
      ("PROXY \r\n", .malformedLine), ("PROXY UNKNOWN\u{0}\n", .malformedLine),
    ] as [(String, ProxyHeaderError)])
  func refusesLines(_ line: String, _ error: ProxyHeaderError) {
    let input = line.latin1
    for lengths in feedings(input.count) {
      #expect(parse(input, at: lengths).progress == .failed(error))
    }
  }

  @Test func aLineHasAtMost107Bytes() {
    for count in [107, 108] {
      let line = "PROXY UNKNOWN" + String(repeating: "x", count: count - 15)
      // "UNKNOWNx" is no word; "UNKNOWN x" is.
      let text = line.replacing("UNKNOWNx", with: "UNKNOWN ") + "\r\n"
      let input = text.latin1
      #expect(input.count == count)
      for lengths in feedings(count) {
        if case .complete = parse(input, at: lengths).progress {
          #expect(count == 107)
        } else {
          #expect(count == 108)
        }
      }
    }
  }

  @Test func readsBinaryHeaders() {
    let six: [UInt8] = [0x20, 1, 0xd, 0xb8] + [UInt8](repeating: 0, count: 11) + [1]
    let cases: [([UInt8], String?, String?, Int)] = [
      (binary(0x21, 0x11, four), "192.0.2.1:123", "192.0.2.2:5678", 0),
      (binary(0x21, 0x21, six + six + [0, 1, 1, 0]), "[2001:db8::1]:1", "[2001:db8::1]:256", 0),
      (
        binary(0x21, 0x11, four + [UInt8](repeating: 0, count: 9)), "192.0.2.1:123",
        "192.0.2.2:5678", 9
      ),
      (binary(0x20, 0x11, four), nil, nil, 0),  // LOCAL
      (binary(0x20, 0x00, []), nil, nil, 0), (binary(0x21, 0x00, []), nil, nil, 0),
      (binary(0x21, 0x12, four), nil, nil, 0),  // UDP
      (binary(0x21, 0x31, [UInt8](repeating: 1, count: 216)), nil, nil, 0),  // Unix
      (binary(0x21, 0x41, [1, 2, 3, 4]), nil, nil, 0), (binary(0x21, 0x01, []), nil, nil, 0),
    ]
    for (input, source, destination, fieldBytes) in cases {
      for lengths in feedings(input.count + 3) {
        let outcome = parse(input + [1, 2, 3], at: lengths)
        guard case .complete(let header) = outcome.progress else {
          Issue.record("\(input): \(outcome)")
          continue
        }
        #expect(header.length == input.count)
        #expect(header.source == source.flatMap { endpoint($0) })
        #expect(header.destination == destination.flatMap { endpoint($0) })
        #expect(outcome.fields.count == fieldBytes)
      }
    }
  }

  @Test(
    arguments: [
      (binary(0x11, 0x11, four), .malformedHeader), (binary(0x22, 0x11, four), .malformedHeader),
      (binary(0x21, 0x11, Array(four.dropLast())), .shortAddresses),
      (binary(0x21, 0x21, four), .shortAddresses),
      (binary(0x21, 0x11, four + [1]), .malformedFields),
      (binary(0x21, 0x11, four + [1, 0, 2, 0]), .malformedFields),
      (binary(0x21, 0x11, four + field(0x20, [1, 0, 0, 0])), .malformedFields),
      (binary(0x21, 0x11, four + field(0x20, [1, 0, 0, 0, 0, 0x21, 0, 9])), .malformedFields),
      (signature + [0x21, 0x11, 0x0f, 0xf1], .tooLong),
      (signature + [0x20, 0xff, 0xff, 0xff], .tooLong),
    ] as [([UInt8], ProxyHeaderError)])
  func refusesBinaryHeaders(_ input: [UInt8], _ error: ProxyHeaderError) {
    for lengths in [[input.count], Array(0...input.count)] {
      #expect(parse(input, at: lengths).progress == .failed(error))
    }
  }

  @Test func findsFieldsByNameAndNumber() throws {
    let ssl = [1, 0, 0, 0, 255] + field(0x21, "TLSv1.2".latin1) + field(0x22, "example.com".latin1)
    let all =
      field(0x01, "h2".latin1) + field(0x05, [0, 255]) + field(0x20, ssl) + field(0xea, "x".latin1)
      + field(0x01, "second".latin1)
    let fields = parse(binary(0x21, 0x11, four + all), at: [16 + 12 + all.count]).fields
    #expect(fields == all)
    func value(_ name: String) throws -> String? {
      let wanted = try #require(ProxyField(name: name))
      return fields.withBytes { wanted.value(in: $0)?.string }
    }
    #expect(try value("alpn") == "h2")
    #expect(try value("0x1") == "h2")
    #expect(try value("0x00001") == "h2")
    #expect(try value("authority") == nil)
    #expect(try value("ssl_version") == "TLSv1.2")
    #expect(try value("ssl_0x22") == "example.com")
    #expect(try value("ssl_cipher") == nil)
    #expect(try value("0xEA") == "x")
    #expect(fields.withBytes { ProxyField.verifyResult(in: $0) } == 255)
    #expect(Bytes().isEmpty && ProxyField.verifyResult(in: Bytes()) == nil)
    for name in ["", "cn", "0x", "0x100", "0x+1", "1", "ssl_", "ssl_1", "ssl_ssl", "ssl_0xg"] {
      #expect(ProxyField(name: name) == nil, "\(name)")
    }
  }
}
