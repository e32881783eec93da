// Clients that leave, or have all that they get, while their request goes on: for a cache, or
// because the location says so.

import Foundation
import Testing

@Suite struct DepartureTests {
  enum Leaving: CaseIterable {
    case byReset, byEnd, byEndOfHTTP2, byResetOfHTTP2
  }

  /// The application finishes what it was asked, however the client's connection ended.
  @Test(arguments: Leaving.allCases, [true, false])
  func aRequestIsCarriedOutWhereTheLocationSaysSo(_ leaving: Leaving, ignores: Bool) async throws {
    let upstream = RawServer()
    let door = try await Portico.start(
      config: """
        http { log_format l "$status $upstream_status $bytes_sent"; access_log %%DIR%%/a.log l;
          server { listen 127.0.0.1:%%PORT_0%%; http2 on;
          proxy_ignore_client_abort \(ignores ? "on" : "off");
          location / { proxy_pass http://\(upstream.address); } } }
        """)
    let raw = try door.client()
    switch leaving {
    case .byReset, .byEnd: try raw.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
    case .byEndOfHTTP2, .byResetOfHTTP2: try H2Client(raw).request(1, "/a")
    }
    let app = try upstream.accept()
    _ = try app.read(until: "\r\n\r\n")
    switch leaving {
    case .byReset, .byResetOfHTTP2: raw.reset()
    case .byEnd, .byEndOfHTTP2: raw.finishSending()
    }
    if ignores {
      #expect(!app.isClosed(within: 0.3))
      try app.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    } else {
      #expect(app.isClosed())
    }
    try waitUntil("the log") { !door.site.text("a.log").isEmpty }
    let line = door.site.text("a.log")
    #expect(line.hasPrefix(ignores ? "200 200 " : "499 - "), "\(line)")
    try door.stop()
  }

  /// A response of which the client gets no body is stored all the same, when it has all come.
  @Test(arguments: ["HEAD", "If-None-Match"])
  func whatIsAnsweredWithoutABodyIsStored(_ what: String) async throws {
    let upstream = RawServer()
    let door = try await Portico.start(
      config: """
        http { proxy_cache_path %%DIR%%/cache keys_zone=z:1m; server {
          listen 127.0.0.1:%%PORT_0%%; http2 on; add_header X-Cache $upstream_cache_status;
          location / { proxy_cache z; proxy_pass http://\(upstream.address); } } }
        """)
    let client = try H2Client(port: door.port())
    if what == "HEAD" {
      try client.request(1, "/a", method: "HEAD")
    } else {
      try client.request(1, "/a", fields: [("if-none-match", "\"t\"")])
    }
    let app = try upstream.accept()
    _ = try app.read(until: "\r\n\r\n")
    try app.send(
      "HTTP/1.1 200 OK\r\nETag: \"t\"\r\nCache-Control: max-age=60\r\nContent-Length: 4\r\n\r\nbo")
    #expect(try client.response(1).status == (what == "HEAD" ? 200 : 304))
    try app.send("dy")
    try waitUntil("the file") {
      let answer = try? door.get("/a")
      return answer?["X-Cache"] == "HIT" && answer?.text == "body"
    }
    try door.stop()
  }

  /// What a client had got before it left is in the log, though its response was fetched further.
  @Test func theLogHasWhatAClientGotBeforeItLeft() async throws {
    let upstream = RawServer()
    let door = try await Portico.start(
      config: """
        http { proxy_cache_path %%DIR%%/cache keys_zone=z:1m;
          log_format l "$status $body_bytes_sent"; access_log %%DIR%%/a.log l;
          server { listen 127.0.0.1:%%PORT_0%%;
          location / { proxy_cache z; proxy_pass http://\(upstream.address); } } }
        """)
    let client = try door.client()
    try client.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
    let app = try upstream.accept()
    _ = try app.read(until: "\r\n\r\n")
    try app.send("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 8\r\n\r\nhalf")
    _ = try client.read(until: "half")
    client.reset()
    try door.waitForLog("its request is carried out")
    try app.send("half")
    try waitUntil("the log") { !door.site.text("a.log").isEmpty }
    #expect(door.site.text("a.log") == "200 4\n")
    #expect(try door.get("/a").text == "halfhalf")
    try door.stop()
  }
}
