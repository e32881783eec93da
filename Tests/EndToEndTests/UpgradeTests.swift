// USR1 and USR2, from outside: logs that are moved away, and a binary that is replaced, with every
// way back.

import Foundation
import Testing

private func site(_ answer: String, extra: String = "") -> String {
  """
  \(extra)
  http { server { listen 127.0.0.1:%%PORT_0%%; return 200 "\(answer)"; } }
  """
}

@Suite struct LogAndUpgradeTests {
  @Test func reopensLogsThatWereMoved() async throws {
    let door = try await Portico.start(config: site("one"))
    let log = door.site.folder + "error.log"
    for name in ["reopen", nil] {
      try FileManager.default.moveItem(atPath: log, toPath: log + ".\(name ?? "signal")")
      if let name { #expect(try door.send(name).code == 0) } else { try door.signal(SIGUSR1) }
      try waitUntil("a new error log") { door.site.exists("error.log") }
    }
    try door.signal(SIGHUP)
    try door.waitForLog("reload done")
    try door.stop()
  }

  @Test func handsItsSocketsToANewBinary() async throws {
    let door = try await Portico.start(config: site("one"))
    let old = door.command.pid
    try door.site.write("portico.conf", site("two"))
    try door.signal(SIGUSR2)
    try waitUntil("the new binary") { (try? door.pid).map { $0 != old } ?? false }
    #expect(try door.site.pid("portico.pid.oldbin") == old)
    kill(old, SIGQUIT)
    #expect(try door.command.wait().code == 0)
    #expect(!door.site.exists("portico.pid.oldbin"))
    #expect(try door.get().text == "two")
    #expect(try door.reload(config: site("three")).code == 0)
    #expect(try door.get().text == "three")
    let new = try door.pid
    #expect(try door.send("quit").code == 0)
    try waitUntil("the end of the new binary") { hasEnded(new) }
  }

  @Test func goesOnWhenTheNewBinaryFails() async throws {
    let door = try await Portico.start(config: site("one"))
    try door.site.write("portico.conf", "bogus;")
    try door.signal(SIGUSR2)
    try door.waitForLog("the old one goes on")
    #expect(try door.pid == door.command.pid)
    #expect(!door.site.exists("portico.pid.oldbin"))
    #expect(try door.get().text == "one")
    #expect(try door.reload(config: site("two")).code == 0)
    #expect(try door.get().text == "two")
    try door.stop()
  }

  @Test(arguments: [
    ("absent", "2: No such file or directory"), ("plain", "13: Permission denied"),
    ("nonsense", "8: Exec format error"),
  ])
  func saysWhyABinaryCannotBeExecuted(kind: String, reason: String) async throws {
    let site = try Site(config: site("one"))
    let binary = site.folder + "binary"
    func point(at target: String) throws {
      try? FileManager.default.removeItem(atPath: binary)
      try FileManager.default.createSymbolicLink(atPath: binary, withDestinationPath: target)
    }
    for (name, mode) in [("plain", 0o644), ("nonsense", 0o755)] {
      try site.write(name, "nonsense")
      chmod(site.folder + name, mode_t(mode))
    }
    try point(at: Portico.binary)
    let door = try await Portico.start(
      site, under: ["sh", "-c", "shift; exec '\(binary)' \"$@\"", "sh"])
    try point(at: site.folder + kind)
    try door.signal(SIGUSR2)
    try door.waitForLog("execve() \"\(binary)\" failed (\(reason))")
    #expect(try door.pid == door.command.pid)
    #expect(!site.exists("portico.pid.oldbin"))
    // The way is free for the next one.
    try point(at: Portico.binary)
    try door.signal(SIGUSR2)
    try waitUntil("the new binary") { (try? door.pid).map { $0 != door.command.pid } ?? false }
    #expect(try door.get().text == "one")
  }

  @Test func comesBackAfterAnUpgradeThatIsTakenBack() async throws {
    let door = try await Portico.start(config: site("one"))
    let old = door.command.pid
    try door.signal(SIGUSR2)
    try waitUntil("the new binary") { (try? door.pid).map { $0 != old } ?? false }
    let worker = try #require(
      String(contentsOfFile: "/proc/\(old)/task/\(old)/children", encoding: .utf8)
        .split(separator: " ").first.flatMap { Int32($0) })
    let new = try door.pid
    kill(old, SIGWINCH)
    try door.waitForLog("worker process \(worker) exited with code 0")
    #expect(try door.get().text == "one")
    kill(old, SIGHUP)
    try waitUntil("a worker process of the old binary") {
      door.errorLog.components(separatedBy: "\(old)#\(old): start worker process").count == 3
    }
    kill(new, SIGQUIT)
    try door.waitForLog("the old one goes on")
    #expect(try door.pid == old)
    #expect(try door.get().text == "one")
    try door.stop()
  }

  /// The way back, while the old worker process still drains: who comes then isn't left waiting for
  /// its last request.
  @Test func comesBackBesideAWorkerThatDrains() async throws {
    let gate = Gate()
    let app = try TestUpstream { _ in
      gate.wait()
      return .steps([.bytes("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nheld")])
    }
    let door = try await Portico.start(
      config: """
        http { server { listen 127.0.0.1:%%PORT_0%%;
          location / { return 200 "one"; }
          location /held { proxy_pass http://%%UPSTREAM_0%%; } } }
        """, upstreams: [app])
    let old = door.command.pid
    let client = try door.client()
    try client.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n")
    try waitUntil("the request at the upstream") { !app.requests.isEmpty }
    try door.signal(SIGUSR2)
    try waitUntil("the new binary") { (try? door.pid).map { $0 != old } ?? false }
    let new = try door.pid
    kill(old, SIGWINCH)
    try door.waitForLog("(SIGWINCH) received")
    kill(old, SIGHUP)
    try waitUntil("a worker process of the old binary") {
      door.errorLog.components(separatedBy: "\(old)#\(old): start worker process").count == 3
    }
    kill(new, SIGQUIT)
    try door.waitForLog("the old one goes on")
    #expect(try door.get().text == "one")
    gate.open()
    #expect(try client.response().text == "held")
    #expect(try door.stop() == 0)
  }

  /// A terminal whose size changes sends SIGWINCH to what runs in it, and `docker run` passes it on.
  @Test func ignoresWindowsThatChangeTheirSize() async throws {
    let door = try await Portico.start(config: site("one"))
    let worker = try door.workerPid
    kill(door.command.pid, SIGWINCH)
    try door.waitForLog("SIGWINCH is ignored")
    #expect(try door.get().text == "one")
    #expect(try door.workerPid == worker)
    try door.stop()
  }

  /// A daemon whose worker process was sent away serves again after a reload.
  @Test func aReloadBringsTheWorkerProcessBack() throws {
    let daemon = try Site(config: site("one", extra: "daemon on;"))
    #expect(try Portico.run(daemon, []).code == 0)
    let pid = try daemon.pid("portico.pid")
    defer { kill(pid, SIGKILL) }
    kill(pid, SIGWINCH)
    try waitUntil("the end of the worker process") {
      daemon.text("error.log").contains("exited with code 0")
    }
    try daemon.write("portico.conf", site("two", extra: "daemon on;"))
    #expect(try Portico.run(daemon, ["-s", "reload"]).code == 0)
    let client = try RawClient(port: daemon.ports.number(0))
    try client.send("GET / HTTP/1.0\r\n\r\n")
    #expect(try client.response().text == "two")
    #expect(try Portico.run(daemon, ["-s", "quit"]).code == 0)
    try waitUntil("the end of the daemon") { hasEnded(pid) }
  }
}
