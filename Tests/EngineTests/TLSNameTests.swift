// Choosing a context by server name: certificates, versions, settings and refusals go with the
// name.

import COpenSSL
import HTTP
import Testing

@testable import Engine

/// Resolves names by a table, and notes what it was asked.
final class TableResolver: TLSNameResolver {
  var choices: [String: TLSNameChoice] = [:]
  var asked: [String?] = []

  override func context(for name: Bytes?, session: TLSSession) -> TLSNameChoice {
    let text = name.map { name in
      String(decoding: (0..<name.count).map { name[$0] }, as: UTF8.self)
    }
    asked.append(text)
    return choices[text ?? ""] ?? .keep
  }
}

@Suite struct TLSNameTests {
  let library = TLSLibrary()
  let keys = TLSTicketKeys()
  let resolver = TableResolver()

  func server(
    _ certificate: TestCertificate = TestPKI.one,
    _ change: (inout TLSServerPolicy) -> Void = { _ in }
  ) throws -> TLSServerContext {
    var policy = TLSServerPolicy(certificates: [certificate.source()])
    change(&policy)
    return try TLSServerContext(policy: policy, library: library, ticketKeys: keys)
  }

  func client(_ change: (inout TLSClientOptions) -> Void = { _ in }) throws -> TLSClientContext {
    var options = TLSClientOptions(verify: true, trustedPEM: TestPKI.ca.certificatePEM)
    change(&options)
    return try TLSClientContext(library: library, options: options)
  }

  @Test(arguments: [TLSProtocols.tls12, .tls13])
  func theNameChoosesTheCertificate(version: TLSProtocols) throws {
    resolver.choices["two.example"] = .use(try server(TestPKI.two))
    let context = try server()
    let client = try client { $0.protocols = version }
    for name in ["one.example", "two.example"] {
      let pair = TLSPair(context, client, name: name, verifyName: name, resolver: resolver)
      pair.connect()
      #expect(pair.client.verifyResult == 0)
    }
    #expect(resolver.asked == ["one.example", "two.example"])
  }

  /// RFC 6066 §3: a server that goes by the name says so.
  @Test(arguments: [TLSProtocols.tls12, .tls13])
  func acknowledgesTheName(version: TLSProtocols) throws {
    resolver.choices["two.example"] = .use(try server(TestPKI.two))
    let (context, client) = (try server(), try client { $0.protocols = version })
    for name in ["one.example", "two.example"] {
      let pair = TLSPair(context, client, name: name, verifyName: name, resolver: resolver)
      pair.connect()
      // OpenSSL's client keeps a name with its session only when the server has acknowledged it.
      let kept = unsafe SSL_SESSION_get0_hostname(SSL_get_session(pair.client.ssl))
      #expect(unsafe kept.map { unsafe String(cString: $0) } == name)
    }
  }

  @Test func handsOverTheNameInLowerCaseWithoutItsDot() throws {
    let pair = TLSPair(
      try server(), try client(), name: "One.EXAMPLE.", verifyName: "one.example",
      resolver: resolver)
    pair.connect()
    #expect(resolver.asked == ["one.example"])
    #expect(pair.server.serverName.count == "one.example".count)
  }

  @Test func asksOnceWhenTheClientHasToSayHelloAgain() throws {
    let context = try server { $0.ecdhCurve = "P-384" }
    let pair = TLSPair(
      context, try client(), name: "one.example", verifyName: "one.example", resolver: resolver)
    pair.connect()
    #expect(resolver.asked == ["one.example"])
    let curve = pair.server.curve
    #expect(String(decoding: (0..<curve.count).map { curve[$0] }, as: UTF8.self) == "secp384r1")
  }

  @Test func asksForTheNamelessToo() throws {
    let pair = TLSPair(
      try server(), try client { $0.verify = false }, resolver: resolver)
    pair.connect()
    #expect(resolver.asked == [nil])
    #expect(pair.server.serverName.isEmpty)
  }

  @Test func theVersionGoesWithTheName() throws {
    let old = try server { $0.protocols = .tls12 }
    let new = try server(TestPKI.two) { $0.protocols = .tls13 }
    resolver.choices = ["one.example": .use(old), "two.example": .use(new)]
    for context in [old, new] {
      for (name, protocolName) in [("one.example", "TLSv1.2"), ("two.example", "TLSv1.3")] {
        let pair = TLSPair(context, try client(), name: name, verifyName: name, resolver: resolver)
        pair.connect()
        let chosen = pair.server.protocolName
        #expect(
          String(decoding: (0..<chosen.count).map { chosen[$0] }, as: UTF8.self) == protocolName)
      }
    }
  }

  @Test func ciphersCurvesAndAskingForCertificatesGoWithTheName() throws {
    resolver.choices["two.example"] = .use(
      try server(TestPKI.two) {
        $0.cipherSuites = "TLS_CHACHA20_POLY1305_SHA256"
        $0.ecdhCurve = "P-521"
        $0.verifyClient = .on
        $0.clientCAPEM = TestPKI.ca.certificatePEM
        $0.alpn = ["h2"]
      })
    let client = try client {
      $0.certificates = [TestPKI.client.source()]
      $0.alpn = ["h2"]
    }
    let context = try server()
    let one = TLSPair(
      context, client, name: "one.example", verifyName: "one.example", resolver: resolver)
    one.connect()
    #expect(!one.server.hasPeerCertificate)
    #expect(one.server.alpnProtocol.isEmpty)
    let two = TLSPair(
      context, client, name: "two.example", verifyName: "two.example", resolver: resolver)
    two.connect()
    #expect(two.server.hasPeerCertificate)
    #expect(two.server.alpnProtocol.count == 2)
    let (cipher, curve) = (two.server.cipherName, two.server.curve)
    #expect(
      String(decoding: (0..<cipher.count).map { cipher[$0] }, as: UTF8.self)
        == "TLS_CHACHA20_POLY1305_SHA256")
    #expect(String(decoding: (0..<curve.count).map { curve[$0] }, as: UTF8.self) == "secp521r1")
  }

  @Test(arguments: [TLSProtocols.tls12, .tls13])
  func refusesNamesWithTheAlertForThem(version: TLSProtocols) throws {
    resolver.choices = ["bad.example": .reject, "broken.example": .fail]
    let client = try client { $0.protocols = version }
    for (name, reason) in [
      ("bad.example", "unrecognized name"), ("broken.example", "internal error"),
    ] {
      let pair = TLSPair(try server(), client, name: name, verifyName: name, resolver: resolver)
      let result = pair.handshake()
      #expect(result.client.failure?.reason.contains(reason) == true)
      #expect(result.server.failure?.isRejected == (name == "bad.example"))
    }
  }

  @Test func aPolicyThatRejectsNeedsNoCertificate() throws {
    let rejecting = try TLSServerContext(
      policy: TLSServerPolicy(rejectHandshake: true), library: library, ticketKeys: keys)
    resolver.choices["one.example"] = .use(try server())
    let unknown = TLSPair(rejecting, try client { $0.verify = false }, resolver: resolver)
    #expect(unknown.handshake().client.failure?.reason.contains("unrecognized name") == true)
    let known = TLSPair(
      rejecting, try client(), name: "one.example", verifyName: "one.example", resolver: resolver)
    known.connect()
  }

  @Test func readsServerNameExtensions() {
    let good: [UInt8] = [0, 6, 0, 0, 3] + Array("abc".utf8)
    for count in 0..<good.count {
      guard case .malformed = parse(Array(good[..<count])) else {
        Issue.record("\(count) bytes of a server name were accepted")
        return
      }
    }
    guard case .name(let name) = parse(good) else {
      Issue.record("refused")
      return
    }
    #expect(name.count == 3)
    guard case .malformed = parse(good + [0]),
      case .malformed = parse([0, 6, 1, 0, 3, 97, 97, 97]),
      case .malformed = parse([0, 3, 0, 0, 0]),
      case .unacceptable = parse([0, 6, 0, 0, 3, 97, 0, 97])
    else {
      Issue.record("a bad server name was accepted")
      return
    }
  }

  private func parse(_ bytes: [UInt8]) -> ServerNameExtension {
    let copy = UnsafeMutablePointer<UInt8>.allocate(capacity: max(bytes.count, 1))
    unsafe copy.update(from: bytes, count: bytes.count)
    return unsafe parseServerName(Bytes(base: copy, count: bytes.count))
  }
}
