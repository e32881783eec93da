// Names of upstream servers: followed for as long as their TTL says, and kept when they can't be
// resolved any more.

import Foundation
import TestSupport
import Testing

@Suite struct NamesTests {
  @Test func trafficFollowsTheNameAndStaysWhenItIsGone() async throws {
    let names = NameServer(timeToLive: 1)
    names.set("app.test", 1)
    let door = try await Portico.start(
      config: """
        http {
          resolver 127.0.0.1:\(names.port);
          upstream app { zone app 64k; server app.test:%%PORT_1%% resolve; }
          server { listen 127.0.0.1:%%PORT_0%%; location / { proxy_pass http://app; } }
          server { listen 127.0.0.1:%%PORT_1%%; return 200 "first"; }
          server { listen 127.0.0.2:%%PORT_1%%; return 200 "second"; }
        }
        """)
    #expect(try door.get().text == "first")
    names.set("app.test", 2)
    try waitUntil("requests to the second address") { try door.get().text == "second" }
    // Kept connections to the first are used no more.
    for _ in 0..<5 { #expect(try door.get().text == "second") }
    names.fail()
    let count = names.queryCount
    try waitUntil("more questions") { names.queryCount >= count + 2 }
    #expect(try door.get().text == "second")
    // A reload doesn't lose the good answer.
    #expect(try door.send("reload").code == 0)
    #expect(try door.get().text == "second")
    names.set("app.test", 1)
    try waitUntil("requests to the first address again") { try door.get().text == "first" }
    try door.stop()
  }

  /// What leads to a server that is of no upstream any more isn't kept.
  @Test func connectionsToServersThatLeftAreClosed() async throws {
    let names = NameServer(timeToLive: 1)
    names.set("app.test", 1)
    let app = try TestUpstream { _ in .answer(body: "first") }
    let config = """
      http {
        resolver 127.0.0.1:\(names.port);
        upstream app { server app.test:\(app.port) resolve; }
        upstream other { server SERVER; }
        server {
          listen 127.0.0.1:%%PORT_0%%;
          location / { proxy_pass http://app; }
          location /other { proxy_pass http://other; }
        }
      }
      """
    let door = try await Portico.start(
      config: config.replacingOccurrences(of: "SERVER", with: "%%UPSTREAM_0%%"), upstreams: [app])
    #expect(try door.get("/").text == "first")
    #expect(app.openConnectionCount == 1)
    names.set("app.test", 2)
    try waitUntil("the end of the connection after DNS") { app.openConnectionCount == 0 }
    #expect(try door.get("/other").text == "first")
    #expect(app.openConnectionCount == 1)
    try door.site.write(
      "portico.conf", config.replacingOccurrences(of: "SERVER", with: "127.0.0.1:%%PORT_1%%"))
    #expect(try door.send("reload").code == 0)
    try waitUntil("the end of the connection after a reload") { app.openConnectionCount == 0 }
    try door.stop()
  }

  /// As when an include that brings the upstreams matches nothing by mistake.
  @Test func aReloadDoesNotTakeTheNameOfAnUpstreamThatIsGoneForAHost() async throws {
    let config = """
      http {
        include upstreams/*.conf;
        server { listen 127.0.0.1:%%PORT_0%%; location / { proxy_pass http://NAME; } }
        server { listen 127.0.0.1:%%PORT_1%%; return 200 "up"; }
      }
      """
    for name in ["nobody.invalid", "localhost"] {
      let door = try await Portico.start(
        config: config.replacingOccurrences(of: "NAME", with: name),
        files: ["upstreams/a.conf": "upstream \(name) { server 127.0.0.1:%%PORT_1%%; }"])
      #expect(try door.get().text == "up")
      try FileManager.default.removeItem(atPath: door.site.folder + "upstreams/a.conf")
      let reload = try door.send("reload")
      if name == "localhost" {
        #expect(reload.code == 0)
        #expect(reload.standardError.contains("is gone; the host of that name is used"))
      } else {
        #expect(reload.code == 1)
        #expect(reload.standardError.contains("is gone, and no host of that name is known"))
        #expect(try door.get().text == "up")
      }
      try door.stop()
    }
  }

  @Test func serversStayWhileOnlyTheirOtherKindOfAddressIsKnownToBeMissing() async throws {
    let names = NameServer(timeToLive: 1)
    names.set("app.test", 1)
    let door = try await Portico.start(
      config: """
        http {
          resolver 127.0.0.1:\(names.port);
          upstream app { server app.test:%%PORT_1%% resolve; }
          server { listen 127.0.0.1:%%PORT_0%%; location / { proxy_pass http://app; } }
          server { listen 127.0.0.1:%%PORT_1%%; return 200 "first"; }
        }
        """)
    #expect(try door.get().text == "first")
    // The answer for AAAA comes behind it, and is that there are none.
    names.breakAddresses(of: "app.test")
    try door.waitForLog("its last addresses are kept")
    #expect(try door.get().text == "first")
    try door.stop()
  }

  @Test func aServiceBringsPortsWeightsAndBackupsFromDNS() async throws {
    let names = NameServer(timeToLive: 1)
    let instances = try (0..<3).map { index in
      try TestUpstream { _ in .answer(body: ["a", "b", "c"][index]) }
    }
    names.set("app.test", 1)
    func services(_ records: (UInt8, UInt8, Int)...) -> [NameServer.Service] {
      records.map {
        .init(priority: $0.0, weight: $0.1, port: instances[$0.2].port, target: "app.test")
      }
    }
    names.set("_web._tcp.app.test", services((1, 2, 0), (1, 1, 1), (2, 1, 2)))
    let door = try await Portico.start(
      config: """
        http {
          upstream app {
            resolver 127.0.0.1:\(names.port);
            server app.test service=web resolve fail_timeout=60s;
          }
          server { listen 127.0.0.1:%%PORT_0%%; location / { proxy_pass http://app; } }
        }
        """)
    func ask(_ count: Int) throws -> String {
      try (0..<count).map { _ in try door.get().text }.joined()
    }
    #expect(try ask(6) == "abaaba")
    names.set("_web._tcp.app.test", services((1, 1, 2)))
    try waitUntil("the third server") { try ask(2) == "cc" }
    // Nobody knows: the last answer holds, over a reload too.
    names.fail()
    let count = names.queryCount
    #expect(try door.send("reload").code == 0)
    #expect(try ask(2) == "cc")
    try door.waitForLog("host not found; its last addresses are kept")
    #expect(names.queryCount >= count)
    // There is nobody, says DNS.
    names.set("_web._tcp.app.test", [])
    try waitUntil("no servers") { try door.get().status == 502 }
    names.set("app.test", 1)
    names.set("_web._tcp.app.test", services((1, 1, 1), (7, 1, 2)))
    try waitUntil("the second server") { try ask(2) == "bb" }
    instances[1].stop()
    #expect(try ask(2) == "cc")
    try door.stop()
  }

  @Test func anAliasThatComesAloneIsFollowed() async throws {
    let names = NameServer(timeToLive: 1)
    let instance = try TestUpstream { _ in .answer(body: "found") }
    names.set("_web._tcp.app.test", alias: "services.test")
    names.set("services.test", [.init(port: instance.port, target: "host.test")])
    names.set("host.test", alias: "real.test")
    names.set("real.test", 1)
    // A circle ends.
    names.set("round.test", alias: "about.test")
    names.set("about.test", alias: "round.test")
    let door = try await Portico.start(
      config: """
        http {
          resolver 127.0.0.1:\(names.port);
          upstream app { server app.test service=web resolve; }
          upstream round { server round.test resolve; }
          server {
            listen 127.0.0.1:%%PORT_0%%;
            location / { proxy_pass http://app; }
            location /round { proxy_pass http://round; }
          }
        }
        """)
    #expect(try door.get().text == "found")
    #expect(try door.get("/round").status == 502)
    try door.stop()
  }

  @Test(arguments: [
    ("app.test service=web", "\"service\" needs \"resolve\""),
    ("app.test resolve service=", "\"service\" needs a name"),
    ("app.test:80 service=web resolve", "the port comes from DNS: write \"app.test\""),
    ("10.0.0.1 service=web resolve", "\"service\" needs a name, not \"10.0.0.1\""),
  ])
  func refuses(server: String, message: String) throws {
    let site = try Site(config: "http { upstream app { server \(server); } }")
    let finished = try Portico.run(site, ["-t"])
    #expect(finished.code == 1 && finished.standardError.contains(message), "\(finished)")
  }

  /// Names of upstream blocks are those of hosts: without case.
  @Test func namesOfUpstreamsHaveNoCase() async throws {
    let app = try TestUpstream { .answer(body: $0["host"] ?? "") }
    let door = try await Portico.start(
      config: """
        http {
          upstream Up.Test { server %%UPSTREAM_0%%; }
          server { listen 127.0.0.1:%%PORT_0%%;
            location /a { proxy_pass http://UP.test; }
            location /b { proxy_pass http://$arg_to; } }
        }
        """, upstreams: [app])
    #expect(try door.get("/a").text == "UP.test")
    #expect(try door.get("/b?to=up.TEST").text == "up.TEST")
    try door.stop()
  }
}
