// HTTP/2 connections to upstreams across reloads and at the end of the process: streams in flight
// finish, connections go on as long as their server is configured.

import Foundation
import Testing

@Suite struct H2UpstreamReloadTests {
  private func config(_ servers: [H2TestUpstream], _ text: String = "") -> String {
    """
    http {
      upstream app { \(servers.map { "server \($0.address);" }.joined(separator: " ")) }
      server {
        listen 127.0.0.1:%%PORT_0%%;
        add_header X-Text "\(text)";
        location / { proxy_http_version 2; proxy_pass http://app; }
      }
    }
    """
  }

  /// A server whose first answer waits for `gate`.
  private func waiting(for gate: DispatchSemaphore, _ name: String) throws -> H2TestUpstream {
    try H2TestUpstream { request in
      if request.connection == 0 && request.index == 0 { gate.wait() }
      return [.bytes(H2Frame.answer(request.stream, "\(name)\(request.connection)"))]
    }
  }

  private func ask(_ door: RunningPortico, _ server: H2TestUpstream) throws -> RawClient {
    let client = try door.client()
    try client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    try waitUntil("the request to come") { server.requests.count == 1 }
    return client
  }

  @Test func streamsAndConnectionsOutliveAReload() async throws {
    let gate = DispatchSemaphore(value: 0)
    let server = try waiting(for: gate, "a")
    let door = try await Portico.start(config: config([server]))
    let early = try ask(door, server)
    #expect(try door.reload(config: config([server], "new")).code == 0)
    let late = try door.client()
    try late.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    gate.signal()
    let old = try early.response()
    #expect(old.text == "a0" && old["x-text"] == nil)
    let new = try late.response()
    #expect(new.text == "a0" && new["x-text"] == "new")
    #expect(server.endedConnections.isEmpty)
  }

  @Test func noRequestFailsThoughPlansComeAndGo() async throws {
    let server = try H2TestUpstream { [.bytes(H2Frame.answer($0.stream, "ok"))] }
    let door = try await Portico.start(config: config([server]))
    let load = Load(door, clients: 4, keepAlive: true)
    for index in 0..<5 {
      let seen = server.requests.count
      try waitUntil("requests between reloads") { server.requests.count > seen + 20 }
      #expect(try door.reload(config: config([server], "\(index)")).code == 0)
    }
    let (count, failures) = try load.stop()
    #expect(count > 100)
    #expect(failures == [])
    try door.stop()
  }

  @Test func aServerThatLeftIsPartedFromWithItsLastStream() async throws {
    let gate = DispatchSemaphore(value: 0)
    let old = try waiting(for: gate, "a")
    let new = try H2TestUpstream { [.bytes(H2Frame.answer($0.stream, "b\($0.connection)"))] }
    let door = try await Portico.start(config: config([old]))
    let client = try ask(door, old)
    #expect(try door.reload(config: config([new])).code == 0)
    #expect(try door.get().text == "b0")
    #expect(old.endedConnections.isEmpty)
    gate.signal()
    #expect(try client.response().text == "a0")
    try waitUntil("the connection to end") { old.endedConnections == [0] }
    // One that nobody uses ends with the reload.
    let next = try H2TestUpstream { [.bytes(H2Frame.answer($0.stream, "c"))] }
    #expect(try door.reload(config: config([next])).code == 0)
    try waitUntil("the connection to end") { new.endedConnections == [0] }
    #expect(try door.get().text == "c")
    try door.stop()
  }

  @Test func aGracefulEndWaitsForStreams() async throws {
    let gate = DispatchSemaphore(value: 0)
    let server = try waiting(for: gate, "a")
    let door = try await Portico.start(config: config([server]))
    let client = try ask(door, server)
    try door.signal(SIGQUIT)
    try waitUntil("the port to be closed") { (try? door.client()) == nil }
    #expect(server.endedConnections.isEmpty)
    gate.signal()
    let answer = try client.response()
    #expect(answer.text == "a0" && answer["connection"] == "close")
    try waitUntil("the connection to end") { server.endedConnections == [0] }
    #expect(try door.stop() == 0)
  }
}
