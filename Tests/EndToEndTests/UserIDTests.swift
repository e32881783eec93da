// Cookies that tell clients apart (`userid`).

import Foundation
import Testing

@Suite struct UserIDTests {
  private static let config = """
    worker_processes 2;
    http {
      access_log off;
      server {
        listen 127.0.0.1:%%PORT_0%%; http2 on;
        userid on;
        add_header X-Got $uid_got always; add_header X-Set $uid_set always;
        location / { return 200; }
        location /none { return 404; }
        location /off { userid off; return 200; }
        location /log { userid log; return 200; }
        location /v1 { userid v1; userid_service 305419896; return 200; }
        location /all {
          userid_name id; userid_domain a.test; userid_path /x; userid_mark Z;
          userid_expires 1h; userid_flags samesite=lax secure; userid_p3p 'CP="A"';
          userid_service 305419896; return 200;
        }
        location /max { userid_expires max; userid_flags httponly; return 200; }
        location /reset { set $uid_reset $arg_reset; return 200; }
        location /page { ssi on; default_type text/html; return 200 '<!--#include virtual="/none" -->'; }
      }
    }
    """

  private func start() async throws -> RunningPortico {
    try await Portico.start(config: Self.config)
  }

  /// The identifier in a cookie as variables show it.
  private func shown(_ cookie: String) -> String {
    let value = cookie.split(separator: ";")[0].split(separator: "=", maxSplits: 1)[1]
    let bytes = [UInt8](Data(base64Encoded: value.prefix(22) + "==") ?? Data())
    return stride(from: 0, to: bytes.count, by: 4).map { start in
      bytes[start..<start + 4].reversed().map { String(format: "%02X", $0) }.joined()
    }.joined()
  }

  @Test func aClientGetsAnIdentifierOnce() async throws {
    let door = try await start()
    for path in ["/", "/none"] {
      let first = try door.get(path)
      let cookie = try #require(first["Set-Cookie"])
      #expect(cookie.wholeMatch(of: /uid=[A-Za-z0-9+\/]{22}==; path=\//) != nil, "\(cookie)")
      #expect(first["X-Set"] == "uid=" + shown(cookie) && first["X-Got"] == nil)
      // 127.0.0.1, in network order.
      #expect(first["X-Set"]?.hasPrefix("uid=0100007F") == true)
      let sent = String(cookie.prefix { $0 != ";" })
      let second = try door.get(path, headers: ["Cookie": "a=b; \(sent)"])
      #expect(second["Set-Cookie"] == nil && second["X-Got"] == first["X-Set"])
      #expect(second["X-Set"] == nil)
    }
    #expect(try door.get("/page").all("Set-Cookie").count == 1)
    let all = try (0..<50).map { _ in try door.get("/")["X-Set"] }
    #expect(Set(all).count == 50)
  }

  @Test func cookiesAreMadeAsTheDirectivesSay() async throws {
    let door = try await start()
    let response = try door.get("/all")
    let cookie = try #require(response["Set-Cookie"])
    let form =
      /id=[A-Za-z0-9+\/]{22}Z=; expires=\w{3}, \d\d-\w{3}-\d\d [\d:]{8} GMT; domain=a.test; path=\/x; secure; samesite=lax/
    #expect(cookie.wholeMatch(of: form) != nil, "\(cookie)")
    #expect(response["P3P"] == "CP=\"A\"" && response["X-Set"]?.hasPrefix("id=78563412") == true)
    #expect(
      try door.get("/max")["Set-Cookie"]?.hasSuffix(
        "; expires=Thu, 31-Dec-37 23:55:55 GMT; path=/; httponly") == true)
    #expect(try door.get("/v1")["X-Set"]?.hasPrefix("uid=12345678") == true)
    // A cookie with another mark is sent again, the identifier staying.
    let value = cookie.dropFirst(3).prefix(22)
    #expect(try door.get("/all", headers: ["Cookie": "id=\(value)Z="])["Set-Cookie"] == nil)
    let remarked = try door.get("/all", headers: ["Cookie": "id=\(value)=="])
    #expect(remarked["Set-Cookie"]?.hasPrefix("id=\(value)Z=;") == true)
  }

  @Test func lookingOnGivesNothing() async throws {
    let door = try await start()
    let cookie = try #require(try door.get("/")["Set-Cookie"])
    let sent = ["Cookie": String(cookie.prefix { $0 != ";" })]
    let log = try door.get("/log", headers: sent)
    #expect(
      log["Set-Cookie"] == nil && log["X-Got"] == "uid=" + shown(cookie) && log["X-Set"] == nil)
    #expect(try door.get("/log")["Set-Cookie"] == nil)
    let off = try door.get("/off", headers: sent)
    #expect(off["Set-Cookie"] == nil && off["X-Got"] == nil)
  }

  @Test func identifiersAreReset() async throws {
    let door = try await start()
    let cookie = try #require(try door.get("/reset")["Set-Cookie"])
    let sent = ["Cookie": String(cookie.prefix { $0 != ";" })]
    for value in ["", "0"] {
      #expect(try door.get("/reset?reset=\(value)", headers: sent)["Set-Cookie"] == nil)
    }
    for value in ["1", "log"] {
      let reset = try door.get("/reset?reset=\(value)", headers: sent)
      #expect(reset["X-Got"] == "uid=" + shown(cookie) && reset["X-Set"] != reset["X-Got"])
      #expect(reset["Set-Cookie"].map { "uid=" + shown($0) } == reset["X-Set"])
    }
    #expect(try door.get("/reset?reset=log")["Set-Cookie"] != nil)
    try door.waitForLog("userid cookie \"uid=\(shown(cookie))\" was reset")
  }

  @Test(arguments: [
    "", "uid=", "uid=abc", "uid=!!!!!!!!!!!!!!!!!!!!!!", "uid=AAAAAAAAAAAAAAAAAAAAAA",
  ])
  func whatIsNoIdentifierIsReplaced(cookie: String) async throws {
    let door = try await start()
    let response = try door.get("/", headers: ["Cookie": cookie])
    #expect(response["X-Got"] == nil && response["Set-Cookie"] != nil)
  }

  @Test(arguments: [
    ("userid yes;", "must be one of"), ("userid_flags lax;", "has no parameter"),
    ("userid_mark ab;", "must be a letter"), ("userid_mark -;", "must be a letter"),
    ("userid_service x;", "must be between 0 and 4294967295"), ("userid_expires soon;", "soon"),
  ])
  func wrongDirectivesAreRefused(directive: String, message: String) throws {
    let site = try Site(config: "http { server { \(directive) } }")
    let finished = try Portico.run(site, ["-t"])
    #expect(finished.code == 1 && finished.standardError.contains(message))
  }
}
