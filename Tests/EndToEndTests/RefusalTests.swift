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
}
