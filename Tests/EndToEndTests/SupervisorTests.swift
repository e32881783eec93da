// The process side, from outside: start, stop, crash. Each test starts the real
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

  /// Each once, in the order of reading; secrets of an `env_file` aren't shown.
  @Test func dumpsEveryConfigurationFile() throws {
    let source = "env_file secrets; include b; include a; include b;\nhttp { }"
    let dumped = try Site(
      config: source, files: ["secrets": "A=secret", "a": "events { }\n", "b": "# nothing"])
    let result = try Portico.run(dumped, ["-T"])
    #expect(result.code == 0, "\(result.standardError)")
    let files = [("portico.conf", source), ("b", "# nothing"), ("a", "events { }\n")]
    let expected = files.map { "# configuration file \(dumped.folder)\($0):\n\($1)\n" }
    #expect(result.standardOutput == expected.joined())
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
      #expect(try door.command.wait().code == 0)
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
    try waitUntil("the end of the daemon") { hasEnded(pid) }
    let bad = try Site(config: site("hello", extra: "daemon on; user nobody-of-that-name;"))
    #expect(try Portico.run(bad, []).code == 1)
  }

  @Test func toolsShowTheWorkerProcessByItsName() async throws {
    let door = try await Portico.start(config: site("hello"))
    let name = try String(contentsOfFile: "/proc/\(try door.workerPid)/comm", encoding: .utf8)
    #expect(name == "portico\n")
    #expect(try door.stop() == 0)
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
  /// Said when the next worker process is not started at once.
  private static let delay = "the next worker process starts in"

  @Test func replacesAKilledWorkerWithoutRefusingAConnection() async throws {
    let door = try await Portico.start(config: site("hello"))
    let first = try door.workerPid
    kill(first, SIGKILL)
    #expect(try door.get().text == "hello")
    #expect(try door.workerPid != first)
    #expect(door.errorLog.contains("worker process \(first) exited on signal 9"))
    #expect(!door.errorLog.contains(Self.delay))
    try door.stop()
  }

  @Test func noClientIsRefusedWhileAWorkerIsReplaced() async throws {
    let door = try await Portico.start(config: site("hello"))
    let first = try door.workerPid
    // Older than a second, or its death counts as one of a series.
    let watch = Stopwatch()
    try waitUntil("a worker of age") { watch.seconds > 1.1 }
    kill(first, SIGKILL)
    var clients: [RawClient] = []
    try waitUntil("the next worker process to serve") {
      // Every attempt is taken into the queue of the socket that the supervisor holds, which has
      // room for more than these.
      if clients.count < 200 { clients.append(try door.client()) }
      return door.errorLog.contains("the new worker process serves")
    }
    for client in clients {
      try client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
      #expect(try client.response().text == "hello")
    }
    try door.stop()
  }

  @Test func restartsFromTheBundleWhenTheDiskHoldsSomethingBroken() async throws {
    let door = try await Portico.start(config: site("hello"))
    try door.site.write("portico.conf", "bogus;")
    kill(try door.workerPid, SIGKILL)
    #expect(try door.get().text == "hello")
    #expect(!door.errorLog.contains(Self.delay))
    try door.stop()
  }

  @Test func waitsLongerBetweenWorkersThatDieYoung() async throws {
    let door = try await Portico.start(config: site("hello"))
    // Two that died within a second of their start; on a busy machine one of the first may be
    // older.
    var deaths = 0
    while !door.errorLog.contains(Self.delay) && deaths < 20 {
      let before = try waitForWorker(door)
      kill(before, SIGKILL)
      try waitUntil("the death of \(before)") { (try? door.workerPid) != before }
      deaths += 1
    }
    #expect(door.errorLog.contains("\(Self.delay) 100 ms"))
    #expect(door.errorLog.components(separatedBy: "[alert]").count - 1 == deaths)
    #expect(try door.get().text == "hello")
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
    let gate = Gate()
    let app = try TestUpstream { _ in
      gate.wait()
      return .answer(body: "done")
    }
    let door = try await Portico.start(
      config: """
        http { server { listen 127.0.0.1:%%PORT_0%%; location / { proxy_pass http://%%UPSTREAM_0%%; } } }
        """, upstreams: [app])
    let worker = try door.workerPid
    let client = try door.client()
    try client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    try waitUntil("the request at the upstream") { app.requests.count == 1 }
    kill(door.command.pid, SIGKILL)
    try waitUntil("new clients to be refused") { (try? door.client()) == nil }
    gate.open()
    #expect(try client.response().text == "done")
    try waitUntil("the end of the worker process") { hasEnded(worker) }
  }
}
