// Active health checks through the door: of servers that speak TLS, of servers that say nothing,
// and what a reload keeps. The checks' own rules are in BalancingTests and EngineTests.

import Foundation
import Synchronization
import Testing

/// An upstream whose answer to `/health` is a switch.
private final class Instance: Sendable {
  private final class Switch: Sendable { let isOn = Mutex(true) }

  let server: TestUpstream
  private let health = Switch()

  init() throws {
    server = try TestUpstream { [health] request in
      guard request.path == "/health" else { return .answer(body: "answered") }
      return health.isOn.withLock { $0 } ? .answer(body: "well") : .answer("503 Sick")
    }
  }

  func fall() { health.isOn.withLock { $0 = false } }
  func recover() { health.isOn.withLock { $0 = true } }
  var checks: [TestUpstream.Request] { server.requests.filter { $0.path == "/health" } }
}

@Suite struct TLSHealthTests {
  /// Port 0 passes to port 1, which speaks TLS and passes to the instance. `check` stands in the
  /// upstream, `location` beside `proxy_pass`.
  private func start(
    _ instance: Instance, check: String = "", location: String = ""
  ) async throws -> RunningPortico {
    let site = try Site(
      config: """
        http {
          match well { status 200; body ~ well; }
          upstream app { server 127.0.0.1:%%PORT_1%%; \(check) }
          server { listen 127.0.0.1:%%PORT_0%%;
            location / { proxy_pass https://app; \(location) } }
          server { listen 127.0.0.1:%%PORT_1%% ssl; server_name up.test;
            ssl_certificate up.test.crt; ssl_certificate_key up.test.key;
            location / { proxy_pass http://%%UPSTREAM_0%%; proxy_set_header X-SNI $ssl_server_name;
              proxy_set_header Host $http_host; } }
        }
        """, upstreams: [instance.server])
    try site.makeCertificate("up.test")
    try site.makeCertificate("other.test")
    return try await Portico.start(site)
  }

  private static let check = "health_check interval=500ms uri=/health match=well mandatory"

  @Test(arguments: [true, false])
  func asksByHTTPOverTLS(inLocation: Bool) async throws {
    let instance = try Instance()
    let check = Self.check + ";"
    let door = try await start(
      instance, check: inLocation ? "" : check, location: inLocation ? check : "")
    try door.waitForLog("passed: 200 OK (1 of 1); it gets requests")
    #expect(try door.get().text == "answered")
    #expect(instance.checks.first?["Host"] == "app")
    instance.fall()
    try door.waitForLog("failed: 503 Sick, but \"well\" wants status 200 (1 of 1)")
    // The only server is the last resort, sick or not.
    #expect(try door.get().text == "answered")
    instance.recover()
    try door.waitForLog("passed: 200 OK (1 of 1); it gets requests again")
    try waitUntil("answers again") { try door.get().text == "answered" }
    try door.stop(SIGTERM)
  }

  @Test func newsGoToTheLogThatAReloadChose() async throws {
    let instance = try Instance()
    func config(_ log: String) -> String {
      """
      error_log %%DIR%%/\(log) notice;
      http {
        upstream app { server %%UPSTREAM_0%%; health_check interval=200ms uri=/health; }
        server { listen 127.0.0.1:%%PORT_0%%; location / { proxy_pass http://app; } }
      }
      """
    }
    let door = try await Portico.start(
      Site(config: config("first.log"), upstreams: [instance.server]),
      globals: "pid %%DIR%%/portico.pid;")
    #expect(try door.reload(config: config("second.log")).code == 0)
    instance.fall()
    try waitUntil("news in the second log") {
      door.site.text("second.log").contains("failed: 503 Sick")
    }
    #expect(!door.site.text("first.log").contains("failed: 503 Sick"))
    try door.stop()
  }

  @Test func sendsTheNameAndVerifiesTheCertificateAsRequestsDo() async throws {
    let names = "proxy_ssl_name up.test; proxy_ssl_server_name on; proxy_ssl_verify on;"
    let good = try Instance()
    let door = try await start(
      good, check: Self.check + ";", location: names + "proxy_ssl_trusted_certificate up.test.crt;")
    try door.waitForLog("it gets requests")
    #expect(good.checks.first?["X-SNI"] == "up.test")
    try door.stop(SIGTERM)
    let unknown = try Instance()
    let other = try await start(
      unknown, check: Self.check + ";",
      location: names + "proxy_ssl_trusted_certificate other.test.crt;")
    try other.waitForLog("failed: SSL_do_handshake() failed (certificate refused: ")
    #expect(try other.get().status == 502)
    #expect(unknown.checks.isEmpty)
    try other.stop(SIGTERM)
  }

  @Test func aServerThatSpeaksNoTLSIsSick() async throws {
    let instance = try Instance()
    let door = try await Portico.start(
      config: """
        http {
          upstream app { server %%UPSTREAM_0%%; health_check interval=500ms uri=/health; }
          server { listen 127.0.0.1:%%PORT_0%%; location / { proxy_pass https://app; } }
        }
        """, upstreams: [instance.server])
    try door.waitForLog("it gets no requests until it passes")
    #expect(instance.checks.isEmpty)
    try door.stop(SIGTERM)
  }
}

@Suite struct SilentServerTests {
  /// How long a server that accepts and says nothing takes to be out, with two worker threads:
  /// `most` from before the start on, `least` from when the first check was seen.
  private func secondsUntilOut(
    _ parameters: String, tls: Bool = false
  ) async throws -> (most: Double, least: Double) {
    let silent = RawServer()
    let instance = try Instance()
    let most = Stopwatch()
    let door = try await Portico.start(
      config: """
        worker_processes 2;
        http {
          upstream app { server \(silent.address); server %%UPSTREAM_0%% backup;
            health_check \(parameters) uri=/health; }
          server { listen 127.0.0.1:%%PORT_0%%;
            location / { proxy_pass \(tls ? "https" : "http")://app; } }
        }
        """, upstreams: [instance.server])
    let first = try silent.accept()
    let least = Stopwatch()
    try door.waitForLog("\(silent.address) in upstream \"app\" failed")
    try waitUntil("the silent server to be out") {
      door.errorLog.split(separator: "\n").contains {
        $0.contains(silent.address) && $0.contains("it gets no requests")
      }
    }
    let seconds = (most.seconds, least.seconds)
    // Both threads know: no request of many connections goes to the silent server.
    if !tls { for _ in 0..<12 { #expect(try door.get().text == "answered") } }
    #expect(first.descriptor >= 0)
    try door.stop(SIGTERM)
    return seconds
  }

  @Test func isOutAfterIntervalTimesFails() async throws {
    let seconds = try await secondsUntilOut("interval=500ms fails=3")
    // The interval is what a check may take; with the time of other checks it would be fifteen.
    #expect(seconds.most >= 1.49 && seconds.least < 10, "\(seconds) s")
  }

  @Test func isOutSoonerWithATimeout() async throws {
    let seconds = try await secondsUntilOut("interval=1m fails=1 timeout=100ms")
    // Without `timeout` a check may take five seconds.
    #expect(seconds.least < 4, "\(seconds) s")
  }

  @Test func isOutWhereTheHandshakeHangs() async throws {
    _ = try await secondsUntilOut("interval=400ms fails=1", tls: true)
  }
}

@Suite struct HealthAcrossReloadTests {
  @Test func keepsWhatItKnowsAndLogsEachChangeWithItsReason() async throws {
    let instance = try Instance()
    let config = """
      http {
        upstream app { server %%UPSTREAM_0%%;
          health_check interval=500ms fails=2 passes=2 uri=/health; }
        server { listen 127.0.0.1:%%PORT_0%%; location / { proxy_pass http://app; } }
      }
      """
    let door = try await Portico.start(config: config, upstreams: [instance.server])
    instance.fall()
    try door.waitForLog("failed: 503 Sick (2 of 2); it gets no requests until it passes")
    for generation in 2...4 {
      let changed = config.replacingOccurrences(
        of: "location / {", with: "location /\(generation) { return 204; } location / {")
      #expect(try door.reload(config: changed).code == 0)
      #expect(try door.get("/\(generation)").status == 204)
    }
    instance.recover()
    try door.waitForLog("passed: 200 OK (2 of 2); it gets requests again")
    instance.fall()
    try waitUntil("the second fall in the log") {
      door.errorLog.components(separatedBy: "it gets no requests until it passes").count == 3
    }
    // Nothing was said twice on the way.
    #expect(door.errorLog.components(separatedBy: "it gets requests again").count == 2)
    try door.stop(SIGTERM)
  }
}

@Suite struct HealthQueueTests {
  /// A listening socket on every address of this machine that starts with 127; nobody accepts.
  private final class SilentHost {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var port: UInt16 = 0

    init() {
      var address = sockaddr_in()
      address.sin_family = sa_family_t(AF_INET)
      var length = socklen_t(MemoryLayout<sockaddr_in>.size)
      withUnsafeMutablePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          _ = bind(descriptor, $0, length)
          _ = listen(descriptor, 1_000)
          _ = getsockname(descriptor, $0, &length)
        }
      }
      port = UInt16(bigEndian: address.sin_port)
    }

    deinit { close(descriptor) }
  }

  /// Servers that accept and say nothing take all the room that checks have. When they leave the
  /// configuration, the others are checked at once.
  @Test func roomOfUpstreamsThatLeftGoesToOthers() async throws {
    let silent = SilentHost()
    let app = try TestUpstream { _ in .answer(body: "well") }
    func config(_ big: String) -> String {
      """
      worker_processes 1;
      http {
        upstream first { server %%UPSTREAM_0%%; health_check interval=1h timeout=1h mandatory; }
        \(big)
        upstream last { server %%UPSTREAM_0%%; health_check interval=1h timeout=1h mandatory; }
        server { listen 127.0.0.1:%%PORT_0%%;
          location /first { proxy_pass http://first; }
          location /last { proxy_pass http://last; } }
      }
      """
    }
    let servers = (0..<300).map { "server 127.0.\($0 / 100).\(1 + $0 % 100):\(silent.port);" }
    let big = """
      upstream big { \(servers.joined(separator: " ")) health_check interval=1h timeout=1h; }
      """
    let door = try await Portico.start(config: config(big), upstreams: [app])
    // Whichever comes first in the queue: they don't both have room.
    try waitUntil("one check") { try door.get("/first").status != door.get("/last").status }
    #expect(try door.reload(config: config("")).code == 0)
    for path in ["/first", "/last"] {
      try waitUntil("the check of \(path)") { try door.get(path).status == 200 }
    }
    try door.stop()
  }
}
