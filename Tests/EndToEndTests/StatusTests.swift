// stub_status: what all threads have counted.

import Foundation
import Testing

/// The numbers of a status page, by their words.
private struct Status: Equatable {
  var active = 0, accepts = 0, handled = 0, requests = 0, reading = 0, writing = 0, waiting = 0

  init(_ text: String) {
    let numbers = text.split { !$0.isNumber }.compactMap { Int($0) }
    guard numbers.count == 7 else { return }
    (active, accepts, handled, requests) = (numbers[0], numbers[1], numbers[2], numbers[3])
    (reading, writing, waiting) = (numbers[4], numbers[5], numbers[6])
  }
}

@Suite struct StatusTests {
  private static let config = """
    worker_processes 4;
    http {
      server {
        listen 127.0.0.1:%%PORT_0%% reuseport; http2 on; root %%DIR%%/www; access_log off;
        location / { }
        location /status { stub_status;
          location /status/inside { alias %%DIR%%/www/index.html; }
        }
        location /ages { auth_basic x; auth_basic_user_file users; auth_delay 1h; }
        location /vars {
          set $some "$connections_active $connections_reading";
          return 200 "$some $connections_writing $connections_waiting";
        }
      }
    }
    """

  private func start() async throws -> RunningPortico {
    try await Portico.start(config: Self.config, files: ["www/index.html": "i", "users": "a:b"])
  }

  private func status(_ door: RunningPortico) throws -> Status {
    Status(try door.get("/status").text)
  }

  @Test func countsWhatConnectionsDo() async throws {
    let door = try await start()
    let page = try door.get("/status")
    #expect(page["Content-Type"] == "text/plain")
    #expect(
      page.text.hasPrefix("Active connections: 1 \nserver accepts handled requests\n 1 1 1 \n"))
    #expect(page.text.hasSuffix("\nReading: 0 Writing: 1 Waiting: 0 \n"))
    #expect(try door.get("/status", method: "POST").status == 405)
    #expect(try door.get("/status", method: "HEAD").body.isEmpty)
    #expect(try door.get("/status/inside").text == "i")
    // Some that say nothing, some in the middle of a head, some that wait for an answer.
    let idle = try (0..<20).map { _ in try door.client() }
    let reading = try (0..<15).map { _ in try door.client() }
    for client in reading { try client.send("GET / HT") }
    let writing = try (0..<10).map { _ in try door.client() }
    for client in writing { try client.send("GET /ages HTTP/1.1\r\nHost: a\r\n\r\n") }
    let http2 = try H2Client(port: door.port())
    for stream in [1, 3, 5] as [UInt32] { try http2.request(stream, "/ages") }
    try waitUntil("all to be seen") {
      let now = try status(door)
      return now.active == 47 && now.reading == 15 && now.writing == 14 && now.waiting == 20
    }
    try waitUntil("the variables") { try door.get("/vars").text == "47 15 14 20" }
    try http2.send(.reset, stream: 1, payload: [0, 0, 0, 8])
    withExtendedLifetime((idle, reading, writing, http2)) {}
  }

  @Test func nothingIsLeftOfWhatIsOver() async throws {
    let door = try await start()
    for round in 0..<10 {
      let clients = try (0..<20).map { _ in try door.client() }
      for (index, client) in clients.enumerated() {
        switch index % 5 {
        case 0: break
        case 1: try client.send("GET / HT")
        case 2: try client.send("GET /ages HTTP/1.1\r\nHost: a\r\n\r\n")
        case 3: try client.send("GET / BAD\r\n\r\n")
        default:
          try client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
          #expect(try client.response().status == 200)
        }
        if round % 2 == 0 { client.reset() }
      }
      let http2 = try H2Client(port: door.port())
      for stream in [1, 3, 5] as [UInt32] { try http2.request(stream, "/ages") }
      if round % 2 == 0 { try http2.send(.reset, stream: 3, payload: [0, 0, 0, 8]) }
    }
    try waitUntil("all to be gone") {
      let now = try status(door)
      return now.active == 1 && now.reading == 0 && now.writing == 1 && now.waiting == 0
    }
    let now = try status(door)
    #expect(now.accepts == now.handled && now.accepts >= 210)
    // A reload starts nothing anew, fewer threads neither.
    let fewer = Self.config.replacingOccurrences(
      of: "worker_processes 4", with: "worker_processes 1")
    #expect(try door.reload(config: fewer).code == 0)
    #expect(try status(door).accepts > now.accepts)
    try door.stop()
  }
}
