// What a look at certificates on disk costs when many were renewed at once.

import Foundation
import Testing

@testable import Engine

@Suite struct CertificateLookTests {
  private let now = Int(Date().timeIntervalSince1970)

  /// OpenSSL judges the expired ones, all in one library, and none of those that are plainly sound.
  @Test(arguments: [
    ("sound", TestPKI.one, 0), ("expired", TestCertificate("old", from: -86_400, to: -60), 1),
  ])
  func manyPairsShareALibrary(
    name: String, renewed: TestCertificate, libraries: Int
  ) throws {
    let folder = try TemporaryFolder()
    let count = 100
    var sources: [TLSCertificateSource] = []
    for index in 0..<count {
      var source = TestPKI.two.source()
      source.certificatePath = "\(folder.path)/\(index).crt"
      source.keyPath = "\(folder.path)/\(index).key"
      folder.write(String(decoding: renewed.certificatePEM, as: UTF8.self), to: "\(index).crt")
      folder.write(String(decoding: renewed.keyPEM, as: UTF8.self), to: "\(index).key")
      sources.append(source)
    }
    var watch = CertificateWatch(sources, paths: PlanPaths(prefix: "/", confFolder: "/"))
    var made = 0
    let findings = watch.look(now: now) {
      made += 1
      return TLSLibrary()
    }
    #expect(findings.renewed.count == count && findings.refused.isEmpty)
    #expect(findings.warnings.count == (name == "expired" ? count : 0))
    #expect(made == libraries)
    let again = watch.look(now: now)
    #expect(again.renewed.isEmpty && again.refused.isEmpty)
  }
}
