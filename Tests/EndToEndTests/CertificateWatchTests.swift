// Renewed certificates are in use without a reload; broken ones leave what was there.

import Foundation
import Testing

private func serial(_ door: RunningPortico, _ name: String = "a.test") throws -> String {
  let script =
    "openssl s_client -connect 127.0.0.1:\(door.port()) -servername \(name) </dev/null 2>/dev/null "
    + "| openssl x509 -noout -serial"
  return try Command.run(["sh", "-c", script], folder: door.site.folder).standardOutput
}

private func start(_ more: String = "", under: [String] = []) async throws -> RunningPortico {
  let site = try Site(
    config: """
      http {
        \(more)
        server { listen 127.0.0.1:%%PORT_0%% ssl; server_name a.test; ssl_certificate a.test.crt; ssl_certificate_key a.test.key; return 200 "a $ssl_session_reused"; }
        server { listen 127.0.0.1:%%PORT_0%% ssl; server_name b.test; ssl_certificate b.test.crt; ssl_certificate_key b.test.key; return 200 b; }
      }
      """)
  for name in ["a.test", "b.test"] { try site.makeCertificate(name) }
  return try await Portico.start(site, under: under)
}

/// Puts new files in the place of the old ones, each at once.
private func replace(_ door: RunningPortico, _ name: String, by other: String) throws {
  for end in ["crt", "key"] {
    let target = "\(door.site.folder)\(name).\(end)"
    _ = rename("\(door.site.folder)\(other).\(end)", target)
  }
}

@Suite struct CertificateWatchTests {
  @Test func takesARenewedPairUpWithoutBeingTold() async throws {
    let door = try await start()
    let (first, other) = (try serial(door), try serial(door, "b.test"))
    for round in ["new1", "new2"] {
      try door.site.makeCertificate(round)
      let before = try serial(door)
      try replace(door, "a.test", by: round)
      try waitUntil("the renewed certificate") { try serial(door) != before }
    }
    #expect(try serial(door) != first)
    #expect(try serial(door, "b.test") == other)
    #expect(door.errorLog.contains("certificate \"a.test.crt\" was renewed and is in use"))
    #expect(!door.errorLog.contains("generation 2"))
    // A worker process that is replaced starts with it.
    let current = try serial(door)
    let worker = try door.workerPid
    kill(worker, SIGKILL)
    try waitUntil("another worker process") { (try? door.workerPid).map { $0 != worker } ?? false }
    #expect(try serial(door) == current)
  }

  @Test func keepsTheOldPairWhileTheNewOneIsBrokenAndSaysSoOnce() async throws {
    let door = try await start()
    let before = try serial(door)
    try door.site.makeCertificate("new")
    // The certificate first, its key later: in between they don't belong together.
    _ = rename("\(door.site.folder)new.crt", "\(door.site.folder)a.test.crt")
    try door.waitForLog("does not belong to certificate \"a.test.crt\"")
    #expect(try serial(door) == before)
    try door.site.write("a.test.key", "nonsense")
    try door.waitForLog("cannot load key \"a.test.key\"")
    #expect(try serial(door) == before)
    try FileManager.default.removeItem(atPath: "\(door.site.folder)a.test.key")
    try door.waitForLog("certificate \"a.test.crt\" can't be read again")
    _ = rename("\(door.site.folder)new.key", "\(door.site.folder)a.test.key")
    try waitUntil("the renewed certificate") { try serial(door) != before }
    let mismatches =
      door.errorLog.components(separatedBy: "does not belong to certificate").count - 1
    #expect(mismatches == 1)
  }

  /// A reload comes while half a pair is renewed (whoever renews tells portico to reload, or
  /// somebody else edits at that time), with the watch and without.
  @Test(arguments: ["on", "off"])
  func aReloadKeepsTheOldPairWhileTheNewOneIsHalfThere(watch: String) async throws {
    let door = try await start("ssl_certificate_watch \(watch);")
    let before = try serial(door)
    try door.site.makeCertificate("new")
    _ = rename("\(door.site.folder)new.crt", "\(door.site.folder)a.test.crt")
    let mismatch = try door.send("reload")
    #expect(mismatch.code == 0 && mismatch.standardError.contains("stays in use"))
    #expect(try serial(door) == before)
    try FileManager.default.removeItem(atPath: "\(door.site.folder)a.test.key")
    let missing = try door.send("reload")
    #expect(missing.code == 0 && missing.standardError.contains("stays in use"))
    #expect(try serial(door) == before)
    // Also with the worker process that takes over.
    let worker = try door.workerPid
    kill(worker, SIGKILL)
    try waitUntil("another worker process") { (try? door.workerPid).map { $0 != worker } ?? false }
    #expect(try serial(door) == before)
    _ = rename("\(door.site.folder)new.key", "\(door.site.folder)a.test.key")
    if watch == "off" { #expect(try door.send("reload").code == 0) }
    try waitUntil("the renewed certificate") { try serial(door) != before }
  }

  /// A key that is handed over once, through a pipe, is nothing to look at again: neither the watch
  /// nor a reload waits for a writer.
  @Test func aKeyFromAPipeIsReadOnce() async throws {
    let site = try Site(
      config: """
        http {
          server { listen 127.0.0.1:%%PORT_0%% ssl; server_name a.test;
            ssl_certificate a.test.crt; ssl_certificate_key pipe; return 200 a; }
          server { listen 127.0.0.1:%%PORT_0%% ssl; server_name b.test;
            ssl_certificate b.test.crt; ssl_certificate_key b.test.key; return 200 b; }
        }
        """)
    for name in ["a.test", "b.test", "new"] { try site.makeCertificate(name) }
    #expect(mkfifo(site.folder + "pipe", 0o600) == 0)
    let writer = try Command(
      ["sh", "-c", "cat '\(site.folder)a.test.key' >'\(site.folder)pipe'"], folder: site.folder)
    let door = try await Portico.start(site)
    #expect(try writer.wait().code == 0)
    let (first, other) = (try serial(door), try serial(door, "b.test"))
    // By the look that finds the other pair renewed, the watch has passed this one.
    try replace(door, "b.test", by: "new")
    try waitUntil("the renewed certificate") { try serial(door, "b.test") != other }
    let reload = try door.send("reload")
    #expect(reload.code == 0, "\(reload.standardError)")
    #expect(try serial(door) == first)
    #expect(try door.stop() == 0)
  }

  @Test func manyAtOnceNeedNoReload() async throws {
    // More than fit into one packet to the worker process.
    let names = (0..<200).map { "site\($0).test" }
    let servers = names.map {
      "server { listen 127.0.0.1:%%PORT_0%% ssl; server_name \($0); return 204; "
        + "ssl_certificate \($0).crt; ssl_certificate_key \($0).key; }"
    }
    let site = try Site(config: "http { \(servers.joined(separator: "\n")) }")
    for name in ["old", "new"] { try site.makeCertificate(name) }
    func install(_ source: String) throws {
      for name in names {
        for end in ["crt", "key"] {
          try site.write("\(name).\(end).next", site.text("\(source).\(end)"))
          _ = rename("\(site.folder)\(name).\(end).next", "\(site.folder)\(name).\(end)")
        }
      }
    }
    try install("old")
    let door = try await Portico.start(site)
    let before = try serial(door, names[0])
    // Somebody is at work on the configuration.
    try site.write("portico.conf", "http {")
    try install("new")
    try waitUntil("the last certificate") {
      names.allSatisfy { door.errorLog.contains("\"\($0).crt\" was renewed and is in use") }
    }
    let after = try serial(door, names[0])
    #expect(after != before)
    for name in names.suffix(9) { #expect(try serial(door, name) == after) }
    #expect(!door.errorLog.contains("portico.conf:"))
  }

  @Test func takesALargePairUpWithoutAReload() async throws {
    let door = try await start()
    let before = try serial(door)
    // Somebody is at work on the configuration.
    try door.site.write("portico.conf", "http {")
    try replaceByLarge(door)
    try waitUntil("the renewed certificate") { try serial(door) != before }
    #expect(!door.errorLog.contains("portico.conf:"))
    #expect(!door.errorLog.contains("generation 2"))
  }

  @Test func triesAgainUntilAPairIsHandedOver() async throws {
    // The bundle is a file in memory: with the renewed pair it is larger than files may be.
    let door = try await start(under: ["prlimit", "--fsize=150000:"])
    let before = try serial(door)
    try replaceByLarge(door)
    try door.waitForLog("handing a renewed certificate over failed")
    #expect(try serial(door) == before)
    let words = ["prlimit", "--pid", "\(try door.pid)", "--fsize=unlimited:"]
    #expect(try Command.run(words, folder: door.site.folder).code == 0)
    try waitUntil("the renewed certificate") { try serial(door) != before }
  }

  /// What stands between the blocks of a PEM file is for people.
  private func replaceByLarge(_ door: RunningPortico) throws {
    try door.site.makeCertificate("new")
    let comment = String(repeating: "of whom, and for what\n", count: 10_000)
    try door.site.write("new.crt", door.site.text("new.crt") + comment)
    try replace(door, "a.test", by: "new")
  }

  @Test func leavesFilesAloneWhereItIsTold() async throws {
    let door = try await start("ssl_certificate_watch off;")
    let before = try serial(door)
    try door.site.makeCertificate("new")
    try replace(door, "a.test", by: "new")
    // The watch would have looked twice in this time.
    let watch = Stopwatch()
    while watch.seconds < 2.5 { #expect(try serial(door) == before) }
    #expect(try door.send("reload").code == 0)
    #expect(try serial(door) != before)
  }

  @Test func resumesNothingOfTheOldCertificate() async throws {
    let door = try await start()
    func connect(_ file: String) throws -> String {
      let script =
        "printf 'GET / HTTP/1.1\\r\\nHost: a.test\\r\\nConnection: close\\r\\n\\r\\n' | openssl s_client "
        + "-connect 127.0.0.1:\(door.port()) -servername a.test -ign_eof \(file)"
      return try Command.run(["sh", "-c", script], folder: door.site.folder).standardOutput
    }
    let kept = "\(door.site.folder)kept.pem"
    for version in ["-tls1_2", "-tls1_3"] {
      #expect(try connect("\(version) -sess_out \(kept)").contains("a ."))
      #expect(try connect("\(version) -sess_in \(kept)").contains("a r"))
      let before = try serial(door)
      try door.site.makeCertificate("new")
      try replace(door, "a.test", by: "new")
      try waitUntil("the renewed certificate") { try serial(door) != before }
      #expect(try connect("\(version) -sess_in \(kept)").contains("a ."))
    }
  }
}
