// The blocks of an HTTP/2 session that go back to the kernel while nothing is going on.

import CNGHTTP2
import Testing

@testable import Engine

@Suite struct H2SessionMemoryTests {
  /// A server's session with its memory, fed by hand.
  private final class Server {
    let memory = H2SessionMemory()
    private var made: OpaquePointer?

    private var session: OpaquePointer? {
      memory.unfold()
      return made
    }

    init() throws {
      var callbacks: OpaquePointer?
      #expect(nghttp2_session_callbacks_new(&callbacks) == 0)
      defer { nghttp2_session_callbacks_del(callbacks) }
      var options: OpaquePointer?
      #expect(nghttp2_option_new(&options) == 0)
      defer { nghttp2_option_del(options) }
      nghttp2_option_set_no_closed_streams(options, 1)
      let result = memory.withAllocator { allocator in
        nghttp2_session_server_new3(&made, callbacks, nil, options, &allocator)
      }
      #expect(result == 0)
      try receive(Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + [0, 0, 0, 4, 0, 0, 0, 0, 0])
      nghttp2_submit_settings(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), nil, 0)
    }

    deinit { nghttp2_session_del(session) }

    func receive(_ bytes: [UInt8]) throws {
      #expect(nghttp2_session_mem_recv(session, bytes, bytes.count) == bytes.count)
    }

    /// A GET of "/" on `stream`; its authority comes from the table of fields, but for the first.
    func request(_ stream: UInt8) throws {
      let authority: [UInt8] = stream == 1 ? [0x41, 1, 0x61] : [0xbe]
      let block = [0x82, 0x84, 0x86] + authority
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

  @Test func holdsTheLargeBlocks() throws {
    let server = try Server()
    // The session and two rings; before 1.60, the table of streams too.
    #expect((4 << 10...12 << 10).contains(server.memory.usedByteCount))
    #expect(server.sent() == [4, 4])
    #expect(server.memory.residentPageCount > 0)
  }

  @Test func foldsAndGoesOn() throws {
    let server = try Server()
    for stream in stride(from: UInt8(1), to: 20, by: 2) {
      try server.request(stream)
      server.answer(Int32(stream))
      #expect(server.sent().last == 1)
      #expect(server.memory.residentPageCount > 0)
      server.memory.fold()
      #expect(server.memory.residentPageCount == 0)
      #expect(server.memory.isFolded)
    }
  }

  @Test func keepsOpenStreams() throws {
    let server = try Server()
    try server.request(1)
    _ = server.sent()
    server.memory.fold()
    #expect(server.memory.residentPageCount == 0)
    server.answer(1)
    #expect(server.sent() == [1])
  }

  @Test func endsWhileItIsFolded() throws {
    let server = try Server()
    _ = server.sent()
    server.memory.fold()
    server.memory.fold()
    #expect(server.memory.isFolded)
  }

  @Test func beginsAgain() throws {
    let memory = H2SessionMemory()
    for _ in 0..<3 {
      memory.withAllocator { allocator in
        // A block that ends before the session does is not taken twice.
        let table = allocator.calloc(256, 16, allocator.mem_user_data)
        let frame = allocator.realloc(nil, 16394, allocator.mem_user_data)
        let used = memory.usedByteCount
        #expect(table != nil && frame != nil && used > 4096)
        table?.storeBytes(of: 1, as: UInt64.self)
        // It grows: a copy, elsewhere.
        let larger = allocator.realloc(table, 32_000, allocator.mem_user_data)
        #expect(larger != nil && larger != table && larger?.load(as: UInt64.self) == 1)
        allocator.free(frame, allocator.mem_user_data)
        allocator.free(larger, allocator.mem_user_data)
        // Nothing else fits, and small ones don't belong there: from the heap.
        for size in [16394, 32, 9000] {
          let other = allocator.malloc(size, allocator.mem_user_data)
          #expect(other != nil && memory.usedByteCount == used)
          allocator.free(other, allocator.mem_user_data)
        }
      }
      memory.discard()
      #expect(memory.residentPageCount == 0)
    }
  }
}
