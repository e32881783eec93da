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

  private enum Body: CaseIterable { case buffer, bytes, file }

  /// A head and what follows it leave in one TLS record, wherever that is.
  @Test(arguments: Body.allCases)
  private func sendsAHeadAndItsBodyInOneRecord(_ kind: Body) throws {
    let (pair, pool) = (try connected(), BufferPool())
    var queue = OutputQueue()
    addHead(to: &queue, pool)
    switch kind {
    case .buffer:
      let body = pool.take(.small)
      body.append(Bytes("body"))
      queue.append(body)
    case .bytes: queue.append(Bytes("body"))
    case .file:
      let file = try file(holding: Bytes("a body of a file"))
      queue.append(file, offset: 2, count: 4)
    }
    var transport = transport(of: pair)
    guard case .bytes = queue.flush(&transport, pool) else {
      Issue.record("the queue was not sent")
      return
    }
    #expect(queue.isEmpty && queue.memoryCount == 0)
    // A read gives one record.
    #expect(pair.server.receive() == .text("head body"))
  }

  /// Files that don't fit behind their head in its buffer, or in a record, arrive whole.
  @Test(arguments: [4_091, 4_092, 16_379, 16_380, 300_000])
  func sendsLongFilesWhole(count: Int) throws {
    let (pair, pool) = (try connected(), BufferPool())
    var queue = OutputQueue()
    let content = (0..<count).map { UInt8(truncatingIfNeeded: $0 % 251) }
    addHead(to: &queue, pool)
    queue.append(try content.withBytes { try file(holding: $0) }, offset: 0, count: count)
    var got: [UInt8] = []
    // Bound: each turn sends or receives something.
    for _ in 0..<10_000 where got.count < count + 5 {
      // What epoll would say of a peer that reads.
      var transport = transport(of: pair)
      if case .failed(let error) = queue.flush(&transport, pool) { throw error }
      var piece = [UInt8](repeating: 0, count: 64 << 10)
      pair.server.socketBecameReadable()
      let result = unsafe piece.withUnsafeMutableBytes { unsafe pair.server.read(into: $0) }
      if case .bytes(let read) = result { got += piece.prefix(read) }
    }
    #expect(Array("head ".utf8) + content == got)
    #expect(queue.isEmpty && queue.memoryCount == 0)
  }

  /// The head of a file that is shorter than it was is sent all the same: what is missing is told
  /// when it is missed.
  @Test func sendsTheHeadOfATruncatedFile() throws {
    let (pair, pool) = (try connected(), BufferPool())
    var queue = OutputQueue()
    addHead(to: &queue, pool)
    queue.append(try file(holding: Bytes()), offset: 0, count: 4)
    var transport = transport(of: pair)
    guard case .end = queue.flush(&transport, pool) else {
      Issue.record("nobody missed the file")
      return
    }
    #expect(pair.server.receive() == .text("head "))
    queue.removeAll(pool)
  }

  private func connected() throws -> TLSPair {
    let library = TLSLibrary()
    let policy = TLSServerPolicy(certificates: [TestPKI.one.source()])
    let pair = TLSPair(
      try TLSServerContext(policy: policy, library: library, ticketKeys: TLSTicketKeys()),
      try TLSClientContext(library: library, options: TLSClientOptions()))
    pair.connect()
    return pair
  }

  private func addHead(to queue: inout OutputQueue, _ pool: BufferPool) {
    let head = pool.take(.small)
    head.append(Bytes("head "))
    queue.append(head)
  }

  private func file(holding bytes: Bytes) throws -> TemporaryFile {
    let file = try TemporaryFile.make(in: "/tmp")
    try file.append(bytes)
    return file
  }

  private func transport(of pair: TLSPair) -> Transport {
    var transport = Transport()
    transport.open(pair.sockets.client, readable: false, writable: true)
    transport.start(pair.client)
    return transport
  }

  /// Free buffers are kept up to a bound; the worker has to know what is beyond it.
  @Test func aPoolCountsWhatItDoesNotKeep() {
    let pool = BufferPool()
    var taken = (0..<100).map { _ in pool.take(.large) }
    while let buffer = taken.popLast() { pool.giveBack(buffer) }
    #expect(pool.freedByteCount == 36 * BufferPool.Size.large.byteCount)
    pool.giveBack(pool.take(atLeast: 1 << 20))
    #expect(pool.freedByteCount == 36 * BufferPool.Size.large.byteCount + (1 << 20))
  }
}
