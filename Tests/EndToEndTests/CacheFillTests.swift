// What may happen while a response is on its way into a cache: its client leaves by HTTP/2, or the
// disk takes no more.

import Foundation
import Testing

@Suite struct CacheFillTests {
  @Test(arguments: [(true, false), (true, true), (false, false), (false, true)])
  func anHTTP2ClientThatLeavesDoesNotStopIt(resets: Bool, isEarly: Bool) async throws {
    let upstream = RawServer()
    let door = try await Portico.start(
      config: """
        http {
          proxy_cache_path %%DIR%%/cache keys_zone=one:1m;
          server {
            listen 127.0.0.1:%%PORT_0%%; http2 on; proxy_cache one; proxy_cache_valid 1h;
            location / { proxy_pass http://\(upstream.address); }
          }
        }
        """)
    var client: H2Client? = try H2Client(port: door.port())
    try client?.request(1, "/a")
    let server = try upstream.accept()
    _ = try server.read(until: "\r\n\r\n")
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf"
    if !isEarly {
      try server.send(head)
      _ = try client?.frame { $0.type == .data }
    }
    if resets {
      try client?.send(.reset, stream: 1, payload: H2Frame.number(H2Code.cancel))
    } else {
      client = nil
    }
    try door.waitForLog("its request is carried out")
    if isEarly { try server.send(head) }
    try server.send("half")
    try waitUntil("the response to be stored") {
      let names = try FileManager.default.contentsOfDirectory(atPath: door.site.folder + "cache")
      return names.contains { !$0.hasPrefix(".") }
    }
    // From the cache: nobody asks the upstream.
    #expect(try door.get("/a").text == "halfhalf")
    if resets {
      try client?.request(3, "/a")
      #expect(try client?.response(3).body == Array("halfhalf".utf8))
    }
    #expect(!upstream.waits(within: 0.1))
    try door.stop(SIGTERM)
  }

  /// How a disk comes to be full.
  enum Means: CaseIterable {
    /// A file system of its own, of 1 MiB; needs the right to mount one.
    case mount
    /// No file may be larger than 1 MiB (RLIMIT_FSIZE): needs no right, but the error is EFBIG.
    case limit
  }

  private func isMounted(_ folder: String) throws -> Bool {
    let words = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0777", "portico-test", folder]
    return try Command.run(words, folder: "/tmp/").code == 0
  }

  @Test(arguments: Means.allCases)
  func aDiskThatFillsUpCostsTheFileOnly(means: Means) async throws {
    let app = try CountingApp(["Accept-Ranges": "bytes"])
    let site = try Site(
      config: CacheDoor.config(server: "proxy_cache_valid 1h;", main: "worker_processes 1;"),
      files: ["cache/.keep": ""], upstreams: [app.upstream])
    let folder = site.folder + "cache"
    if means == .mount {
      // Where that isn't allowed the other means shows the same of another error.
      guard try isMounted(folder) else { return }
    }
    defer {
      if means == .mount { _ = try? Command.run(["umount", "-l", folder], folder: "/tmp/") }
    }
    let door = try await Portico.start(
      site, under: means == .limit ? ["prlimit", "--fsize=1048576"] : [])
    let body = (0..<(4 << 20)).map { UInt8(truncatingIfNeeded: $0 % 251) }
    app.answer(
      .steps([
        .bytes("HTTP/1.1 200 OK\r\nAccept-Ranges: bytes\r\nContent-Length: \(body.count)\r\n\r\n"),
        .bytes(body),
      ]))
    func refusals() -> Int {
      door.errorLog.split(separator: "\n").count {
        $0.contains("the response is not cached")
          && $0.contains(means == .mount ? "No space left on device" : "File too large")
      }
    }
    for number in 1...2 {
      let answer = try door.get("/a")
      #expect(answer["X-Cache"] == "MISS" && answer.body == body)
      #expect(refusals() == number)
    }
    // A slow reader of a part: what waits in the file that is given up is not lost.
    let slow = try door.client()
    try slow.send("GET /a HTTP/1.1\r\nHost: a\r\nRange: bytes=1000-4000000\r\n\r\n")
    try waitUntil("the third refusal") { refusals() == 3 }
    let part = try slow.response()
    #expect(part.status == 206 && part.body == Array(body[1000...4_000_000]))
    // The room is there again, and the worker is the one that it was.
    app.answer(nil)
    for status in ["MISS", "HIT"] { #expect(try door.get("/b")["X-Cache"] == status) }
    let names = try FileManager.default.contentsOfDirectory(atPath: folder)
    #expect(names.count { !$0.hasPrefix(".") } == 1)
    #expect(!door.errorLog.contains("exited on signal"))
    try door.stop()
  }
}
