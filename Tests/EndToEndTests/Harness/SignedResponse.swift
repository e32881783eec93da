// OCSP responses of another time than that of the test: openssl makes none, so they are made of
// what it makes, and signed again.

import Foundation
import Testing

/// An OCSP response whose times can be changed (RFC 6960 §4.2.1): outer SEQUENCE, status, [0],
/// SEQUENCE, name, OCTET STRING, SEQUENCE, then what is signed, the algorithm, the signature.
struct SignedResponse {
  private(set) var bytes: [UInt8]
  private let body: Range<Int>
  private let signature: Range<Int>

  init(_ bytes: [UInt8]) {
    self.bytes = bytes
    func inside(_ at: Int) -> Range<Int> {
      let first = Int(bytes[at + 1])
      let more = first < 128 ? 0 : first & 127
      let count = more == 0 ? first : bytes[at + 2..<at + 2 + more].reduce(0) { $0 << 8 | Int($1) }
      return at + 2 + more..<at + 2 + more + count
    }
    let status = inside(inside(0).lowerBound)
    let name = inside(inside(inside(status.upperBound).lowerBound).lowerBound)
    let start = inside(inside(name.upperBound).lowerBound).lowerBound
    body = start..<inside(start).upperBound
    signature =
      inside(inside(body.upperBound).upperBound).dropFirst(1)
      .startIndex..<inside(inside(body.upperBound).upperBound).upperBound
  }

  /// What is signed.
  var signed: [UInt8] { Array(bytes[body]) }

  /// Puts times, in seconds from now, in the place of thisUpdate and nextUpdate.
  mutating func setTimes(this: Int, next: Int?) throws {
    // GeneralizedTime of fifteen bytes: producedAt, thisUpdate, nextUpdate.
    let places = body.dropLast(16).filter { bytes[$0] == 0x18 && bytes[$0 + 1] == 15 }
    #expect(places.count == (next == nil ? 2 : 3))
    let format = DateFormatter()
    format.dateFormat = "yyyyMMddHHmmss'Z'"
    format.timeZone = TimeZone(identifier: "UTC")
    format.locale = Locale(identifier: "en_US_POSIX")
    for (place, seconds) in zip(places.dropFirst(), [this, next ?? 0]) {
      let text = format.string(from: Date(timeIntervalSinceNow: Double(seconds)))
      bytes.replaceSubrange(place + 2..<place + 17, with: text.utf8)
    }
  }

  /// Whether the new signature fits into the place of the old one, where it is then.
  mutating func sign(_ new: [UInt8]) -> Bool {
    guard new.count == signature.count else { return false }
    bytes.replaceSubrange(signature, with: new)
    return true
  }
}
