// What a look at certificates on disk costs when many were renewed at once.

import Foundation
import Testing

@testable import Engine

@Suite struct CertificateLookTests {
  private let now = Int(Date().timeIntervalSince1970)

  /// OpenSSL judges the doubtful ones, all in one library, and none of those that are plainly
  /// sound. An expired pair takes nobody's place.
  @Test(arguments: [
    ("sound", TestPKI.one, 0), ("early", TestCertificate("new", from: 7260, to: 86_400), 1),
    ("expired", TestCertificate("old", from: -86_400, to: -60), 1),
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
    let isRefused = name == "expired"
    #expect(findings.renewed.count == (isRefused ? 0 : count))
    #expect(findings.refused.count == (isRefused ? count : 0))
    #expect(findings.warnings.count == (name == "early" ? count : 0))
    #expect(made == libraries)
    let again = watch.look(now: now)
    #expect(again.renewed.isEmpty && again.refused.isEmpty)
  }

  @Test func renewalsGoInPacketsThatAreNotTooLarge() {
    func renewal(_ number: Int, _ byteCount: Int) -> CertificateRenewal {
      CertificateRenewal(
        certificatePath: "\(number).crt", keyPath: "\(number).key",
        certificatePEM: [UInt8](repeating: 1, count: byteCount), keyPEM: [2])
    }
    let all = (0..<50).map { renewal($0, 7_000 + $0) } + [renewal(50, 200_000), renewal(51, 1)]
    let orders = WorkerOrder.renewing(all)
    let parts = orders.compactMap { order -> [CertificateRenewal]? in
      guard case .renew(let part) = order else { return nil }
      return part
    }
    #expect(parts.flatMap { $0 } == all)
    #expect(parts.count == 5)
    for (order, part) in zip(orders, parts) where part.count > 1 {
      #expect(order.encoded().count <= WorkerProcessChannel.packetBytes)
    }
    #expect(WorkerOrder.renewing([]).isEmpty)
  }
}
