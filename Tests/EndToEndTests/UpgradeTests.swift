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
}
