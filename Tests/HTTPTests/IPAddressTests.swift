// IP addresses, endpoints and networks out of text; inet_pton is the judge.

import Foundation
import HTTP
import Testing

/// The bytes of an address by the C library, or nil.
private func reference(_ text: String) -> [UInt8]? {
  var bytes = [UInt8](repeating: 0, count: 16)
  if text.contains("\0") { return nil }
  if inet_pton(AF_INET, text, &bytes) == 1 { return Array(bytes.prefix(4)) }
  return inet_pton(AF_INET6, text, &bytes) == 1 ? bytes : nil
}

private func parsed(_ text: String) -> [UInt8]? {
  text.withBytes { bytes in
    IPAddress(bytes).map { address in (0..<address.byteCount).map { address.byte($0) } }
  }
}

@Suite struct IPAddressTests {
  @Test(arguments: [
    "0.0.0.0", "192.0.2.1", "255.255.255.255", "256.1.1.1", "1.2.3", "1.2.3.4.5", "1.2.3.",
    ".1.2.3",
    "1..2.3", "01.2.3.4", "1.2.3.04", "1.2.3.4 ", "", "a", "0x1.2.3.4", "1.2.3.1000", "-1.2.3.4",
    "::", "::1", "1::", "2001:db8::1", "2001:DB8:0:0:8:800:200C:417A", "1:2:3:4:5:6:7:8",
    "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1::3:4:5:6:7:8",
    ":", ":::", "1:::2", "1::2::3", "1:", ":1", "12345::", "g::", "::ffff:192.0.2.1", "::192.0.2.1",
    "1:2:3:4:5:6:192.0.2.1", "1:2:3:4:5:6:7:192.0.2.1", "::192.0.2", "192.0.2.1::", "::1.2.3.4:5",
    "fe80::1%eth0", "[::1]", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
  ])
  func readsWhatTheCLibraryReads(_ text: String) { #expect(parsed(text) == reference(text)) }

  @Test func agreesWithTheCLibraryOnWhatIsAlmostAnAddress() {
    var generator = SystemRandomNumberGenerator()
    let alphabet = Array("0123456789abcdef::::....%[")
    for _ in 0..<20_000 {
      let text = String(
        (0..<Int.random(in: 0...12, using: &generator)).map { _ in
          alphabet.randomElement(using: &generator)!
        })
      #expect(parsed(text) == reference(text), "\(text)")
    }
  }

  @Test(
    arguments: [
      ("10.0.0.1", "10.0.0.1", 0), ("10.0.0.1:80", "10.0.0.1", 80), ("::1", "::1", 0),
      ("[::1]", "::1", 0), ("[2001:db8::1]:65535", "2001:db8::1", 65535),
      ("10.0.0.1:0", "10.0.0.1", 0),
    ] as [(String, String, UInt16)])
  func readsEndpoints(_ text: String, _ address: String, _ port: UInt16) {
    text.withBytes { bytes in
      let endpoint = IPEndpoint(bytes)
      #expect(endpoint?.port == port)
      #expect(endpoint.map { $0.address } == address.withBytes { IPAddress($0) })
    }
  }

  @Test(arguments: [
    "", ":80", "10.0.0.1:", "10.0.0.1:65536", "10.0.0.1:8a", "[::1", "[::1]80", "[::1]:",
    "[10.0.0.1]",
    "[10.0.0.1]:80", "10.0.0.1:80:90", "name", "name:80", "[]",
  ])
  func refusesWhatIsNoEndpoint(_ text: String) { text.withBytes { #expect(IPEndpoint($0) == nil) } }

  @Test(arguments: [
    ("10.0.0.0/8", "10.255.0.1", true), ("10.0.0.0/8", "11.0.0.1", false),
    ("10.1.2.3/8", "10.9.9.9", true),
    ("0.0.0.0/0", "192.0.2.1", true), ("0.0.0.0/0", "2001:db8::1", false),
    ("::/0", "2001:db8::1", true),
    ("::/0", "192.0.2.1", false), ("192.0.2.1", "192.0.2.1", true),
    ("192.0.2.1", "192.0.2.2", false),
    ("192.0.2.1/32", "::ffff:192.0.2.1", true), ("::ffff:192.0.2.0/120", "192.0.2.9", true),
    ("2001:db8::/33", "2001:db8:7fff::1", true), ("2001:db8::/33", "2001:db8:8000::1", false),
    ("2001:db8::/64", "2001:db8::ffff:0:0:1", true),
    ("2001:db8::/65", "2001:db8:0:0:8000::", false),
    ("2001:db8::1/128", "2001:db8::1", true), ("2001:db8::1/128", "2001:db8::2", false),
  ])
  func holdsAddressesAgainstNetworks(_ network: String, _ address: String, _ isInside: Bool) throws
  {
    let network = try #require(network.withBytes { IPNetwork($0) })
    let address = try #require(address.withBytes { IPAddress($0) })
    #expect(network.contains(address) == isInside)
  }

  @Test(arguments: [
    "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8x", "/8", "a/8",
    "10.0.0.0/0008",
  ])
  func refusesWhatIsNoNetwork(_ text: String) { text.withBytes { #expect(IPNetwork($0) == nil) } }
}
