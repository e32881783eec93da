// Variables that lead back to themselves: they are empty, with a line in the log, and the process
// that serves lives on.

import Foundation
import Testing

@Suite struct CycleTests {
  private static let config = """
    http {
      map $a $b { default "b$a"; }
      map $b $a { default "a$b"; }
      map $again $often { volatile; default "$again$again"; }
      map $often $again { volatile; default "$often$often"; }
      split_clients $share $share { 50% one; * two; }
      geo $place $place { default here; }
      map $document_root $shown { default "$document_root/x"; }
      map $uid_set $uid_reset { default "$uid_set"; }
      server {
        listen 127.0.0.1:%%PORT_0%%;
        location = /map { return 200 "[$a]"; }
        location = /often { return 200 "[$often]"; }
        location = /split { return 200 "[$share]"; }
        location = /geo { return 200 "[$place]"; }
        location = /file { root $request_filename; return 200 "[$request_filename]"; }
        location = /root { root $shown; return 200 "[$document_root]"; }
        location = /real { root $shown; return 200 "[$realpath_root]"; }
        location = /link { secure_link $secure_link,1; secure_link_md5 x; return 200 "[$secure_link]"; }
        location = /expires {
          secure_link $secure_link_expires,1; secure_link_md5 x; return 200 "[$secure_link_expires]";
        }
        location = /user { userid on; return 200 "[$uid_set]"; }
        location /served/ { root $request_filename; }
      }
    }
    """

  @Test(arguments: [
    ("/map", "a"), ("/often", "often"), ("/split", "share"), ("/geo", "place"),
    ("/file", "request_filename"), ("/root", "document_root"), ("/real", "realpath_root"),
    ("/link", "secure_link"), ("/expires", "secure_link_expires"),
  ])
  func aVariableThatIsPartOfItselfIsEmpty(path: String, name: String) async throws {
    let door = try await Portico.start(config: Self.config)
    let worker = try door.workerPid
    #expect(try door.get(path).text == "[]")
    try door.waitForLog("cycle while evaluating variable \"")
    // The one after it as well, and by the same process.
    #expect(try door.get(path).text == "[]")
    #expect(try door.workerPid == worker)
    try door.stop()
  }

  @Test func whateverElseMeetsACycleGoesOn() async throws {
    let door = try await Portico.start(config: Self.config)
    let worker = try door.workerPid
    #expect(try door.get("/served/x").status == 404)
    try door.waitForLog("cycle while evaluating variable \"request_filename\"")
    let cookie = try #require(try door.get("/user")["set-cookie"]?.split(separator: ";").first)
    #expect(try door.get("/user", headers: ["Cookie": String(cookie)]).status == 200)
    #expect(try door.workerPid == worker)
    try door.stop()
  }

  /// The line for the error log is written while a line for an access log is being made.
  @Test func aCycleInAnAccessLogIsNoTrouble() async throws {
    let door = try await Portico.start(
      config: """
        http {
          map $a $b { default "b$a"; }
          map $b $a { default "a$b"; }
          log_format cycle "$uri [$a]";
          server {
            listen 127.0.0.1:%%PORT_0%%; error_log %%DIR%%/own.log;
            access_log %%DIR%%/access.log cycle; return 200;
          }
        }
        """)
    #expect(try door.get("/x").status == 200)
    try waitUntil("the log") { door.site.text("access.log").contains("/x []\n") }
    #expect(door.site.text("own.log").contains("cycle while evaluating variable"))
    #expect(try door.stop() == 0)
  }

  /// Maps of maps are no cycle, however many there are in a row.
  @Test func manyVariablesInARowAreNoCycle() async throws {
    let maps = (1..<90).map { "map $v\($0 - 1) $v\($0) { default \"${v\($0 - 1)}x\"; }" }
    let door = try await Portico.start(
      config: """
        http { map $uri $v0 { default x; } \(maps.joined(separator: "\n"))
        server { listen 127.0.0.1:%%PORT_0%%; return 200 $v89; } }
        """)
    #expect(try door.get("/").text == String(repeating: "x", count: 90))
    try door.stop()
  }

  @Test(arguments: ["root", "alias"], ["$document_root", "${realpath_root}"])
  func aFolderIsNotNamedByItself(directive: String, variable: String) throws {
    let site = try Site(
      config: "http { server { location /a/ { \(directive) \(variable)/; } } }")
    let result = try Portico.run(site, ["-t"])
    #expect(result.code == 1)
    #expect(result.standardError.contains("variable can't be used in \"\(directive)\""))
  }
}
