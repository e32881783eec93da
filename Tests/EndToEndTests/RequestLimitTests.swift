// limit_req and limit_conn, over several threads, connections, protocols and configurations.

import Foundation
import Testing

@Suite struct RequestLimitTests {
  private static let config = """
    worker_processes 4; events { worker_connections 2048; }
    http {
      limit_req_zone $arg_k zone=minute:1m rate=1r/m;
      limit_req_zone $arg_k zone=second:1m rate=2r/s;
      limit_req_zone $arg_other zone=other:1m rate=1r/m;
      limit_conn_zone $arg_k zone=open:1m;
      limit_conn_zone $arg_k zone=small:32k;
      limit_conn_zone $arg_other zone=wide:1m;
      log_format limits "$connection $request $status $limit_req_status $limit_conn_status";
      access_log %%DIR%%/access.log limits;
      server {
        listen 127.0.0.1:%%PORT_0%% reuseport backlog=1000; http2 on; root %%DIR%%/www;
        location / { }
        location /burst { limit_req zone=minute burst=19 nodelay; alias %%DIR%%/www/a; }
        location /one { limit_req zone=minute; limit_req_status 429; alias %%DIR%%/www/a; }
        location /slow { limit_req zone=second burst=5; alias %%DIR%%/www/a; }
        location /later { limit_req zone=second burst=5 delay=2; alias %%DIR%%/www/a; }
        location /ages { limit_req zone=minute burst=5; alias %%DIR%%/www/a; }
        location /both {
          limit_req zone=minute burst=5 nodelay; limit_req zone=other; alias %%DIR%%/www/a;
        }
        location /dry { limit_req zone=minute; limit_req_dry_run on; alias %%DIR%%/www/a;
          add_header X-Limit $limit_req_status; }
        location /again { limit_req zone=minute; try_files /none /one; }
        location /quiet { limit_req zone=minute; limit_req_log_level info; alias %%DIR%%/www/a; }
        location /open {
          limit_conn open 10; limit_conn_status 404; auth_basic x; auth_basic_user_file users;
          auth_delay 1h;
        }
        location /small {
          limit_conn small 1; auth_basic x; auth_basic_user_file users; auth_delay 1h;
        }
        location /wide {
          limit_conn open 5; limit_conn wide 1; auth_basic x; auth_basic_user_file users;
          auth_delay 1h;
        }
        location /count { limit_conn open 1; limit_conn_dry_run on; alias %%DIR%%/www/a;
          add_header X-Limit $limit_conn_status; }
        location /free { limit_conn open 1; limit_conn_status 404; alias %%DIR%%/www/a; }
      }
    }
    """

  private func start(_ config: String = config) async throws -> RunningPortico {
    try await Portico.start(
      config: config, files: ["www/a": "a", "www/index.html": "i", "users": "a:{PLAIN}b"])
  }

  /// Asks on `count` connections at once; those that were not answered yet stay open.
  private func ask(_ door: RunningPortico, _ path: String, _ count: Int) throws -> [RawClient] {
    let clients = try (0..<count).map { _ in try door.client() }
    for client in clients { try client.send("GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n") }
    return clients
  }

  private func lines(_ door: RunningPortico, _ part: String) -> [String] {
    door.site.text("access.log").split(separator: "\n").map(String.init)
      .filter { $0.contains(part) }
  }

  // --- limit_req ---------------------------------------------------------------------------------

  @Test func allThreadsTogetherLetARateAndItsBurstThrough() async throws {
    let door = try await start()
    let clients = try ask(door, "/burst?k=1", 200)
    let statuses = try clients.map { try $0.response().status }
    #expect(statuses.filter { $0 == 200 }.count == 20)
    #expect(statuses.filter { $0 == 503 }.count == 180)
    // Another key has a rate of its own, and nothing at all is not counted.
    #expect(try door.get("/burst?k=2").status == 200)
    for _ in 0..<30 { #expect(try door.get("/burst").status == 200) }
    try door.waitForLog("limiting requests, excess: ")
    try door.waitForLog(" by zone \"minute\", client: 127.0.0.1")
    try door.stop()
    // The connections were spread over threads, whose index is in the number of a connection.
    let threads = lines(door, "/burst?k=1").compactMap {
      $0.split(separator: " ").first.flatMap { Int($0) }.map { $0 % 256 }
    }
    #expect(threads.count == 200 && Set(threads).count == 4)
    #expect(lines(door, "/burst?k=1").filter { $0.hasSuffix("200 PASSED -") }.count == 20)
    #expect(lines(door, "/burst?k=1").filter { $0.hasSuffix("503 REJECTED -") }.count == 180)
    #expect(lines(door, "/burst HTTP").allSatisfy { $0.hasSuffix("200 - -") })
  }

  @Test func requestsAheadOfTheirRateWait() async throws {
    let door = try await start()
    let watch = Stopwatch()
    let clients = try ask(door, "/slow?k=1", 7)
    let statuses = try clients.map { try $0.response().status }
    let seconds = watch.seconds
    #expect(statuses.filter { $0 == 200 }.count == 6 && statuses.filter { $0 == 503 }.count == 1)
    // Two a second: the sixth comes two and a half seconds behind the first.
    #expect(seconds >= 2.49, "\(seconds)")
    try door.waitForLog("delaying request, excess: ")
    #expect(door.errorLog.contains(", by zone \"second\""))
    // With a delay from the third on, the others go at once.
    let later = try ask(door, "/later?k=2", 3)
    for client in later { #expect(try client.response().status == 200) }
    try door.stop()
    #expect(lines(door, "/later").allSatisfy { $0.hasSuffix("200 PASSED -") })
    #expect(lines(door, "/slow").filter { $0.hasSuffix("200 DELAYED -") }.count == 5)
  }

  @Test func whoLeavesWhileWaitingIsForgotten() async throws {
    let door = try await start()
    #expect(try door.get("/ages?k=1").status == 200)
    var clients = try ask(door, "/ages?k=1", 1)
    try door.waitForLog("delaying request")
    clients.removeAll()
    try waitUntil("499") { lines(door, "/ages?k=1").contains { $0.hasSuffix("499 DELAYED -") } }
    let http2 = try H2Client(port: door.port())
    try http2.request(1, "/ages?k=1")
    try waitUntil("the delay") { door.errorLog.components(separatedBy: "delaying").count == 3 }
    try http2.send(.reset, stream: 1, payload: [0, 0, 0, 8])
    try waitUntil("499") { lines(door, "/ages").filter { $0.contains(" 499 ") }.count == 2 }
    // The connection goes on.
    try http2.request(3, "/")
    #expect(try http2.response(3).status == 200)
    try door.stop()
  }

  @Test func severalLimitsHoldTogether() async throws {
    let door = try await start()
    #expect(try door.get("/both?k=1&other=1").status == 200)
    // What the second rejects, the first doesn't count.
    for _ in 0..<20 { #expect(try door.get("/both?k=1&other=1").status == 503) }
    for number in 2...6 { #expect(try door.get("/both?k=1&other=\(number)").status == 200) }
    #expect(try door.get("/both?k=1&other=7").status == 503)
    #expect(try door.get("/both?k=2").status == 200)
  }

  @Test func limitsSayWhatTheyDoAndWouldDo() async throws {
    let door = try await start()
    #expect(try door.get("/one?k=1").status == 200)
    #expect(try door.get("/one?k=1").status == 429)
    #expect(try door.get("/dry?k=1")["X-Limit"] == "REJECTED_DRY_RUN")
    try door.waitForLog("[error]")
    try door.waitForLog("limiting requests, dry run, excess: ")
    // An internal redirect isn't another request.
    #expect(try door.get("/again?k=2").status == 200)
    #expect(try door.get("/quiet?k=2").status == 503)
    try waitUntil("the line") {
      door.errorLog.split(separator: "\n").contains {
        $0.contains("[info]") && $0.contains("/quiet")
      }
    }
  }

  // --- limit_conn --------------------------------------------------------------------------------

  @Test func allThreadsTogetherKeepSoManyOpen() async throws {
    let door = try await start()
    var clients = try ask(door, "/open?k=1", 60)
    try waitUntil("the others to be refused") { lines(door, " 404 - REJECTED").count == 50 }
    #expect(try door.get("/free?k=1").status == 404)
    #expect(try door.get("/free?k=2").status == 200)
    #expect(try door.get("/count?k=1")["X-Limit"] == "REJECTED_DRY_RUN")
    try door.waitForLog("limiting connections by zone \"open\"")
    try door.waitForLog("limiting connections, dry run by zone \"open\"")
    clients.removeAll()
    try waitUntil("all to be gone") { lines(door, " 499 - PASSED").count == 10 }
    // Nothing is counted for ever. (A client has its response a moment before the request is over.)
    for _ in 0..<30 {
      try waitUntil("room") { try door.get("/free?k=1").status == 200 }
    }
    try waitUntil("room") { try door.get("/count?k=1")["X-Limit"] == "PASSED" }
    try door.stop()
  }

  @Test func whatOneLimitRefusesTheOthersDontCount() async throws {
    let door = try await start()
    let held = try ask(door, "/wide?k=1&other=1", 1)
    try door.waitForLog("delaying unauthorized")
    for _ in 0..<20 { #expect(try door.get("/wide?k=1&other=1").status == 503) }
    let others = try (2...5).flatMap { try ask(door, "/wide?k=1&other=\($0)", 1) }
    try waitUntil("the delays") { door.errorLog.components(separatedBy: "delaying").count == 6 }
    #expect(try door.get("/wide?k=1&other=6").status == 503)
    withExtendedLifetime((held, others)) {}
  }

  @Test func aFullZoneRefusesFurtherKeys() async throws {
    let door = try await start()
    // Fifty cells a key: a zone of 32k has room for nine.
    let long = String(repeating: "x", count: 3_000)
    let clients = try (0..<20).flatMap { try ask(door, "/small?k=\($0)\(long)", 1) }
    try door.waitForLog("zone \"small\" is full")
    try waitUntil("all to be told") {
      lines(door, " 503 - REJECTED").count + door.errorLog.components(separatedBy: "delaying").count
        == 21
    }
    let refused = lines(door, " 503 - REJECTED").count
    #expect(refused > 5 && refused < 15, "\(refused)")
    withExtendedLifetime(clients) {}
  }

  @Test func eachStreamOfHTTP2Counts() async throws {
    let door = try await start()
    let http2 = try H2Client(port: door.port())
    for stream in 0..<10 as Range<UInt32> { try http2.request(stream * 2 + 1, "/open?k=1") }
    try http2.request(21, "/open?k=1")
    #expect(try http2.response(21).status == 404)
    try http2.send(.reset, stream: 1, payload: [0, 0, 0, 8])
    try waitUntil("499") { lines(door, " 499 - PASSED").count == 1 }
    try http2.request(23, "/open?k=1")
    try http2.request(25, "/open?k=1")
    #expect(try http2.response(25).status == 404)
  }

  // --- reload ------------------------------------------------------------------------------------

  @Test func countsSurviveAReloadThatLeavesTheZoneAlone() async throws {
    let door = try await start()
    #expect(try door.get("/one?k=1").status == 200)
    let held = try ask(door, "/wide?k=1&other=1", 1)
    try door.waitForLog("delaying unauthorized")
    let reloaded = Self.config.replacingOccurrences(
      of: "limit_req_status 429", with: "limit_req_status 430")
    #expect(try door.reload(config: reloaded).code == 0)
    #expect(try door.get("/one?k=1").status == 430)
    #expect(try door.get("/wide?k=2&other=1").status == 503)
    withExtendedLifetime(held) {}
    // Another size is another zone, and another key too.
    for (old, new) in [
      ("zone=minute:1m", "zone=minute:2m"), ("$arg_k zone=minute", "$arg_k$uri zone=minute"),
    ] {
      #expect(
        try door.reload(config: Self.config.replacingOccurrences(of: old, with: new)).code == 0)
      #expect(try door.get("/one?k=1").status == 200)
      #expect(try door.get("/one?k=1").status == 429)
    }
  }

  @Test(arguments: [
    ("limit_req_zone $uri zone=a:1m;", "\"limit_req_zone\" takes 3 arguments"),
    ("limit_req_zone $uri zone=a:1m rate=5;", "invalid rate \"5\""),
    ("limit_req_zone $uri zone=a:1m rate=0r/s;", "invalid rate \"0r/s\""),
    ("limit_req_zone $uri zone=a:1m rate=-1r/s;", "invalid rate \"-1r/s\""),
    ("limit_req_zone $uri zone=a:1m rate=5r/h;", "invalid rate \"5r/h\""),
    ("limit_req_zone $uri zone=a:1m rate=99999999999999999999r/s;", "invalid rate"),
    ("limit_req_zone $uri zone=a rate=5r/s;", "invalid zone \"a\""),
    ("limit_req_zone $uri zone=:1m rate=5r/s;", "invalid zone \":1m\""),
    ("limit_req_zone $uri zone=a:1x rate=5r/s;", "size such as"),
    ("limit_req_zone $uri zone=a:31k rate=5r/s;", "zone \"a\" is too small"),
    ("limit_req_zone $uri zone=a:9223372036854775807 rate=5r/s;", "zone \"a\""),
    ("limit_req_zone $uri zone=a:8589934591g rate=5r/s;", "zone \"a\""),
    ("limit_req_zone $uri zone=a:1m sync;", "has no parameter \"sync\""),
    ("limit_req_zone $nothing zone=a:1m rate=5r/s;", "unknown \"nothing\" variable"),
    ("limit_conn_zone $uri zone=a:16k;", "zone \"a\" is too small"),
    ("limit_conn_zone $uri size=a:1m;", "has no parameter \"size=a:1m\""),
    (
      "limit_conn_zone $uri zone=c:1m; limit_conn_zone $uri zone=c:1m;",
      "zone \"c\" is there already"
    ),
    (
      "limit_req zone=mising;",
      "no \"limit_req_zone\" with a zone \"mising\"; did you mean \"missing\"?"
    ),
    ("limit_req zone=conn;", "no \"limit_req_zone\" with a zone \"conn\""),
    ("limit_req burst=5;", "\"limit_req\" needs \"zone=NAME\""),
    ("limit_req zone=missing burst=0;", "\"burst\" must be between 1 and"),
    ("limit_req zone=missing often;", "has no parameter \"often\""),
    ("limit_req zone=missing; limit_req zone=missing;", "names the zone \"missing\" twice"),
    ("limit_conn missing 1;", "no \"limit_conn_zone\" with a zone \"missing\""),
    ("limit_conn conn 0;", "must be between 1 and 65535"),
    ("limit_conn conn 65536;", "must be between 1 and 65535"),
    ("limit_conn conn 1; limit_conn conn 2;", "names the zone \"conn\" twice"),
    ("limit_req_status 200;", "must be between 400 and 599"),
    ("limit_req_log_level debug;", "must be one of \"info\""),
  ])
  func saysWhatIsWrongWithALine(line: String, message: String) throws {
    let site = try Site(
      config: """
        http {
          limit_req_zone $uri zone=missing:1m rate=5r/s; limit_conn_zone $uri zone=conn:1m;
          \(line)
          server { listen 127.0.0.1:%%PORT_0%%; }
        }
        """)
    let result = try Portico.run(site, ["-t"])
    #expect(result.code == 1 && result.standardError.contains(message), "\(result.standardError)")
  }
}
