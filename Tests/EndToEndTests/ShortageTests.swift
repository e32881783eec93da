// What happens when the system refuses what a start, a reload or an end needs: threads,
// descriptors, a name, a process that ends. Nothing is half done, and what served goes on.

import Foundation
import Testing

@Suite struct ShortageTests {
  private func server(_ port: Int, _ text: String) -> String {
    "http { server { listen 127.0.0.1:%%PORT_\(port)%%; return 200 \(text); } }"
  }

  /// Threads of which the tenth can't be had: the configuration before serves on as it was, and the
  /// next one is taken up.
  @Test func aReloadThatLacksThreadsChangesNothing() async throws {
    let limit = "worker_rlimit_nofile 60;"
    let door = try await Portico.start(
      config: "\(limit) worker_processes 1; \(server(0, "old"))")
    let many = "\(limit) worker_processes 50; \(server(1, "new"))"
    let refused = try door.reload(config: many)
    #expect(refused.code == 1)
    #expect(refused.standardError.contains("starting worker"), "\(refused.standardError)")
    #expect(try door.get(port: 0).text == "old")
    #expect(throws: (any Error).self) { try door.get(port: 1) }
    let repaired = "\(limit) worker_processes 2; \(server(1, "new"))"
    #expect(try door.reload(config: repaired).code == 0)
    #expect(try door.get(port: 1).text == "new")
    let tasks = "/proc/\(try door.workerPid)/task"
    let names = try FileManager.default.contentsOfDirectory(atPath: tasks).map {
      try String(contentsOfFile: "\(tasks)/\($0)/comm", encoding: .utf8)
    }
    #expect(names.filter { $0.hasPrefix("worker-") }.count == 2, "\(names)")
    try door.stop()
  }

  /// Logs that were opened again don't fit into the worker process: whoever rotates them is told.
  @Test func reopenedLogsThatDoNotArriveAreReported() async throws {
    let logs = (0..<40).map { "access_log %%DIR%%/\($0).log;" }.joined(separator: " ")
    let door = try await Portico.start(
      config: """
        worker_rlimit_nofile 80; worker_processes 1;
        http { \(logs) server { listen 127.0.0.1:%%PORT_0%%; return 200; } }
        """)
    try door.signal(SIGUSR1)
    try door.waitForLog("no file descriptors left (see worker_rlimit_nofile)")
    #expect(try door.get().status == 200)
    try door.stop()
  }

  @Test func aListenThatNamesAFileLeavesItAlone() throws {
    let site = try Site(
      config: "http { server { listen unix:%%DIR%%/precious; } }", files: ["precious": "content"])
    let result = try Portico.run(site, [])
    #expect(result.code == 1)
    #expect(result.standardError.contains("precious failed (98: Address already in use)"))
    #expect(site.text("precious") == "content")
  }

  @Test func aPathTooLongForASocketIsNamed() throws {
    let path = String(repeating: "a", count: 120)
    let site = try Site(config: "http { server { listen unix:/tmp/\(path); } }")
    let result = try Portico.run(site, ["-t"])
    #expect(result.code == 1 && result.standardError.contains("takes 107 bytes"))
  }

  @Test func aPidFileThatCannotBeWrittenLeavesNothingBehind() throws {
    let site = try Site(config: server(0, "x"), files: ["folder/file": ""])
    let result = try Portico.run(
      site, [], globals: "pid %%DIR%%/folder; error_log %%DIR%%/error.log;")
    #expect(result.code == 1 && site.text("error.log").contains("folder\" failed"))
    #expect(!site.exists("folder.new"))
  }

  /// A device in the place of the pid file stays what it is.
  @Test(.enabled(if: getuid() == 0, "only root can make devices"))
  func aDeviceIsNoPidFile() throws {
    let site = try Site(config: server(0, "x"))
    let device = site.folder + "null"
    // Major 1, minor 3: /dev/null.
    guard mknod(device, S_IFCHR | 0o666, 1 << 8 | 3) == 0 else { return }
    let command = try site.command(
      site.arguments(globals: "pid %%DIR%%/null; error_log %%DIR%%/error.log notice;"))
    try waitUntil("portico to serve") { site.text("error.log").contains("portico serves") }
    #expect(!site.exists("null.sock"))
    command.signal(SIGQUIT)
    #expect(try command.wait().code == 0)
    var status = stat()
    #expect(lstat(device, &status) == 0 && status.st_mode & S_IFMT == S_IFCHR)
  }

  /// Nobody waits for who would write into a pipe in the place of the pid file.
  @Test func aPipeIsNoPidFile() throws {
    let site = try Site(config: server(0, "x"))
    mkfifo(site.folder + "pipe", 0o600)
    let globals = "pid %%DIR%%/pipe; error_log %%DIR%%/error.log;"
    let result = try Portico.run(site, ["-s", "reload"], globals: globals)
    #expect(result.code == 1)
  }

  /// Whoever starts it without standard descriptors gets none of its files for them.
  @Test func standardDescriptorsAreNeverFilesOfOurs() async throws {
    let site = try Site(config: server(0, "x"))
    let door = try await Portico.start(
      site, under: ["sh", "-c", "exec \"$@\" <&- >&- 2>&-", "sh"])
    for pid in [try door.pid, try door.workerPid] {
      for number in 0...2 {
        let target = try FileManager.default.destinationOfSymbolicLink(
          atPath: "/proc/\(pid)/fd/\(number)")
        #expect(target == "/dev/null")
      }
    }
    #expect(try door.get().text == "x")
    try door.stop()
  }

  /// A signal that comes while the configuration is read (here: a key from a pipe) is no end.
  @Test func ordersDuringTheStartAreCarriedOutBehindIt() throws {
    let site = try Site(
      config: """
        http { server {
          listen 127.0.0.1:%%PORT_0%% ssl; return 200 x;
          ssl_certificate %%DIR%%/leaf.crt; ssl_certificate_key %%DIR%%/leaf.key;
        } }
        """)
    try site.makeCertificate("leaf")
    let key = Array(site.text("leaf.key").utf8)
    unlink(site.folder + "leaf.key")
    mkfifo(site.folder + "leaf.key", 0o600)
    let command = try site.command(site.arguments(globals: Portico.globals), environment: [:])
    // Opening it for writing succeeds when somebody waits to read.
    var pipe: Int32 = -1
    try waitUntil("the key to be read") {
      pipe = open(site.folder + "leaf.key", O_WRONLY | O_NONBLOCK)
      return pipe >= 0
    }
    command.signal(SIGUSR1)
    command.signal(SIGHUP)
    #expect(write(pipe, key, key.count) == key.count)
    close(pipe)
    try waitUntil("portico to serve") { (try? site.pid("portico.pid")) == command.pid }
    try waitUntil("the reload") { site.text("error.log").contains("reload done") }
    command.signal(SIGQUIT)
    #expect(try command.wait().code == 0)
  }

  /// The end of all doesn't wait for a process that drains and hangs.
  @Test func anEndKillsRetiredProcessesThatHang() async throws {
    let gate = Gate()
    let app = try TestUpstream { _ in
      gate.wait()
      return .answer()
    }
    defer { gate.open() }
    func config(_ limit: Int) -> String {
      """
      worker_rlimit_nofile \(limit);
      http { server { listen 127.0.0.1:%%PORT_0%%; location / { proxy_pass http://%%UPSTREAM_0%%; } } }
      """
    }
    let door = try await Portico.start(config: config(777), upstreams: [app])
    let client = try door.client()
    try client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    try waitUntil("the request") { app.requests.count == 1 }
    let first = try door.workerPid
    #expect(try door.reload(config: config(888)).code == 0)
    kill(first, SIGSTOP)
    #expect(try door.stop(SIGTERM) == 0)
    #expect(door.errorLog.contains("worker process \(first) doesn't end, killing it"))
  }
}
