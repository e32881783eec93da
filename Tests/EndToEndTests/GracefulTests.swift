// What clients notice of a stop, a reload, a crash and an upgrade: nothing that they needn't.

import Foundation
import Synchronization
import Testing

private func proxy(_ extra: String = "", location: String = "") -> String {
  """
  \(extra)
  http { server {
    listen 127.0.0.1:%%PORT_0%%;
    location / { proxy_pass http://%%UPSTREAM_0%%; \(location) }
  } }
  """
}

@Suite struct DrainTests {
  @Test func quitFinishesWhatIsInFlightAndClosesWhatIsIdle() async throws {
    let gate = Gate()
    let app = try TestUpstream { request in
      if request.path == "/slow" { gate.wait() }
      return .answer(body: String(request.path.dropFirst()))
    }
    let door = try await Portico.start(config: proxy(), upstreams: [app])
    let idle = try door.client()
    try idle.send("GET /fast HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(try idle.response().text == "fast")
    let busy = try door.client()
    try busy.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
    try waitUntil("the slow request") { app.requests.contains { $0.path == "/slow" } }
    door.command.signal(SIGQUIT)
    #expect(idle.isClosed())
    try waitUntil("a refused connection") { (try? door.client()) == nil }
    gate.open()
    let response = try busy.response()
    #expect(response.text == "slow")
    #expect(response["connection"] == "close")
    #expect(try door.command.wait().code == 0)
  }

  @Test func quitKeepsAnIdleConnectionAsLongAsItWasPromised() async throws {
    let app = try TestUpstream { _ in .answer(body: "fast") }
    let door = try await Portico.start(
      config: proxy(location: "keepalive_min_timeout 2s;"), upstreams: [app])
    let clients = try [door.client(), door.client()]
    for client in clients {
      try client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      #expect(try client.response()["connection"] == "keep-alive")
    }
    door.command.signal(SIGQUIT)
    try waitUntil("a refused connection") { (try? door.client()) == nil }
    try clients[0].send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    let response = try clients[0].response()
    #expect(response.text == "fast" && response["connection"] == "close")
    #expect(clients[1].isClosed(within: 5))
    #expect(try door.command.wait(within: 5).code == 0)
  }

  @Test func quitWaitsNoLongerThanItsTimeout() async throws {
    let app = try TestUpstream { _ in .steps([.silence]) }
    let door = try await Portico.start(
      config: proxy("worker_shutdown_timeout 1s;"), upstreams: [app])
    let busy = try door.client()
    try busy.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    try waitUntil("the request") { !app.requests.isEmpty }
    let watch = Stopwatch()
    #expect(try door.stop() == 0)
    #expect(watch.seconds > 0.9)
  }

  @Test func terminateWaitsForNobody() async throws {
    let app = try TestUpstream { _ in .steps([.silence]) }
    let door = try await Portico.start(config: proxy(), upstreams: [app])
    let busy = try door.client()
    try busy.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    try waitUntil("the request") { !app.requests.isEmpty }
    #expect(try door.stop(SIGTERM) == 0)
    #expect(busy.isClosed())
  }
}

@Suite struct ReloadUnderLoadTests {
  @Test(arguments: [true, false])
  func twentyReloadsFailNoRequestAndCloseNoConnection(_ keepAlive: Bool) async throws {
    let app = try TestUpstream { _ in .answer(body: "hello") }
    let door = try await Portico.start(
      config: proxy("worker_processes 2;", location: "proxy_read_timeout 60s;"), upstreams: [app])
    let load = Load(door, clients: 4, keepAlive: keepAlive)
    for index in 0..<20 {
      let result = try door.reload(
        config: proxy("worker_processes 2;", location: "proxy_read_timeout \(61 + index)s;"))
      #expect(result.code == 0)
    }
    let (count, failures) = try load.stop()
    #expect(count > 0)
    #expect(failures == [], "\(door.errorLog.suffix(2000))")
    try door.stop()
  }

  @Test(arguments: [true, false])
  func anAddressBecomesNarrowerAndWiderUnderLoad(_ keepAlive: Bool) async throws {
    func config(_ listen: String) -> String {
      "worker_processes 2; http { server { listen \(listen); return 200 ok; } }"
    }
    let (every, one) = ("%%PORT_0%%", "127.0.0.1:%%PORT_0%%")
    let door = try await Portico.start(config: config(every))
    let load = Load(door, clients: 2, keepAlive: keepAlive)
    let changes = [one, every, one, every, "\(one) reuseport", every, one]
    for listen in changes {
      let result = try door.reload(config: config(listen))
      #expect(result.code == 0, "\(result.standardError)")
    }
    let (count, failures) = try load.stop()
    #expect(count > 0)
    // The kernel prefers the narrower socket until it is closed, and resets what it queued since
    // the last accept: at most the one connection that each client is just making.
    #expect(failures.count <= (keepAlive ? 0 : 2 * changes.count), "\(failures)")
    let resets = ["reset(\(ECONNRESET))", "connect(\(ECONNRESET))"]
    #expect(failures.allSatisfy { resets.contains($0) }, "\(failures)")
    // Other addresses are refused again.
    let other = try Command.run(
      ["curl", "-s", "-m", "5", "http://127.0.0.2:\(door.port())/"], folder: door.site.folder)
    #expect(other.code == 7)
    try door.stop()
  }

  @Test func aKeptConnectionTakesTheNewConfigurationAtItsNextRequest() async throws {
    func config(_ text: String) -> String {
      "http { server { listen 127.0.0.1:%%PORT_0%%; return 200 \(text); } }"
    }
    let door = try await Portico.start(config: config("one"))
    let client = try door.client()
    for text in ["one", "two", "three"] {
      if text != "one" { #expect(try door.reload(config: config(text)).code == 0) }
      try client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      #expect(try client.response().text == text)
    }
    try door.stop()
  }

  @Test func aRequestInFlightEndsUnderThePlanThatItBeganWith() async throws {
    let gate = Gate()
    let app = try TestUpstream { _ in
      gate.wait()
      return .answer(body: "old")
    }
    let door = try await Portico.start(
      config: proxy(location: "add_header X-Plan old;"), upstreams: [app])
    let client = try door.client()
    try client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    try waitUntil("the request") { !app.requests.isEmpty }
    let next = "http { server { listen 127.0.0.1:%%PORT_0%%; return 200 new; } }"
    #expect(try door.reload(config: next).code == 0)
    #expect(try door.get().text == "new")
    gate.open()
    let response = try client.response()
    #expect(response.text == "old")
    #expect(response["x-plan"] == "old")
    try client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(try client.response().text == "new")
    try door.stop()
  }

  @Test func theNumberOfWorkersChangesWithoutAFailedRequest() async throws {
    let app = try TestUpstream { _ in .answer(body: "hello") }
    let door = try await Portico.start(config: proxy("worker_processes 1;"), upstreams: [app])
    let load = Load(door, clients: 4, keepAlive: false)
    for workers in [3, 1, 4, 2] {
      #expect(try door.reload(config: proxy("worker_processes \(workers);")).code == 0)
    }
    let (count, failures) = try load.stop()
    #expect(count > 0)
    #expect(failures == [], "\(door.errorLog.suffix(2000))")
    try door.stop()
  }

  @Test func anUpgradeFailsNoRequest() async throws {
    let app = try TestUpstream { _ in .answer(body: "hello") }
    let door = try await Portico.start(config: proxy(), upstreams: [app])
    let load = Load(door, clients: 4, keepAlive: false)
    let old = door.command.pid
    try door.signal(SIGUSR2)
    try waitUntil("the new binary") { (try? door.pid).map { $0 != old } ?? false }
    kill(old, SIGQUIT)
    #expect(try door.command.wait().code == 0)
    let (count, failures) = try load.stop()
    #expect(count > 0)
    #expect(failures == [], "\(door.errorLog.suffix(2000))")
    _ = try door.send("stop")
  }
}

@Suite struct PermissionTests {
  @Test func namesAPortThatNeedsPermission() throws {
    let site = try Site(config: "http { server { listen 127.0.0.1:81; return 200 a; } }")
    chmod(site.folder, 0o777)
    // A user other than root; harmless when the tests aren't run by root.
    let user = getuid() == 0 ? ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] : []
    // Containers may allow every port to everybody.
    let start = try? String(
      contentsOfFile: "/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding: .utf8)
    guard start?.hasPrefix("1024") ?? true else { return }
    let result = try Command(
      user + [Portico.binary] + site.arguments(globals: Portico.globals), folder: site.folder
    ).wait()
    #expect(result.code == 1)
    #expect(
      result.standardError.contains("bind() to 127.0.0.1:81 failed (13: Permission denied)"))
    #expect(!site.exists("portico.pid"))
  }

  /// What a reload under way had opened is given up: nobody is left waiting at its new port.
  @Test func quitGivesUpAReload() async throws {
    let gate = Gate()
    let app = try TestUpstream { _ in
      gate.wait()
      return .steps([.bytes("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nheld")])
    }
    let door = try await Portico.start(
      config: "http { server { listen 127.0.0.1:%%PORT_0%%; location / "
        + "{ proxy_pass http://%%UPSTREAM_0%%; } } }", upstreams: [app])
    let client = try door.client()
    try client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    try waitUntil("the request at the upstream") { !app.requests.isEmpty }
    // The worker process can't answer, and the supervisor waits for it.
    try door.withWorkerHeld {
      try door.site.write(
        "portico.conf",
        "http { server { listen 127.0.0.1:%%PORT_1%%; return 200 new; } }")
      try door.signal(SIGHUP)
      try waitUntil("the new port is open") { (try? door.client(port: 1)) != nil }
      try door.signal(SIGQUIT)
      try door.waitForLog("portico is ending")
    }
    try waitUntil("nobody listens at the new port") { (try? door.client(port: 1)) == nil }
    gate.open()
    #expect(try client.response().text == "held")
    #expect(try door.command.wait().code == 0)
  }
}
