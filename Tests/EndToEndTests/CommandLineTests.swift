// The command line: nginx's forms, and the commands that need no configuration file.

import Foundation
import Testing

@Suite struct CommandLineTests {
  private func run(_ arguments: [String], environment: [String: String] = [:]) throws -> Finished {
    let site = try Site(config: "")
    return try site.command(arguments, environment: environment).wait()
  }

  @Test(arguments: [["-h"], ["-?"], ["-vh"]])
  func explainsItself(_ arguments: [String]) throws {
    let result = try run(arguments)
    #expect(result.code == 0)
    #expect(result.standardError.contains("Usage: portico [-?hvVtTq] [-s signal] [-p prefix]"))
  }

  @Test func saysItsVersion() throws {
    let short = try run(["-v"])
    #expect(short.code == 0)
    #expect(short.standardError.hasPrefix("portico version: portico/"))
    let build = try run(["-V"]).standardError
    #expect(build.contains("running with OpenSSL 3."))
    // 3.5 brings the group, and lists it first without being asked.
    let groups = try Command.run(["openssl", "list", "-kem-algorithms"], folder: "/tmp").standardOutput
    let isHybrid = groups.contains("X25519MLKEM768")
    #expect(build.contains("post-quantum key exchange: \(isHybrid ? "X25519MLKEM768" : "none")"))
    #expect(build.contains("certificate compression: "))
  }

  @Test(arguments: [
    (["-x"], "invalid option: \"x\""), (["wrong"], "invalid option: \"wrong\""),
    (["-s", "halt"], "invalid option: \"-s halt\""), (["-c"], "option \"-c\" requires file name"),
    (["-p"], "option \"-p\" requires directory name"),
  ])
  func refusesWhatMeansNothing(_ arguments: [String], _ message: String) throws {
    let result = try run(arguments)
    #expect(result.code == 1)
    #expect(result.standardError == "portico: \(message)\n")
  }

  @Test func takesValuesInTheSameWord() throws {
    let site = try Site(config: "http { }\n")
    let result = try site.command(
      ["-tp\(site.folder)", "-cportico.conf", "-eerror.log", "-gpid p.pid;"]
    ).wait()
    #expect(result.code == 0)
    #expect(result.standardError.contains("\(site.folder)portico.conf test is successful"))
  }

  @Test func takesNoDirectivesFromScriptsThatHaveNone() throws {
    let site = try Site(config: "http { }\n")
    let options = ["-t", "-p", site.folder, "-c", "portico.conf", "-e", "error.log", "-g"]
    #expect(try site.command(options + [""]).wait().code == 0)
    #expect(try site.command(options).wait().standardError.contains("requires directives"))
    let rest = ["-g", "", "-g", "pid p.pid;"]
    #expect(try site.command(options.dropLast() + rest).wait().code == 0)
  }

  @Test func namesAMissingConfigurationFile() throws {
    let site = try Site(config: "")
    let result = try site.command(["-t", "-p", site.folder, "-c", "none.conf"]).wait()
    #expect(result.code == 1)
    #expect(result.standardError.contains("none.conf"))
  }

  @Test func checksAURL() throws {
    let app = try TestUpstream { request in
      .answer(request.path == "/bad" ? "503 Service Unavailable" : "204 No Content")
    }
    let address = "http://127.0.0.1:\(app.port)"
    #expect(try run(["check", "\(address)/good"]).code == 0)
    #expect(try run(["check", "http://localhost:\(app.port)"]).code == 0)
    let bad = try run(["check", "\(address)/bad"])
    #expect(bad.code == 1)
    #expect(bad.standardError.contains("answered 503"))
    #expect(app.requests.map(\.path) == ["/good", "/", "/bad"])
    app.stop()
    #expect(try run(["check", address]).standardError.contains("Connection refused"))
    #expect(try run(["check", "ftp://x"]).standardError.contains("is not an http:// URL"))
  }

  @Test func givesUpOnAURLThatDoesNotAnswer() throws {
    let app = try TestUpstream { _ in .steps([.silence]) }
    let result = try run(["check", "--timeout", "1", "http://127.0.0.1:\(app.port)/"])
    #expect(result.code == 1)
    #expect(result.standardError.contains("no HTTP answer within 1 s"))
  }
}

@Suite struct InstantDoorTests {
  /// Starts a door without configuration and waits until it answers.
  private func start(_ site: Site, _ arguments: [String]) throws -> Command {
    let command = try site.command(arguments, environment: ["TMPDIR": site.folder])
    try waitUntil("the door to open", within: 20) {
      if command.hasEnded { throw StartFailed(finished: try command.wait()) }
      return (try? RawClient(port: site.ports.number(0))) != nil
    }
    return command
  }

  private func curl(_ site: Site, _ url: String) throws -> Finished {
    try Command.run(["curl", "-sk", "--max-time", "10", url], folder: site.folder)
  }

  @Test func servesAFolderOnHTTPAndHTTPS() throws {
    let site = try Site(
      config: "", files: ["www/index.html": "<p>home</p>", "www/a b.txt": "spaces"])
    let (http, https) = (site.ports.number(0), site.ports.number(1))
    let door = try start(
      site, ["serve", "--http", "\(http)", "--https", "\(https)", site.folder + "www"])
    #expect(try curl(site, "http://127.0.0.1:\(http)/").standardOutput == "<p>home</p>")
    #expect(try curl(site, "https://127.0.0.1:\(https)/a%20b.txt").standardOutput == "spaces")
    door.signal(SIGQUIT)
    #expect(try door.wait(within: 10).code == 0)
    let left = try FileManager.default.contentsOfDirectory(atPath: site.folder)
    #expect(!left.contains { $0.hasPrefix("portico-") })
  }

  @Test func balancesTheLoadOverAddresses() throws {
    let apps = try ["one", "two"].map { name in
      try TestUpstream { _ in .answer(body: name) }
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
    #expect(apps[0].requests.last?["host"] == "127.0.0.1:\(site.ports.number(0))")
    #expect(apps[0].requests.last?["x-forwarded-for"] == "127.0.0.1")
    door.signal(SIGTERM)
    #expect(try door.wait(within: 10).code == 0)
  }

  @Test func refusesAnAddressThatWouldEndADirective() throws {
    let site = try Site(config: "")
    let result = try site.command(["proxy", "a; b"]).wait()
    #expect(result.code != 0)
    #expect(result.standardError.contains("is not an address"))
  }

  @Test func takesDirectivesThatTuneWhatWorksAnotherWayHere() throws {
    let site = try Site(
      config: """
        pcre_jit on; timer_resolution 100ms; worker_cpu_affinity auto; lock_file a.lock;
        thread_pool one threads=4; thread_pool two threads=8 max_queue=100;
        events { worker_aio_requests 32; }
        http {
          connection_pool_size 512; request_pool_size 4k; output_buffers 2 32k; aio threads;
          directio 4m; directio_alignment 512; read_ahead 0; sendfile_max_chunk 2m;
          postpone_output 1460; send_lowat 0; aio_write on; subrequest_output_buffer_size 4k;
          proxy_send_lowat 0; proxy_headers_hash_max_size 512; proxy_headers_hash_bucket_size 64;
          keepalive_disable msie6; msie_padding off; msie_refresh off;
          server { listen 127.0.0.1:%%PORT_0%%; }
        }
        """)
    let result = try Portico.run(site, ["-t"])
    #expect(result.code == 0, "\(result.standardError)")
  }
}
