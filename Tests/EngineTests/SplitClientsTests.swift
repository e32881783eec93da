// The shares of `split_clients`, by nginx's hash.

import HTTP
import Testing

@testable import Engine

struct SplitClientsTests {
  @Test(
    arguments: [
      ("", 0), ("a", 0x9268_5f5e), ("abc", 0x1357_7c9b), ("abcd", 0x2687_3021),
      ("The quick brown fox", 0x5b36_1318),
    ] as [(StaticString, UInt32)])
  func hashesAsNginxDoes(text: StaticString, hash: UInt32) {
    #expect(SplitTable.murmur2(Bytes(text)) == hash)
  }

  @Test func givesEachShareWhatItIsDue() {
    var table = SplitTable()
    var accepted = [table.insert(1_000, Template(literal: Bytes("tenth")))]
    accepted.append(table.insert(5_000, Template(literal: Bytes("half"))))
    accepted.append(table.insert(4_001, Template(literal: Bytes("too much"))))
    #expect(accepted == [true, true, false])
    table.insertRest(Template(literal: Bytes("rest")))
    var counts: [String: Int] = [:]
    for number in 0..<10_000 {
      let text = Array("client \(number)".utf8)
      let value = text.withUnsafeBufferPointer {
        table.find(unsafe Bytes(base: $0.baseAddress!, count: $0.count))
      }
      counts[value?.literal?.string ?? "none", default: 0] += 1
    }
    #expect(abs(counts["tenth", default: 0] - 1_000) < 150, "\(counts)")
    #expect(abs(counts["half", default: 0] - 5_000) < 250, "\(counts)")
    #expect(counts["rest", default: 0] > 3_700 && counts.count == 3, "\(counts)")
  }

  @Test func withoutARestSomeGetNothing() {
    var table = SplitTable()
    _ = table.insert(1, Template(literal: Bytes("few")))
    #expect(table.find(Bytes("abc")) == nil)
  }
}
