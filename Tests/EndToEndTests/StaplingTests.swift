// OCSP responses that portico fetches from responders and staples.

import Foundation
import Synchronization
import Testing

/// What a responder says, to be changed while it runs.
private final class Said: Sendable {
  private let response = Mutex<[UInt8]>([])
  var bytes: [UInt8] {
    get { response.withLock { $0 } }
    set { response.withLock { $0 = newValue } }
  }
}

/// A site with a certificate of a CA, and a responder for it.
private struct Stapled {
  let said = Said()
  let responder: TestUpstream
  let site: Site

  init(_ settings: String, trusted: String = "ca.crt") throws {
    responder = try TestUpstream { [said] _ in
      .steps([.bytes("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"), .bytes(said.bytes), .close])
    }
    site = try Site(
      config: """
        http {
          server {
            listen 127.0.0.1:%%PORT_0%% ssl; return 200 ok;
            ssl_certificate a.test.crt; ssl_certificate_key a.test.key;
            ssl_stapling on; ssl_trusted_certificate \(trusted);
            ssl_stapling_responder http://%%UPSTREAM_0%%/path; \(settings)
          }
        }
        """, upstreams: [responder])
    try site.makeCertificate("ca")
    try site.makeCertificate("stranger")
    try site.makeCertificate("a.test", issuedBy: "ca")
    // What a CA keeps of what it issued: V for valid, R for revoked.
    let serial = try openssl("x509 -in a.test.crt -noout -serial").dropFirst("serial=".count)
    let number = serial.trimmingCharacters(in: .whitespacesAndNewlines)
    try site.write("valid", "V\t401231000000Z\t\t\(number)\tunknown\t/CN=a.test\n")
    try site.write("revoked", "R\t401231000000Z\t200101000000Z\t\(number)\tunknown\t/CN=a.test\n")
  }

  @discardableResult
  private func openssl(_ words: String) throws -> String {
    let script = "cd \(site.folder) && openssl \(words)"
    let result = try Command.run(["sh", "-c", script], folder: site.folder)
    #expect(result.code == 0, "\(result.standardError)")
    return result.standardOutput
  }

  /// Lets the responder say what the CA's list called `index` says, signed by `signer`.
  func say(_ index: String, signer: String = "ca") throws {
    try openssl(
      "ocsp -index \(index) -CA ca.crt -rsigner \(signer).crt -rkey \(signer).key -issuer ca.crt "
        + "-cert a.test.crt -respout said.der -ndays 2 >log 2>&1")
    said.bytes = Array(try Data(contentsOf: URL(fileURLWithPath: "\(site.folder)said.der")))
  }
}

private func staple(_ door: RunningPortico, _ options: String = "") throws -> Bool {
  let script =
    "openssl s_client -connect 127.0.0.1:\(door.port()) -servername a.test -status \(options) "
    + "</dev/null"
  return try Command.run(["sh", "-c", script], folder: door.site.folder).standardOutput
    .contains("OCSP Response Status: successful")
}

@Suite struct ResponderStaplingTests {
  @Test(arguments: ["", "ssl_stapling_verify on;"])
  func staplesWhatTheResponderSays(settings: String) async throws {
    let stapled = try Stapled(settings)
    try stapled.say("valid")
    let door = try await Portico.start(stapled.site)
    #expect(stapled.responder.requests.isEmpty)
    // The client that wants it first goes without.
    #expect(try !staple(door))
    try waitUntil("a stapled response") { try staple(door) }
    for version in ["-tls1_2", "-tls1_3"] { #expect(try staple(door, version)) }
    #expect(try door.send("reload").code == 0)
    try waitUntil("a stapled response after a reload") { try staple(door) }
    let requests = stapled.responder.requests
    #expect(requests.count == 1 && requests[0].method == "GET")
    #expect(requests[0].path.hasPrefix("/path/M"), "\(requests[0].path)")
  }

  @Test(arguments: [
    ("", "revoked", "ca", "the certificate is revoked"),
    ("", "/dev/null", "ca", "the responder doesn't know the certificate"),
    ("ssl_stapling_verify on;", "valid", "stranger", "the response is not signed as it must be"),
  ])
  func staplesNothingBad(
    settings: String, index: String, signer: String, reason: String
  ) async throws {
    let stapled = try Stapled(settings)
    try stapled.say(index, signer: signer)
    let door = try await Portico.start(stapled.site)
    #expect(try !staple(door))
    try door.waitForLog(reason)
    #expect(try !staple(door))
    #expect(stapled.responder.requests.count == 1)
  }

  @Test(arguments: [
    (Array("nonsense".utf8), "the answer is no OCSP response"),
    ([0x30, 3, 0x0a, 1, 6], "the responder refused the request: unauthorized (6)"),
  ])
  func saysWhatIsNoResponse(response: [UInt8], reason: String) async throws {
    let stapled = try Stapled("")
    stapled.said.bytes = response
    let door = try await Portico.start(stapled.site)
    #expect(try !staple(door))
    try door.waitForLog("for certificate \"a.test.crt\": \(reason)")
    #expect(try !staple(door))
  }

  @Test func saysWhatItLacks() async throws {
    let stapled = try Stapled("", trusted: "stranger.crt")
    let door = try await Portico.start(stapled.site)
    #expect(try !staple(door))
    try door.waitForLog("ignored for certificate \"a.test.crt\": issuer certificate not found")
    #expect(stapled.responder.requests.isEmpty)
  }
}
