// What waits in a stream of HTTP/2: a queue that never runs empty stays small.

import HTTP
import Testing

@testable import Engine

struct H2BodyQueueTests {
  private let pool = BufferPool()

  /// Each frame of a file is a piece in front of the rest of it.
  @Test func doesNotGrowWithTheFramesOfAFile() throws {
    var (queue, output) = (H2BodyQueue(), OutputQueue())
    let frame = Bytes("0123456789")
    let file = try TemporaryFile.make(in: "/tmp")
    let count = 20_000
    for _ in 0..<count { try file.append(frame) }
    queue.append(file, offset: 0, count: count * frame.count)
    for _ in 1..<count {
      guard let ready = queue.prepare(frame.count, pool) else {
        Issue.record("the file ended early")
        return
      }
      queue.move(ready, to: &output, maySlice: false, pool)
      output.removeAll(pool)
    }
    #expect(queue.byteCount == frame.count && queue.memoryCount == 0)
    #expect(queue.pieceRoom <= 16)
    queue.removeAll(&output, pool)
  }

  @Test func doesNotGrowWithWhatWentThroughIt() throws {
    var (queue, output) = (H2BodyQueue(), OutputQueue())
    for _ in 0..<20_000 {
      queue.append(Bytes("0123456789"))
      if queue.byteCount < 400 { continue }
      queue.move(10, to: &output, maySlice: false, pool)
      output.removeAll(pool)
    }
    #expect(queue.byteCount >= 390)
    #expect(queue.pieceRoom <= 256)
    queue.removeAll(&output, pool)
  }
}
