// The process side, from outside: start, stop, crash, reload, logs, upgrade. Each test starts the real
// binary.

import Foundation
import Testing

private func site(_ answer: String, extra: String = "") -> String {
  """
  \(extra)
  http { server { listen 127.0.0.1:%%PORT_0%%; return 200 "\(answer)"; } }
  """
}

@Suite struct ConfigurationTestTests {
  @Test func acceptsAGoodConfiguration() throws {
    let good = try Site(config: site("one"))
    let result = try Portico.run(good, ["-t"])
    #expect(result.code == 0)
    #expect(result.standardError.contains("portico.conf syntax is ok"))
    #expect(result.standardError.contains("portico.conf test is successful"))
    #expect(!good.exists("portico.pid"))
  }

  @Test func saysNothingWhenItIsQuiet() throws {
    let result = try Portico.run(Site(config: site("one")), ["-tq"])
    #expect(result.code == 0)
    #expect(result.standardError == "")
  }

  @Test func refusesABadConfigurationAndNamesThePlace() throws {
    let bad = try Site(config: "http {\n  bogus on;\n}\n")
    let result = try Portico.run(bad, ["-t"])
    #expect(result.code == 1)
    #expect(result.standardError.contains("portico.conf:2:"))
    #expect(result.standardError.contains("\"bogus\""))
    #expect(result.standardError.contains("test failed"))
    #expect(bad.text("error.log").contains("[emerg]"))
  }

  @Test func dumpsEveryConfigurationFile() throws {
    let source = site("one")
    let dumped = try Site(config: source)
    let result = try Portico.run(dumped, ["-T"])
    #expect(result.code == 0)
    #expect(result.standardOutput.contains("# configuration file \(dumped.folder)portico.conf:\n"))
    #expect(result.standardOutput.contains(dumped.fill(source)))
  }

  @Test func refusesAnUnknownUser() throws {
    let config = site("one", extra: "user nobody-of-that-name;")
    let unknown = try Site(config: config)
    for arguments in [["-t"], []] {
      let result = try Portico.run(unknown, arguments)
      #expect(result.code == 1)
      #expect(result.standardError.contains("\"nobody-of-that-name\""))
    }
    #expect(!unknown.exists("portico.pid"))
  }

  @Test func refusesALogThatCannotBeOpened() throws {
    let site = try Site(config: site("one"))
    let result = try Portico.run(
      site, [], globals: "pid %%DIR%%/portico.pid; error_log /nowhere/error.log;")
    #expect(result.code == 1)
    #expect(result.standardError.contains("\"/nowhere/error.log\" failed (2: No such file"))
  }
}

@Suite struct StartAndStopTests {
  @Test(arguments: [SIGQUIT, SIGTERM, SIGINT])
  func servesUntilItIsToldToEnd(_ signal: Int32) async throws {
    let door = try await Portico.start(config: site("hello"))
    #expect(try door.pid == door.command.pid)
    #expect(try door.get().text == "hello")
    #expect(try door.stop(signal) == 0)
    #expect(!door.site.exists("portico.pid"))
    #expect(!door.site.exists("portico.pid.sock"))
    #expect(throws: RawClient.Failure.connect(ECONNREFUSED)) { try door.client() }
  }

  @Test func stopsAndQuitsByCommand() async throws {
    for name in ["stop", "quit"] {
      let door = try await Portico.start(config: site("hello"))
      #expect(try door.send(name).code == 0)
      #expect(try door.command.wait(within: 10).code == 0)
    }
  }

  @Test func namesAStalePidFile() async throws {
    let stale = try Site(config: site("hello"))
    // A process that has ended leaves a pid that nobody has.
    let gone = try Command(["true"], folder: stale.folder)
    _ = try gone.wait()
    try stale.write("portico.pid", "\(gone.pid)\n")
    let result = try Portico.run(stale, ["-s", "quit"])
    #expect(result.code == 1)
    #expect(result.standardError.contains("\(gone.pid), which doesn't run"))
    let missing = try Portico.run(Site(config: site("hello")), ["-s", "quit"])
    #expect(missing.code == 1)
    #expect(missing.standardError.contains("is portico running?"))
  }

  @Test func namesATakenPortAndStartsNothing() throws {
    let other = try TestUpstream { _ in .answer() }
    let taken = try Site(config: site("hello"), upstreams: [other])
    try taken.write(
      "portico.conf", "http { server { listen %%UPSTREAM_0%%; return 200 \"hello\"; } }")
    let result = try Portico.run(taken, [])
    #expect(result.code == 1)
    let message = "bind() to 127.0.0.1:\(other.port) failed (98: Address already in use)"
    #expect(result.standardError.contains(message))
    #expect(taken.text("error.log").contains(message))
    #expect(!taken.exists("portico.pid"))
  }

  @Test func goesToTheBackgroundWhenItServes() throws {
    let background = try Site(config: site("hello", extra: "daemon on;"))
    let result = try Portico.run(background, [])
    #expect(result.code == 0)
    let pid = try background.pid("portico.pid")
    #expect(try RawClient(port: background.ports.number(0)).descriptor >= 0)
    #expect(try Portico.run(background, ["-s", "quit"]).code == 0)
    try waitUntil("the end of the daemon") { kill(pid, 0) != 0 }
    let bad = try Site(config: site("hello", extra: "daemon on; user nobody-of-that-name;"))
    #expect(try Portico.run(bad, []).code == 1)
  }

  @Test func servesInOneProcessWithoutASupervisor() async throws {
    let door = try await Portico.start(config: site("hello", extra: "master_process off;"))
    #expect(try door.get().text == "hello")
    #expect(throws: DeadlinePassed.self) { try door.workerPid }
    #expect(try door.reload(config: site("again", extra: "master_process off;")).code == 0)
    #expect(try door.get().text == "again")
    #expect(try door.stop() == 0)
  }

  @Test func listensOnUnixSocketsAndReplacesOneThatIsStale() async throws {
    let config = "http { server { listen unix:%%DIR%%/door.sock; return 200 hello; } }"
    let door = try await Portico.start(config: config)
    kill(try door.workerPid, SIGKILL)
    kill(door.command.pid, SIGKILL)
    _ = try door.command.wait()
    #expect(door.site.exists("door.sock"))
    let next = try await Portico.start(door.site)
    let client = try RawClient(path: next.site.folder + "door.sock")
    try client.send("GET / HTTP/1.0\r\n\r\n")
    #expect(try client.response().text == "hello")
    #expect(try next.stop() == 0)
    #expect(!next.site.exists("door.sock"))
  }
}

@Suite struct WorkerDeathTests {
  /// How long it takes until a connection made now is answered.
  private func secondsToAnswer(_ door: RunningPortico) throws -> Double {
    let start = Date()
    #expect(try door.get().text == "hello")
    return Date().timeIntervalSince(start)
  }

  @Test func replacesAKilledWorkerWithoutRefusingAConnection() async throws {
    let door = try await Portico.start(config: site("hello"))
    // Older than a second: its death is not counted as one of a series.
    let first = try door.workerPid
    kill(first, SIGKILL)
    // Debug builds start slower than releases; the connection waits in the accept queue meanwhile.
    #expect(try secondsToAnswer(door) < 2)
    #expect(try door.workerPid != first)
    #expect(door.errorLog.contains("worker process \(first) exited on signal 9"))
    try door.stop()
  }

  @Test func restartsFromTheBundleWhenTheDiskHoldsSomethingBroken() async throws {
    let door = try await Portico.start(config: site("hello"))
    try door.site.write("portico.conf", "bogus;")
    kill(try door.workerPid, SIGKILL)
    #expect(try secondsToAnswer(door) < 2)
    try door.stop()
  }

  @Test func waitsLongerBetweenWorkersThatDieYoung() async throws {
    let door = try await Portico.start(config: site("hello"))
    for _ in 0..<3 {
      let before = try waitForWorker(door)
      kill(before, SIGKILL)
      try waitUntil("the death of \(before)") { (try? door.workerPid) != before }
    }
    try door.waitForLog("the next worker process starts in 100 ms")
    #expect(door.errorLog.components(separatedBy: "[alert]").count - 1 == 3)
    #expect(try secondsToAnswer(door) < 5)
    #expect(try door.stop() == 0)
  }

  private func waitForWorker(_ door: RunningPortico) throws -> Int32 {
    var pid: Int32 = 0
    try waitUntil("a worker process") {
      pid = (try? door.workerPid) ?? 0
      return pid != 0
    }
    return pid
  }

  @Test func drainsWhenTheSupervisorIsGone() async throws {
    let door = try await Portico.start(config: site("hello"))
    let worker = try door.workerPid
    kill(door.command.pid, SIGKILL)
    try waitUntil("the end of the worker process") { kill(worker, 0) != 0 }
  }
}

@Suite struct ReloadTests {
  @Test func servesTheNewConfigurationWhenTheCommandReturns() async throws {
    let door = try await Portico.start(config: site("one"))
    let worker = try door.workerPid
    for index in 0..<20 {
      let result = try door.reload(config: site("answer \(index)"))
      #expect(result.code == 0)
      #expect(result.standardError == "")
      #expect(try door.get().text == "answer \(index)")
    }
    #expect(try door.workerPid == worker)
    try door.stop()
  }

  @Test func refusesABrokenConfigurationAndGoesOn() async throws {
    let door = try await Portico.start(config: site("one"))
    let result = try door.reload(config: "http {\n  bogus on;\n}\n")
    #expect(result.code == 1)
    #expect(result.standardError.contains("portico.conf:2:"))
    #expect(try door.get().text == "one")
    try door.signal(SIGHUP)
    try waitUntil("the second refusal in the log") {
      door.errorLog.components(separatedBy: "reload refused").count == 3
    }
    #expect(door.errorLog.contains("signal 1 (SIGHUP) received"))
    #expect(try door.get().text == "one")
    try door.stop()
  }

  @Test func reloadsOnHangup() async throws {
    let door = try await Portico.start(config: site("one"))
    try door.site.write("portico.conf", site("two"))
    try door.signal(SIGHUP)
    try door.waitForLog("reload done, generation 2")
    #expect(try door.get().text == "two")
    try door.stop()
  }

  @Test func addsAndRemovesListeners() async throws {
    let door = try await Portico.start(config: site("one"))
    let both = """
      worker_processes 2;
      http {
        server { listen 127.0.0.1:%%PORT_0%%; listen 127.0.0.1:%%PORT_1%% reuseport; return 200 two; }
      }
      """
    #expect(try door.reload(config: both).code == 0)
    for _ in 0..<10 {
      #expect(try door.get(port: 0).text == "two")
      #expect(try door.get(port: 1).text == "two")
    }
    #expect(try door.reload(config: site("three")).code == 0)
    #expect(try door.get(port: 0).text == "three")
    #expect(throws: RawClient.Failure.connect(ECONNREFUSED)) { try door.client(port: 1) }
    try door.stop()
  }

  @Test func refusesATakenPortAndKeepsTheOldOnes() async throws {
    let other = try TestUpstream { _ in .answer() }
    let door = try await Portico.start(config: site("one"), upstreams: [other])
    let result = try door.reload(
      config: "http { server { listen %%UPSTREAM_0%%; return 200 two; } }")
    #expect(result.code == 1)
    #expect(result.standardError.contains("failed (98: Address already in use)"))
    #expect(try door.get().text == "one")
    try door.stop()
  }

  @Test func leaksNoDescriptors() async throws {
    let door = try await Portico.start(config: site("one"))
    func counts() throws -> [Int] {
      try [door.pid, door.workerPid].map {
        try FileManager.default.contentsOfDirectory(atPath: "/proc/\($0)/fd").count
      }
    }
    _ = try door.reload(config: site("two"))
    let before = try counts()
    for index in 0..<50 {
      let listen = "127.0.0.1:%%PORT_\(index % 2)%%"
      _ = try door.reload(
        config: "http { server { listen \(listen); return 200 \"\(index)\"; } }")
    }
    #expect(try door.reload(config: site("end")).code == 0)
    #expect(try door.get().text == "end")
    // The last client's connection may linger for a moment.
    try waitUntil("the descriptors of before") { try counts() == before }
    try door.stop()
  }
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
    #expect(try door.command.wait(within: 10).code == 0)
    #expect(!door.site.exists("portico.pid.oldbin"))
    #expect(try door.get().text == "two")
    #expect(try door.reload(config: site("three")).code == 0)
    #expect(try door.get().text == "three")
    let new = try door.pid
    #expect(try door.send("quit").code == 0)
    try waitUntil("the end of the new binary") { kill(new, 0) != 0 }
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
