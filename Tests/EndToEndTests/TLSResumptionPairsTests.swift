// A session of one site is never resumed at another of another policy (the class of
// CVE-2025-23419): all pairs of sites on one listener, both versions, tickets and session ids,
// before and after a reload.

import Foundation
import Testing

/// A way to resume, and the directives for it.
enum Resumption: String, CaseIterable, Sendable {
  case ticket, identifier

  var directives: String {
    switch self {
    case .ticket: "ssl_session_cache off;"
    case .identifier: "ssl_session_tickets off; ssl_session_cache shared:all:1m;"
    }
  }
}

/// What the sites want of clients; each has a certificate of its own.
private let policies = [
  ("open.test", ""),
  ("optional.test", "ssl_verify_client optional; ssl_client_certificate ca1.crt;"),
  ("required.test", "ssl_verify_client on; ssl_client_certificate ca1.crt;"),
  ("other.test", "ssl_verify_client on; ssl_client_certificate ca2.crt;"),
  ("twin.test", "ssl_verify_client on; ssl_client_certificate ca2.crt;"),
]

private func configuration(_ resumption: Resumption, certificate: String? = nil) -> String {
  let servers = policies.map { name, directives in
    """
      server {
        listen 127.0.0.1:%%PORT_0%% ssl; server_name \(name); \(directives)
        ssl_certificate \(certificate ?? name).crt; ssl_certificate_key \(certificate ?? name).key;
        return 200 ok;
      }
    """
  }
  return "http { \(resumption.directives)\n\(servers.joined(separator: "\n"))\n}"
}

/// A client that shows each site the certificate that it wants.
private struct Visitor {
  let door: RunningPortico
  let version: String

  /// Connects to the site called `name`; whether the session was resumed, nil if nothing was agreed
  /// on.
  private func connect(_ name: String, _ options: String) throws -> Bool? {
    let number = ["other.test", "twin.test"].contains(name) ? 2 : 1
    let client = "\(door.site.folder)client\(number)"
    let script =
      "printf 'GET / HTTP/1.1\\r\\nHost: \(name)\\r\\nConnection: close\\r\\n\\r\\n' | openssl "
      + "s_client -connect 127.0.0.1:\(door.port()) -servername \(name) \(version) -ign_eof "
      + "-cert \(client).crt -key \(client).key \(options)"
    let output = try Command.run(["sh", "-c", script], folder: door.site.folder).standardOutput
    guard output.contains("HTTP/1.1 200") else { return nil }
    return output.contains("\nReused, TLS")
  }

  private func file(_ name: String) -> String { "\(door.site.folder)\(name).session" }

  /// Gets a session at the site called `name` and keeps it.
  func keepSession(of name: String) throws {
    #expect(try connect(name, "-sess_out \(file(name))") == false, "\(name)")
  }

  /// Offers the session of `origin` to `name`.
  func resumes(_ origin: String, at name: String) throws -> Bool? {
    try connect(name, "-sess_in \(file(origin))")
  }
}

@Suite struct TLSResumptionPairsTests {
  private static let ways = ["-tls1_2", "-tls1_3"].flatMap { version in
    Resumption.allCases.map { (version, $0) }
  }

  private func start(_ config: String) async throws -> RunningPortico {
    let site = try Site(config: config)
    for (name, _) in policies { try site.makeCertificate(name) }
    for number in [1, 2] {
      try site.makeCertificate("ca\(number)")
      try site.makeCertificate("client\(number)", issuedBy: "ca\(number)")
    }
    return try await Portico.start(site)
  }

  @Test(arguments: ways)
  func resumesAtItsOwnSiteAlone(version: String, way: Resumption) async throws {
    let door = try await start(configuration(way))
    let visitor = Visitor(door: door, version: version)
    for isReloaded in [false, true] {
      if !isReloaded { for (name, _) in policies { try visitor.keepSession(of: name) } }
      for (origin, _) in policies {
        for (name, _) in policies {
          let expected = origin == name
          let result = try visitor.resumes(origin, at: name)
          #expect(result == expected, "\(origin) at \(name), reloaded: \(isReloaded)")
        }
      }
      if !isReloaded { #expect(try door.send("reload").code == 0) }
    }
  }

  /// With one certificate for all, what they want of clients alone tells them apart: the
  /// twins' sessions are good at each other.
  @Test(arguments: ways)
  func tellsSitesOfOneCertificateApart(version: String, way: Resumption) async throws {
    let door = try await start(configuration(way, certificate: "open.test"))
    let visitor = Visitor(door: door, version: version)
    for (origin, _) in policies {
      try visitor.keepSession(of: origin)
      for (name, _) in policies {
        let isTwin = Set([origin, name]) == ["other.test", "twin.test"]
        let expected = origin == name || isTwin
        #expect(try visitor.resumes(origin, at: name) == expected, "\(origin) at \(name)")
      }
    }
  }

  /// A reload that asks for more than the session's handshake did.
  @Test(arguments: ways)
  func resumesNothingWhenAReloadChangesThePolicy(version: String, way: Resumption) async throws {
    let config = configuration(way)
    let door = try await start(config)
    let visitor = Visitor(door: door, version: version)
    for (name, _) in policies { try visitor.keepSession(of: name) }
    let stricter = config.replacingOccurrences(
      of: "server_name open.test;",
      with: "server_name open.test; ssl_verify_client on; ssl_client_certificate ca1.crt;")
    #expect(try door.reload(config: stricter).code == 0)
    #expect(try visitor.resumes("open.test", at: "open.test") == false)
    #expect(try visitor.resumes("required.test", at: "open.test") == false)
  }

  @Test(arguments: [
    (["a:31k"], "must have a size of 32k at least, not \"31k\""),
    (["a:1m", "a:2m"], "\"ssl_session_cache\" \"a\" is given two sizes"),
    (["a"], "wants \"shared:NAME:SIZE\""),
  ])
  func refuses(zones: [String], problem: String) throws {
    let servers = zones.enumerated().map { index, zone in
      """
      server { listen 127.0.0.1:%%PORT_\(index)%% ssl; ssl_reject_handshake on;
        ssl_session_cache shared:\(zone); }
      """
    }
    let result = try Portico.run(Site(config: "http { \(servers.joined()) }"), ["-t"])
    #expect(result.code == 1)
    #expect(result.standardError.contains(problem), "\(result.standardError)")
  }
}
