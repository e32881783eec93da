// How connections of HTTP/2 end: GOAWAY, what is under way, reloads.

import Foundation
import Testing

@Suite struct HTTP2EndingTests {
  @Test func endsAnIdleConnectionWithGoAway() async throws {
    let door = try await HTTP2Door.start(server: "keepalive_timeout 300ms;")
    let client = try H2Client(port: door.port(0))
    try client.request(1, "/small.txt")
    #expect(try client.response(1).status == 200)
    #expect(client.goAwayCode() == H2Code.noError)
  }

  @Test func givesMemoryOfAnIdleConnectionBackBeforeItEnds() async throws {
    // After a second memory is given back; the connection stays for the rest of its time.
    let door = try await HTTP2Door.start(server: "keepalive_timeout 1300ms;")
    let client = try H2Client(port: door.port(0))
    let watch = Stopwatch()
    try client.request(1, "/small.txt")
    #expect(try client.response(1).status == 200)
    #expect(client.goAwayCode() == H2Code.noError)
    #expect(watch.seconds > 1.29)
  }

  /// As the location says that answers.
  @Test(arguments: ["keepalive_requests 2;", "location = /small.txt { keepalive_requests 2; }"])
  func endsAConnectionAfterKeepaliveRequests(server: String) async throws {
    let door = try await HTTP2Door.start(server: server)
    let client = try H2Client(port: door.port(0))
    try client.request(1, "/small.txt")
    #expect(try client.response(1).status == 200)
    try client.request(3, "/small.txt")
    var seen = (goAway: false, ended: false)
    while let frame = try? client.frame(within: 10) {
      if frame.type == .goAway { seen.goAway = true }
      if frame.stream == 3 && frame.endsStream { seen.ended = true }
    }
    #expect(seen.goAway && seen.ended)
  }

  /// gRPC clients reset a call that is given up before anything of it was sent.
  @Test func finishesWhatIsUnderWayWhenAnIdleStreamIsReset() async throws {
    let gate = Gate()
    let upstream = try TestUpstream { _ in
      gate.wait()
      return .answer(body: "done")
    }
    let door = try await HTTP2Door.start(upstream)
    let client = try H2Client(port: door.port(0))
    try client.request(1, "/app/")
    try waitUntil("the request at the upstream") { upstream.requests.count == 1 }
    try client.send(.reset, stream: 3, payload: [0, 0, 0, 8])
    let goAway = try client.frame { $0.type == .goAway }
    #expect(goAway.code == H2Code.protocolError)
    gate.open()
    #expect(try client.response(1).body == Array("done".utf8))
    #expect(client.goAwayCode() == nil)
    #expect(door.errorLog.contains("client reset a stream that it had not begun"))
  }

  @Test func finishesWhatIsUnderWayWhenItStops() async throws {
    let upstream = try TestUpstream { _ in
      .steps([.pause(seconds: 0.5), .bytes("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")])
    }
    let door = try await HTTP2Door.start(upstream)
    let idle = try H2Client(port: door.port(0))
    try idle.request(1, "/small.txt")
    _ = try idle.response(1)
    let client = try H2Client(port: door.port(0))
    try client.request(1, "/app/")
    try waitUntil("the request at the upstream") { upstream.requests.count == 1 }
    try door.signal(SIGQUIT)
    #expect(idle.goAwayCode() == H2Code.noError)
    let answer = try client.response(1)
    #expect(answer.body == Array("done".utf8))
    #expect(client.goAwayCode() == H2Code.noError)
    #expect(try door.command.wait().code == 0)
  }

  @Test func survivesReloads() async throws {
    let door = try await HTTP2Door.start()
    let client = try H2Client(port: door.port(0))
    try client.request(1, "/small.txt")
    #expect(try client.response(1).status == 200)
    let config = door.site.text("portico.conf").replacingOccurrences(
      of: "return 200 \"$http_cookie|$host|$request_uri\"", with: "return 200 changed")
    #expect(try door.reload(config: config).code == 0)
    try client.request(3, "/fixed")
    #expect(try client.response(3).body == Array("changed".utf8))
  }
}
