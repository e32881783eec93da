// The typed values: what each accepts, and the exact message when it doesn't.

import Testing

@testable import Configuration

private func message(_ body: () throws(ValueError) -> some Any) -> String {
  do throws(ValueError) {
    return "accepted: \(try body())"
  } catch {
    return error.message
  }
}

@Suite struct ValuesTests {
  @Test(arguments: [
    ("0", 0), ("8k", 8192), ("8K", 8192), ("1m", 1 << 20), ("3M", 3 << 20), ("2g", 2 << 30),
    ("1G", 1 << 30), ("9007199254740991k", 9_007_199_254_740_991 << 10),
  ])
  func readsSizes(_ text: String, _ expected: Int) throws {
    #expect(try Value.size(text, of: "x") == expected)
  }

  @Test(arguments: ["", "k", "1t", "1.5m", "8kb", "-1", "1 k", "9007199254740992k"])
  func refusesSizes(_ text: String) {
    #expect(throws: ValueError.self) { try Value.size(text, of: "x") }
  }

  @Test func explainsSizes() {
    #expect(
      message { () throws(ValueError) in try Value.size("1t", of: "proxy_buffer_size") }
        == #""proxy_buffer_size" must be a size such as "8k", "1m" or "2g", not "1t""#)
  }

  @Test(arguments: [
    ("0", 0), ("30", 30_000), ("500ms", 500), ("1h 30m", 5_400_000), ("1h30m", 5_400_000),
    ("1m30", 90_000), ("1w 2d", 777_600_000), ("1s 5ms", 1005), ("30 ", 30_000), ("1h ", 3_600_000),
    ("9223372036854775807ms", 315_360_000_000_000), ("5000000d", 315_360_000_000_000),
  ])
  func readsMilliseconds(_ text: String, _ expected: Int) throws {
    #expect(try Value.milliseconds(text, of: "x") == expected)
  }

  @Test(arguments: [
    ("0", 0), ("30", 30), ("1y", 31_536_000), ("1M", 2_592_000),
    ("1y 1M 1w 1d 1h 1m 1s", 34_822_861), ("10000y", 315_360_000_000),
    ("9223372036854775807", 315_360_000_000), ("106751991167300d", 315_360_000_000),
  ])
  func readsSeconds(_ text: String, _ expected: Int) throws {
    #expect(try Value.seconds(text, of: "x") == expected)
  }

  @Test(arguments: [
    "", " ", "h", "1y", "1M", "1m 1h", "1s 1s", "1x", "-1", "1.5s", "99999999999999999999",
    "9223372036854775807d", "1ms 1s", "30 30",
  ])
  func refusesMilliseconds(_ text: String) {
    #expect(throws: ValueError.self) { try Value.milliseconds(text, of: "x") }
  }

  @Test(arguments: ["500ms", "1s 1y", "1M 1y", "x"])
  func refusesSeconds(_ text: String) {
    #expect(throws: ValueError.self) { try Value.seconds(text, of: "x") }
  }
}
