// Request bodies that share an HTTP/2 connection to an upstream whose windows open only as somebody
// reads what came: one that nobody reads holds up no other.

import Foundation
import Testing

@Suite struct H2UpstreamSharingTests {
  private static let app = "upstream app { server %%H2_0%%; }"

  /// How much of a body came.
  private static func bodyCount(_ upstream: H2TestUpstream, _ stream: UInt32) -> Int {
    upstream.received.reduce(0) {
      $0 + ($1.kind == H2Frame.Kind.data.rawValue && $1.stream == stream ? $1.payload.count : 0)
    }
  }

  private static func post(_ count: Int, to client: RawClient) throws {
    try client.send(
      "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: \(count)\r\n\r\n"
        + String(repeating: "x", count: count))
  }

  /// The window of the connection is used up: bodies go by another one, all else doesn't mind.
  @Test func bodiesGoAroundOneThatNobodyReads() async throws {
    let upstream = try H2TestUpstream { [.bytes(H2Frame.answer($0.stream, "\($0.connection)"))] }
    let door = try await H2UpstreamDoor.start(
      [upstream], "location / { proxy_pass http://app; }", http: Self.app)
    let stalled = try door.client()
    try Self.post(100_000, to: stalled)
    try waitUntil("the window to be used up") { Self.bodyCount(upstream, 1) == 65_535 }
    for _ in 0..<3 {
      let client = try door.client()
      try Self.post(10, to: client)
      #expect(try client.response().text == "1")
    }
    #expect(try door.get("/").text == "0")
  }

  /// Who shares the connection already has something left of the window, and nothing is wasted when
  /// that is over.
  @Test(arguments: [true, false])
  func aBodyThatNobodyReadsLeavesRoomToOneUnderWay(isRead: Bool) async throws {
    let upstream = try H2TestUpstream { request in
      var bytes = H2Frame.answer(request.stream, "\(request.body.count)")
      if request.stream == 1 && isRead {
        for stream in [0, 3] as [UInt32] {
          bytes += H2Frame(.windowUpdate, stream: stream, H2Frame.number(100_000)).bytes
        }
      }
      return [.bytes(bytes)]
    }
    let door = try await H2UpstreamDoor.start(
      [upstream], "location / { proxy_pass http://app; proxy_request_buffering off; }",
      http: Self.app)
    let early = try door.client()
    try early.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3000\r\n\r\nfirst")
    try waitUntil("the first bytes to come") { Self.bodyCount(upstream, 1) == 5 }
    let large = try door.client()
    try Self.post(100_000, to: large)
    try waitUntil("the share to be used up") { Self.bodyCount(upstream, 3) >= 40_000 }
    // Others go by another connection: they would meet the same.
    let other = try door.client()
    try Self.post(10, to: other)
    #expect(try other.response().text == "10")
    #expect(upstream.requests.map(\.connection) == [1])
    try early.send(String(repeating: "y", count: 2995))
    #expect(try early.response().text == "3000")
    if isRead {
      #expect(try large.response().text == "100000")
    } else {
      try waitUntil("the rest of the window") { Self.bodyCount(upstream, 3) == 62_535 }
    }
  }

  /// Go answers each piece that a handler reads by two WINDOW_UPDATEs: a large body and a small
  /// buffer are no flood.
  @Test func windowsMayBeGivenBackInSmallPieces() async throws {
    let upstream = try H2TestUpstream(windowPiece: 64) {
      [.bytes(H2Frame.answer($0.stream, "\($0.body.count)"))]
    }
    let door = try await H2UpstreamDoor.start(
      [upstream], "location / { proxy_pass http://app; client_max_body_size 0; }", http: Self.app)
    let client = try door.client()
    for _ in 0..<2 {
      try Self.post(400_000, to: client)
      #expect(try client.response().text == "400000", "\(door.errorLog)")
    }
    #expect(upstream.requests.map(\.connection) == [0, 0])
  }
}
