// A listening socket as one worker sees it, and how many connections it takes from it at a time.

/// A listening socket of one worker.
final class AcceptingSocket {
  let fd: Int32
  /// nil: the socket is given up.
  var listen: ListenPlan?
  var isOpen = true
  var batch = AcceptBatch()

  init(fd: Int32, listen: ListenPlan) {
    self.fd = fd
    self.listen = listen
    // Connections take it over from the socket that accepts them.
    if !listen.settings.address.isUnix { Socket.setNoDelay(fd) }
  }
}

/// How many connections to accept at an event: one, and twice as many each time that the turn of
/// the loop before had such an event too. Who comes alone shall not cost a second accept4(2) that
/// finds nobody; a crowd is let in by batches.
struct AcceptBatch {
  private var count = 1
  private var lastTurn = 0

  // Bound: so that accepting doesn't starve connections that are open.
  private static let limit = 8
  private static let limitOfMany = 64

  /// The number for an event in the given turn of the loop; `many`: `multi_accept` is on.
  mutating func next(turn: Int, many: Bool) -> Int {
    defer { lastTurn = turn }
    if many { return Self.limitOfMany }
    count = turn == lastTurn + 1 ? min(2 * count, Self.limit) : 1
    return count
  }
}
