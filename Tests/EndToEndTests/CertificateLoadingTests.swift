// Certificates are loaded at the first handshake of their site: one that is broken in a way that
// only OpenSSL sees costs its own site the handshakes, and nobody else anything.

import Foundation
import Testing

private func lines(_ data: Data) -> String {
  data.base64EncodedString(options: [.lineLength64Characters, .endLineWithLineFeed])
}

/// Writes a pair called `name` whose public point is not on its curve, in both files alike.
private func makePairOffTheCurve(_ name: String, _ site: Site) throws {
  try site.makeCertificate(name)
  func der(_ command: String) throws -> [UInt8] {
    let words = ["openssl"] + command.split(separator: " ").map(String.init)
    let output = ["-outform", "DER", "-out", "\(site.folder)out.der"]
    _ = try Command.run(words + output, folder: site.folder)
    return Array(try Data(contentsOf: URL(fileURLWithPath: "\(site.folder)out.der")))
  }
  let point = Array(try der("pkey -in \(site.folder)\(name).key -pubout").suffix(64))
  for (file, command, label) in [
    ("\(name).crt", "x509 -in \(site.folder)\(name).crt", "CERTIFICATE"),
    ("\(name).key", "pkey -traditional -in \(site.folder)\(name).key", "EC PRIVATE KEY"),
  ] {
    var bytes = try der(command)
    let start = try #require(firstIndex(of: point, in: bytes))
    bytes[start + 63] ^= 1
    try site.write(
      file, "-----BEGIN \(label)-----\n\(lines(Data(bytes)))\n-----END \(label)-----\n")
  }
}

@Suite struct CertificateLoadingTests {
  @Test func aPairThatTurnsOutBrokenCostsItsOwnSiteAlone() async throws {
    let site = try Site(
      config: """
        http {
          server { listen 127.0.0.1:%%PORT_0%% ssl; server_name good.test; ssl_certificate good.test.crt; ssl_certificate_key good.test.key; return 200 good; }
          server { listen 127.0.0.1:%%PORT_0%% ssl; server_name bad.test; ssl_certificate bad.test.crt; ssl_certificate_key bad.test.key; return 200 bad; }
        }
        """)
    try site.makeCertificate("good.test")
    try makePairOffTheCurve("bad.test", site)
    let check = try Portico.run(site, ["-t"])
    #expect(check.code == 1)
    #expect(check.standardError.contains("bad.test."))

    let door = try await Portico.start(site)
    func ask(_ name: String) throws -> Finished {
      try Command.run(
        [
          "curl", "-sk", "--resolve", "\(name):\(door.port()):127.0.0.1",
          "https://\(name):\(door.port())/",
        ], folder: site.folder)
    }
    for _ in 0..<3 {
      #expect(try ask("bad.test").code == 35)
      #expect(try ask("good.test").standardOutput == "good")
    }
    // `-t` writes to the same log, with the place in the configuration.
    let complaints = door.errorLog.split(separator: "\n").filter {
      $0.contains("[emerg]") && $0.contains("bad.test.") && !$0.contains("portico.conf")
    }
    #expect(complaints.count == 1, "\(complaints)")
    // Repaired on disk, it serves without a reload.
    try site.makeCertificate("new")
    for end in ["key", "crt"] {
      _ = rename("\(site.folder)new.\(end)", "\(site.folder)bad.test.\(end)")
    }
    try waitUntil("the repaired certificate") { try ask("bad.test").standardOutput == "bad" }
  }
}
