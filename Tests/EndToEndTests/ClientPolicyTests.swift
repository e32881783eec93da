// What becomes of connections when a reload changes how their clients are verified: they end, as
// soon as nothing is under way on them.

import Foundation
import Testing

/// What a reload changes for the server `a.test`.
enum PolicyChange: CaseIterable {
  case authorities, depth, beginsToVerify
}

/// A site whose clients show a certificate, and an upstream whose `/slow` waits.
private final class Verified {
  let gate = Gate()
  let upstream: TestUpstream
  let door: RunningPortico
  private var relays: [TLSRelay] = []

  init(_ change: PolicyChange) async throws {
    let gate = gate
    upstream = try TestUpstream { request in
      if request.path == "/slow" { gate.wait() }
      return .answer(body: String(request.path.dropFirst()))
    }
    let verify = change == .beginsToVerify ? "off" : "on"
    let site = try Site(config: Self.config("ssl_verify_client \(verify);"), upstreams: [upstream])
    for name in ["a.test", "ca", "other"] { try site.makeCertificate(name) }
    try site.makeCertificate("client", issuedBy: "ca")
    try site.write("trusted.crt", site.text("ca.crt"))
    door = try await Portico.start(site)
  }

  deinit { gate.open() }

  func make(_ change: PolicyChange) throws -> Finished {
    switch change {
    case .authorities:
      try door.site.write("trusted.crt", door.site.text("other.crt") + door.site.text("ca.crt"))
      return try door.send("reload")
    case .depth:
      return try door.reload(config: Self.config("ssl_verify_client on; ssl_verify_depth 2;"))
    case .beginsToVerify: return try door.reload(config: Self.config("ssl_verify_client on;"))
    }
  }

  func connect(_ name: String = "a.test", alpn: String = "http/1.1") throws -> RawClient {
    let relay = try TLSRelay(door, name: name, certificate: "client", alpn: alpn)
    relays.append(relay)
    return relay.client
  }

  /// Asks for `/slow`, with `ask`, and waits until the upstream is asked.
  func beginSlow(_ ask: () throws -> Void) throws {
    try ask()
    try waitUntil("the slow request") { upstream.requests.contains { $0.path == "/slow" } }
  }

  private static func config(_ settings: String) -> String {
    """
    http {
      ssl_certificate a.test.crt; ssl_certificate_key a.test.key;
      ssl_client_certificate trusted.crt; http2 on;
      server {
        listen 127.0.0.1:%%PORT_0%% ssl; server_name a.test; \(settings)
        location / { proxy_pass http://%%UPSTREAM_0%%; }
      }
      server { listen 127.0.0.1:%%PORT_0%% ssl; server_name open.test; return 200 open; }
    }
    """
  }
}

@Suite struct ClientPolicyTests {
  private func request(_ path: String, _ name: String = "a.test") -> String {
    "GET \(path) HTTP/1.1\r\nHost: \(name)\r\n\r\n"
  }

  @Test(arguments: PolicyChange.allCases)
  func connectionsOfTheFormerPolicyEnd(change: PolicyChange) async throws {
    let site = try await Verified(change)
    let (idle, busy, open) = try (site.connect(), site.connect(), site.connect("open.test"))
    try idle.send(request("/fast"))
    #expect(try idle.response()["connection"] == "keep-alive")
    try open.send(request("/", "open.test"))
    #expect(try open.response().text == "open")
    try site.beginSlow { try busy.send(request("/slow")) }
    #expect(try site.make(change).code == 0)
    #expect(idle.isClosed())
    site.gate.open()
    let last = try busy.response()
    #expect(last.status == 200 && last.text == "slow" && last["connection"] == "close")
    #expect(busy.isClosed())
    // Who wasn't verified, and isn't, needn't connect again.
    try open.send(request("/", "open.test"))
    #expect(try open.response()["connection"] == "keep-alive")
    let next = try site.connect()
    try next.send(request("/fast"))
    #expect(try next.response().status == 200)
  }

  @Test(arguments: PolicyChange.allCases)
  func connectionsOfHTTP2EndLikewise(change: PolicyChange) async throws {
    let site = try await Verified(change)
    let idle = try H2Client(site.connect(alpn: "h2"))
    try idle.request(1, "/fast", authority: "a.test")
    #expect(try idle.response(1).status == 200)
    let busy = try H2Client(site.connect(alpn: "h2"))
    try site.beginSlow { try busy.request(1, "/slow", authority: "a.test") }
    #expect(try site.make(change).code == 0)
    #expect(idle.goAwayCode() == H2Code.noError)
    // The requests that it goes without are named at once: the client can send them again.
    let goAway = try busy.frame { $0.type == .goAway }
    #expect(goAway.code == H2Code.noError && Array(goAway.payload[..<4]) == H2Frame.number(1))
    site.gate.open()
    let last = try busy.response(1)
    #expect(last.status == 200 && last.body == Array("slow".utf8))
    #expect(busy.goAwayCode() == nil)
  }

  @Test func aReloadThatLeavesThePolicyAloneClosesNothing() async throws {
    let site = try await Verified(.depth)
    let first = try site.connect()
    let second = try H2Client(site.connect(alpn: "h2"))
    for round in 0..<2 {
      try first.send(request("/fast"))
      let response = try first.response()
      #expect(response.status == 200 && response["connection"] == "keep-alive")
      let stream = UInt32(2 * round + 1)
      try second.request(stream, "/fast", authority: "a.test")
      #expect(try second.response(stream).status == 200)
      #expect(try site.door.send("reload").code == 0)
    }
  }

  /// Another server's policy is no reason to connect again, whatever a reload does.
  @Test func aForeignHostIsRefusedOnAConnectionThatGoesOn() async throws {
    let site = try await Verified(.depth)
    let client = try site.connect("open.test")
    for _ in 0..<2 {
      try client.send(request("/fast", "a.test"))
      let response = try client.response()
      #expect(response.status == 421 && response["connection"] == "keep-alive")
      #expect(try site.make(.depth).code == 0)
    }
    try client.send(request("/", "open.test"))
    #expect(try client.response().status == 200)
  }
}
