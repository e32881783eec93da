// `least_time` with servers that take their time.

import Testing

@Suite struct FastestServerTests {
  private func config(_ method: String) -> String {
    """
    http {
      upstream app { \(method); server %%UPSTREAM_0%%; server %%UPSTREAM_1%%; }
      server { listen 127.0.0.1:%%PORT_0%%; location / { proxy_pass http://app; } }
    }
    """
  }

  @Test(arguments: [
    ("least_time header", "HTTP/1.1 200 OK\r\n", "Content-Length: 1\r\n\r\na"),
    ("least_time header inflight", "HTTP/1.1 200 OK\r\n", "Content-Length: 1\r\n\r\na"),
    ("least_time last_byte", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n", "a"),
    ("least_time last_byte inflight", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n", "a"),
    ("random two least_time", "HTTP/1.1 200 OK\r\n", "Content-Length: 1\r\n\r\na"),
    ("random two least_time=last_byte", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n", "a"),
  ])
  func aServerThatWasSlowIsNotAskedAgain(method: String, head: String, rest: String) async throws {
    let slow = try TestUpstream { _ in
      .steps([.bytes(head), .pause(seconds: 0.3), .bytes(rest)])
    }
    let fast = try TestUpstream { _ in .answer(body: "b") }
    let door = try await Portico.start(config: config(method), upstreams: [slow, fast])
    for _ in 0..<8 { #expect(try door.get("/").status == 200) }
    #expect(slow.requests.count <= 1 && fast.requests.count >= 7)
    try door.stop()
  }

  @Test(arguments: [
    ("least_time", "\"least_time\" takes 1 to 2 arguments"),
    ("least_time body", "must be \"header\" or \"last_byte\", not \"body\""),
    ("least_time header x", "has no parameter \"x\""),
    ("random two least_time=x", "must be \"header\" or \"last_byte\", not \"x\""),
    ("random two most", "has no parameter \"most\""),
  ])
  func refusesWhatItDoesNotKnow(method: String, message: String) throws {
    let text = config(method).replacing("%%UPSTREAM_0%%", with: "127.0.0.1:1")
      .replacing("%%UPSTREAM_1%%", with: "127.0.0.1:2")
    let result = try Portico.run(Site(config: text), ["-t"])
    #expect(result.code == 1 && result.standardError.contains(message))
  }
}
