// Certificates named by variables, given as data, and kept for a while.

import Foundation
import Testing

/// The subject of the certificate that a server shows to `name`; nil if the handshake fails.
private func subject(_ door: RunningPortico, _ name: String, port: Int = 0, _ more: String = "")
  throws -> String?
{
  let script =
    "openssl s_client -connect 127.0.0.1:\(door.port(port)) -servername \(name) \(more) </dev/null 2>/dev/null "
    + "| openssl x509 -noout -subject 2>/dev/null"
  let output = try Command.run(["sh", "-c", script], folder: door.site.folder).standardOutput
  return output.split(separator: "=").last.map {
    $0.trimmingCharacters(in: .whitespacesAndNewlines)
  }
}

extension Site {
  /// Keys are read by the worker process, whoever it runs as.
  fileprivate func makeReadableCertificate(_ name: String) throws {
    try makeCertificate(name)
    chmod("\(folder)\(name).key", 0o644)
  }
}

@Suite struct DynamicCertificateTests {
  private func start(_ more: String = "") async throws -> RunningPortico {
    let site = try Site(
      config: """
        http {
          map $ssl_server_name $known { a.test a.test; default b.test; }
          server {
            listen 127.0.0.1:%%PORT_0%% ssl; \(more)
            ssl_certificate $ssl_server_name.crt; ssl_certificate_key $ssl_server_name.key;
            return 200 "$ssl_server_name $ssl_session_reused";
          }
          server {
            listen 127.0.0.1:%%PORT_1%% ssl;
            ssl_certificate $known.crt; ssl_certificate_key $known.key;
          }
          server { listen 127.0.0.1:%%PORT_1%% ssl; server_name other.test; return 200 other; }
        }
        """)
    for name in ["a.test", "b.test"] { try site.makeReadableCertificate(name) }
    return try await Portico.start(site)
  }

  @Test func loadsTheCertificateThatVariablesName() async throws {
    let door = try await start()
    for version in ["-tls1_2", "-tls1_3"] {
      #expect(try subject(door, "a.test", version) == "a.test")
      #expect(try subject(door, "b.test", version) == "b.test")
      #expect(try subject(door, "a.test", port: 1, version) == "a.test")
      #expect(try subject(door, "any.test", port: 1, version) == "b.test")
      #expect(try subject(door, "other.test", port: 1, version) == "b.test")
    }
    #expect(try subject(door, "c.test") == nil)
    try door.waitForLog("c.test.crt\": (2: No such file or directory)")
    #expect(try subject(door, "../a.test") == nil)
    try door.waitForLog("the name leads out of its folder")
    // A pipe that nobody writes into holds up no worker.
    for end in ["crt", "key"] {
      #expect(mkfifo("\(door.site.folder)d.test.\(end)", 0o644) == 0)
      let script = "timeout 5 openssl s_client -connect 127.0.0.1:\(door.port()) -servername d.test"
      _ = try Command.run(["sh", "-c", "\(script) </dev/null"], folder: door.site.folder)
    }
    #expect(try subject(door, "a.test") == "a.test")
  }

  @Test func seesAChangedFileAtOnceUnlessItIsCached() async throws {
    let door = try await start()
    let cached = try await start("ssl_certificate_cache max=10 inactive=1m valid=1m;")
    for each in [door, cached] {
      #expect(try subject(each, "a.test") == "a.test")
      for end in ["crt", "key"] {
        try FileManager.default.removeItem(atPath: "\(each.site.folder)a.test.\(end)")
        try FileManager.default.copyItem(
          atPath: "\(each.site.folder)b.test.\(end)", toPath: "\(each.site.folder)a.test.\(end)")
      }
    }
    #expect(try subject(door, "a.test") == "b.test")
    #expect(try subject(cached, "a.test") == "a.test")
  }

  /// A pair is renewed one file after the other.
  @Test func keepsNoPairThatDoesNotBelongTogether() async throws {
    let door = try await start("ssl_certificate_cache max=10 inactive=1m valid=1m;")
    let folder = door.site.folder
    func replace(_ end: String) throws {
      try FileManager.default.removeItem(atPath: "\(folder)a.test.\(end)")
      try FileManager.default.copyItem(
        atPath: "\(folder)b.test.\(end)", toPath: "\(folder)a.test.\(end)")
    }
    try replace("key")
    #expect(try subject(door, "a.test") == nil)
    try replace("crt")
    #expect(try subject(door, "a.test") == "b.test")
  }

  @Test func takesPEMAsData() async throws {
    let first = try Site(config: "")
    try first.makeCertificate("data.test")
    let (certificate, key) = (first.text("data.test.crt"), first.text("data.test.key"))
    let door = try await Portico.start(
      config: """
        http {
          server {
            listen 127.0.0.1:%%PORT_0%% ssl;
            ssl_certificate "data:\(certificate)"; ssl_certificate_key "data:\(key)";
          }
          map $ssl_server_name $pem { default "\(certificate)"; }
          map $ssl_server_name $secret { default "\(key)"; }
          server {
            listen 127.0.0.1:%%PORT_1%% ssl;
            ssl_certificate data:$pem; ssl_certificate_key data:$secret;
          }
        }
        """)
    for port in [0, 1] { #expect(try subject(door, "x.test", port: port) == "data.test") }
  }

  @Test func showsUpstreamsTheCertificateOfTheRequest() async throws {
    let site = try Site(
      config: """
        http {
          server {
            listen 127.0.0.1:%%PORT_0%%;
            location / {
              proxy_pass https://127.0.0.1:%%PORT_1%%;
              proxy_ssl_certificate $arg_name.crt; proxy_ssl_certificate_key $arg_name.key;
            }
          }
          server {
            listen 127.0.0.1:%%PORT_1%% ssl; ssl_certificate a.test.crt; ssl_certificate_key a.test.key;
            ssl_verify_client optional_no_ca; return 200 "$ssl_client_s_dn $ssl_session_reused";
          }
        }
        """)
    for name in ["a.test", "b.test"] { try site.makeReadableCertificate(name) }
    let door = try await Portico.start(site)
    // Kept connections and sessions of one certificate don't serve another.
    for _ in 0..<2 {
      for name in ["a.test", "b.test"] {
        #expect(try door.get("/?name=\(name)").text.hasPrefix("CN=\(name) "))
      }
    }
    #expect(try door.get("/?name=c.test").status == 502)
  }

  /// Its lines are one field by folding, which a recipient takes for blanks (RFC 9112 §5.2).
  @Test func tellsUpstreamsTheCertificateOfTheClient() async throws {
    let site = try Site(
      config: """
        http {
          server {
            listen 127.0.0.1:%%PORT_0%%;
            location / {
              proxy_pass https://127.0.0.1:%%PORT_1%%;
              proxy_ssl_certificate a.test.crt; proxy_ssl_certificate_key a.test.key;
            }
          }
          server {
            listen 127.0.0.1:%%PORT_1%% ssl; ssl_certificate a.test.crt; ssl_certificate_key a.test.key;
            ssl_verify_client optional_no_ca;
            location / {
              proxy_pass http://127.0.0.1:%%PORT_2%%;
              proxy_set_header X-Certificate $ssl_client_cert;
            }
          }
          server { listen 127.0.0.1:%%PORT_2%%; return 200 "$http_x_certificate"; }
        }
        """)
    try site.makeReadableCertificate("a.test")
    let door = try await Portico.start(site)
    let lines = site.text("a.test.crt").split(separator: "\n")
    #expect(lines.count > 3)
    #expect(try door.get().text == lines.joined(separator: " "))
  }

  @Test func refusesSourcesThatDoNotExist() throws {
    for source in ["engine:e:key", "store:pkcs11:token=a"] {
      let site = try Site(
        config:
          "http { server { listen 127.0.0.1:%%PORT_0%% ssl; ssl_certificate a.crt; ssl_certificate_key \(source); } }"
      )
      let result = try Portico.run(site, ["-t"])
      #expect(
        result.code == 1
          && result.standardError.contains("takes a path, \"data:\" or \"store:file:\""))
    }
  }
}
