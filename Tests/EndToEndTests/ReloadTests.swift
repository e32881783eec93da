// Reload, from outside: what it changes, what it refuses, what it leaves behind.
//
// What clients notice of it is in GracefulTests.

import Foundation
import Testing

private let slow = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow"

private func site(_ answer: String, extra: String = "") -> String {
  """
  \(extra)
  http { server { listen 127.0.0.1:%%PORT_0%%; return 200 "\(answer)"; } }
  """
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

  @Test(arguments: ["", "worker_processes 2;\nevents { }\n"])
  func refusesAFileThatWasTruncated(_ rest: String) async throws {
    let door = try await Portico.start(config: site("one"))
    let result = try door.reload(config: rest)
    #expect(result.code == 1)
    #expect(result.standardError.contains("no \"http\" section in configuration"))
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
        server {
          listen 127.0.0.1:%%PORT_0%%; listen 127.0.0.1:%%PORT_1%% reuseport; return 200 two;
        }
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

  @Test func aConnectionOutlivesItsListenerByOneRequest() async throws {
    // Variables live in slots that differ from plan to plan: the request must see one plan alone.
    let listens = "listen 127.0.0.1:%%PORT_0%%; listen 127.0.0.1:%%PORT_1%%;"
    let door = try await Portico.start(
      config: """
        http {
          map $uri $first { default one; }
          server { \(listens) set $second two; return 200 "$first $second"; }
        }
        """)
    let client = try door.client(port: 1)
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    try client.send(request)
    #expect(try client.response().text == "one two")
    #expect(try door.reload(config: site("three")).code == 0)
    try client.send(request)
    let last = try client.response()
    #expect(last.text == "one two")
    #expect(last["connection"] == "close")
    #expect(client.isClosed())
    #expect(try door.get().text == "three")
    try door.stop()
  }

  @Test func freesAFormerPlanThoughConnectionsAndExchangesWereUsedByIt() async throws {
    let servers = (1...2_000).map {
      "server { listen 127.0.0.1:%%PORT_0%%; server_name s\($0); location /x { return 204; } }"
    }
    let text = "http { \(servers.joined()) }"
    let door = try await Portico.start(config: text)
    // Many at once, so that each reload leaves some connections and exchanges that nobody uses
    // again.
    func round(_ count: Int) throws {
      let clients = try (0..<count).map { _ in try door.client() }
      for client in clients { try client.send("GET /x HTTP/1.1\r\nHost: s7\r\n") }
      for client in clients { try client.send("\r\n") }
      for client in clients { #expect(try client.response().status == 204) }
      #expect(try door.send("reload").code == 0)
    }
    for _ in 0..<3 { try round(16) }
    let before = try residentKilobytes(door.workerPid)
    for count in stride(from: 15, through: 6, by: -1) { try round(count) }
    // A plan is handed back within a second of its last use.
    try waitUntil("the memory of before") {
      try residentKilobytes(door.workerPid) - before < 20_000
    }
    try door.stop()
  }

  @Test(.enabled(if: geteuid() == 0))
  func aChangedUserIsTakenUpByAnotherWorkerProcess() async throws {
    let app = try TestUpstream { _ in .steps([.pause(seconds: 1), .bytes(slow)]) }
    func config(_ user: String) -> String {
      """
      user \(user);
      http { server { listen 127.0.0.1:%%PORT_0%%;
        location / { return 200 "\(user)"; }
        location /slow { proxy_pass http://%%UPSTREAM_0%%; } } }
      """
    }
    func userOf(_ process: Int32) throws -> UInt32 {
      let status = try String(contentsOfFile: "/proc/\(process)/status", encoding: .utf8)
      let line = status.split(separator: "\n").first { $0.hasPrefix("Uid:") } ?? ""
      return UInt32(line.split(separator: "\t")[1]) ?? .max
    }
    let door = try await Portico.start(config: config("root"), upstreams: [app])
    let first = try door.workerPid
    #expect(try userOf(first) == 0)
    let client = try door.client()
    try client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
    try waitUntil("the request at the upstream") { !app.requests.isEmpty }
    #expect(try door.reload(config: config("nobody")).code == 0)
    // The first may have taken one connection more when it was told to stop.
    try waitUntil("answers of the second") { try door.get().text == "nobody" }
    // What was under way ends where it began.
    #expect(try client.response().text == "slow")
    try waitUntil("the end of the first worker process") { kill(first, 0) != 0 }
    let second = try door.workerPid
    #expect(try userOf(second) == getpwnam("nobody").pointee.pw_uid)
    #expect(door.errorLog.contains("is served by worker process \(second)"))
    // The next one, that changes something else, needs no other process.
    #expect(try door.reload(config: config("nobody").replacing("/slow", with: "/x")).code == 0)
    #expect(try door.workerPid == second)
    #expect(try door.stop() == 0)
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

  @Test func leaksNoMemory() async throws {
    let servers = (1...50).map { "server 127.0.0.1:\($0);" }.joined(separator: " ")
    let door = try await Portico.start(
      config: """
        http {
          upstream app { \(servers) }
          server { listen 127.0.0.1:%%PORT_0%%; location / { proxy_pass http://app; } }
        }
        """)
    func kilobytes() throws -> [Int] {
      try [door.pid, door.workerPid].map { try residentKilobytes($0) }
    }
    for _ in 0..<50 { #expect(try door.send("reload").code == 0) }
    let before = try kilobytes()
    for _ in 0..<200 { #expect(try door.send("reload").code == 0) }
    let grown = zip(try kilobytes(), before).map { $0 - $1 }
    // One server's state leaked per reload would be 1.2 MB.
    #expect(grown.allSatisfy { $0 < 800 }, "\(grown) kB")
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
    // The connection of a command or a client may linger for a moment, here and before.
    try waitUntil("the descriptors of before") {
      zip(try counts(), before).allSatisfy { $0 <= $1 }
    }
    try door.stop()
  }

  /// Logs that are no longer named are closed, but not while a request is under way whose log they
  /// are, and their numbers are used again.
  @Test func formerLogsAreClosed() async throws {
    let app = try TestUpstream { _ in .steps([.bytes(slow)]) }
    let gate = Gate()
    let held = try TestUpstream { _ in
      gate.wait()
      return .steps([.bytes(slow)])
    }
    func config(_ number: Int) -> String {
      """
      http {
        access_log %%DIR%%/log\(number) combined buffer=4k;
        server {
          listen 127.0.0.1:%%PORT_0%%;
          location / { proxy_pass http://%%UPSTREAM_0%%; }
          location /held { proxy_pass http://%%UPSTREAM_1%%; }
        }
      }
      """
    }
    let door = try await Portico.start(config: config(0), upstreams: [app, held])
    func openLogs() throws -> [String] {
      let folder = "/proc/\(try door.workerPid)/fd/"
      return try FileManager.default.contentsOfDirectory(atPath: folder)
        .compactMap { try? FileManager.default.destinationOfSymbolicLink(atPath: folder + $0) }
        .filter { $0.contains("/log") || $0 == "/dev/null" }
        .map { $0.replacing(door.site.folder, with: "") }.sorted()
    }
    let spare = try openLogs().count { $0 == "/dev/null" }
    let client = try door.client()
    try client.send("GET /held HTTP/1.0\r\n\r\n")
    try waitUntil("the request at the upstream") { !held.requests.isEmpty }
    for number in 1...5 {
      #expect(try door.reload(config: config(number)).code == 0)
      #expect(try door.get().status == 200)
    }
    try waitUntil("the logs in between are closed") {
      try openLogs().filter { $0 != "/dev/null" } == ["log0", "log5"]
    }
    gate.open()
    #expect(try client.response().status == 200)
    try waitUntil("the first log is closed") {
      try openLogs().filter { $0 != "/dev/null" } == ["log5"]
    }
    #expect(door.site.text("log0").contains("GET /held"))
    #expect(try openLogs().count { $0 == "/dev/null" } <= spare + 2)
    try door.stop()
  }

  /// Threads that were too many drain; when more are wanted again, others take their places: each
  /// socket of `reuseport` has somebody who accepts.
  @Test func threadsAreAddedWhileOthersDrain() async throws {
    let gate = Gate()
    defer { gate.open() }
    let held = try TestUpstream { _ in
      gate.wait()
      return .answer(body: "held")
    }
    func config(_ count: Int) -> String {
      """
      worker_processes \(count);
      http { server {
        listen 127.0.0.1:%%PORT_0%% reuseport;
        location / { return 200 \(count); } location /held { proxy_pass http://%%UPSTREAM_0%%; }
      } }
      """
    }
    let door = try await Portico.start(config: config(4), upstreams: [held])
    let waiting = try (0..<24).map { _ in try door.client() }
    for client in waiting { try client.send("GET /held HTTP/1.1\r\nHost: x\r\n\r\n") }
    try waitUntil("the requests") { held.requests.count == 24 }
    #expect(try door.reload(config: config(1)).code == 0)
    #expect(try door.get().text == "1")
    #expect(try door.reload(config: config(4)).code == 0)
    for _ in 0..<40 { #expect(try door.get().text == "4") }
    gate.open()
    for client in waiting { #expect(try client.response().text == "held") }
    try door.stop()
  }
}
