// What is wrong with certificates, keys and settings, in words; ticket keys; and certificates made
// here.

import COpenSSL
import Testing

@testable import Engine

@Suite struct TLSCheckTests {
  let library = TLSLibrary()
  let now = portico_unix_seconds()

  func check(_ source: TLSCertificateSource) -> [TLSProblem] {
    TLSCheck.certificate(source, now: now, library: library)
  }

  @Test func findsNothingWrongWithAGoodCertificate() {
    #expect(check(TestPKI.one.source(chain: [TestPKI.ca])).isEmpty)
    #expect(check(TestPKI.rsa.source()).isEmpty)
  }

  @Test func saysWhoseKeyItIs() {
    let stranger = check(TestPKI.one.source(key: TestPKI.two))
    #expect(
      stranger == [
        TLSProblem(
          severity: .error,
          message:
            "key \"two.example.key\" does not belong to certificate \"one.example.pem\": name "
            + "the key that the certificate was requested with, or the certificate for this key",
          subject: .key)
      ])
    let swapped = check(TestPKI.ca.source(chain: [TestPKI.one], key: TestPKI.one))
    #expect(swapped[0].severity == .error)
    #expect(
      swapped[0].message.hasSuffix(
        "it belongs to certificate number 2 of the file; put the server's own certificate first"))
    #expect(check(TestPKI.one.source(key: TestPKI.rsa))[0].severity == .error)
  }

  @Test func warnsOfDates() {
    let expired = TestCertificate("old", from: -90 * 86_400, to: -3 * 86_400 - 60)
    #expect(
      check(expired.source()) == [
        TLSProblem(
          severity: .expired, message: "certificate \"old.pem\" expired 3 days ago: renew it",
          subject: .certificate)
      ])
    let early = TestCertificate("new", from: 7260, to: 86_400)
    #expect(check(early.source()).map(\.severity) == [.warning])
    #expect(check(early.source())[0].message.contains("is not valid for another 2 hours"))
    let chain = check(TestPKI.one.source(chain: [expired]))
    #expect(chain.contains { $0.message.hasPrefix("certificate number 2 of \"one.example.pem\"") })
  }

  @Test func warnsOfAChainInTheWrongOrder() {
    let middle = TestCertificate("Middle CA", issuer: TestPKI.ca, isCA: true)
    let leaf = TestCertificate("leaf.example", issuer: middle)
    #expect(check(leaf.source(chain: [middle, TestPKI.ca])).isEmpty)
    let wrong = check(leaf.source(chain: [TestPKI.ca, middle]))
    #expect(wrong.map(\.severity) == [.warning])
    #expect(wrong[0].message.contains("number 2 of \"leaf.example.pem\" did not issue number 1"))
  }

  @Test func warnsOfWeakKeys() {
    let weak = check(TestCertificate("weak", kind: .rsa1024).source())
    #expect(weak.map(\.severity) == [.warning])
    #expect(weak[0].message.contains("weak (1024 bits)"))
  }

  @Test func asksForThePasswordOfAKey() {
    var source = TestPKI.one.source()
    source.keyPEM = TestPKI.one.keyPEM(password: "secret")
    #expect(check(source)[0].message.contains("it is encrypted; name the file with its password"))
    source.passwords = [Array("wrong".utf8), Array("also wrong".utf8)]
    #expect(check(source)[0].message.contains("no password of \"ssl_password_file\" opens it"))
    source.passwords.append(Array("secret".utf8))
    #expect(check(source).isEmpty)
  }

  @Test func saysWhatAFileLacks() {
    var source = TestPKI.one.source()
    source.keyPEM = TestPKI.one.certificatePEM
    #expect(check(source)[0].message.contains("the file holds no private key"))
    source.keyPEM = Array("nothing".utf8)
    #expect(check(source)[0].message.contains("the file holds no private key"))
    source = TestPKI.one.source()
    for empty in [[], Array("nothing".utf8), TestPKI.one.keyPEM] {
      source.certificatePEM = empty
      #expect(check(source)[0].message.contains("certificate \"one.example.pem\""))
      #expect(check(source)[0].severity == .error)
    }
    source = TestPKI.one.source()
    source.certificatePEM = Array(source.certificatePEM.prefix(300)) + source.certificatePEM
    #expect(check(source)[0].message.hasPrefix("cannot load certificate"))
  }

  static let badPolicies: [(String, TLSSubject?, @Sendable (inout TLSServerPolicy) -> Void)] = [
    ("no \"ssl_certificate\"", nil, { $0.certificates = [] }),
    ("no cipher matches \"NONSENSE\"", .ciphers, { $0.ciphers = "NONSENSE" }),
    ("no TLS 1.3 cipher suite matches \"X\"", .ciphers, { $0.cipherSuites = "X" }),
    ("\"P-1\" is not a list of key exchange groups", .curves, { $0.ecdhCurve = "P-1" }),
    (
      "refuses the command \"Nope 1\"", .command(1),
      {
        $0.confCommands = [
          .init(name: "Options", value: "PrioritizeChaCha"), .init(name: "Nope", value: "1"),
        ]
      }
    ),
    ("\"ssl_client_certificate\"", .clientCertificate, { $0.clientCAPEM = [1, 2, 3] }),
    ("\"ssl_crl\"", .crl, { $0.crlPEM = [1, 2, 3] }),
    ("\"ssl_dhparam\"", .dhparam, { $0.dhparamPEM = [1, 2, 3] }),
    ("does not belong", .key, { $0.certificates = [TestPKI.one.source(key: TestPKI.two)] }),
  ]

  @Test func namesTheSettingThatOpenSSLRefuses() {
    for (words, subject, change) in Self.badPolicies {
      var policy = TLSServerPolicy(certificates: [TestPKI.one.source()])
      change(&policy)
      let problem = TLSCheck.policy(policy, library: library)
      #expect(problem?.message.contains(words) == true, "\(problem?.message ?? "none")")
      #expect(problem?.subject == subject, "\(words)")
    }
    let good = TLSServerPolicy(certificates: [TestPKI.one.source()], cipherOrder: .oursButChaCha)
    #expect(TLSCheck.policy(good, library: library) == nil)
  }

  @Test func makesACertificateThatClientsCanCheck() throws {
    let names = ["localhost", "127.0.0.1", "::1"]
    let made = try SelfSigned.make(names: names, library: library)
    let source = TLSCertificateSource(
      certificatePEM: made.certificatePEM, keyPEM: made.keyPEM, certificatePath: "c", keyPath: "k")
    #expect(check(source).isEmpty)
    let server = try TLSServerContext(
      policy: TLSServerPolicy(certificates: [source]), library: library, ticketKeys: TLSTicketKeys()
    )
    let client = try TLSClientContext(
      library: library, options: TLSClientOptions(verify: true, trustedPEM: made.certificatePEM))
    for name in names { TLSPair(server, client, verifyName: name).connect() }
  }
}

@Suite struct TLSTicketKeysTests {
  @Test func rotatesAndForgets() throws {
    let keys = TLSTicketKeys(rotationSeconds: 100)
    let start = portico_monotonic_seconds()
    let first = keys.encryptionKey(now: start)
    #expect(isEqual(keys.encryptionKey(now: start + 98), first))
    let second = keys.encryptionKey(now: start + 101)
    #expect(!isEqual(second, first))
    #expect(find(keys, first, start + 102)?.isNewest == false)
    #expect(find(keys, second, start + 102)?.isNewest == true)
    _ = keys.encryptionKey(now: start + 202)
    #expect(find(keys, first, start + 203) != nil)
    _ = keys.encryptionKey(now: start + 303)
    #expect(find(keys, first, start + 304) == nil)
    #expect(find(keys, second, start + 304) != nil)
    // After a night of silence no old key is good any more.
    _ = keys.encryptionKey(now: start + 5000)
    #expect(find(keys, second, start + 5001) == nil)
  }

  @Test func takesKeysFromFiles() throws {
    let old = [UInt8](repeating: 1, count: 48)
    let new = [UInt8](repeating: 2, count: 80)
    let keys = try TLSTicketKeys(files: [new, old], paths: ["new", "old"])
    let key = keys.encryptionKey(now: .max)
    #expect(key.keyBytes == 32 && key.name.0 == 2)
    let reader = try TLSTicketKeys(files: [old], paths: ["old"])
    let found = try #require(find(keys, reader.encryptionKey(now: 0), 0))
    #expect(found.key.keyBytes == 16 && !found.isNewest)
    try keys.replace(files: [old], paths: ["old"])
    #expect(find(keys, key, 0) == nil)
    #expect(throws: TLSConfigurationError.self) {
      try TLSTicketKeys(files: [[1, 2, 3]], paths: ["short.key"])
    }
  }

  @Test(arguments: [48, 80])
  func ticketsOfFileKeysAreGood(size: Int) throws {
    let library = TLSLibrary()
    let keys = try TLSTicketKeys(files: [[UInt8](repeating: 7, count: size)], paths: ["k"])
    let again = try TLSTicketKeys(files: [[UInt8](repeating: 7, count: size)], paths: ["k"])
    let policy = TLSServerPolicy(certificates: [TestPKI.one.source()])
    let client = try TLSClientContext(library: library, options: TLSClientOptions())
    let first = TLSPair(
      try TLSServerContext(policy: policy, library: library, ticketKeys: keys), client)
    first.connect()
    let second = TLSPair(
      try TLSServerContext(policy: policy, library: library, ticketKeys: again), client,
      resuming: first.client.resumption)
    second.connect()
    #expect(second.server.isResumed)
  }

  private func find(
    _ keys: TLSTicketKeys, _ key: portico_ticket_key, _ now: Int64
  ) -> (key: portico_ticket_key, isNewest: Bool)? {
    var name = [UInt8](repeating: 0, count: 16)
    var key = key
    unsafe portico_ticket_copy_name(&key, &name)
    return unsafe keys.decryptionKey(named: name, now: now)
  }

  private func isEqual(_ one: portico_ticket_key, _ other: portico_ticket_key) -> Bool {
    var (one, name) = (one, [UInt8](repeating: 0, count: 16))
    var other = other
    unsafe portico_ticket_copy_name(&other, &name)
    return unsafe portico_ticket_is_named(&one, name) != 0
  }
}
