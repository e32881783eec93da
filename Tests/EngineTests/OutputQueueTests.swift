// What waits to be sent: a queue that never runs empty stays small.

import HTTP
import Testing

@testable import Engine

struct OutputQueueTests {
  @Test func doesNotGrowWithWhatWentThroughIt() {
    let pool = BufferPool()
    var queue = OutputQueue()
    for _ in 0..<20_000 {
      queue.append(Bytes("0123456789"))
      if queue.byteCount < 400 { continue }
      // A reader that takes a little at a time: something always waits.
      _ = queue.takeFirst(10, pool)
    }
    #expect(queue.byteCount >= 390)
    #expect(queue.segmentRoom <= 256)
  }

  @Test func givesPiecesOutInOrder() {
    let pool = BufferPool()
    var queue = OutputQueue()
    let buffer = pool.take(.small)
    buffer.append(Bytes("abcdef"))
    queue.append(buffer)
    queue.append(Bytes("ghij"))
    var text = ""
    for limit in [4, 4, 1, 9] {
      switch queue.takeFirst(limit, pool) {
      case .buffer(let piece): text += piece.unread.string + "|"
      case .bytes(let bytes): text += bytes.string + "|"
      default: text += "?"
      }
    }
    #expect(text == "abcd|ef|g|hij|")
    #expect(queue.isEmpty && queue.memoryCount == 0)
    let rest = queue.takeFirst(1, pool)
    #expect(rest == nil)
  }

  /// A head and what follows it leave in one TLS record, in a buffer or not.
  @Test(arguments: [true, false])
  func sendsAHeadAndItsBodyInOneRecord(isBuffer: Bool) throws {
    let library = TLSLibrary()
    let policy = TLSServerPolicy(certificates: [TestPKI.one.source()])
    let pair = TLSPair(
      try TLSServerContext(policy: policy, library: library, ticketKeys: TLSTicketKeys()),
      try TLSClientContext(library: library, options: TLSClientOptions()))
    pair.connect()
    let pool = BufferPool()
    var queue = OutputQueue()
    let head = pool.take(.small)
    head.append(Bytes("head "))
    queue.append(head)
    if isBuffer {
      let body = pool.take(.small)
      body.append(Bytes("body"))
      queue.append(body)
    } else {
      queue.append(Bytes("body"))
    }
    var transport = Transport()
    transport.open(pair.sockets.client, readable: false, writable: true)
    transport.start(pair.client)
    guard case .bytes = queue.flush(&transport, pool) else {
      Issue.record("the queue was not sent")
      return
    }
    #expect(queue.isEmpty && queue.memoryCount == 0)
    // A read gives one record.
    #expect(pair.server.receive() == .text("head body"))
  }
}
