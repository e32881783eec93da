// `portico serve` and `portico proxy`: doors without a configuration file.

import Foundation
import Testing

@Suite struct InstantDoorTests {
  /// Starts a door without configuration and waits until it answers.
  private func start(_ site: Site, _ arguments: [String]) throws -> Command {
    let command = try site.command(arguments, environment: ["TMPDIR": site.folder])
    try waitUntil("the door to open") {
      if command.hasEnded { throw StartFailed(finished: try command.wait()) }
      return (try? RawClient(port: site.ports.number(0))) != nil
    }
    return command
  }

  private func curl(_ site: Site, _ url: String) throws -> Finished {
    try Command.run(["curl", "-sk", "--max-time", "30", url], folder: site.folder)
  }

  @Test func servesAFolderOnHTTPAndHTTPS() throws {
    let site = try Site(
      config: "", files: ["www/index.html": "<p>home</p>", "www/a b.txt": "spaces"])
    let (http, https) = (site.ports.number(0), site.ports.number(1))
    let door = try start(
      site, ["serve", "--http", "\(http)", "--https", "\(https)", site.folder + "www"])
    #expect(try curl(site, "http://127.0.0.1:\(http)/").standardOutput == "<p>home</p>")
    #expect(try curl(site, "https://127.0.0.1:\(https)/a%20b.txt").standardOutput == "spaces")
    // What the image's health check asks.
    #expect(try curl(site, "http://127.0.0.1:\(http)/healthz").standardOutput == "ok\n")
    try site.write("www/healthz", "mine")
    #expect(try curl(site, "http://127.0.0.1:\(http)/healthz").standardOutput == "mine")
    door.signal(SIGQUIT)
    #expect(try door.wait().code == 0)
    let left = try FileManager.default.contentsOfDirectory(atPath: site.folder)
    #expect(!left.contains { $0.hasPrefix("portico-") })
  }

  /// A browser applies no stylesheet and runs no module script of another type.
  @Test func servesFilesAsWhatTheyAre() throws {
    let types = [
      "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml",
      "json": "application/json", "woff2": "font/woff2", "wasm": "application/wasm",
      "html": "text/html", "odd": "text/plain",
    ]
    let site = try Site(
      config: "", files: Dictionary(uniqueKeysWithValues: types.keys.map { ("www/a.\($0)", "a") }))
    let port = site.ports.number(0)
    let door = try start(site, ["serve", "--http", "\(port)", "--https", "0", site.folder + "www"])
    for (ending, type) in types {
      let head = try Command.run(
        ["curl", "-sI", "--max-time", "30", "http://127.0.0.1:\(port)/a.\(ending)"],
        folder: site.folder
      ).standardOutput
      #expect(head.contains("Content-Type: \(type)\r\n"))
    }
    door.signal(SIGTERM)
    #expect(try door.wait().code == 0)
  }

  @Test func balancesTheLoadOverAddresses() throws {
    let apps = try ["one", "two"].map { name in
      try TestUpstream {
        $0.path == "/healthz" && name == "two" ? .answer("404 Not Found") : .answer(body: name)
      }
    }
    let site = try Site(config: "")
    let door = try start(
      site,
      ["proxy", "--http", "\(site.ports.number(0))", "--https", "0"]
        + apps.map { "127.0.0.1:\($0.port)" })
    var answers: Set<String> = []
    for _ in 0..<4 {
      answers.insert(try curl(site, "http://127.0.0.1:\(site.ports.number(0))/x").standardOutput)
    }
    #expect(answers == ["one", "two"])
    // An application that knows nothing of health is healthy when it says so.
    let health = try (0..<2).map { _ in
      try curl(site, "http://127.0.0.1:\(site.ports.number(0))/healthz").standardOutput
    }
    #expect(Set(health) == ["one", "ok\n"])
    #expect(apps[0].requests.last?["host"] == "127.0.0.1:\(site.ports.number(0))")
    #expect(apps[0].requests.last?["x-forwarded-for"] == "127.0.0.1")
    door.signal(SIGTERM)
    #expect(try door.wait().code == 0)
  }

  @Test(arguments: [
    (["proxy", "a; b"], "is not an address"), (["proxy", "127.0.0.1:abc"], "is not an address"),
    (["proxy", "http://127.0.0.1:80/x"], "is not an address"),
    (["proxy", "70000"], "is not an address"),
    (["proxy", "$host"], "is not an address"), (["proxy", "https://127.0.0.1"], "by plain HTTP"),
    (["serve", "nodir"], "no such folder: \"nodir\""), (["serve", "/dev/null"], "is not a folder"),
    (["serve", "--listen", "here"], "is not an IP address"),
    (["serve", "--wrong"], "Unknown option"),
  ])
  func refusesWordsThatMeanNothing(_ arguments: [String], _ message: String) throws {
    let site = try Site(config: "")
    let result = try site.command(arguments, environment: ["TMPDIR": site.folder]).wait()
    #expect(result.code == 1)
    #expect(result.standardError.contains(message))
    #expect(!result.standardError.contains("portico.conf:"))
    let left = try FileManager.default.contentsOfDirectory(atPath: site.folder)
    #expect(!left.contains { $0.hasPrefix("portico-") })
  }

  @Test func saysHowToChooseAnotherPort() throws {
    let app = try TestUpstream { _ in .answer(body: "app") }
    let site = try Site(config: "")
    let result = try site.command(
      ["proxy", "--listen", "127.0.0.1", "--http", "\(app.port)", "--https", "0", "1"],
      environment: ["TMPDIR": site.folder]
    ).wait()
    #expect(result.code == 1)
    #expect(result.standardError.contains("failed (98: Address already in use)\n"))
    #expect(result.standardError.hasSuffix("--http and --https name other ports, 0 none\n"))
  }

  @Test(arguments: ["http://127.0.0.1:PORT", "http://localhost:PORT/", ":PORT", "PORT"])
  func takesServersAsPeopleWriteThem(_ form: String) throws {
    let app = try TestUpstream { _ in .answer(body: "app") }
    let site = try Site(config: "")
    let door = try start(
      site,
      [
        "proxy", "--http", "\(site.ports.number(0))", "--https", "0",
        form.replacingOccurrences(of: "PORT", with: "\(app.port)"),
      ])
    #expect(try curl(site, "http://127.0.0.1:\(site.ports.number(0))/").standardOutput == "app")
    door.signal(SIGTERM)
    #expect(try door.wait().code == 0)
  }

  @Test func theNameOfAFolderIsNothingButAName() throws {
    let names = ["we$host", "a ${env:HOME} \\ \"b\" {;#é"]
    for name in names {
      let site = try Site(
        config: "",
        files: [
          "www/\(name)/a.txt": "a", "www/\(name)/.git/config": "secret",
          "www/\(name)/.env": "secret",
          "www/\(name)/.well-known/x": "known",
        ])
      let url = "http://127.0.0.1:\(site.ports.number(0))"
      let door = try start(
        site,
        [
          "serve", "--listen", "127.0.0.1", "--http", "\(site.ports.number(0))", "--https",
          "\(site.ports.number(1))", site.folder + "www/" + name,
        ])
      #expect(try curl(site, "\(url)/a.txt").standardOutput == "a")
      #expect(try curl(site, "\(url)/").standardOutput.contains("href=\"a.txt\""))
      #expect(try curl(site, "\(url)/.well-known/x").standardOutput == "known")
      for hidden in ["/.git/config", "/.env"] {
        #expect(try !curl(site, url + hidden).standardOutput.contains("secret"))
      }
      door.signal(SIGQUIT)
      let finished = try door.wait()
      #expect(finished.code == 0)
      let place = "portico: \(url)/ and https://127.0.0.1:\(site.ports.number(1))/ (self-signed)"
      #expect(finished.standardError.contains(place))
    }
  }

  @Test func announcesNothingThatItDoesNotServe() throws {
    let site = try Site(config: "")
    let taken = try TestUpstream { _ in .answer(body: "") }
    let result = try site.command(
      ["serve", "--listen", "127.0.0.1", "--http", "\(taken.port)", "--https", "0", site.folder],
      environment: ["TMPDIR": site.folder]
    ).wait()
    #expect(result.code == 1)
    #expect(result.standardError.contains("bind() to 127.0.0.1:\(taken.port) failed"))
    #expect(!result.standardError.contains("ctrl-c"))
  }

  @Test func localhostIsBothOfItsAddresses() throws {
    let site = try Site(config: "", files: ["www/a": "a"])
    let port = site.ports.number(0)
    let door = try start(site, ["serve", "--http", "\(port)", "--https", "0", site.folder + "www"])
    #expect(try curl(site, "http://127.0.0.1:\(port)/a").standardOutput == "a")
    #expect(try curl(site, "http://[::1]:\(port)/a").standardOutput == "a")
    door.signal(SIGQUIT)
    #expect(try door.wait().code == 0)
  }
}
