// The blocks of an HTTP/2 session that go back to the kernel while nothing is going on.

import CNGHTTP2
import Testing

@testable import Engine

@Suite struct H2SessionMemoryTests {
  /// A server's session with its memory, fed by hand.
  private final class Server {
    let memory = H2SessionMemory()
    private var session: OpaquePointer?

    init() throws {
      var callbacks: OpaquePointer?
      #expect(nghttp2_session_callbacks_new(&callbacks) == 0)
      defer { nghttp2_session_callbacks_del(callbacks) }
      var options: OpaquePointer?
      #expect(nghttp2_option_new(&options) == 0)
      defer { nghttp2_option_del(options) }
      nghttp2_option_set_no_closed_streams(options, 1)
      let result = memory.withAllocator { allocator in
        nghttp2_session_server_new3(&session, callbacks, nil, options, &allocator)
      }
      #expect(result == 0)
      try receive(Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + [0, 0, 0, 4, 0, 0, 0, 0, 0])
      nghttp2_submit_settings(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), nil, 0)
    }

    deinit { nghttp2_session_del(session) }

    func receive(_ bytes: [UInt8]) throws {
      #expect(nghttp2_session_mem_recv(session, bytes, bytes.count) == bytes.count)
    }

    /// A GET of "/" on `stream`.
    func request(_ stream: UInt8) throws {
      let block: [UInt8] = [0x82, 0x84, 0x86, 0x41, 1, 0x61]
      try receive([0, 0, UInt8(block.count), 1, 5, 0, 0, 0, stream] + block)
    }

    /// Ends `stream` with a head alone.
    func answer(_ stream: Int32) {
      #expect(nghttp2_submit_response(session, stream, nil, 0, nil) == 0)
    }

    /// The types of the frames that the session wants to send.
    func sent() -> [UInt8] {
      var types: [UInt8] = []
      var frame: UnsafePointer<UInt8>?
      while nghttp2_session_mem_send(session, &frame) > 0, let frame { types.append(frame[3]) }
      return types
    }
  }

  @Test func holdsTheTwoLargeBlocks() throws {
    let server = try Server()
    // Five pages for the frame, and one for the table where libnghttp2 (before 1.60) begins with
    // it.
    #expect([5, 6].contains(server.memory.usedByteCount / 4096))
    #expect(server.sent() == [4, 4])
    #expect(server.memory.residentPageCount > 0)
  }

  @Test func givesPagesBackAndGoesOn() throws {
    let server = try Server()
    for stream in stride(from: UInt8(1), to: 20, by: 2) {
      try server.request(stream)
      server.answer(Int32(stream))
      #expect(server.sent().last == 1)
      #expect(server.memory.residentPageCount > 0)
      server.memory.trim()
      #expect(server.memory.residentPageCount == 0)
    }
  }

  @Test func keepsWhatOpenStreamsNeed() throws {
    let server = try Server()
    try server.request(1)
    _ = server.sent()
    server.memory.trim()
    let holdsTable = server.memory.usedByteCount == 6 * 4096
    #expect(server.memory.residentPageCount > 0 || !holdsTable)
    server.answer(1)
    #expect(server.sent() == [1])
  }

  @Test func beginsAgain() throws {
    let memory = H2SessionMemory()
    for _ in 0..<3 {
      memory.withAllocator { allocator in
        // A block that ends before the session does is not taken twice.
        let table = allocator.calloc(256, 16, allocator.mem_user_data)
        let frame = allocator.realloc(nil, 16394, allocator.mem_user_data)
        #expect(table != nil && frame != nil && memory.usedByteCount == 6 * 4096)
        table?.storeBytes(of: 1, as: UInt64.self)
        // It grows: a copy, elsewhere.
        let larger = allocator.realloc(frame, 32_000, allocator.mem_user_data)
        #expect(larger != nil && larger != frame)
        allocator.free(table, allocator.mem_user_data)
        allocator.free(larger, allocator.mem_user_data)
        // Nothing else fits: from the heap.
        let other = allocator.malloc(16394, allocator.mem_user_data)
        #expect(other != nil && memory.usedByteCount == 6 * 4096)
        allocator.free(other, allocator.mem_user_data)
      }
      memory.discard()
      #expect(memory.residentPageCount == 0)
    }
  }
}
