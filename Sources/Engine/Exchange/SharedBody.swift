// A request body that several exchanges send: the client's own and those that mirror it. Nobody
// changes it any more, so there is one copy, which goes when the last of them is through.

import HTTP

/// The users of one complete body.
final class SharedBody {
  private let memory: Buffer?
  private var userCount = 1

  /// The body of one user so far; `memory` is what goes back to the pool.
  init(_ memory: Buffer?) { self.memory = memory }

  /// Another exchange uses it.
  func join() { userCount += 1 }

  /// A user is through.
  func leave(_ pool: BufferPool) {
    userCount -= 1
    if userCount == 0, let memory { pool.giveBack(memory) }
  }
}

extension RequestBody {
  /// This body for another exchange; none if it isn't there as a whole.
  mutating func forAnother() -> RequestBody {
    guard phase == .buffered else { return RequestBody() }
    let shared = self.shared ?? SharedBody(memory)
    self.shared = shared
    shared.join()
    var copy = self
    copy.expectsContinue = false
    return copy
  }
}
