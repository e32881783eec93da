// What single directives of nginx's language mean, where it is easily got wrong: how often they may
// stand, in which order, in which units their values are.

import Foundation
import Testing

@Suite struct LanguageTests {
  private func expect(_ http: String, isRefusedWith message: String) throws {
    let result = try Portico.run(Site(config: "http { \(http) }"), ["-t"])
    #expect(result.code == 1, "\(http)")
    #expect(result.standardError.contains(message), "\(result.standardError)")
  }

  private func expectAccepted(_ http: String) throws {
    let result = try Portico.run(Site(config: "http { \(http) }"), ["-t"])
    #expect(result.code == 0, "\(result.standardError)")
  }

  // --- types -------------------------------------------------------------------------------------

  @Test func typesOfOneLevelAddUpAndReplaceThoseOutside() async throws {
    let door = try await Portico.start(
      config: """
        http {
          types { text/html html; text/one a; }
          types { text/javascript mjs; text/two a; }
          default_type text/none;
          server {
            listen 127.0.0.1:%%PORT_0%%; root %%DIR%%;
            location /in/ { types { text/inner b; } types { text/other c; } }
          }
        }
        """,
      files: [
        "x.html": "", "x.mjs": "", "x.a": "", "in/x.b": "", "in/x.c": "", "in/x.html": "",
      ])
    for (path, type) in [
      ("/x.html", "text/html"), ("/x.mjs", "text/javascript"), ("/x.a", "text/two"),
      ("/in/x.b", "text/inner"), ("/in/x.c", "text/other"), ("/in/x.html", "text/none"),
    ] { #expect(try door.get(path)["Content-Type"] == type, "\(path)") }
    try door.stop()
  }

  // --- if ----------------------------------------------------------------------------------------

  @Test(arguments: [
    "($request_method=POST)", "($arg_a$arg_b)", "(${arg_a}b)", "($arg_a =b)", "($arg_a= b)",
    "($arg_a$arg_b = c)", "($arg_a. ~ c)", "($arg_a = b c)",
  ])
  func aConditionIsOneVariableOrHasBlanksAroundItsOperator(condition: String) throws {
    try expect(
      "server { location / { if \(condition) { return 204; } } }",
      isRefusedWith:
        "; it is a variable, or a variable, an operator and a value with blanks between them")
  }

  @Test(arguments: ["($arg_a)", "( $arg_a )", "(${arg_a} = b)", "($arg_a != \"b c\")"])
  func otherConditionsAreTaken(condition: String) throws {
    try expectAccepted("server { location / { if \(condition) { return 204; } } }")
  }

  // --- resolver ----------------------------------------------------------------------------------

  /// A port whose name server never answers.
  private static func silentServer() -> (descriptor: Int32, port: UInt16) {
    let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | O_CLOEXEC, 0)
    return (descriptor, bindLoopback(descriptor))
  }

  @Test(arguments: [
    ("resolver_timeout 300ms; RESOLVER", ""), ("RESOLVER resolver_timeout 300ms;", ""),
    ("resolver_timeout 300ms;", "RESOLVER"), ("RESOLVER", "resolver_timeout 300ms;"),
    ("resolver_timeout 1h; RESOLVER", "resolver_timeout 300ms;"),
  ])
  func aNameIsWaitedForAsLongAsResolverTimeoutSays(http: String, server: String) async throws {
    let silent = Self.silentServer()
    defer { close(silent.descriptor) }
    func filled(_ text: String) -> String {
      text.replacingOccurrences(of: "RESOLVER", with: "resolver 127.0.0.1:\(silent.port);")
    }
    let door = try await Portico.start(
      config: """
        http {
          \(filled(http))
          server {
            listen 127.0.0.1:%%PORT_0%%; \(filled(server))
            location / { proxy_pass http://$arg_h; }
          }
        }
        """)
    let client = try door.client()
    try client.send("GET /?h=app.test HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(try client.response(within: 15).status == 502)
    try door.waitForLog("app.test could not be resolved")
    try door.stop()
  }

  @Test(arguments: [
    ("", "resolver_timeout 300ms; RESOLVER"), ("resolver_timeout 300ms;", "RESOLVER"),
    ("resolver_timeout 300ms; RESOLVER", ""), ("RESOLVER", "resolver_timeout 300ms;"),
  ])
  func theNamesOfAnUpstreamAsWell(http: String, upstream: String) async throws {
    let silent = Self.silentServer()
    defer { close(silent.descriptor) }
    func filled(_ text: String) -> String {
      text.replacingOccurrences(of: "RESOLVER", with: "resolver 127.0.0.1:\(silent.port);")
    }
    let door = try await Portico.start(
      config: """
        http {
          \(filled(http))
          upstream app { zone app 64k; server app.test:80 resolve; \(filled(upstream)) }
          server { listen 127.0.0.1:%%PORT_0%%; location / { proxy_pass http://app; } }
        }
        """)
    try door.waitForLog(
      "\"app.test:80\" in upstream \"app\" could not be resolved", within: 3)
    try door.stop()
  }

  @Test func aNameServerMayBeNamed() async throws {
    let names = NameServer(timeToLive: 60)
    names.set("app.test", 1)
    let door = try await Portico.start(
      config: """
        http {
          resolver localhost:\(names.port) ipv6=off;
          server {
            listen 127.0.0.1:%%PORT_0%%;
            location / { proxy_pass http://app.test$arg_nothing:%%PORT_1%%; }
          }
          server { listen 127.0.0.1:%%PORT_1%%; return 200 found; }
        }
        """)
    #expect(try door.get().text == "found")
    try door.stop()
  }

  @Test(arguments: [
    ("127.0.0.1 ipv6=of", "\"ipv6\" must be \"on\" or \"off\", not \"of\""),
    ("127.0.0.1 ipv4=nope", "\"ipv4\" must be \"on\" or \"off\", not \"nope\""),
    ("ipv6=off", "\"resolver\" has no name servers"),
    ("127.0.0.1 ipv4=off ipv6=off", "\"ipv4\" and \"ipv6\" can't both be \"off\""),
    ("nowhere.invalid", "host not found in resolver \"nowhere.invalid\""),
    ("127.0.0.1 valod=1s", "did you mean \"valid\"?"),
  ])
  func refusesResolversThatCanNotBeMeant(words: String, message: String) throws {
    try expect("resolver \(words);", isRefusedWith: message)
  }

  // --- server_name -------------------------------------------------------------------------------

  @Test func hostnameIsTheNameOfTheMachine() async throws {
    var storage = [CChar](repeating: 0, count: 256)
    #expect(gethostname(&storage, storage.count - 1) == 0)
    let machine = String(
      decoding: storage.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self
    ).lowercased()
    let door = try await Portico.start(
      config: """
        http {
          server { listen 127.0.0.1:%%PORT_0%%; return 200 other; }
          server {
            listen 127.0.0.1:%%PORT_0%%; server_name $hostname; valid_referers server_names;
            return 200 "$server_name [$invalid_referer]";
          }
        }
        """)
    #expect(
      try door.get(headers: ["Host": machine, "Referer": "https://\(machine)/page"]).text
        == "\(machine) []")
    #expect(
      try door.get(headers: ["Host": machine, "Referer": "http://else/"]).text == "\(machine) [1]")
    #expect(try door.get(headers: ["Host": "else"]).text == "other")
    try door.stop()
  }
}
