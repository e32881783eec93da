// auth_basic, auth_basic_user_file, auth_delay, and satisfy between them and addresses.

import Foundation
import Testing

private func credentials(_ user: String, _ password: String) -> [String: String] {
  ["Authorization": "Basic " + Data("\(user):\(password)".utf8).base64EncodedString()]
}

@Suite struct AuthenticationTests {
  /// Takes 0.2 s to check.
  private static let slowHash = "$2b$12$abcdefghijklmnopqrstuut8eXPatx3twAPJa78BFnmw/6pro63MO"

  private static let config = """
    http {
      set_real_ip_from 127.0.0.1;
      server {
        listen 127.0.0.1:%%PORT_0%%; http2 on; access_log %%DIR%%/access.log;
        root %%DIR%%/www; auth_basic_user_file users;
        location / { auth_basic "closed"; 
          location /inner { auth_basic off; alias %%DIR%%/www/a; }
        }
        location /open { return 200 open; }
        location /quoted { auth_basic 'say "$arg_x" \\\\ or'; }
        location /sometimes { auth_basic $arg_realm; alias %%DIR%%/www/a; }
        location /none { auth_basic x; auth_basic_user_file %%DIR%%/none; }
        location /folder { auth_basic x; auth_basic_user_file %%DIR%%/www; }
        location /chosen { auth_basic x; auth_basic_user_file $arg_f; alias %%DIR%%/www/a; }
        location /page { auth_basic x; error_page 401 /login; }
        location = /login { return 200 "say who you are"; }
        location /who { auth_basic x; alias %%DIR%%/www/a; add_header X-User $remote_user; }
        location /any { satisfy any; allow 192.0.2.1; deny all; auth_basic x; alias %%DIR%%/www/a; }
        location /any-addresses { satisfy any; allow 192.0.2.1; deny all; alias %%DIR%%/www/a; }
        location /all { allow 192.0.2.1; deny all; auth_basic x; alias %%DIR%%/www/a; }
        location /read { limit_except POST { auth_basic x; } alias %%DIR%%/www/a; }
        location /slow { auth_basic x; auth_basic_user_file slow; alias %%DIR%%/www/a; }
        location /delayed { auth_basic x; auth_delay 300ms; alias %%DIR%%/www/a; }
        location /ages { auth_basic x; auth_delay 1h; }
      }
    }
    """

  private func start() async throws -> RunningPortico {
    try await Portico.start(
      config: Self.config,
      files: [
        "www/a": "a", "www/index.html": "index",
        "users": "plain:{PLAIN}opensesame\nmd5:$apr1$saltsalt$7cqxt8VIjABxqw00CdZLl.\n",
        "slow": "user:\(Self.slowHash)\nother:\(Self.slowHash)\n", "more": "md5:{PLAIN}other",
      ])
  }

  @Test func aClientThatSaysTheRightPasswordIsLetIn() async throws {
    let door = try await start()
    let without = try door.get("/")
    #expect(without.status == 401 && without["WWW-Authenticate"] == "Basic realm=\"closed\"")
    for user in ["plain", "md5"] {
      let answer = try door.get("/", headers: credentials(user, "opensesame"))
      #expect(answer.status == 200 && answer["WWW-Authenticate"] == nil)
      #expect(try door.get("/", headers: credentials(user, "opensesamf")).status == 401)
      #expect(try door.get("/", headers: credentials(user, "")).status == 401)
    }
    #expect(try door.get("/who", headers: credentials("md5", "opensesame"))["X-User"] == "md5")
    for value in [
      "Basic", "Basic ", "Basic !!!!", "Bearer cGxhaW46b3BlbnNlc2FtZQ==", "Basic cGxhaW4=",
      "Basic " + String(repeating: "A", count: 4_000),
    ] {
      #expect(try door.get("/", headers: ["Authorization": value]).status == 401, "\(value)")
    }
    #expect(
      try door.get("/", headers: ["Authorization": "basic  cGxhaW46b3BlbnNlc2FtZQ"]).status == 200)
    try door.waitForLog("no user/password was provided for basic authentication")
    try door.waitForLog("user \"md5\": password mismatch")
    _ = try door.get("/", headers: credentials("nobody", "x"))
    try door.waitForLog("user \"nobody\" was not found in \"\(door.site.folder)users\"")
  }

  @Test func blocksChooseWhatTheyAskFor() async throws {
    let door = try await start()
    #expect(try door.get("/inner").status == 200)
    #expect(try door.get("/sometimes?realm=off").status == 200)
    #expect(try door.get("/sometimes?realm=x").status == 401)
    let quoted = try door.get("/quoted?x=1")["WWW-Authenticate"]
    #expect(quoted == "Basic realm=\"say \\\"1\\\" \\\\ or\"")
    #expect(try door.get("/read", method: "GET").status == 401)
    #expect(try door.get("/read", method: "POST").status == 405)
    #expect(try door.get("/chosen?f=more", headers: credentials("md5", "other")).status == 200)
    #expect(try door.get("/chosen?f=users", headers: credentials("md5", "other")).status == 401)
    let page = try door.get("/page")
    #expect(page.status == 401 && page.text == "say who you are")
    #expect(page["WWW-Authenticate"] == "Basic realm=\"x\"")
  }

  @Test func aFileThatCantBeReadLetsNobodyIn() async throws {
    let door = try await start()
    let right = credentials("plain", "opensesame")
    #expect(try door.get("/none", headers: right).status == 403)
    try door.waitForLog("open() \"\(door.site.folder)none\" failed (2: No such file or directory)")
    #expect(try door.get("/folder", headers: right).status == 403)
    try door.waitForLog("\"\(door.site.folder)www\" is not a regular file")
    #expect(try door.get("/chosen", headers: right).status == 403)
    // Nobody writes into it: whoever opened it would wait.
    #expect(mkfifo(door.site.folder + "fifo", 0o644) == 0)
    #expect(try door.get("/chosen?f=fifo", headers: right).status == 403)
    try door.waitForLog("\"\(door.site.folder)fifo\" is not a regular file")
    // No rule did that.
    #expect(!door.errorLog.contains("access forbidden by rule"))
  }

  @Test func aFileThatChangesIsReadAgain() async throws {
    let door = try await start()
    let right = credentials("plain", "opensesame")
    #expect(try door.get("/", headers: right).status == 200)
    try door.site.write("users", "plain:{PLAIN}changed\n")
    #expect(try door.get("/", headers: right).status == 401)
    #expect(try door.get("/", headers: credentials("plain", "changed")).status == 200)
  }

  @Test func satisfyAnyWantsOneOfThem() async throws {
    let door = try await start()
    let right = credentials("plain", "opensesame")
    let inside = ["X-Real-IP": "192.0.2.1"]
    let outside = ["X-Real-IP": "192.0.2.2"]
    for (path, headers, status) in [
      ("/any", inside, 200), ("/any", outside, 401), ("/any", outside.merging(right) { $1 }, 200),
      ("/any-addresses", outside, 403), ("/any-addresses", inside, 200),
      ("/all", inside, 401), ("/all", outside, 403), ("/all", outside.merging(right) { $1 }, 403),
      ("/all", inside.merging(right) { $1 }, 200),
    ] {
      let answer = try door.get(path, headers: headers)
      #expect(answer.status == status, "\(path) \(headers)")
      #expect((answer["WWW-Authenticate"] != nil) == (status == 401), "\(path) \(headers)")
    }
  }

  @Test func aSlowHashHoldsUpNobodyElse() async throws {
    let door = try await start()
    // Wrong passwords are never remembered: so many of them keep the thread busy for six seconds.
    let guesses = try (0..<32).map { number in
      let client = try door.client()
      let field = credentials("user", "wrong\(number)")["Authorization"] ?? ""
      try client.send("GET /slow HTTP/1.1\r\nHost: a\r\nAuthorization: \(field)\r\n\r\n")
      return client
    }
    for _ in 0..<20 { #expect(try door.get("/open").text == "open") }
    // The last guess still waits after all that.
    #expect(throws: RawClient.Failure.timedOut(received: "")) {
      _ = try guesses[31].read(count: 1, within: 0)
    }
    for client in guesses[..<4] { #expect(try client.response().status == 401) }
  }

  private func guess(
    _ door: RunningPortico, _ number: Int, at address: String = "192.0.2.1"
  ) throws -> RawClient {
    let client = try door.client()
    let field = credentials("user", "wrong\(number)")["Authorization"] ?? ""
    try client.send(
      "GET /slow HTTP/1.1\r\nHost: a\r\nX-Real-IP: \(address)\r\nAuthorization: \(field)\r\n\r\n")
    return client
  }

  @Test func aClientThatGuessesHasOthersWaitForOneGuess() async throws {
    let door = try await start()
    let guesses = try (0..<16).map { try guess(door, $0) }
    let right = credentials("user", "opensesame").merging(["X-Real-IP": "192.0.2.2"]) { $1 }
    #expect(try door.get("/slow", headers: right).status == 200)
    // It overtook nearly all of them, which are answered in turn.
    #expect(throws: RawClient.Failure.timedOut(received: "")) {
      _ = try guesses[8].read(count: 1, within: 0)
    }
    for client in guesses { #expect(try client.response().status == 401) }
    try door.stop()
  }

  /// From as many addresses as there are places, so that they can't be told from other clients.
  @Test func guessesOfClientsThatLeftAreNotChecked() async throws {
    let door = try await start()
    let count = 120
    do {
      let guesses = try (0..<count).map { try guess(door, $0, at: "192.0.2.\($0)") }
      // All of them wait when the first is answered, or soon.
      #expect(try guesses[0].response().status == 401)
    }
    let gone = "client prematurely closed connection"
    try waitUntil("the clients to be gone") {
      door.errorLog.components(separatedBy: gone).count > count / 2
    }
    // Checking all of them would take 24 seconds; how long one takes here, the second says.
    let right = credentials("other", "opensesame")
    let watch = Stopwatch()
    #expect(try door.get("/slow", headers: right).status == 200)
    let seconds = watch.seconds
    #expect(try door.get("/slow", headers: credentials("user", "opensesame")).status == 200)
    #expect(seconds < Double(count / 4) * (watch.seconds - seconds), "\(seconds) \(watch.seconds)")
    try door.stop()
  }

  @Test func aSlowHashIsCheckedOnceForEachUser() async throws {
    let door = try await start()
    func seconds(_ user: String) throws -> Double {
      let watch = Stopwatch()
      #expect(try door.get("/slow", headers: credentials(user, "opensesame")).status == 200)
      return watch.seconds
    }
    let first = try seconds("user")
    let again = try (0..<10).map { _ in try seconds("user") }.min() ?? 1
    #expect(again < first / 2, "\(first) \(again)")
    // The same password of another user was not checked.
    #expect(try seconds("other") > again * 2)
    // What was remembered doesn't outlive the stored hash.
    try door.site.write("slow", "user:\(Self.slowHash.dropLast())0\n")
    #expect(try door.get("/slow", headers: credentials("user", "opensesame")).status == 401)
  }

  @Test func aDelayedRefusalHoldsNothing() async throws {
    let door = try await start()
    let watch = Stopwatch()
    #expect(try door.get("/delayed", headers: credentials("plain", "x")).status == 401)
    #expect(watch.seconds >= 0.3)
    try door.waitForLog("delaying unauthorized request")
    #expect(try door.get("/delayed", headers: credentials("plain", "opensesame")).status == 200)
    // A client that leaves, by HTTP/1.1 and by HTTP/2, is done with at once.
    var client: RawClient? = try door.client()
    try client?.send("GET /ages HTTP/1.1\r\nHost: a\r\n\r\n")
    try waitUntil("the delay") { door.errorLog.components(separatedBy: "delaying").count == 3 }
    client = nil
    try waitUntil("499") { door.site.text("access.log").contains("GET /ages HTTP/1.1\" 499") }
    let http2 = try H2Client(port: door.port())
    try http2.request(1, "/ages")
    try waitUntil("the delay") { door.errorLog.components(separatedBy: "delaying").count == 4 }
    try http2.send(.reset, stream: 1, payload: [0, 0, 0, 8])
    try waitUntil("499") { door.site.text("access.log").contains("GET /ages HTTP/2.0\" 499") }
    try door.stop()
  }

  @Test func warnsOfWhatProtectsNothing() throws {
    let site = try Site(
      config: "http { server { listen 127.0.0.1:%%PORT_0%%; location / { auth_basic x; } } }")
    let result = try Portico.run(site, ["-t"])
    #expect(result.code == 0 && result.standardError.contains("protects nothing without"))
  }

  /// In front of `app`, whose answers send requests on to locations where they wait.
  private func startWithApp(
    _ app: TestUpstream, sender: RawServer
  ) async throws -> RunningPortico {
    try await Portico.start(
      config: """
        http {
          limit_req_zone $server_port zone=all:1m rate=20r/m;
          server {
            listen 127.0.0.1:%%PORT_0%%; root %%DIR%%/www;
            location /app { proxy_pass http://\(sender.address); proxy_request_buffering off;
              client_body_timeout 1s; proxy_ignore_client_abort on; }
            location /turn { limit_req zone=all burst=5; error_page 408 /closed;
              proxy_pass http://%%UPSTREAM_0%%; }
            location /closed { auth_basic x; auth_basic_user_file users; proxy_pass http://%%UPSTREAM_0%%; }
            location /ages { auth_basic x; auth_basic_user_file users; auth_delay 1h; }
            location /half { auth_basic x; auth_basic_user_file users; auth_delay 1500ms; }
            location /fixed { return 200 fixed; }
          }
        }
        """,
      files: ["users": "user:\(Self.slowHash)\n"], upstreams: [app])
  }

  private func sendOn(_ connection: RawClient, to path: String) throws {
    _ = try connection.read(until: "\r\n\r\n")
    try connection.send(
      "HTTP/1.1 200 OK\r\nX-Accel-Redirect: \(path)\r\nContent-Length: 0\r\n\r\n")
  }

  @Test func noOtherWaitStandsInForAPassword() async throws {
    let app = try TestUpstream { .answer(body: "app \($0.path)") }
    let sender = RawServer()
    let door = try await startWithApp(app, sender: sender)
    #expect(try door.get("/turn").status == 200)
    let client = try door.client()
    // Its body is late; meanwhile its turn is to come.
    let field = credentials("user", "wrong")["Authorization"] ?? ""
    try client.send(
      "POST /app HTTP/1.1\r\nHost: a\r\nAuthorization: \(field)\r\nContent-Length: 9\r\n\r\nabc")
    try sendOn(try sender.accept(), to: "/turn")
    // More passes for the worker than the time for a body, which nobody wants now.
    #expect(try door.get("/half").status == 401)
    #expect(try client.response().text == "app /turn")
    #expect(!app.requests.contains { $0.path == "/closed" })
    try door.stop()
  }

  @Test func aClientThatLeftBeforeItsWaitBeganIsDoneWith() async throws {
    let sender = RawServer()
    let door = try await startWithApp(try TestUpstream { _ in .answer() }, sender: sender)
    let client = try door.client()
    try client.send("GET /app HTTP/1.1\r\nHost: a\r\n\r\n")
    let connection = try sender.accept()
    client.finishSending()
    // What comes later is answered when that has been seen.
    #expect(try door.get("/fixed").text == "fixed")
    try sendOn(connection, to: "/ages")
    #expect(client.isClosed())
    try door.stop()
  }
}
