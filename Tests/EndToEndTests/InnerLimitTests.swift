// What a request costs that makes others: limits count it once, and a shortage here or at the name
// server is nothing that a cache remembers.

import Foundation
import TestSupport
import Testing

@Suite struct InnerLimitTests {
  /// `auth_request` and `mirror` are part of their request, which was counted.
  @Test func aRequestIsLimitedOnceWhateverItMakes() async throws {
    let app = try TestUpstream { _ in .answer(body: "ok") }
    let door = try await Portico.start(
      config: """
        http {
          limit_conn_zone $server_name zone=c:1m;
          limit_req_zone $server_name zone=r:1m rate=1r/m;
          server {
            listen 127.0.0.1:%%PORT_0%%; server_name one;
            limit_conn c 1;
            location = /auth { internal; proxy_pass http://%%UPSTREAM_0%%; }
            location / { auth_request /auth; proxy_pass http://%%UPSTREAM_0%%; }
          }
          server {
            listen 127.0.0.1:%%PORT_1%%; server_name two;
            limit_req zone=r burst=5 nodelay; limit_req_status 429;
            location = /auth { internal; proxy_pass http://%%UPSTREAM_0%%; }
            location = /copy { internal; proxy_pass http://%%UPSTREAM_0%%; }
            location / { auth_request /auth; mirror /copy; proxy_pass http://%%UPSTREAM_0%%; }
          }
        }
        """, upstreams: [app])
    for _ in 0..<3 { #expect(try door.get().status == 200) }
    let statuses = try (0..<8).map { _ in try door.get(port: 1).status }
    #expect(statuses == [200, 200, 200, 200, 200, 200, 429, 429])
    try door.stop()
  }

  /// The 502 of a worker that has no connection left isn't the upstream's: it is not stored.
  @Test func aShortageIsNotCached() async throws {
    let gate = Gate()
    let app = try TestUpstream { _ in
      gate.wait()
      return .answer(body: "ok")
    }
    let door = try await Portico.start(
      config: """
        worker_processes 1; events { worker_connections 8; }
        http {
          proxy_cache_path %%DIR%%/cache keys_zone=z:1m;
          server {
            listen 127.0.0.1:%%PORT_0%%; http2 on;
            location / { proxy_cache z; proxy_cache_valid any 1h; proxy_pass http://%%UPSTREAM_0%%; }
          }
        }
        """, upstreams: [app])
    let client = try H2Client(port: door.port())
    for number in 0..<12 { try client.request(UInt32(2 * number + 1), "/\(number)") }
    try door.waitForLog("no free connection for upstream")
    gate.open()
    var refused: [Int] = []
    for _ in 0..<12 {
      let frame = try client.frame { $0.type == .headers }
      if frame.status != 200 { refused.append(Int(frame.stream / 2)) }
    }
    #expect(!refused.isEmpty)
    for number in refused { #expect(try door.get("/\(number)").status == 200, "\(number)") }
    try door.stop()
  }

  /// What is fresh is served, and what may be used though it is stale, whether its upstream's name
  /// can be looked up or not.
  @Test func aCacheNeedsNoNameServer() async throws {
    let app = try TestUpstream { _ in .answer(body: "ok") }
    let names = NameServer(timeToLive: 1)
    names.set("app.test", 1)
    let door = try await Portico.start(
      config: """
        http {
          resolver 127.0.0.1:\(names.port);
          proxy_cache_path %%DIR%%/cache keys_zone=z:1m;
          add_header X-Cache $upstream_cache_status;
          server {
            listen 127.0.0.1:%%PORT_0%%; set $name app.test;
            location /open { proxy_pass http://$name:\(app.port); }
            location /fresh {
              proxy_cache z; proxy_cache_valid 1h; proxy_pass http://$name:\(app.port);
            }
            location /stale {
              proxy_cache z; proxy_cache_valid 1s; proxy_cache_use_stale error;
              proxy_pass http://$name:\(app.port);
            }
          }
        }
        """, upstreams: [app])
    for path in ["/open", "/fresh", "/stale"] { #expect(try door.get(path).status == 200) }
    names.fail()
    try waitUntil("the name is gone") { try door.get("/open").status == 502 }
    let fresh = try door.get("/fresh")
    #expect(fresh.status == 200 && fresh["X-Cache"] == "HIT")
    try waitUntil("a stale response") { try door.get("/stale")["X-Cache"] == "STALE" }
    #expect(try door.get("/fresh/other").status == 502)
    names.set("app.test", 1)
    try waitUntil("the name is back") { try door.get("/open").status == 200 }
    #expect(try door.get("/fresh/other")["X-Cache"] == "MISS")
    try door.stop()
  }

  /// The page of an error has the arguments that the configuration gives it, not the client's.
  @Test func errorPagesHaveTheirOwnArguments() async throws {
    let door = try await Portico.start(
      config: """
        http { server { listen 127.0.0.1:%%PORT_0%%;
          location /a { error_page 404 /page; return 404; }
          location /b { error_page 404 /page?x=$arg_z; return 404; }
          location /page { return 200 "[$args]"; } } }
        """)
    #expect(try door.get("/a?z=1").text == "[]")
    #expect(try door.get("/b?z=1").text == "[x=1]")
    try door.stop()
  }
}
