// Memory that is mostly zeros, kept without them. HTTP/2 sessions are put away in this form while
// nothing happens on their connection (`H2SessionMemory`).
//
//   runs:  start << 32 | count, word, word, … ,  start << 32 | count, word, …

/// The words of a block that aren't zero, and where they stood.
struct SparseWords {
  private var runs: [UInt64] = []

  /// Of nothing but zeros.
  init() {}

  /// Keeps what stands in `words`, in one allocation. Linear in their number.
  ///
  /// - Precondition: there are fewer than 2³² of them.
  init(_ words: UnsafeBufferPointer<UInt64>) {
    var room = 0
    unsafe Self.visitRuns(of: words) { room += 1 + $0.count }
    runs.reserveCapacity(room)
    unsafe Self.visitRuns(of: words) { run in
      runs.append(UInt64(run.lowerBound) << 32 | UInt64(run.count))
      for index in run { unsafe runs.append(words[index]) }
    }
  }

  /// Writes the words to where they stood in a block as long as theirs was, which is all zeros.
  func restore(to words: UnsafeMutableBufferPointer<UInt64>) {
    var position = 0
    while position < runs.count {
      let (start, count) = (Int(runs[position] >> 32), Int(runs[position] & 0xffff_ffff))
      precondition(start + count <= words.count)
      for index in 0..<count { unsafe words[start + index] = runs[position + 1 + index] }
      position += 1 + count
    }
  }

  /// Calls `body` for each run. A zero alone is kept: the head of another run would take as much.
  private static func visitRuns(
    of words: UnsafeBufferPointer<UInt64>, _ body: (Range<Int>) -> Void
  ) {
    var start = 0
    while true {
      while unsafe start < words.count && words[start] == 0 { start += 1 }
      if start == words.count { return }
      var end = start + 1
      while unsafe end < words.count && (words[end] != 0 || isFollowed(end, in: words)) { end += 1 }
      body(start..<end)
      start = end
    }
  }

  private static func isFollowed(_ index: Int, in words: UnsafeBufferPointer<UInt64>) -> Bool {
    unsafe index + 1 < words.count && words[index + 1] != 0
  }
}
