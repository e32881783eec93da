// Which server is asked, seen from outside: the order of weights, backups, servers that fail and
// come back, names that don't resolve, active health checks.

import Foundation
import Synchronization
import Testing

private func config(_ upstream: String, extra: String = "") -> String {
  """
  http {
    \(extra)
    upstream app { \(upstream) }
    server {
      listen 127.0.0.1:%%PORT_0%%;
      location / { proxy_pass http://app; }
    }
  }
  """
}

/// Servers that answer with their letter; those that are sick fail checks and drop what asks for
/// it.
private final class Instances: Sendable {
  private final class Sick: Sendable { let indexes = Mutex<Set<Int>>([]) }

  let upstreams: [TestUpstream]
  private let sick: Sick

  init(_ count: Int) throws {
    let sick = Sick()
    self.sick = sick
    upstreams = try (0..<count).map { index in
      try TestUpstream { request in
        let isSick = sick.indexes.withLock { $0.contains(index) }
        switch request.path {
        case "/health" where isSick:
          return .answer("503 Service Unavailable", fields: ["X-State": "ill"], body: "not well")
        case "/health": return .answer(fields: ["X-State": "fine"], body: "all is well")
        case "/drop" where isSick: return .steps([.close])
        default: return .answer(body: ["a", "b", "c"][index])
        }
      }
    }
  }

  func fall(_ index: Int) { sick.indexes.withLock { _ = $0.insert(index) } }
  func recover(_ index: Int) { sick.indexes.withLock { _ = $0.remove(index) } }
}

extension RunningPortico {
  /// The answers to `count` requests, one after another.
  fileprivate func ask(_ count: Int, path: String = "/") throws -> String {
    let client = try client()
    return try (0..<count).map { _ in
      try client.send("GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n")
      let response = try client.response()
      return response.status == 200 ? response.text : "(\(response.status))"
    }.joined()
  }
}

@Suite struct BalancingTests {
  @Test(arguments: [
    (
      "server %%UPSTREAM_0%% weight=5; server %%UPSTREAM_1%%; server %%UPSTREAM_2%%;",
      "aabacaaaabacaa"
    ),
    ("server %%UPSTREAM_0%%; server %%UPSTREAM_1%%; server %%UPSTREAM_2%%;", "abcabcabcabcab"),
    ("server %%UPSTREAM_0%% weight=2; server %%UPSTREAM_1%% weight=3;", "babab" + "babab" + "baba"),
    (
      "server %%UPSTREAM_0%% down; server %%UPSTREAM_1%%; server %%UPSTREAM_2%% backup;",
      "bbbbbbbbbbbbbb"
    ),
    ("server %%UPSTREAM_0%%; server %%UPSTREAM_1%%; least_conn;", "ababababababab"),
  ])
  func asksInTheOrderOfWeights(upstream: String, order: String) async throws {
    let instances = try Instances(3)
    let door = try await Portico.start(config: config(upstream), upstreams: instances.upstreams)
    #expect(try door.ask(order.count) == order)
    try door.stop()
  }

  @Test func consistentHashingGoesByWhatTheLinesSay() async throws {
    let ports = ["1", "2"]
    func lines(_ host: String) -> String {
      ports.map { "server \(host):%%PORT_\($0)%%;" }.joined(separator: " ")
    }
    let door = try await Portico.start(
      config: """
        http {
          upstream name { hash $arg_k consistent; \(lines("localhost")) }
          upstream address { hash $arg_k consistent; \(lines("127.0.0.1")) }
          server {
            listen 127.0.0.1:%%PORT_0%%;
            location /name { proxy_pass http://name; }
            location /address { proxy_pass http://address; }
          }
          server { listen 127.0.0.1:%%PORT_1%%; return 200 "a"; }
          server { listen 127.0.0.1:%%PORT_2%%; return 200 "b"; }
        }
        """)
    func choices(_ path: String) throws -> String {
      try (0..<64).map { try door.get("\(path)?k=\($0)").text }.joined()
    }
    let (byName, byAddress) = (try choices("/name"), try choices("/address"))
    #expect(Set(byName) == ["a", "b"] && Set(byAddress) == ["a", "b"])
    // The servers are the same, and the places on the ring others.
    #expect(byName != byAddress)
    #expect(try choices("/name") == byName)
    try door.stop()
  }

  @Test func aBackupIsAskedWhenTheOthersAreOut() async throws {
    let instances = try Instances(2)
    let door = try await Portico.start(
      config: config(
        "server %%UPSTREAM_0%% max_fails=1 fail_timeout=1s; server %%UPSTREAM_1%% backup;"),
      upstreams: instances.upstreams)
    #expect(try door.ask(3) == "aaa")
    instances.fall(0)
    #expect(try door.ask(3, path: "/drop") == "bbb")
    #expect(instances.upstreams[0].requests.filter { $0.path == "/drop" }.count <= 2)
    #expect(door.errorLog.contains("temporarily disabled"))
    instances.recover(0)
    try waitUntil("the server to be asked again") { try door.ask(1) == "a" }
    #expect(try door.ask(3) == "aaa")
    try door.stop()
  }

  @Test func aServerThatFailsIsOutForFailTimeoutAndThenTriedAgain() async throws {
    let instances = try Instances(2)
    let door = try await Portico.start(
      config: config(
        "server %%UPSTREAM_0%% max_fails=2 fail_timeout=3s; server %%UPSTREAM_1%% max_fails=2;"),
      upstreams: instances.upstreams)
    instances.fall(0)
    func drops() -> Int { instances.upstreams[0].requests.filter { $0.path == "/drop" }.count }
    #expect(try door.ask(10, path: "/drop") == "bbbbbbbbbb")
    #expect(drops() == 2)
    // One trial when the time has passed; it fails, so the server stays out.
    try waitUntil("a trial") {
      let answer = try door.ask(1, path: "/drop")
      #expect(answer == "b")
      return drops() > 2
    }
    #expect(try door.ask(6, path: "/drop") == "bbbbbb")
    #expect(drops() == 3)
    #expect(door.errorLog.components(separatedBy: "temporarily disabled").count == 2)
    instances.recover(0)
    try waitUntil("the server to be back") { try door.ask(2).contains("a") }
    #expect(try door.ask(4).filter { $0 == "a" }.count >= 2)
    try door.waitForLog("\(instances.upstreams[0].port) in \"app\" is back")
    #expect(door.errorLog.components(separatedBy: "is back").count == 2)
    try door.stop()
  }

  @Test func whenAllAreOutTheOneThatMayBeBackSoonestIsTried() async throws {
    let instances = try Instances(2)
    let door = try await Portico.start(
      config: config(
        "server %%UPSTREAM_0%% fail_timeout=60s; server %%UPSTREAM_1%% fail_timeout=60s;"),
      upstreams: instances.upstreams)
    instances.fall(0)
    instances.fall(1)
    #expect(try door.ask(2, path: "/drop") == "(502)(502)")
    instances.recover(0)
    instances.recover(1)
    let answers = try door.ask(2)
    #expect(!answers.contains("502"))
    try door.stop()
  }

  @Test func aNameThatDoesNotResolveDoesNotStopTheStart() async throws {
    let instances = try Instances(1)
    let door = try await Portico.start(
      config: """
        http {
          upstream app { server nowhere.invalid:80; server %%UPSTREAM_0%%; }
          upstream lost { server nowhere.invalid:80; }
          server {
            listen 127.0.0.1:%%PORT_0%%;
            location / { proxy_pass http://app; }
            location /lost { proxy_pass http://lost; }
            location /direct { proxy_pass http://elsewhere.invalid:8080; }
          }
        }
        """, upstreams: instances.upstreams)
    #expect(try door.ask(3) == "aaa")
    #expect(try door.get("/lost").status == 502)
    #expect(try door.get("/direct").status == 502)
    try door.waitForLog("\"nowhere.invalid:80\" in upstream \"app\" could not be resolved")
    try door.stop()
  }

  @Test func noMoreThanMaxConnectionsAreOpen() async throws {
    let first = RawServer()
    let second = RawServer()
    let door = try await Portico.start(
      config: config("server \(first.address) max_conns=1; server \(second.address) max_conns=1;"))
    let clients = try (0..<3).map { _ in try door.client() }
    for client in clients { try client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n") }
    let servers = [try first.accept(), try second.accept()]
    #expect(!first.waits(within: 0.1) && !second.waits(within: 0.1))
    for server in servers {
      _ = try server.read(until: "\r\n\r\n")
      try server.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    }
    #expect(try clients.map { try $0.response().status }.sorted() == [200, 200, 502])
    try door.stop()
  }
}

@Suite struct ActiveHealthTests {
  @Test func aSickServerIsOutUntilItIsWellAlsoAcrossAReload() async throws {
    let instances = try Instances(2)
    let text = config(
      "server %%UPSTREAM_0%%; server %%UPSTREAM_1%%; zone app 64k;\n"
        + "health_check interval=500ms fails=2 passes=2 uri=/health;")
    let door = try await Portico.start(config: text, upstreams: instances.upstreams)
    #expect(try door.ask(4).filter { $0 == "a" }.count == 2)
    instances.fall(0)
    try door.waitForLog(
      "failed: 503 Service Unavailable (2 of 2); it gets no requests until it passes")
    // What counts is what follows, not one choice made in between.
    try waitUntil("no request to the sick server") { try door.ask(4) == "bbbb" }
    #expect(try door.reload(config: text).code == 0)
    #expect(try door.ask(6) == "bbbbbb")
    // Another configuration with the same check knows it too.
    let changed = text.replacingOccurrences(
      of: "location / {", with: "location /x { return 200; } location / {")
    #expect(try door.reload(config: changed).code == 0)
    #expect(try door.ask(6) == "bbbbbb")
    instances.recover(0)
    try door.waitForLog("passed: 200 OK (2 of 2); it gets requests again")
    try waitUntil("requests to both") { try door.ask(2).contains("a") }
    #expect(try door.ask(4).filter { $0 == "a" }.count == 2)
    try door.stop()
  }

  @Test(arguments: [
    ("status 200;", true), ("status ! 200;", false), ("status 201-299 500;", false),
    ("header X-State = fine;", true), ("header X-State ~ ^ill$;", false),
    ("header ! X-State;", false),
    ("body ~ \"is well\";", true), ("body !~ \"is well\";", false),
    ("status 200; header X-State; body ~ nothing;", false),
  ])
  func aMatchDecides(conditions: String, passes: Bool) async throws {
    let instances = try Instances(1)
    let door = try await Portico.start(
      config: config(
        "server %%UPSTREAM_0%%; health_check interval=200ms uri=/health match=well mandatory;",
        extra: "match well { \(conditions) }"), upstreams: instances.upstreams)
    if passes {
      try waitUntil("the server to pass") { try door.get().status == 200 }
    } else {
      try door.waitForLog("but \"well\" wants")
      #expect(try door.get().status == 502)
    }
    try door.stop()
  }

  @Test func aServerThatAcceptsAndSaysNothingIsSick() async throws {
    let silent = RawServer()
    let instances = try Instances(1)
    let door = try await Portico.start(
      config: config(
        "server \(silent.address); server %%UPSTREAM_0%%; health_check interval=500ms uri=/health;"),
      upstreams: instances.upstreams)
    try door.waitForLog("it gets no requests until it passes")
    #expect(try door.ask(4) == "aaaa")
    try door.stop(SIGTERM)
  }

  @Test func aRefusedConnectionIsSickForBothTypes() async throws {
    for type in ["http", "tcp"] {
      let instances = try Instances(1)
      let door = try await Portico.start(
        config: config(
          "server 127.0.0.1:%%PORT_7%%; server %%UPSTREAM_0%%; health_check interval=500ms type=\(type);"
        ),
        upstreams: instances.upstreams)
      try door.waitForLog("connection refused (1 of 1); it gets no requests until it passes")
      #expect(try door.ask(3) == "aaa")
      try door.stop()
    }
  }

  @Test func aLocationMayAskForTheCheckOfTheGroupItPassesTo() async throws {
    let instances = try Instances(2)
    let text = """
      http {
        upstream app { server %%UPSTREAM_0%%; server %%UPSTREAM_1%%; zone app 64k; }
        match well { status 200; header X-State = fine; }
        server {
          listen 127.0.0.1:%%PORT_0%%;
          location / { proxy_pass http://app; health_check interval=500ms uri=/health match=well; }
        }
      }
      """
    let door = try await Portico.start(config: text, upstreams: instances.upstreams)
    #expect(try door.ask(4).filter { $0 == "b" }.count == 2)
    instances.fall(1)
    try door.waitForLog("it gets no requests until it passes")
    try waitUntil("no request to the sick server") { try door.ask(4) == "aaaa" }
    #expect(try door.reload(config: text).code == 0)
    #expect(try door.ask(4) == "aaaa")
    instances.recover(1)
    try waitUntil("requests to both") { try door.ask(2).contains("b") }
    // Without the directive nobody checks.
    #expect(try door.reload(config: text.replacing(/health_check[^;]*;/, with: "")).code == 0)
    let asked = instances.upstreams[0].requests.filter { $0.path == "/health" }.count
    #expect(asked > 1)
    #expect(try door.ask(20).count == 20)
    let later = instances.upstreams[0].requests.filter { $0.path == "/health" }.count
    #expect(later <= asked + 1)
    try door.stop()
  }

  @Test(arguments: ["return 200;", "proxy_pass http://$host;"])
  func aCheckInALocationNeedsAGroup(content: String) throws {
    let site = try Site(
      config: """
        http { server { listen 127.0.0.1:%%PORT_0%%; location / { \(content) health_check; } } }
        """)
    let result = try Portico.run(site, ["-t"])
    #expect(result.code == 1)
    #expect(result.standardError.contains("needs a \"proxy_pass\" or \"grpc_pass\" to an upstream"))
  }
}
