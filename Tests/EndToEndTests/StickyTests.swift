// `sticky`: who a client stays with, what its cookie says and can't say, sessions that servers
// make, and servers that drain.

import Foundation
import Testing

private func config(_ upstream: String, location: String = "", workers: Int = 1) -> String {
  """
  worker_processes \(workers);
  http {
    upstream app { \(upstream) }
    server {
      listen 127.0.0.1:%%PORT_0%%;
      location / { proxy_pass http://app; \(location) }
    }
  }
  """
}

/// Servers that answer with their letter, and make the session that `/login/NAME` asks for.
private func instances(_ count: Int = 3) throws -> [TestUpstream] {
  try (0..<count).map { index in
    try TestUpstream { request in
      let letter = ["a", "b", "c"][index]
      if request.path.hasPrefix("/login/") {
        return .answer(fields: ["Set-Cookie": "sid=\(request.path.dropFirst(7))"], body: letter)
      }
      if request.path == "/drop" && index == 0 { return .steps([.close]) }
      return .answer(body: letter)
    }
  }
}

extension RunningPortico {
  /// The letters of the servers that answer `count` requests, each on a connection of its own.
  fileprivate func ask(
    _ count: Int, _ path: String = "/", cookie: String? = nil
  ) throws -> String {
    try (0..<count).map { _ in
      let response = try answer(path, cookie: cookie)
      return response.status == 200 ? response.text : "(\(response.status))"
    }.joined()
  }

  fileprivate func answer(_ path: String = "/", cookie: String? = nil) throws -> Response {
    let client = try client()
    let field = cookie.map { "Cookie: \($0)\r\n" } ?? ""
    try client.send("GET \(path) HTTP/1.1\r\nHost: a\r\n\(field)Connection: close\r\n\r\n")
    return try client.response()
  }
}

private let three = "server %%UPSTREAM_0%%; server %%UPSTREAM_1%%; server %%UPSTREAM_2%%; "

@Suite struct StickyTests {
  // --- cookie ------------------------------------------------------------------------------------

  @Test(arguments: ["", "least_conn;", "hash $uri;", "random;"])
  func aClientStaysWhereItsCookieLeads(method: String) async throws {
    let upstreams = try instances()
    let door = try await Portico.start(
      config: config(three + method + "sticky cookie srv;"), upstreams: upstreams)
    for _ in 0..<4 {
      let first = try door.answer()
      let cookie = try #require(first.all("Set-Cookie").first)
      // 32 digits and nothing else, as nginx has it.
      #expect(cookie.wholeMatch(of: /srv=[0-9a-f]{32}/) != nil)
      #expect(
        try door.ask(6, cookie: "other=1; \(cookie)") == String(repeating: first.text, count: 6))
      #expect(try door.answer(cookie: cookie).all("Set-Cookie") == [cookie])
    }
    try door.stop()
  }

  @Test func theCookieIsTheDigestOfTheAddressOrTheRoute() async throws {
    let upstreams = try instances(2)
    let door = try await Portico.start(
      config: config("server %%UPSTREAM_0%%; server %%UPSTREAM_1%% route=blue; sticky cookie s;"),
      upstreams: upstreams)
    let digest = try Command.run(
      ["sh", "-c", "printf %s 127.0.0.1:\(upstreams[0].port) | md5sum"], folder: door.site.folder)
    let cookies = Set(try (0..<2).flatMap { _ in try door.answer().all("Set-Cookie") })
    #expect(cookies == ["s=\(digest.standardOutput.prefix(32))", "s=blue"])
    #expect(try door.ask(3, cookie: "s=blue") == "bbb")
    try door.stop()
  }

  @Test func aCookieThatNamesNobodyBindsToNobody() async throws {
    let upstreams = try instances()
    let door = try await Portico.start(
      config: config(three + "sticky cookie srv;"), upstreams: upstreams)
    for cookie in [
      "srv=", "srv=\(String(repeating: "f", count: 32))", "srv=127.0.0.1:\(upstreams[0].port)",
      "srv=\(String(repeating: "x", count: 4000))", "srv", "srv=\u{fc}",
    ] {
      #expect(Set(try door.ask(3, cookie: cookie)) == ["a", "b", "c"], "\(cookie)")
    }
    try door.stop()
  }

  @Test func whoseServerIsGoneGetsAnotherAndItsCookie() async throws {
    let upstreams = try instances(2)
    let door = try await Portico.start(
      config: config(
        """
        server %%UPSTREAM_0%% route=a fail_timeout=60s; server %%UPSTREAM_1%% route=b;
        sticky cookie s;
        """), upstreams: upstreams)
    #expect(try door.ask(3, cookie: "s=a") == "aaa")
    let other = try door.answer("/drop", cookie: "s=a")
    #expect(other.text == "b" && other.all("Set-Cookie") == ["s=b"])
    // It failed, so it is out for a minute.
    #expect(try door.ask(3, cookie: "s=a") == "bbb")
    #expect(upstreams[0].requests.count { $0.path == "/" } == 3)
    try door.stop()
  }

  @Test func theCookieSaysWhatTheConfigurationSays() async throws {
    let upstreams = try instances(1)
    let door = try await Portico.start(
      config: config(
        """
        server %%UPSTREAM_0%% route=a;
        sticky cookie s "expires=1h 3m" domain=$arg_d httponly secure samesite=$arg_s path=/x;
        """), upstreams: upstreams)
    func cookie(_ query: String) throws -> String {
      try #require(try door.answer("/?\(query)").all("Set-Cookie").first)
    }
    let whole = try cookie("d=.example.com&s=LAX")
    let parts = try #require(
      whole.wholeMatch(
        of:
          /s=a; expires=\w{3}, \d\d-\w{3}-(\d\d) (\d\d:\d\d:\d\d) GMT; max-age=3780(; .*)/))
    #expect(parts.3 == "; domain=.example.com; httponly; secure; samesite=lax; path=/x")
    // A client has no say in what else stands there.
    #expect(try !cookie("d=x;evil=1").contains("evil"))
    #expect(try !cookie("d=").contains("domain"))
    #expect(try cookie("s=wrong").contains("samesite=strict"))
    #expect(try !cookie("s=").contains("samesite"))
    try door.stop()
  }

  @Test func maxIsAsFarAsNginxGoes() async throws {
    let upstreams = try instances(1)
    let door = try await Portico.start(
      config: config("server %%UPSTREAM_0%% route=a; sticky cookie s expires=max;"),
      upstreams: upstreams)
    #expect(
      try door.answer().all("Set-Cookie") == [
        "s=a; expires=Thu, 31-Dec-37 23:55:55 GMT; max-age=315360000"
      ])
    try door.stop()
  }

  // --- route -------------------------------------------------------------------------------------

  @Test func theFirstVariableThatSaysSomethingRoutes() async throws {
    let upstreams = try instances()
    let door = try await Portico.start(
      config: config(
        """
        server %%UPSTREAM_0%% route=a; server %%UPSTREAM_1%% route=b; server %%UPSTREAM_2%%;
        sticky route $cookie_r $arg_r;
        """), upstreams: upstreams)
    #expect(try door.ask(3, cookie: "r=b") == "bbb")
    #expect(try door.ask(3, "/?r=a") == "aaa")
    #expect(try door.ask(3, "/?r=a", cookie: "r=b") == "bbb")
    #expect(try door.ask(3) == "abc")
    #expect(try door.answer(cookie: "r=b").all("Set-Cookie").isEmpty)
    try door.stop()
  }

  @Test func onlyWhoIsBoundReachesAServerThatDrains() async throws {
    let upstreams = try instances()
    let door = try await Portico.start(
      config: config(
        """
        server %%UPSTREAM_0%% route=a drain; server %%UPSTREAM_1%% route=b;
        server %%UPSTREAM_2%% route=c; sticky route $arg_r;
        """), upstreams: upstreams)
    #expect(try door.ask(4) == "bcbc")
    #expect(try door.ask(3, "/?r=a") == "aaa")
    try door.stop()
    let alone = try await Portico.start(
      config: config("server %%UPSTREAM_0%% route=a drain; sticky route $arg_r;"),
      upstreams: upstreams)
    #expect(try alone.ask(1) == "(502)")
    #expect(try alone.ask(2, "/?r=a") == "aa")
    try alone.stop()
  }

  // --- learn -------------------------------------------------------------------------------------

  private static let learning =
    "sticky learn create=$upstream_cookie_sid lookup=$cookie_sid zone=sessions:64k;"

  @Test func aSessionIsLearntFromACookieInCapitals() async throws {
    let upstreams = try (0..<2).map { index in
      try TestUpstream { request in
        request.path == "/login"
          ? .answer(fields: ["Set-Cookie": "JSESSIONID=Abc\(index); Path=/"], body: "\(index)")
          : .answer(body: "\(index)")
      }
    }
    let door = try await Portico.start(
      config: config(
        """
        server %%UPSTREAM_0%%; server %%UPSTREAM_1%%;
        sticky learn create=$upstream_cookie_JSESSIONID lookup=$cookie_JSESSIONID zone=s:64k;
        """, location: "add_header X-Seen $upstream_cookie_jsessionid;"), upstreams: upstreams)
    let login = try door.answer("/login")
    #expect(login["X-Seen"] == "Abc\(login.text)")
    let cookie = "JSESSIONID=Abc\(login.text)"
    #expect(try door.ask(4, cookie: cookie) == String(repeating: login.text, count: 4))
    try door.stop()
  }

  @Test func sessionsAreLearntByAllWorkersAndOutliveAReload() async throws {
    let upstreams = try instances()
    let text = config(three + Self.learning, workers: 4)
    let door = try await Portico.start(config: text, upstreams: upstreams)
    var homes: [String: String] = [:]
    for number in 0..<6 { homes["s\(number)"] = try door.ask(1, "/login/s\(number)") }
    #expect(Set(homes.values).count > 1)
    for round in 0..<2 {
      for (session, home) in homes {
        #expect(
          try door.ask(5, cookie: "sid=\(session)") == String(repeating: home, count: 5),
          "\(round)")
      }
      // Now the one at home drains for others; who has a session stays.
      let drained = text.replacingOccurrences(
        of: "%%UPSTREAM_0%%;", with: "%%UPSTREAM_0%% drain;")
      #expect(try door.reload(config: drained).code == 0)
    }
    #expect(try !door.ask(8).contains("a"))
    #expect(try !door.ask(8, cookie: "sid=unknown").contains("a"))
    try door.stop()
  }

  @Test func aSessionMovesWithItsClientWhenItsServerFails() async throws {
    let upstreams = try instances(2)
    let door = try await Portico.start(
      config: config(
        """
        server %%UPSTREAM_0%% max_fails=0; server %%UPSTREAM_1%%;
        sticky learn create=$arg_new lookup=$cookie_sid zone=sessions:64k timeout=1h;
        """), upstreams: upstreams)
    #expect(try door.ask(1, "/?new=x") == "a")
    #expect(try door.ask(3, cookie: "sid=x") == "aaa")
    // Nothing creates it anew, but it is known.
    #expect(try door.ask(1, "/drop", cookie: "sid=x") == "b")
    #expect(try door.ask(3, cookie: "sid=x") == "bbb")
    try door.stop()
  }

  @Test func aSessionIsForgottenAfterItsTimeout() async throws {
    let upstreams = try instances()
    let door = try await Portico.start(
      config: config(
        three
          + "sticky learn create=$arg_new lookup=$cookie_sid zone=sessions:64k timeout=1ms;"),
      upstreams: upstreams)
    _ = try door.ask(1, "/?new=x")
    try waitUntil("the session to be forgotten") {
      Set(try door.ask(3, cookie: "sid=x")) == ["a", "b", "c"]
    }
    try door.stop()
  }

  @Test func theHeadOfAResponseIsEnoughIfThatIsSaid() async throws {
    let upstreams = try (0..<2).map { index in
      try TestUpstream { request in
        if request.path.hasPrefix("/long") {
          return .steps([.bytes("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n-"), .silence])
        }
        return .answer(body: ["a", "b"][index])
      }
    }
    for header in ["", "header"] {
      let door = try await Portico.start(
        config: config(
          """
          server %%UPSTREAM_0%%; server %%UPSTREAM_1%%;
          sticky learn create=$arg_new lookup=$cookie_sid zone=sessions:64k \(header);
          """, location: "proxy_buffering off;"), upstreams: upstreams)
      let client = try door.client()
      try client.send("GET /long?new=x HTTP/1.1\r\nHost: a\r\n\r\n")
      _ = try client.read(until: "\r\n\r\n-")
      #expect(try door.ask(4, cookie: "sid=x") == (header.isEmpty ? "baba" : "aaaa"))
      client.reset()
      try door.stop()
    }
  }

  // --- configuration -----------------------------------------------------------------------------

  @Test(arguments: [
    ("sticky", "\"sticky\" takes at least 2 arguments, not 0"),
    ("sticky cooky s", "\"sticky\" is \"cookie\", \"route\" or \"learn\", not \"cooky\""),
    ("sticky cookie a;b", "\"b\" is not a directive"),
    ("sticky cookie \"a b\"", "\"a b\" can't be the name of a cookie"),
    ("sticky cookie s secure secure", "\"secure\" is there twice"),
    ("sticky cookie s expires=soon", "soon"),
    ("sticky cookie s \"path=/;x\"", "\"/;x\" can't be the path of a cookie"),
    ("sticky cookie s domain=", "\"\" can't be the domain of a cookie"),
    ("sticky cookie s samesite=some", "not \"some\""),
    ("sticky cookie s secured", "did you mean \"secure\"?"),
    ("sticky route name", "\"name\" is not a variable"),
    ("sticky route $a$b", "\"$a$b\" is not a variable"),
    ("sticky learn create=$arg_a lookup=$arg_b", "needs \"zone=NAME:SIZE\""),
    ("sticky learn create=$arg_a zone=z:64k", "needs \"lookup=$VARIABLE\""),
    ("sticky learn lookup=$arg_a zone=z:64k", "needs \"create=$VARIABLE\""),
    ("sticky learn create=$arg_a lookup=$arg_b zone=z:1k", "too small"),
    ("sticky learn create=$arg_a lookup=$arg_b zone=z:64k sync", "\"sync\" is not supported"),
    ("sticky learn create=$arg_a lookup=$arg_b zone=z:64k zone=y:64k", "\"zone\" is there twice"),
    ("sticky cookie s; sticky cookie t", "\"sticky\" directive is duplicate"),
    ("server 127.0.0.1:2 route=", "a route has 1 to 32 bytes"),
    ("server 127.0.0.1:2 \"route=a;b\"", "a route has 1 to 32 bytes"),
    ("server 127.0.0.1:2 route=123456789012345678901234567890123", "a route has 1 to 32 bytes"),
  ])
  func refuses(directive: String, message: String) throws {
    let site = try Site(config: config("server 127.0.0.1:1; \(directive);"))
    let finished = try Portico.run(site, ["-t"])
    #expect(finished.code == 1 && finished.standardError.contains(message), "\(finished)")
  }
}
