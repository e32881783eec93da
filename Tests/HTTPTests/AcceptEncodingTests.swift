// Accept-Encoding (RFC 9110 §12.5.3).

import Testing

@testable import HTTP

@Suite struct AcceptEncodingTests {
  @Test(arguments: [
    (["gzip"], true), (["GZip"], true), (["X-GZIP"], true), (["*"], true), (["br", "gzip"], true),
    (["gzip;q=1.000"], true), (["gzip;Q=0.01"], true), (["gzip \t; q=0.9"], true),
    (["*;q=0, gzip"], true), (["gzip;q=0", "gzip"], true), ([], false), ([""], false),
    (["br"], false),
    ([",,"], false), (["gzip;q=0"], false), (["gzip;q=0."], false), (["gzip;q=0.0"], false),
    (["gzip;q=0.000"], false), (["gzip;q=-1"], false), (["gzip;q="], false), (["gzip;"], false),
    (["gzip;q=0.0001"], false), (["gzip;q=0.x"], false), (["gzip;level=3"], false),
    (["*;q=0"], false), (["*, gzip;q=0"], false), (["gzip", "gzip;q=0"], false), (["gzipp"], false),
    (["gzi"], false), (["x-"], false),
  ])
  func saysWhetherACodingIsAccepted(fields: [String], expected: Bool) {
    var preference = CodingPreference(Bytes("gzip"))
    for var field in fields {
      field.withUTF8 { utf8 in
        guard let base = utf8.baseAddress else { return }
        preference.add(unsafe Bytes(base: base, count: utf8.count))
      }
    }
    #expect(preference.isAccepted == expected)
  }
}
