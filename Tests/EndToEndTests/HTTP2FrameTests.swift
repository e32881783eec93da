// How responses are cut into frames: as large as the client takes, and `http2_chunk_size` wants.

import Foundation
import Testing

@Suite struct HTTP2FrameTests {
  private func start() async throws -> RunningPortico {
    let site = try Site(
      config: """
        http {
          http2 on;
          server {
            listen 127.0.0.1:%%PORT_0%%;
            root %%DIR%%/files;
            large_client_header_buffers 4 32k;
            location /long {
              add_header X-Long "$arg_h$arg_h$arg_h$arg_h";
              add_header X-Rest $arg_h;
              return 200 body;
            }
            location /large { http2_chunk_size 64k; }
          }
        }
        """,
      files: ["files/large": String(repeating: "0123456789", count: 15_000)])
    return try await Portico.start(site)
  }

  /// Connects with windows that hold everything, and frames of `size` bytes.
  private func connect(_ door: RunningPortico, frames size: UInt32) throws -> H2Client {
    let client = try H2Client(port: door.port(0), settings: [(4, 1 << 20), (5, size)])
    try client.send(.windowUpdate, payload: H2Frame.number(1 << 20))
    return client
  }

  /// The frames of the response to `path`.
  private func frames(_ client: H2Client, _ stream: UInt32, _ path: String) throws -> [H2Frame] {
    try client.request(stream, path)
    var frames: [H2Frame] = []
    var isOver = false
    while !isOver {
      let frame = try client.frame { $0.stream == stream }
      isOver = isOver || frame.endsStream && (frame.type == .headers || frame.type == .data)
      frames.append(frame)
    }
    return frames
  }

  private static let longPath = "/long?h=" + String(repeating: "{", count: 12_000)

  @Test(arguments: [16_384, 20_000, 60_000, 131_072])
  func cutsHeadsToTheClientsFrameSize(_ size: Int) async throws {
    let door = try await start()
    let client = try connect(door, frames: UInt32(size))
    for stream in [UInt32(1), 3] {
      let frames = try frames(client, stream, Self.longPath).filter { $0.type != .data }
      let block = frames.reduce(0) { $0 + $1.payload.count }
      #expect(block > 60_000)
      #expect(frames.count == (block + size - 1) / size)
      for (index, frame) in frames.enumerated() {
        #expect(frame.type == (index == 0 ? .headers : .continuation))
        #expect(frame.flags == (index == frames.count - 1 ? H2Frame.endHeaders : 0))
        #expect(frame.payload.count == size || index == frames.count - 1)
      }
      let text = frames.flatMap(\.payload)
      #expect(text.count { $0 == UInt8(ascii: "{") } == 60_000)
    }
  }

  @Test(arguments: [(16_384, 16_384), (40_000, 40_000), (131_072, 65_536)])
  func cutsBodiesToTheSmallerOfChunkAndFrame(_ allowed: Int, _ expected: Int) async throws {
    let door = try await start()
    let client = try connect(door, frames: UInt32(allowed))
    let frames = try frames(client, 1, "/large").filter { $0.type == .data }
    #expect(frames.map(\.payload.count).max() == expected)
    #expect(frames.reduce(0) { $0 + $1.payload.count } == 150_000)
  }

  @Test func followsAClientThatTakesSmallerFramesThanBefore() async throws {
    let door = try await start()
    let client = try connect(door, frames: 131_072)
    #expect(try frames(client, 1, "/large").contains { $0.payload.count == 65_536 })
    try client.raw.send(H2Frame.settings([(5, 16_384)]))
    for (stream, path) in [(UInt32(3), Self.longPath), (5, "/large")] {
      #expect(try frames(client, stream, path).allSatisfy { $0.payload.count <= 16_384 })
    }
  }
}
