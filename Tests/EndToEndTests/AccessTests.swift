// allow, deny, satisfy, limit_except: whom a location is for.

import Foundation
import Testing

private func ask(
  _ door: RunningPortico, _ path: String, from address: String, method: String = "GET"
) throws -> Int {
  try door.get(path, headers: ["X-Real-IP": address], method: method).status
}

@Suite struct AccessTests {
  private func start() async throws -> RunningPortico {
    try await Portico.start(
      config: """
        http {
          set_real_ip_from 127.0.0.1;
          deny 192.0.2.66;
          server {
            listen 127.0.0.1:%%PORT_0%%; root %%DIR%%/www; access_log off;
            location / { }
            location /list {
              allow 192.0.2.1; deny 192.0.2.0/24; allow 192.0.2.2; allow 2001:db8:1::/48;
              deny 2001:db8::/32; alias %%DIR%%/www/a;
            }
            location /only { allow 10.0.0.0/8; allow unix:; deny all; alias %%DIR%%/www/a;
              location /only/inner { alias %%DIR%%/www/a; }
              location /only/open { allow all; alias %%DIR%%/www/a; }
            }
            location /page { deny all; error_page 403 /why; }
            location /why { return 200 why; }
            location /closed { deny all; error_page 403 /also; }
            location /also { deny all; }
            location /returned { deny all; return 200 "rewriting comes first"; }
            location /tried { try_files /nothing /only; }
            location /read { limit_except GET { deny all; } alias %%DIR%%/www/a; }
            location /write { limit_except POST put { allow 10.0.0.0/8; deny all; } alias %%DIR%%/www/a; }
            location /elsewhere {
              limit_except GET { proxy_pass http://127.0.0.1:%%PORT_1%%; } alias %%DIR%%/www/a;
            }
            location /named { try_files /nothing @named; }
            location @named { limit_except POST { deny all; } return 204; }
            location /denied { try_files /nothing @denied; }
            location @denied { limit_except POST { deny all; } }
          }
          server { listen 127.0.0.1:%%PORT_1%%; return 202; }
          server {
            listen unix:%%DIR%%/s; root %%DIR%%/www;
            location /only { allow 10.0.0.0/8; allow unix:; deny all; alias %%DIR%%/www/a; }
            location /not { deny unix:; alias %%DIR%%/www/a; }
            location /addresses { allow 127.0.0.1; deny 0.0.0.0/0; alias %%DIR%%/www/a; }
          }
        }
        """, files: ["www/a": "a", "www/index.html": "index"])
  }

  @Test func theFirstRuleThatFitsDecides() async throws {
    let door = try await start()
    for (address, status) in [
      ("192.0.2.1", 200), ("192.0.2.2", 403), ("192.0.3.1", 200), ("2001:db8:1::9", 200),
      ("2001:db8:2::9", 403), ("::ffff:192.0.2.2", 403), ("::ffff:192.0.2.1", 200),
    ] { #expect(try ask(door, "/list", from: address) == status, "\(address)") }
    try door.waitForLog("access forbidden by rule, client: 192.0.2.2")
  }

  @Test func rulesAreInheritedUnlessABlockHasItsOwn() async throws {
    let door = try await start()
    #expect(try ask(door, "/", from: "192.0.2.66") == 403)
    #expect(try ask(door, "/", from: "192.0.2.67") == 200)
    #expect(try ask(door, "/only", from: "192.0.2.66") == 403)
    #expect(try ask(door, "/only", from: "10.9.8.7") == 200)
    #expect(try ask(door, "/only/inner", from: "192.0.2.1") == 403)
    #expect(try ask(door, "/only/open", from: "192.0.2.66") == 200)
  }

  @Test func internalRedirectsAreJudgedByTheLocationTheyComeTo() async throws {
    let door = try await start()
    let page = try door.get("/page")
    #expect(page.status == 403 && page.text == "why")
    #expect(try door.get("/closed").status == 403)
    #expect(try door.get("/returned").status == 200)
    #expect(try ask(door, "/tried", from: "192.0.2.1") == 403)
    #expect(try ask(door, "/tried", from: "10.0.0.1") == 200)
  }

  @Test func unixSocketsHaveTheirOwnRule() async throws {
    let door = try await start()
    for (path, status) in [("only", 200), ("not", 403), ("addresses", 200)] {
      let client = try RawClient(path: "\(door.site.folder)s")
      try client.send("GET /\(path) HTTP/1.0\r\n\r\n")
      #expect(try client.response().status == status, "\(path)")
    }
  }

  @Test func otherMethodsGoByTheSettingsOfLimitExcept() async throws {
    let door = try await start()
    for (path, method, status) in [
      ("/read", "GET", 200), ("/read", "HEAD", 200), ("/read", "POST", 403),
      ("/read", "BREW", 403), ("/write", "POST", 405), ("/write", "PUT", 405),
      ("/write", "GET", 403), ("/elsewhere", "GET", 200), ("/elsewhere", "POST", 202),
      ("/named", "POST", 204), ("/named", "GET", 403), ("/denied", "GET", 403),
    ] {
      #expect(try door.get(path, method: method).status == status, "\(method) \(path)")
    }
    #expect(try ask(door, "/write", from: "10.0.0.1") == 200)
  }

  @Test func refusesWhatIsNoAddressAndNoMethod() throws {
    for (line, message) in [
      ("allow 10.0.0.0/33;", "\"10.0.0.0/33\" is no address"),
      ("deny localhost;", "\"localhost\" is no address"),
      ("allow 10.0.0.1 10.0.0.2;", "\"allow\" takes 1 argument"),
      ("satisfy both;", "must be one of \"all\", \"any\""),
      ("limit_except BREW { deny all; }", "\"BREW\" is no method"),
      ("limit_except GET { deny all; } limit_except POST { deny all; }", "duplicate"),
      ("limit_except GET { root /; }", "\"root\" is not allowed here"),
      ("limit_except GET { proxy_pass http://127.0.0.1:1/x; }", "cannot have a URI part"),
      ("if ($uri) { deny all; }", "\"deny\" is not allowed here"),
    ] {
      let site = try Site(
        config: "http { server { listen 127.0.0.1:%%PORT_0%%; location / { \(line) } } }")
      let result = try Portico.run(site, ["-t"])
      #expect(result.code == 1 && result.standardError.contains(message), "\(result.standardError)")
    }
  }
}
