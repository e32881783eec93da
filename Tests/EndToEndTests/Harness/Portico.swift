// Starts the real binary for a test: a folder of its own, ports that the kernel chose, a
// configuration written inline. Everything has a deadline, and whatever a test leaves running is
// killed when its `RunningPortico` goes.
//
//   let door = try await Portico.start(config: """
//     http { server { listen 127.0.0.1:%%PORT_0%%; return 200 "hello"; } }
//     """)
//   let answer = try door.get("/")
//   #expect(answer.status == 200)
//
// In configurations and files, %%PORT_n%% is the n-th port, %%DIR%% the folder, %%UPSTREAM_n%% the
// address of the n-th upstream. `pid` and `error_log … info` are given with -g.

import Foundation
import Testing

/// The binary under test.
enum Portico {
  /// $PORTICO_BINARY, or the binary that was built with the tests.
  static let binary: String = {
    if let path = ProcessInfo.processInfo.environment["PORTICO_BINARY"] { return path }
    let executable = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"))
    let beside = URL(fileURLWithPath: executable ?? CommandLine.arguments[0])
      .deletingLastPathComponent().appendingPathComponent("portico").path
    if FileManager.default.isExecutableFile(atPath: beside) { return beside }
    return URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
      .appendingPathComponent(".build/debug/portico").path
  }()

  /// What every start is given besides its configuration.
  static let globals = "pid %%DIR%%/portico.pid; error_log %%DIR%%/error.log info;"

  /// Starts with `config` and waits until it serves.
  ///
  /// - Throws: `StartFailed` with what it said, if it ends instead.
  static func start(
    config: String, files: [String: String] = [:], upstreams: [TestUpstream] = [],
    globals: String = globals, environment: [String: String] = [:]
  ) async throws -> RunningPortico {
    let site = try Site(config: config, files: files, upstreams: upstreams)
    return try await start(site, globals: globals, environment: environment)
  }

  /// Starts with files that are there already.
  ///
  /// - Parameter under: a command that becomes portico, such as `prlimit --nofile=100`.
  static func start(
    _ site: Site, globals: String = globals, environment: [String: String] = [:],
    under: [String] = []
  ) async throws -> RunningPortico {
    let command = try site.command(
      site.arguments(globals: globals), environment: environment, under: under)
    let door = RunningPortico(site: site, command: command, globals: globals)
    try door.waitUntilReady()
    return door
  }

  /// Runs to the end, such as `-t`; `arguments` come after -p, -c, -e and -g.
  static func run(
    _ site: Site, _ arguments: [String], globals: String = globals
  ) throws -> Finished {
    try site.command(site.arguments(globals: globals) + arguments).wait()
  }
}

/// The process ended before it served.
struct StartFailed: Error, CustomStringConvertible {
  let finished: Finished
  var description: String { "portico ended with \(finished.code): \(finished.standardError)" }
}

/// A process that serves.
final class RunningPortico: @unchecked Sendable {
  let site: Site
  let command: Command
  private let globals: String

  fileprivate init(site: Site, command: Command, globals: String) {
    self.site = site
    self.command = command
    self.globals = globals
  }

  deinit {
    // After USR2 the process that serves is another one.
    if let pid = try? pid, pid != command.pid { kill(pid, SIGKILL) }
    command.kill()
  }

  /// The pid in the pid file.
  var pid: Int32 {
    get throws { try site.pid("portico.pid") }
  }

  /// Runs `body` while the worker process stands still: with all its threads, which a signal alone
  /// doesn't promise when it has been sent.
  func withWorkerHeld(_ body: () throws -> Void) throws {
    let worker = try workerPid
    kill(worker, SIGSTOP)
    defer { kill(worker, SIGCONT) }
    try waitUntil("the worker process to stand still") {
      let threads = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(worker)/task")
      return try threads.allSatisfy { thread in
        let path = "/proc/\(worker)/task/\(thread)/stat"
        let stat = try String(contentsOfFile: path, encoding: .utf8)
        return stat.components(separatedBy: ") ").last?.first == "T"
      }
    }
    try body()
  }

  /// The pid of the worker process.
  var workerPid: Int32 {
    get throws {
      let path = "/proc/\(try pid)/task/\(try pid)/children"
      let text = try String(contentsOfFile: path, encoding: .utf8)
      guard let child = text.split(separator: " ").first, let number = Int32(child) else {
        throw DeadlinePassed(what: "no worker process")
      }
      return number
    }
  }

  /// The number of port `index` (%%PORT_index%%).
  func port(_ index: Int = 0) -> UInt16 { site.ports.number(index) }

  /// A connection to port `index`.
  func client(port index: Int = 0) throws -> RawClient { try RawClient(port: port(index)) }

  /// One request on a connection of its own.
  func get(
    _ path: String = "/", port index: Int = 0, headers: [String: String] = [:],
    method: String = "GET"
  ) throws -> Response {
    let client = try client(port: index)
    let fields = ["Host": "localhost", "Connection": "close"].merging(headers) { $1 }
    let lines = fields.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)\r\n" }.joined()
    try client.send("\(method) \(path) HTTP/1.1\r\n\(lines)\r\n")
    return try client.response(to: method)
  }

  /// What the error log holds.
  var errorLog: String { site.text("error.log") }

  /// Waits until the error log holds `text`.
  func waitForLog(_ text: String, within seconds: Double = patience) throws {
    try waitUntil("\"\(text)\" in the error log", within: seconds) { errorLog.contains(text) }
  }

  /// Sends a signal to the supervisor.
  func signal(_ number: Int32) throws { kill(try pid, number) }

  /// Runs `portico -s NAME` for this process.
  func send(_ name: String) throws -> Finished {
    try Portico.run(site, ["-s", name], globals: globals)
  }

  /// Replaces the configuration and runs `portico -s reload`.
  func reload(config: String) throws -> Finished {
    try site.write("portico.conf", config)
    return try send("reload")
  }

  /// Ends it gracefully; gives the exit code. A worker process that crashed before is an issue: the
  /// supervisor replaced it, and nobody may have noticed.
  @discardableResult
  func stop(_ number: Int32 = SIGQUIT, within seconds: Double = patience) throws -> Int32 {
    command.signal(number)
    let code = try command.wait(within: seconds).code
    for line in errorLog.split(separator: "\n")
    where line.contains(#/exited on signal (4|5|6|7|8|11)\b/#) {
      Issue.record("\(line)")
    }
    return code
  }

  fileprivate func waitUntilReady() throws {
    try waitUntil("portico to serve") {
      if command.hasEnded { throw StartFailed(finished: try command.wait()) }
      // A pid file of a process that died may be there from the start.
      return (try? pid) == command.pid
    }
  }
}
