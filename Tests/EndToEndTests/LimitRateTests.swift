// `limit_rate`: files, fixed answers and proxied responses come no faster than allowed; other
// requests on the same worker are not held up.

import Foundation
import Testing

@Suite struct LimitRateTests {
  private static let size = 100_000

  private static let config = """
    http {
      map $arg_slow $rate { default 0; 1 50k; }
      server {
        listen 127.0.0.1:%%PORT_0%%;
        http2 on;
        root %%DIR%%/www;
        location / { }
        location /file { limit_rate 50k; alias %%DIR%%/www/data; }
        location /after { limit_rate 10k; limit_rate_after 90k; alias %%DIR%%/www/data; }
        location /variable { limit_rate $rate; alias %%DIR%%/www/data; }
        location /set { set $limit_rate 50k; alias %%DIR%%/www/data; add_header X-Rate $limit_rate; }
        location /fixed { limit_rate 3; return 200 "hello"; }
        location /cached { open_file_cache max=10; limit_rate 3; alias %%DIR%%/www/small; }
        location /proxied { limit_rate 50k; proxy_pass http://%%UPSTREAM_0%%; }
        location /unbuffered { limit_rate 50k; proxy_buffering off; proxy_pass http://%%UPSTREAM_0%%; }
        location /ordered { proxy_pass http://%%UPSTREAM_0%%; }
        location /ignored { proxy_ignore_headers X-Accel-Limit-Rate; proxy_pass http://%%UPSTREAM_0%%; }
        location /redirected { proxy_pass http://%%UPSTREAM_0%%; }
        location /protected { internal; limit_rate 0; alias %%DIR%%/www/data; }
      }
    }
    """

  private func start() async throws -> RunningPortico {
    let data = String(repeating: "x", count: Self.size)
    let app = try TestUpstream { request in
      switch request.path {
      case "/ordered", "/ignored": .answer(fields: ["X-Accel-Limit-Rate": "51200"], body: data)
      case "/redirected":
        .answer(fields: ["X-Accel-Limit-Rate": "51200", "X-Accel-Redirect": "/protected"])
      case "/proxied":
        .steps([
          .bytes(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
              + "\(String(Self.size, radix: 16))\r\n\(data)\r\n0\r\n\r\n")
        ])
      default: .answer(body: data)
      }
    }
    return try await Portico.start(
      config: Self.config, files: ["www/data": data, "www/small": "hello"], upstreams: [app])
  }

  /// What a path answers, and after how many seconds it was complete.
  private func timed(_ door: RunningPortico, _ path: String) throws -> (Response, Double) {
    let client = try door.client()
    let watch = Stopwatch()
    try client.send("GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n")
    let answer = try client.response()
    let seconds = watch.seconds
    // The connection goes on as if nothing had been slow.
    try client.send("GET /small HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(try client.response().text == "hello")
    return (answer, seconds)
  }

  /// The least time that `path` took: a busy machine delays some, a rate delays all.
  private func fastest(_ door: RunningPortico, _ path: String) throws -> Double {
    try (0..<5).map { _ in try timed(door, path).1 }.min() ?? .infinity
  }

  @Test(arguments: [
    "/file", "/after", "/variable?slow=1", "/set", "/proxied", "/unbuffered", "/ordered",
    "/redirected",
  ])
  func aResponseTakesAsLongAsItsRateSays(path: String) async throws {
    let door = try await start()
    let (answer, seconds) = try timed(door, path)
    #expect(answer.status == 200)
    #expect(answer.body.count == Self.size)
    #expect(answer.body.allSatisfy { $0 == UInt8(ascii: "x") })
    // The first second's worth goes at once: 48,800 bytes are left of 100,000 at 51,200 a second.
    if path == "/after" {
      // Nearly ten without `limit_rate_after`.
      #expect(try fastest(door, path) < 5)
    } else {
      #expect(seconds > 0.85, "\(seconds)")
    }
    if path == "/set" { #expect(answer["x-rate"] == "51200") }
    try door.stop()
  }

  @Test(arguments: ["/fixed", "/cached", "/cached"])
  func smallAnswersAreLimitedToo(path: String) async throws {
    let door = try await start()
    let (answer, seconds) = try timed(door, path)
    #expect(answer.text == "hello")
    #expect(seconds > 0.6, "\(seconds)")
    try door.stop()
  }

  @Test(arguments: ["/data", "/variable?slow=0", "/ignored"])
  func nothingIsSlowWithoutARate(path: String) async throws {
    let door = try await start()
    let (answer, _) = try timed(door, path)
    #expect(answer.body.count == Self.size)
    #expect(try fastest(door, path) < 0.8)
    try door.stop()
  }

  @Test func streamsOfHTTP2AreLimitedEachForItself() async throws {
    let data = String(repeating: "x", count: Self.size)
    let app = try TestUpstream { _ in .answer(body: data) }
    let site = try Site(
      config: Self.config.replacingOccurrences(
        of: "http2 on;",
        with: """
          http2 on; listen 127.0.0.1:%%PORT_1%% ssl;
          ssl_certificate %%DIR%%/a.crt; ssl_certificate_key %%DIR%%/a.key;
          """), files: ["www/data": data], upstreams: [app])
    try site.makeCertificate("a")
    let door = try await Portico.start(site)
    let address = "https://127.0.0.1:\(door.port(1))"
    let paths = ["/file", "/proxied", "/data", "/fixed"]
    // One connection; curl waits for it before it asks for more.
    let result = try Command.run(
      ["curl", "-sk", "--http2", "-Z"]
        + paths.flatMap { ["-o", door.site.folder + "got" + $0, "--create-dirs", address + $0] }
        + ["-w", "%{url_effective} %{time_total}\n"], folder: door.site.folder)
    #expect(result.code == 0)
    for line in result.standardOutput.split(separator: "\n") {
      let words = line.split(separator: " ")
      let seconds = try #require(Double(words[1]))
      if words[0].hasSuffix("/data") {
        continue
      }
      #expect(seconds > 0.6, "\(line)")
    }
    for path in paths {
      let count = path == "/fixed" ? 5 : Self.size
      #expect(door.site.text("got" + path).utf8.count == count, "\(path)")
    }
    try door.stop()
  }

  @Test func aClientThatLeavesIsForgotten() async throws {
    let door = try await start()
    for path in ["/file", "/proxied", "/unbuffered"] {
      let client = try door.client()
      try client.send("GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n")
      _ = try client.read(until: "xxxx")
      client.reset()
    }
    let descriptors = "/proc/\(try door.workerPid)/fd"
    try waitUntil("the file to be closed") {
      try !FileManager.default.contentsOfDirectory(atPath: descriptors).contains {
        (try? FileManager.default.destinationOfSymbolicLink(atPath: "\(descriptors)/\($0)"))?
          .hasSuffix("/data") == true
      }
    }
    #expect(try door.get("/small").text == "hello")
    try door.stop()
  }

  @Test func aClientThatResetsIsNoticedBeforeTheNextPiece() async throws {
    let door = try await Portico.start(
      config: """
        http { server {
          listen 127.0.0.1:%%PORT_0%%;
          location / { limit_rate 1; return 200 "hello"; }
          location /status { stub_status; }
        } }
        """)
    // A piece a second. A busy machine is slow to notice some; what isn't looked at is never sooner.
    let least: Double? = try (0..<5).map { _ in
      var client: RawClient? = try door.client()
      try client?.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      _ = try client?.read(until: "\r\n\r\nh")
      let watch = Stopwatch()
      client?.reset()
      client = nil
      try waitUntil("one connection") {
        try door.get("/status").text.contains("Active connections: 1 ")
      }
      return watch.seconds
    }.min()
    #expect((least ?? .infinity) < 0.5)
    try door.stop()
  }

  @Test func aResponseThatPausesIsNoSlowClient() async throws {
    // The client is blocked once, then takes everything; the server is silent for longer than
    // send_timeout.
    let piece = String(repeating: "y", count: 4 << 20)
    let app = try TestUpstream { _ in
      .steps([
        .bytes("HTTP/1.1 200 OK\r\nContent-Length: \(piece.utf8.count + 3)\r\n\r\n\(piece)"),
        .pause(seconds: 2.5), .bytes("end"),
      ])
    }
    let door = try await Portico.start(
      config: """
        http { server {
          listen 127.0.0.1:%%PORT_0%% sndbuf=64k;
          location / { proxy_buffering off; send_timeout 2s; proxy_pass http://%%UPSTREAM_0%%; }
        } }
        """, upstreams: [app])
    let client = try door.client()
    try client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    let answer = try client.response()
    #expect(answer.body.count == piece.utf8.count + 3)
    try door.stop()
  }
}
