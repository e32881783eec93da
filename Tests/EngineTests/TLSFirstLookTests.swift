// The first look at certificates: it is sure of the plain forms, and never surer than OpenSSL.

import COpenSSL
import HTTP
import Testing

@testable import Engine

@Suite struct TLSFirstLookTests {
  let library = TLSLibrary()
  let now = portico_unix_seconds()

  static let keyIdentifiers = [
    (NID_subject_key_identifier, "hash"), (NID_authority_key_identifier, "keyid:always"),
  ]
  static let authority = TestCertificate(
    "Authority", isCA: true,
    extensions: [(NID_subject_key_identifier, "hash"), (NID_key_usage, "keyCertSign,cRLSign")])
  static let leaf = TestCertificate("leaf.example", issuer: authority, extensions: keyIdentifiers)

  private func isSound(_ source: TLSCertificateSource) -> Bool {
    TLSFirstLook.isSound(source, now: now)
  }

  private func problems(_ source: TLSCertificateSource) -> [TLSProblem] {
    TLSCheck.certificate(source, now: now, library: library)
  }

  @Test(arguments: [TestCertificate.KeyKind.p256, .p384, .rsa2048])
  func isSureOfPlainPairs(kind: TestCertificate.KeyKind) {
    let leaf = TestCertificate(
      "leaf.example", kind: kind, issuer: Self.authority, extensions: Self.keyIdentifiers)
    var source = leaf.source(chain: [Self.authority])
    #expect(isSound(source))
    source.keyPEM = leaf.traditionalKeyPEM
    #expect(isSound(source))
    // A file for both, comments, and line ends of other systems.
    source.keyPEM = Array("# the key\n".utf8) + source.certificatePEM + source.keyPEM
    source.certificatePEM = source.keyPEM.flatMap { $0 == 0x0A ? [0x0D, 0x0A] : [$0] }
    #expect(isSound(source))
    #expect(problems(source).isEmpty)
  }

  @Test func takesTheParametersBeforeACurveKey() {
    var source = Self.leaf.source()
    let parameters =
      "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    source.keyPEM = Array(parameters.utf8) + Self.leaf.traditionalKeyPEM
    #expect(isSound(source))
    #expect(problems(source).isEmpty)
  }

  @Test func leavesEverythingElseToOpenSSL() {
    let middle = TestCertificate("Middle", issuer: Self.authority, isCA: true)
    let namesake = TestCertificate(
      "Authority", isCA: true, extensions: [(NID_subject_key_identifier, "hash")])
    let noSigner = TestCertificate(
      "Authority", isCA: true, extensions: [(NID_key_usage, "cRLSign")])
    var encrypted = Self.leaf.source()
    encrypted.keyPEM = Self.leaf.keyPEM(password: "secret")
    encrypted.passwords = [Array("secret".utf8)]
    var trailing = Self.leaf.source()
    trailing.certificatePEM += Array("-----BEGIN CERTIFICATE-----\nAAAA\n".utf8)
    let doubtful: [(String, TLSCertificateSource)] = [
      ("another's key", Self.leaf.source(key: TestPKI.two)),
      ("another kind's key", Self.leaf.source(key: TestPKI.rsa)),
      ("RSA with another's key", TestPKI.rsa.source(key: TestCertificate("x", kind: .rsa2048))),
      ("expired", TestCertificate("old", from: -86_400, to: -60).source()),
      ("not yet valid", TestCertificate("early", from: 60, to: 86_400).source()),
      ("weak", TestCertificate("weak", kind: .rsa1024).source()),
      ("Ed25519", TestCertificate("edwards", kind: .ed25519).source()),
      ("encrypted", encrypted),
      ("wrong order", Self.leaf.source(chain: [middle, Self.authority])),
      ("issuer's namesake", Self.leaf.source(chain: [namesake])),
      ("issuer must not sign", TestCertificate("a", issuer: noSigner).source(chain: [noSigner])),
      (
        "expired issuer",
        Self.leaf.source(chain: [TestCertificate("Authority", to: -60, isCA: true)])
      ),
      (
        "no certificate",
        TLSCertificateSource(certificatePEM: [], keyPEM: [], certificatePath: "", keyPath: "")
      ),
      ("broken chain", trailing),
    ]
    for (what, source) in doubtful { #expect(!isSound(source), "\(what)") }
  }

  @Test func isSureOfNoPartOfAPair() {
    let source = Self.leaf.source(chain: [Self.authority])
    for count in 0..<source.certificatePEM.count {
      var part = source
      part.certificatePEM = Array(source.certificatePEM.prefix(count))
      // Before a second block begins, and without the last line end, it is whole.
      let first = Self.leaf.certificatePEM.count
      let isWhole =
        (first - 1..<first + 10).contains(count) || count == source.certificatePEM.count - 1
      #expect(isSound(part) == isWhole, "\(count) bytes of the certificate")
    }
    for count in 0..<(source.keyPEM.count - 1) {
      var part = source
      part.keyPEM = Array(source.keyPEM.prefix(count))
      #expect(!isSound(part), "\(count) bytes of the key")
    }
  }

  /// Whatever byte is wrong: what OpenSSL can't use is not sound.
  @Test func isNeverSurerThanOpenSSL() {
    let source = Self.leaf.source()
    var soundCount = 0
    for index in source.certificatePEM.indices {
      var changed = source
      changed.certificatePEM[index] ^= UInt8(1 << (index % 7))
      if isSound(changed) {
        soundCount += 1
        #expect(problems(changed).isEmpty, "byte \(index) of the certificates")
      }
    }
    for index in source.keyPEM.indices {
      var changed = source
      changed.keyPEM[index] ^= UInt8(1 << (index % 7))
      if isSound(changed) { #expect(problems(changed).isEmpty, "byte \(index) of the key") }
    }
    // Names, serial numbers and signatures may be anything.
    #expect(soundCount > 100)
  }

  /// Dates that aren't dates among them.
  @Test func explainsWhateverIsWrong() {
    let source = Self.leaf.source()
    for index in source.certificatePEM.indices {
      for bit in [3, 4] {
        var changed = source
        changed.certificatePEM[index] ^= UInt8(1 << bit)
        if !isSound(changed) { _ = problems(changed) }
      }
    }
  }

  @Test func readsDERWholeAndCutAtEachByte() {
    let der: [UInt8] = [0x30, 0x0A, 0x02, 0x01, 0x07, 0x04, 0x82] + [0x01, 0x00]
    #expect(!der.withBytes { $0.isWellFormedDER })
    let good: [UInt8] =
      [0x30, 0x81, 0x84, 0x02, 0x01, 0x07, 0x04, 0x7F] + [UInt8](repeating: 9, count: 127)
    good.withBytes { bytes in
      var reader = DERReader(bytes)
      var inner = reader.enter()
      #expect(reader.isAtEnd)
      #expect(inner?.next(DERTag.bitString) == nil)
      #expect(inner?.next(DERTag.integer) == Bytes("\u{7}"))
      #expect(inner?.next(DERTag.octetString)?.count == 127)
      #expect(inner?.isAtEnd == true && inner?.next() == nil)
    }
    #expect(good.count == 135)
    for count in 1..<good.count {
      #expect(!Array(good.prefix(count)).withBytes { $0.isWellFormedDER }, "\(count)")
    }
    let refused: [[UInt8]] = [
      [0x30, 0x80, 0, 0],  // of indefinite length
      [0x04, 0x81, 0x01, 9],  // longer than it need be
      [0x04, 0x82, 0x00, 0x81] + [UInt8](repeating: 9, count: 129),  // the same
      [0x1F, 0x81, 0x01, 0x00],  // a tag of several bytes
      [0x04, 0x85, 1, 0, 0, 0, 0], [0x04, 0x84, 0xFF, 0xFF, 0xFF, 0xFF],
    ]
    for bytes in refused { #expect(!bytes.withBytes { $0.isWellFormedDER }, "\(bytes)") }
    var deep: [UInt8] = []
    for _ in 0..<60 { deep = [0x30, UInt8(deep.count)] + deep }
    #expect(!deep.withBytes { $0.isWellFormedDER })
  }
}
