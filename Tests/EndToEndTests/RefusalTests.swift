// What `-t` refuses or warns of because it can't be what its author meant, and where it points.

import Foundation
import Testing

@Suite struct RefusalTests {
  private func check(_ config: String, files: [String: String] = [:]) throws -> Finished {
    try Portico.run(Site(config: config, files: files), ["-t"])
  }

  /// Checks that `config` is refused with `message`, at `line`:`column` if they are given.
  private func expect(
    _ config: String, isRefusedWith message: String, at place: String = ""
  ) throws {
    let result = try check(config)
    #expect(result.code == 1)
    let wanted = place.isEmpty ? message : ":\(place): error: \(message)"
    #expect(result.standardError.contains(wanted), "\(result.standardError)")
  }

  // --- locations ---------------------------------------------------------------------------------

  @Test(arguments: [
    ("location /a { location /b { } }", "location \"/b\" is outside location \"/a\""),
    ("location /a/ { location = /a { } }", "location \"/a\" is outside location \"/a/\""),
    ("location ^~ /a { location /A/b { } }", "location \"/A/b\" is outside location \"/a\""),
    ("location = /a { location /a/b { } }", "cannot be inside the exact location \"/a\""),
    ("location @a { location /b { } }", "cannot be inside the named location \"@a\""),
    ("location @a { location ~ b { } }", "cannot be inside the named location \"@a\""),
    ("location /a { location @b { } }", "can be on the server level only"),
  ])
  func refusesLocationsThatNothingReaches(_ locations: String, _ message: String) throws {
    try expect("http { server { \(locations) } }", isRefusedWith: message)
  }

  @Test func takesLocationsThatSomethingReaches() throws {
    let result = try check(
      """
      http { server { location /a {
        location /a { } location ~ b { location /c { } } location = /ab { }
        location ^~ /a/b { location /a/b/c { } } } } }
      """)
    #expect(result.code == 0, "\(result.standardError)")
  }

  @Test(arguments: [
    ("root /a; alias /b/;", "\"alias\" directive is duplicate, \"root\" directive was specified"),
    ("alias /b/; root /a;", "\"root\" directive is duplicate, \"alias\" directive was specified"),
  ])
  func refusesRootBesideAlias(_ lines: String, _ message: String) throws {
    let config = "http { server { root /c; location /x/ { \(lines) } } }"
    let result = try check(config)
    #expect(result.code == 1)
    #expect(result.standardError.contains(message), "\(result.standardError)")
    #expect(result.standardError.components(separatedBy: " error: ").count == 2)
  }

  @Test func refusesAliasInANamedLocation() throws {
    try expect(
      "http { server { location @x { alias /b/; } } }",
      isRefusedWith: "\"alias\" directive cannot be used inside the named location")
  }

  // --- upstreams ---------------------------------------------------------------------------------

  @Test(arguments: [
    ("proxy_pass http://", 34), ("proxy_pass https://", 34), ("grpc_pass grpc://", 33),
    ("grpc_pass ", 33),
  ])
  func refusesAnUpstreamWithAPort(_ pass: String, _ column: Int) throws {
    try expect(
      """
      http { upstream beee { server 127.0.0.1:81; }
      server { location / { \(pass)beee:8080; } } }
      """, isRefusedWith: "upstream \"beee\" may not have port 8080",
      at: "2:\(column)")
  }

  @Test func warnsOfAMisspeltUpstream() throws {
    let result = try check(
      """
      http { upstream backend { server 127.0.0.1:81; } upstream locahost { server 127.0.0.1:82; }
      server { location / { proxy_pass http://bakend; }
        location /a { proxy_pass http://backend/; } location /b { proxy_pass http://localhost; }
        location /c { proxy_pass http://backend.d; } location /d { proxy_pass http://backends:81; }
        location /e { proxy_pass http://other; } location /f { proxy_pass http://othr; } } }
      """)
    #expect(result.code == 0, "\(result.standardError)")
    #expect(
      result.standardError.contains(
        ":2:34: warning: \"bakend\" is no upstream, DNS is asked for it; did you mean \"backend\"?")
    )
    #expect(
      result.standardError.components(separatedBy: "is no upstream").count == 2,
      "\(result.standardError)")
  }
}
