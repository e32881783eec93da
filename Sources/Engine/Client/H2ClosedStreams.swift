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

  /// A stream that is closed.
  private struct Entry {
    var id: Int32
    /// How much of a body of announced length is still to come; -1: it had none.
    var owed: Int32 = -1
    /// How much the client would have let us send.
    var window: Int32 = 0
  }

  /// The streams that were noted last.
  private struct Ring {
    // Bound: how many are remembered.
    private static let capacity = 128

    private var entries: [Entry] = []
    private var next = 0

    var isFull: Bool { entries.count == Self.capacity }

    func index(of id: Int32) -> Int? { entries.firstIndex { $0.id == id } }

    subscript(index: Int) -> Entry {
      get { entries[index] }
      set { entries[index] = newValue }
    }

    mutating func note(_ entry: Entry) {
      if !isFull { return entries.append(entry) }
      entries[next] = entry
      next = (next + 1) % Self.capacity
    }

    mutating func reset() {
      entries.removeAll(keepingCapacity: true)
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

  /// The stream `id` has ended by itself, or the client ended it.
  mutating func noteEnded(_ id: Int32) { ended.note(Entry(id: id)) }

  /// We reset the stream `id`, and the client may not know yet. `owed` is how much of a body of
  /// announced length is still to come, `window` how much the client would have let us send.
  mutating func noteReset(_ id: Int32, owed: Int?, window: Int32) {
    let owed = owed.flatMap { Int32(exactly: $0) } ?? -1
    resetByUs.note(Entry(id: id, owed: owed, window: window))
  }

  /// The client reset `id`, which we may have reset before: after that it sends nothing more on it.
  mutating func noteResetByClient(_ id: Int32) {
    guard let index = resetByUs.index(of: id) else { return }
    resetByUs[index].id = 0
    noteEnded(id)
  }

  /// Takes a piece of a body that came late; false if body and announced length can't agree.
  mutating func takeLate(_ id: Int32, _ count: Int, isLast: Bool) -> Bool {
    guard let index = resetByUs.index(of: id), resetByUs[index].owed >= 0 else { return true }
    let left = Int(resetByUs[index].owed) - count
    resetByUs[index].owed = left < 0 ? -1 : Int32(left)
    return isLast ? left == 0 : left >= 0
  }

  /// Takes a window update that came late; false if it makes the window larger than there are
  /// (RFC 9113 §6.9.1).
  mutating func widenLate(_ id: Int32, _ increment: Int32) -> Bool {
    guard let index = resetByUs.index(of: id) else { return true }
    let (window, isTooLarge) = resetByUs[index].window.addingReportingOverflow(increment)
    resetByUs[index].window = isTooLarge ? .max : window
    return !isTooLarge
  }

  /// Judges a frame for the stream `id`, which isn't open; nil if it is a new one.
  func judge(_ id: Int32) -> Verdict? {
    if id > last { return nil }
    if resetByUs.index(of: id) != nil { return .late }
    // What was forgotten had ended.
    return ended.index(of: id) != nil || ended.isFull || resetByUs.isFull ? .closed : .skipped
  }
}
