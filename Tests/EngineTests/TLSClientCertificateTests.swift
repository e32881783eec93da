// Certificates of clients: asking for them, judging them, and telling the application about them;
// and of upstream servers: refusing them.

import COpenSSL
import HTTP
import Testing

@testable import Engine

@Suite struct TLSClientCertificateTests {
  let library = TLSLibrary()
  let keys = TLSTicketKeys()

  func session(
    _ verify: TLSClientVerification, showing certificate: TestCertificate?,
    version: TLSProtocols = .tls13, _ change: (inout TLSServerPolicy) -> Void = { _ in }
  ) throws -> TLSPair {
    var policy = TLSServerPolicy(
      certificates: [TestPKI.one.source()], clientCAPEM: TestPKI.ca.certificatePEM,
      verifyClient: verify)
    change(&policy)
    let options = TLSClientOptions(
      certificates: certificate.map { [$0.source()] } ?? [], protocols: version)
    let pair = TLSPair(
      try TLSServerContext(policy: policy, library: library, ticketKeys: keys),
      try TLSClientContext(library: library, options: options))
    pair.connect()
    return pair
  }

  @Test(arguments: [TLSProtocols.tls12, .tls13])
  func judgesWhatTheClientShows(version: TLSProtocols) throws {
    let rows: [(TLSClientVerification, TestCertificate?, String, TLSSession.ClientVerdict)] = [
      (.off, TestPKI.client, "NONE", .accepted),
      (.on, nil, "NONE", .missing),
      (.on, TestPKI.client, "SUCCESS", .accepted),
      (.on, TestPKI.stranger, "FAILED:self-signed certificate", .refused),
      (.optional, nil, "NONE", .accepted),
      (.optional, TestPKI.client, "SUCCESS", .accepted),
      (.optional, TestPKI.stranger, "FAILED:self-signed certificate", .refused),
      (.optionalNoCA, nil, "NONE", .accepted),
      (.optionalNoCA, TestPKI.stranger, "FAILED:self-signed certificate", .accepted),
    ]
    for (verify, certificate, text, verdict) in rows {
      let pair = try session(verify, showing: certificate, version: version)
      #expect(String(decoding: pair.server.clientVerify, as: UTF8.self) == text)
      #expect(pair.server.clientVerdict == verdict)
    }
  }

  @Test func anExpiredCertificateIsRefusedEvenWithoutCA() throws {
    let expired = TestCertificate("late", issuer: TestPKI.ca, from: -7200, to: -3600)
    let pair = try session(.optionalNoCA, showing: expired)
    #expect(pair.server.clientVerdict == .refused)
    #expect(pair.server.verifyResultText == "certificate has expired")
  }

  @Test func trustsWithoutNamingTheCA() throws {
    let pair = try session(.on, showing: TestPKI.client) {
      $0.trustedPEM = TestPKI.ca.certificatePEM
      $0.clientCAPEM = TestPKI.stranger.certificatePEM + TestPKI.stranger.certificatePEM
    }
    #expect(pair.server.clientVerdict == .accepted)
    let names = unsafe SSL_get_client_CA_list(pair.client.ssl)
    #expect(unsafe portico_name_count(names) == 1)
  }

  @Test func describesTheCertificate() throws {
    let certificate = try #require(try session(.on, showing: TestPKI.client).server.peerCertificate)
    #expect(certificate.pem == TestPKI.client.certificatePEM)
    #expect(String(decoding: certificate.subject, as: UTF8.self) == "CN=client")
    #expect(String(decoding: certificate.issuer, as: UTF8.self) == "CN=Test CA")
    #expect(certificate.fingerprint.count == 40)
    #expect(!certificate.serial.isEmpty)
    #expect(String(decoding: certificate.validUntil, as: UTF8.self).hasSuffix(" GMT"))
    #expect(!certificate.validFrom.isEmpty)
    let escaped = String(decoding: certificate.escapedPEM, as: UTF8.self)
    #expect(escaped.hasPrefix("-----BEGIN%20CERTIFICATE-----%0A"))
    let tabbed = String(decoding: certificate.tabbedPEM, as: UTF8.self)
    #expect(tabbed.hasPrefix("-----BEGIN CERTIFICATE-----\n\tMII"))
    #expect(tabbed.hasSuffix("\n\t-----END CERTIFICATE-----"))
    let now = portico_unix_seconds()
    #expect((29...30).contains(certificate.remainingDays(now: now)))
    #expect(certificate.remainingDays(now: now + 31 * 86_400) == 0)
  }

  @Test func aResumedSessionRemembersTheCertificate() throws {
    let policy = TLSServerPolicy(
      certificates: [TestPKI.one.source()], clientCAPEM: TestPKI.ca.certificatePEM,
      verifyClient: .on)
    let context = try TLSServerContext(policy: policy, library: library, ticketKeys: keys)
    for version in [TLSProtocols.tls12, .tls13] {
      let client = try TLSClientContext(
        library: library,
        options: TLSClientOptions(certificates: [TestPKI.client.source()], protocols: version))
      let first = TLSPair(context, client)
      first.connect()
      let second = TLSPair(context, client, resuming: first.client.resumption)
      second.connect()
      #expect(second.server.isResumed)
      #expect(second.server.clientVerdict == .accepted)
      #expect(try #require(second.server.peerCertificate).pem == TestPKI.client.certificatePEM)
    }
  }

  @Test func refusesUpstreamServersWithTheReason() throws {
    let late = TestCertificate("one.example", issuer: TestPKI.ca, from: -7200, to: -3600)
    let rows: [(TestCertificate, String, String?)] = [
      (TestPKI.one, "one.example", nil),
      (TestPKI.one, "two.example", "certificate refused: hostname mismatch"),
      (TestPKI.one, "192.0.2.1", "certificate refused: IP address mismatch"),
      (TestPKI.stranger, "stranger", "certificate refused: self-signed certificate"),
      (late, "one.example", "certificate refused: certificate has expired"),
    ]
    let client = try TLSClientContext(
      library: library,
      options: TLSClientOptions(verify: true, trustedPEM: TestPKI.ca.certificatePEM))
    for (certificate, name, reason) in rows {
      let context = try TLSServerContext(
        policy: TLSServerPolicy(certificates: [certificate.source()]), library: library,
        ticketKeys: keys)
      let result = TLSPair(context, client, verifyName: name).handshake()
      #expect(result.client.failure?.reason == reason)
      #expect((result.server.failure == nil) == (reason == nil))
    }
  }

  @Test func verifyingNeedsATrustedCA() {
    #expect(throws: TLSConfigurationError.self) {
      try TLSClientContext(library: library, options: TLSClientOptions(verify: true))
    }
  }
}
