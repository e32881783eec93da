// What a look at certificates on disk costs when many were renewed at once.

import Foundation
import Testing

@testable import Engine

@Suite struct CertificateLookTests {
  private let now = Int(Date().timeIntervalSince1970)

  /// What this thread computes in `body`, in nanoseconds: the load of other tests doesn't count.
  private func processorTime(_ body: () -> Void) -> Int {
    func read() -> Int {
      var time = timespec()
      unsafe clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
      return time.tv_sec * 1_000_000_000 + time.tv_nsec
    }
    let start = read()
    body()
    return read() - start
  }

  /// OpenSSL judges the expired ones, all in one library, and none of those that are plainly sound.
  @Test(arguments: [
    ("sound", TestPKI.one, 4), ("expired", TestCertificate("old", from: -86_400, to: -60), 2),
  ])
  func manyPairsAreLookedAtFast(
    name: String, renewed: TestCertificate, times: Int
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
    var findings = CertificateWatch.Findings()
    let look = processorTime { findings = watch.look(now: now) }
    let apart = processorTime {
      for _ in 0..<count {
        _ = TLSCheck.certificate(renewed.source(), now: Int64(now), library: TLSLibrary())
      }
    }
    #expect(findings.renewed.count == count && findings.refused.isEmpty)
    #expect(findings.warnings.count == (name == "expired" ? count : 0))
    #expect(look * times < apart, "\(look) ns, with a library each \(apart) ns")
    let again = watch.look(now: now)
    #expect(again.renewed.isEmpty && again.refused.isEmpty)
  }
}
