// Responses of upstreams that become files (`proxy_store`).

import Foundation
import Testing

@Suite struct StoreTests {
  private static let config = """
    worker_processes 1; user root;
    http {
      access_log off;
      server {
        listen 127.0.0.1:%%PORT_0%%; root %%DIR%%/www;
        location / { proxy_store on; proxy_pass http://%%UPSTREAM_0%%; }
        location /named/ {
          proxy_store %%DIR%%/kept$uri.copy; proxy_store_access group:rw all:r;
          proxy_pass http://%%UPSTREAM_0%%;
        }
        location /chosen { proxy_store %%DIR%%/kept/$arg_name; proxy_pass http://%%UPSTREAM_0%%; }
        location /off/ { proxy_store off; proxy_pass http://%%UPSTREAM_0%%; }
        location /full { proxy_store %%DIR%%/portico.conf/file; proxy_pass http://%%UPSTREAM_0%%; }
      }
    }
    """

  private func start() async throws -> RunningPortico {
    let app = try TestUpstream { request in
      if request.path.hasSuffix("/half") {
        return .steps([.bytes("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"), .reset])
      }
      if request.path.hasSuffix("/chunks") {
        return .steps([
          .bytes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
          .bytes("3\r\ndef\r\n0\r\n\r\n"),
        ])
      }
      if request.path.hasSuffix("/zip") {
        return .answer(fields: ["Content-Encoding": "gzip"], body: "zipped")
      }
      if request.path.hasSuffix("/none") { return .answer("404 Not Found", body: "none") }
      if request.path.hasSuffix("/head") && request.method == "HEAD" {
        return .steps([.bytes("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")])
      }
      return .answer(
        fields: ["Last-Modified": "Mon, 02 Jan 2006 15:04:05 GMT"], body: "body of \(request.path)")
    }
    return try await Portico.start(config: Self.config, upstreams: [app])
  }

  private func attributes(_ door: RunningPortico, _ path: String) throws -> (Int, Date) {
    let found = try FileManager.default.attributesOfItem(atPath: door.site.folder + path)
    return (found[.posixPermissions] as? Int ?? 0, found[.modificationDate] as? Date ?? Date())
  }

  private func files(_ door: RunningPortico) -> [String] {
    ["www", "kept"].flatMap { folder in
      FileManager.default.enumerator(atPath: door.site.folder + folder)?
        .compactMap { $0 as? String } ?? []
    }
  }

  @Test func completeResponsesAreKept() async throws {
    let door = try await start()
    #expect(try door.get("/a/b").text == "body of /a/b")
    #expect(door.site.text("www/a/b") == "body of /a/b")
    let modified = Date(timeIntervalSince1970: 1_136_214_245)
    #expect(try attributes(door, "www/a/b") == (0o600, modified))
    #expect(try attributes(door, "www/a").0 == 0o700)
    #expect(try door.get("/chunks").text == "abcdef" && door.site.text("www/chunks") == "abcdef")
    _ = try door.get("/named/x?y")
    #expect(door.site.text("kept/named/x.copy") == "body of /named/x?y")
    #expect(try attributes(door, "kept/named/x.copy").0 == 0o664)
    // Less what the umask takes.
    #expect(try attributes(door, "kept/named").0 & 0o755 == 0o755)
    // The newest one counts.
    _ = try door.get("/named/x?z")
    #expect(door.site.text("kept/named/x.copy") == "body of /named/x?z")
  }

  @Test func nothingElseIsKept() async throws {
    let door = try await start()
    for path in ["/none", "/off/x", "/chosen?name=../x", "/chosen?name=", "/full"] {
      #expect(try door.get(path).status == (path == "/none" ? 404 : 200), "\(path)")
    }
    let client = try door.client()
    try client.send("GET /half HTTP/1.1\r\nHost: a\r\n\r\n")
    _ = try client.readToEnd()
    #expect(try door.get("/head", method: "HEAD").status == 200)
    let poster = try door.client()
    try poster.send("POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    #expect(try poster.response().status == 200)
    let sender = try door.client()
    try sender.send("GET /body HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nno")
    #expect(try sender.response().status == 200)
    // What one client chose would be everybody's, and without a word of how it is encoded.
    #expect(try door.get("/zip", headers: ["Accept-Encoding": "gzip"]).text == "zipped")
    try door.waitForLog("a response is not stored at \"\(door.site.folder)kept/../x\"")
    try door.waitForLog("a response can't be stored at \"\(door.site.folder)portico.conf/file\"")
    #expect(files(door).filter { $0 != "index.html" } == [])
  }

  @Test(arguments: [
    ("proxy_store \"\";", "needs \"on\", \"off\" or a path"),
    ("proxy_store_access all:x;", "\"all:x\" is no access"),
    ("proxy_store_access rw;", "\"rw\" is no access"),
    ("proxy_store_access owner:rw;", "\"owner:rw\" is no access"),
  ])
  func wrongDirectivesAreRefused(directive: String, message: String) throws {
    let site = try Site(config: "http { server { \(directive) } }")
    let finished = try Portico.run(site, ["-t"])
    #expect(finished.code == 1 && finished.standardError.contains(message))
  }

  /// Names of files are texts here: a path that is none would have the name of others.
  @Test func aPathThatIsNoTextIsNotKept() async throws {
    let door = try await start()
    for path in ["%EF%BF%BD", "%FF", "a"] {
      #expect(try door.get("/named/" + path).status == 200)
      if path != "%FF" {
        try waitUntil("a file") { files(door).count { $0.hasSuffix(".copy") } > 0 }
      }
    }
    try waitUntil("the last one") { files(door).contains { $0.hasSuffix("a.copy") } }
    #expect(door.site.text("kept/named/\u{FFFD}.copy") == "body of /named/%EF%BF%BD")
    #expect(files(door).count { $0.hasSuffix(".copy") } == 2)
    try door.stop()
  }
}
