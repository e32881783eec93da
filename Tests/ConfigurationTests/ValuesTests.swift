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
  @Test(arguments: [("on", true), ("off", false), ("ON", true), ("Off", false)])
  func readsFlags(_ text: String, _ expected: Bool) throws {
    #expect(try Value.flag(text, of: "gzip") == expected)
  }

  @Test func refusesOtherFlags() {
    #expect(
      message { () throws(ValueError) in try Value.flag("yes", of: "gzip") }
        == #""gzip" must be "on" or "off", not "yes""#)
  }

  @Test(arguments: [
    ("11", #""gzip_comp_level" must be between 1 and 9, not "11""#),
    ("-1", #""gzip_comp_level" must be between 1 and 9, not "-1""#),
    ("", #""gzip_comp_level" must be between 1 and 9, not """#),
    (
      "99999999999999999999",
      #""gzip_comp_level" must be between 1 and 9, not "99999999999999999999""#
    ),
    ("9", "accepted: 9"),
  ])
  func readsNumbersInRange(_ text: String, _ expected: String) {
    #expect(
      message { () throws(ValueError) in try Value.integer(text, of: "gzip_comp_level", in: 1...9) }
        == expected)
  }

  @Test func saysWhatAnOpenRangeAllows() {
    #expect(
      message { () throws(ValueError) in try Value.integer("0", of: "n", in: 1...Int.max) }
        == #""n" must be a number of at least 1, not "0""#)
    #expect(
      message { () throws(ValueError) in try Value.integer("x", of: "n") }
        == #""n" must be a number, not "x""#)
  }

  @Test(arguments: [
    ("0", 0), ("8k", 8192), ("8K", 8192), ("1m", 1 << 20), ("3M", 3 << 20), ("2g", 2 << 30),
    ("1G", 1 << 30), ("9007199254740991k", 9_007_199_254_740_991 << 10),
  ])
  func readsOffsets(_ text: String, _ expected: Int) throws {
    #expect(try Value.offset(text, of: "x") == expected)
  }

  @Test(arguments: ["", "k", "1g", "1.5m", "8kb", "-1", "1 k", "9007199254740992k"])
  func refusesSizes(_ text: String) {
    #expect(throws: ValueError.self) { try Value.size(text, of: "x") }
  }

  @Test func explainsSizes() {
    #expect(
      message { () throws(ValueError) in try Value.size("1g", of: "proxy_buffer_size") }
        == #""proxy_buffer_size" must be a size such as "8k" or "1m", not "1g""#)
    #expect(
      message { () throws(ValueError) in try Value.size("1", of: "x", in: 1024...4096) }
        == #""x" must be between 1024 and 4096 bytes, not "1""#)
  }

  @Test(arguments: [
    ("0", 0), ("30", 30_000), ("500ms", 500), ("1h 30m", 5_400_000), ("1h30m", 5_400_000),
    ("1m30", 90_000), ("1w 2d", 777_600_000), ("1s 5ms", 1005), ("30 ", 30_000), ("1h ", 3_600_000),
  ])
  func readsMilliseconds(_ text: String, _ expected: Int) throws {
    #expect(try Value.milliseconds(text, of: "x") == expected)
  }

  @Test(arguments: [
    ("0", 0), ("30", 30), ("1y", 31_536_000), ("1M", 2_592_000),
    ("1y 1M 1w 1d 1h 1m 1s", 34_822_861),
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

  @Test(arguments: [("50%", 5000), ("0.5%", 50), ("0.05%", 5), ("100%", 10_000), ("33.33%", 3333)])
  func readsPercentages(_ text: String, _ expected: Int) throws {
    #expect(try Value.percent(text, of: "x") == expected)
  }

  @Test(arguments: [
    "", "%", "50", "0%", "100.01%", "101%", "1.234%", "1.%", ".5%", "1.2.3%", "-1%",
  ])
  func refusesPercentages(_ text: String) {
    #expect(throws: ValueError.self) { try Value.percent(text, of: "x") }
  }

  @Test func splitsParameters() {
    #expect(Value.parameter("a=b")! == ("a", "b"))
    #expect(Value.parameter("a=")! == ("a", ""))
    #expect(Value.parameter("a=b=c")! == ("a", "b=c"))
    #expect(Value.parameter("a") == nil)
    #expect(Value.parameter("=b") == nil)
  }

  @Test func choosesByName() throws {
    let levels: KeyValuePairs = ["debug": 0, "info": 1, "notice": 2, "warn": 3]
    #expect(try Value.choice("Info", of: "error_log", levels) == 1)
    #expect(
      message { () throws(ValueError) in try Value.choice("notce", of: "error_log", levels) }
        == #""error_log" must be "debug", "info", "notice" or "warn", not "notce"; "#
        + #"did you mean "notice"?"#)
  }

  @Test func collectsBits() throws {
    struct Bits: OptionSet { let rawValue: Int }
    let names: KeyValuePairs = ["error": Bits(rawValue: 1), "timeout": Bits(rawValue: 2)]
    #expect(try Value.bits(["timeout", "ERROR"], of: "x", names).rawValue == 3)
    #expect(
      message { () throws(ValueError) in try Value.bits(["error", "error"], of: "x", names) }
        == #""x" names "error" twice"#)
    #expect(
      message { () throws(ValueError) in try Value.bits(["no"], of: "x", names) }
        == #""x" must be any of "error" and "timeout", not "no""#)
  }
}

@Suite struct AddressTests {
  @Test(arguments: [
    ("a.example", AddressParts(host: .name("a.example"))),
    ("10.0.0.3:8080", AddressParts(host: .name("10.0.0.3"), port: 8080)),
    ("[::1]:80", AddressParts(host: .v6("::1"), port: 80)),
    ("[::]", AddressParts(host: .v6("::"))),
    ("unix:/run/app.sock", AddressParts(host: .unix("/run/app.sock"))),
    ("app_1:1", AddressParts(host: .name("app_1"), port: 1)),
  ])
  func readsAddresses(_ text: String, _ expected: AddressParts) throws {
    #expect(try Value.address(text, of: "server") == expected)
    #expect(try Value.listenAddress(text, of: "listen") == expected)
  }

  @Test func readsPortsAloneOnlyForListeners() throws {
    #expect(try Value.listenAddress("80", of: "listen") == AddressParts(host: .wildcard, port: 80))
    #expect(
      try Value.listenAddress("*:81", of: "listen") == AddressParts(host: .wildcard, port: 81))
    #expect(try Value.address("80", of: "server") == AddressParts(host: .name("80")))
    #expect(throws: ValueError.self) { try Value.address("*:81", of: "server") }
  }

  @Test(arguments: [
    ("a:0", #"the port of "listen" must be between 1 and 65535, not "0", in "a:0""#),
    ("70000", #"the port of "listen" must be between 1 and 65535, not "70000", in "70000""#),
    ("a:", #"the port of "listen" must be between 1 and 65535, not "", in "a:""#),
    (
      "::1",
      #""listen" must be a port or an address such as "80", "127.0.0.1:80" or "[::]:80", not "::1""#
    ),
    ("fe80::1", #""listen": write an IPv6 address in brackets, as "[::1]:80", not "fe80::1""#),
    ("[::1", #""listen": "[::1" has no closing "]""#),
    ("[x]:80", #""listen" must be an address such as "[::1]:80", not "[x]:80""#),
    ("unix:", #""listen" must be "unix:" and a path of 1 to 107 bytes, not "unix:""#),
  ])
  func explainsAddresses(_ text: String, _ expected: String) {
    #expect(
      message { () throws(ValueError) in try Value.listenAddress(text, of: "listen") } == expected)
  }
}
