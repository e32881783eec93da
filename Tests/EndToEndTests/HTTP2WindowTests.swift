// What of request bodies waits here when nobody takes them: no more than windows allow, and none of
// it in the way of others.

import Foundation
import Testing

@Suite struct HTTP2WindowTests {
  /// A door with a location that streams bodies to `upstream`, which takes nothing of them.
  private func start(_ upstream: RawServer) async throws -> RunningPortico {
    try await Portico.start(
      config: """
        http {
          http2 on;
          server {
            listen 127.0.0.1:%%PORT_0%%;
            location /fixed { return 200 fine; }
            location /app/ { proxy_pass http://%%UPSTREAM_0%%; }
            location /stream/ {
              proxy_pass http://\(upstream.address);
              proxy_request_buffering off; client_max_body_size 0;
            }
          }
        }
        """, upstreams: [try TestUpstream { _ in .answer(body: "app") }])
  }

  /// Sends all of `count` bodies that may be sent, until the windows stay shut. Returns what is left
  /// of the connection's.
  private func fillWindows(_ client: H2Client, streams count: UInt32) throws -> Int {
    let streams = (0..<count).map { 2 * $0 + 1 }
    var windows = [UInt32(0): 65_535]
    for stream in streams {
      windows[stream] = 65_535
      try client.request(stream, "/stream/", method: "POST", ends: false)
    }
    while true {
      for stream in streams {
        while let count = [16_384, windows[stream] ?? 0, windows[0] ?? 0].min(), count > 0 {
          let payload = [UInt8](repeating: 0x78, count: count)
          try client.send(.data, stream: stream, payload: payload)
          windows[stream]? -= count
          windows[0]? -= count
        }
      }
      guard let frame = try? client.frame(within: 1, where: { $0.type == .windowUpdate })
      else { break }
      windows[frame.stream]? += frame.payload.reduce(0) { $0 << 8 | Int($1) }
    }
    return windows[0] ?? 0
  }

  /// Bodies that wait for an upstream which takes nothing: as much as windows allow.
  @Test func holdsLittleOfBodiesThatNobodyTakes() async throws {
    let upstream = RawServer(receiveRoom: 16 << 10)
    let door = try await start(upstream)
    let before = try residentKilobytes(door.workerPid)
    let client = try H2Client(port: door.port(0))
    _ = try fillWindows(client, streams: 128)
    #expect(try residentKilobytes(door.workerPid) - before < 16 << 10)
    let bystander = try H2Client(port: door.port(0))
    try bystander.request(1, "/fixed")
    #expect(try bystander.response(1).status == 200)
  }

  /// A service that takes nothing holds up nobody else on the connection.
  @Test func bodiesThatNobodyTakesLeaveRoomForOthers() async throws {
    let upstream = RawServer(receiveRoom: 16 << 10)
    let door = try await start(upstream)
    let client = try H2Client(port: door.port(0))
    #expect(try fillWindows(client, streams: 40) > 65_536)
    try client.request(81, "/app/", method: "POST", ends: false)
    let body = [UInt8](repeating: 0x78, count: 10_000)
    try client.send(.data, flags: H2Frame.endStream, stream: 81, payload: body)
    #expect(try client.response(81).status == 200)
  }

  /// Go's clients give both windows back for each 4 KiB that they read, and others for less.
  @Test func aDownloadMayBeReadInSmallPieces() async throws {
    let site = try Site(
      config: "http { server { listen 127.0.0.1:%%PORT_0%%; http2 on; root %%DIR%%; } }",
      files: ["large": String(repeating: "x", count: 4 << 20)])
    let door = try await Portico.start(site)
    let client = try H2Client(port: door.port())
    try client.request(1, "/large")
    var count = 0
    while count < 4 << 20 {
      let frame = try client.frame { $0.type == .data || $0.type == .goAway || $0.type == .reset }
      try #require(frame.type == .data, "after \(count) bytes")
      count += frame.payload.count
      for start in stride(from: 0, to: frame.payload.count, by: 512) {
        let piece = H2Frame.number(UInt32(min(512, frame.payload.count - start)))
        try client.send(.windowUpdate, stream: 1, payload: piece)
        try client.send(.windowUpdate, payload: piece)
      }
    }
    try door.stop()
  }
}
