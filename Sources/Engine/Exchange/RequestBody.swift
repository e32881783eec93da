// The body of a request on its way to an upstream: kept whole (memory, then a temporary file) when
// requests are buffered, so that it can be sent again to another server; passed through otherwise.

import HTTP

/// The request body of one exchange.
struct RequestBody {
  enum Phase {
    /// There is none, or nobody asked for it yet.
    case untouched
    /// Being read to its end before it is used.
    case buffering
    /// Complete, in memory or in a file.
    case buffered
    /// Passed on piece by piece.
    case streaming
    /// Part of it went to an upstream, or it was refused: nobody else gets anything of it.
    case spent
  }

  var phase = Phase.untouched
  var framing = BodyFraming.none
  /// Bytes of body read from the client.
  var receivedCount = 0
  var memory: Buffer?
  var file: TemporaryFile?
  /// Other exchanges send it as well.
  var shared: SharedBody?
  /// It is read because copies of the request are to have it.
  var isMirrored = false
  /// Whether the client waits for "100 Continue".
  var expectsContinue = false

  var hasBody: Bool {
    if case .none = framing { return false }
    return true
  }

  /// Bytes that stand ready to be sent, in the file and in memory.
  var bufferedCount: Int { (file?.size ?? 0) + (memory?.count ?? 0) }

  mutating func reset(_ pool: BufferPool) {
    if let shared {
      shared.leave(pool)
      self.shared = nil
      memory = nil
    } else {
      pool.reclaim(&memory)
    }
    isMirrored = false
    if file != nil { file = nil }
    phase = .untouched
    framing = .none
    receivedCount = 0
    expectsContinue = false
  }
}
