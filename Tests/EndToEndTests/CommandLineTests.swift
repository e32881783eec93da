// The command line: nginx's forms, and `portico check`.

import Foundation
import Testing

@Suite struct CommandLineTests {
  private func run(_ arguments: [String], environment: [String: String] = [:]) throws -> Finished {
    let site = try Site(config: "")
    return try site.command(arguments, environment: environment).wait()
  }

  @Test(arguments: [["-h"], ["-?"], ["-vh"], ["--help"], ["help"]])
  func explainsItself(_ arguments: [String]) throws {
    let result = try run(arguments)
    #expect(result.code == 0)
    #expect(result.standardError.contains("Usage: portico [-?hvVtTq] [-s signal] [-p prefix]"))
  }

  @Test func saysItsVersion() throws {
    #expect(try run(["--version"]).standardError == run(["-v"]).standardError)
    let short = try run(["-v"])
    #expect(short.code == 0)
    #expect(short.standardError.hasPrefix("portico version: portico/"))
    let build = try run(["-V"]).standardError
    #expect(build.contains("running with OpenSSL 3."))
    // 3.5 brings the group, and lists it first without being asked.
    let site = try Site(config: "")
    let openssl = ["openssl", "list", "-kem-algorithms"]
    let groups = try Command.run(openssl, folder: site.folder).standardOutput
    let isHybrid = groups.contains("X25519MLKEM768")
    #expect(build.contains("post-quantum key exchange: \(isHybrid ? "X25519MLKEM768" : "none")"))
    #expect(build.contains("certificate compression: "))
  }

  @Test(arguments: [
    (["-x"], "invalid option: \"x\"; \"portico -h\" lists what there is"),
    (
      ["serv"],
      "invalid option: \"serv\"; did you mean \"serve\"?; \"portico -h\" lists what there is"
    ),
    (["--wrong"], "invalid option: \"--wrong\"; \"portico -h\" lists what there is"),
    (
      ["-s", "relaod"],
      "invalid option: \"-s relaod\"; did you mean \"reload\"?; it takes stop, quit, reopen or"
        + " reload"
    ),
    (["-s", "halt"], "invalid option: \"-s halt\"; it takes stop, quit, reopen or reload"),
    (["-c"], "option \"-c\" requires file name"),
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

  @Test func saysWhereAConfigurationIsLookedFor() throws {
    let site = try Site(config: "events { }\nhttp { }\n")
    let none = try site.command(["-p", site.folder + "no"]).wait()
    #expect(none.code == 1)
    #expect(none.standardError.contains("\"-c FILE\", or try \"portico serve\""))
    let here = FileManager.default.currentDirectoryPath
    let name = try #require(FileManager.default.contentsOfDirectory(atPath: here).first)
    let other = try site.command(["-t", "-p", site.folder + "no", "-c", name]).wait()
    #expect(other.code == 1)
    #expect(other.standardError.contains("the one in this folder is \"\(here)/\(name)\""))
  }

  @Test func testsWithoutAWordButWarnings() throws {
    let config = "http { server { listen 127.0.0.1:%%PORT_0%%; http2_push /a; } }"
    let result = try Portico.run(Site(config: config), ["-t", "-q"])
    #expect(result.code == 0)
    #expect(result.standardError.contains("\"http2_push\" is obsolete and ignored"))
    #expect(!result.standardError.contains("test is successful"))
    #expect(
      try Portico.run(Site(config: "http { server { listen 127.0.0.1:%%PORT_0%%; } }"), ["-tq"])
        .standardError == "")
  }

  @Test func testsWhetherAddressesCanBeHad() throws {
    // TEST-NET-3 (RFC 5737): nobody's address.
    let result = try Portico.run(
      Site(config: "http { server { listen 203.0.113.5:8080; } }"), ["-t"])
    #expect(result.code == 1)
    #expect(result.standardError.contains("bind() to 203.0.113.5:8080 failed (99: "))
    #expect(result.standardError.contains("test failed"))
  }

  @Test func testsLeaveAddressesAsTheyWere() async throws {
    let config = """
      http { server { listen 127.0.0.1:%%PORT_0%%; listen unix:%%DIR%%/a.sock; return 204; } }
      """
    let door = try await Portico.start(config: config)
    #expect(try Portico.run(door.site, ["-t"]).code == 0)
    #expect(door.site.exists("a.sock"))
    #expect(try door.get().status == 204)
    try door.stop()
    #expect(try Portico.run(door.site, ["-t"]).code == 0)
    #expect(!door.site.exists("a.sock"))
  }

  @Test func saysThatAnotherRunsAlready() async throws {
    let door = try await Portico.start(
      config: "http { server { listen 127.0.0.1:%%PORT_0%%; return 204; } }")
    let second = try Portico.run(door.site, [])
    #expect(second.code == 1)
    // It doesn't try for as long as it would to get an address that somebody is giving up.
    #expect(second.standardError.components(separatedBy: "trying again").count == 2)
    #expect(
      second.standardError.contains("names process \(try door.pid), which runs: is portico running")
    )
    try door.stop()
  }
}
