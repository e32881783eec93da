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
}
