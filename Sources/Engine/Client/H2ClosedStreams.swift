// Which streams of a connection ended lately, and by whom: what a frame for a stream that is gone
// means depends on that (RFC 9113 §5.1). libnghttp2 could keep closed streams itself, at the price
// of their memory, and lets most such frames pass.

/// The streams of one connection that are closed, as far as frames for them are to be judged.
struct H2ClosedStreams {
  /// What a frame that begins or continues a request on a stream that doesn't exist is.
  enum Verdict {
    /// On its way when we reset the stream: to be ignored.
    case late
    /// The client had ended that stream: a connection error of type STREAM_CLOSED.
    case closed
    /// The client had passed that number over: a connection error of type PROTOCOL_ERROR (§5.1.1).
    case skipped
  }

  /// The streams that were noted last.
  private struct Ring {
    // Bound: how many are remembered.
    private static let capacity = 128

    private var ids: [Int32] = []
    private var next = 0

    var isFull: Bool { ids.count == Self.capacity }

    func contains(_ id: Int32) -> Bool { ids.contains(id) }

    mutating func note(_ id: Int32) {
      if !isFull { return ids.append(id) }
      ids[next] = id
      next = (next + 1) % Self.capacity
    }

    mutating func reset() {
      ids.removeAll(keepingCapacity: true)
      next = 0
    }
  }

  /// Those that ended by themselves.
  private var ended = Ring()
  /// Those that we reset, apart: other requests may come and go while a client that sends slowly
  /// finds out.
  private var resetByUs = Ring()
  /// The highest number of a stream that the client opened.
  private(set) var last: Int32 = 0

  mutating func reset() {
    ended.reset()
    resetByUs.reset()
    last = 0
  }

  mutating func noteOpened(_ id: Int32) { last = max(last, id) }

  /// `byUs`: we reset it, and the client may not know yet.
  mutating func noteClosed(_ id: Int32, byUs: Bool) {
    if byUs { resetByUs.note(id) } else { ended.note(id) }
  }

  /// Judges a frame for the stream `id`, which isn't open; nil if it is a new one.
  func judge(_ id: Int32) -> Verdict? {
    if id > last { return nil }
    if resetByUs.contains(id) { return .late }
    // What was forgotten had ended.
    return ended.contains(id) || ended.isFull || resetByUs.isFull ? .closed : .skipped
  }
}
