// Blocks that are mostly zeros come back as they were.

import Testing

@testable import Engine

@Suite struct SparseWordsTests {
  private func restored(_ words: [UInt64]) -> [UInt64] {
    let kept = unsafe words.withUnsafeBufferPointer { unsafe SparseWords($0) }
    var again = [UInt64](repeating: 0, count: words.count)
    unsafe again.withUnsafeMutableBufferPointer { unsafe kept.restore(to: $0) }
    return again
  }

  // Every pattern of ten words, so that runs begin, end and meet at every place.
  @Test func everyPatternComesBack() {
    for pattern in 0..<1024 {
      let words = (0..<10).map { pattern >> $0 & 1 == 1 ? UInt64.max - UInt64($0) : 0 }
      #expect(restored(words) == words)
    }
  }

  @Test func nothingComesBackAsNothing() {
    #expect(restored([]) == [])
    var words: [UInt64] = [0, 0]
    unsafe words.withUnsafeMutableBufferPointer { unsafe SparseWords().restore(to: $0) }
    #expect(words == [0, 0])
  }

  @Test func longRunsComeBack() {
    let words = (0..<5000).map { UInt64($0 % 1000 < 400 ? 0 : $0) }
    #expect(restored(words) == words)
  }
}
