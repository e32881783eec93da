// Replacing strings in a body: `sub_filter`
// (https://nginx.org/en/docs/http/ngx_http_sub_module.html).
//
//   window:  | decided | may begin a match | free |
//
// The first place where a string matches counts, and of those that match there the one that the
// configuration names first. What may be the beginning of a match waits in the window for the bytes
// behind it; nothing else does.

import HTTP

/// Replaces strings, ASCII letters compared without case.
final class SubstituteStage: BodyStage {
  /// A string to look for and what comes in its place. Bytes live until the exchange finishes.
  struct Pair: BitwiseCopyable {
    let pattern: Bytes
    let replacement: Bytes
    /// Whether it is still looked for.
    var isActive = true
  }

  private var pairs: [Pair]
  private let isOnce: Bool
  private var window: Buffer
  /// Which bytes begin an active pattern.
  private var begins = [Bool](repeating: false, count: 256)
  /// Bytes at the window's beginning that go out as they are.
  private var decidedCount = 0
  /// The pair that matches behind them.
  private var match: Int?
  /// What is left of a replacement to be written.
  private var replacement = Bytes()

  /// - Parameters:
  ///   - pairs: no pattern is empty.
  ///   - isOnce: each pattern is replaced the first time only.
  init(_ pairs: [Pair], isOnce: Bool, _ pool: BufferPool) {
    self.pairs = pairs
    self.isOnce = isOnce
    let longest = pairs.map(\.pattern.count).max() ?? 0
    window = pool.take(atLeast: max(BufferPool.Size.medium.byteCount, 2 * longest))
    super.init()
    noteBeginnings()
  }

  private func noteBeginnings() {
    for index in begins.indices { begins[index] = false }
    for pair in pairs where pair.isActive {
      let first = ASCII.lowercased(pair.pattern[0])
      begins[Int(first)] = true
      if first >= 0x61 && first <= 0x7A { begins[Int(first) - 0x20] = true }
    }
  }

  override func run(_ input: inout Bytes, into output: Buffer, _ goal: Goal) -> Outcome {
    while true {
      guard writeReplacement(output), writeDecided(output) else { return .needsRoom }
      if let match {
        replace(match)
        continue
      }
      fill(&input)
      scan(isEnd: goal == .end && input.isEmpty)
      if decidedCount == 0 && match == nil { return .done }
    }
  }

  override func release(_ core: WorkerCore) {
    core.loop.pool.giveBack(window)
    window = Buffer(capacity: 0)
    (decidedCount, match) = (0, nil)
  }

  /// False: there was no room for all of it.
  private func writeReplacement(_ output: Buffer) -> Bool {
    let count = min(replacement.count, output.room)
    output.append(replacement.prefix(count))
    replacement = replacement.dropping(count)
    return replacement.isEmpty
  }

  private func writeDecided(_ output: Buffer) -> Bool {
    let count = min(decidedCount, output.room)
    output.append(window.unread.prefix(count))
    window.consume(count)
    decidedCount -= count
    return decidedCount == 0
  }

  private func replace(_ index: Int) {
    match = nil
    window.consume(pairs[index].pattern.count)
    replacement = pairs[index].replacement
    if isOnce {
      pairs[index].isActive = false
      noteBeginnings()
    }
  }

  private func fill(_ input: inout Bytes) {
    // A match may be as short as a byte: no more is moved than was used up before. What is more
    // than half a window is longer than any pattern, so that something of it gets decided.
    if window.room < input.count && window.count <= window.capacity / 2 { window.compact() }
    let count = min(input.count, window.room)
    window.append(input.prefix(count))
    input = input.dropping(count)
  }

  /// Looks for the first match, or the first place where one may begin.
  private func scan(isEnd: Bool) {
    let bytes = window.unread
    for position in 0..<bytes.count where begins[Int(bytes[position])] {
      let rest = bytes.dropping(position)
      for (index, pair) in pairs.enumerated() where pair.isActive {
        let count = Self.matchingCount(pair.pattern, rest)
        let isMatch = count == pair.pattern.count
        // More bytes may make it one.
        let isBeginning = count == rest.count && !isEnd
        guard isMatch || isBeginning else { continue }
        if isMatch { match = index }
        decidedCount = position
        return
      }
    }
    decidedCount = bytes.count
  }

  /// How many bytes of `pattern` stand at the beginning of `bytes`.
  private static func matchingCount(_ pattern: Bytes, _ bytes: Bytes) -> Int {
    let limit = min(pattern.count, bytes.count)
    for index in 0..<limit
    where ASCII.lowercased(pattern[index]) != ASCII.lowercased(bytes[index]) { return index }
    return limit
  }
}
