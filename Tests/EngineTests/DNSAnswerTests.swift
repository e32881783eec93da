// Answers of DNS about services: what is read of them, and that no bytes do any harm.

import Testing

@testable import Engine

/// A message of DNS, as a server would write it.
struct DNSMessage {
  var bytes: [UInt8]

  /// The answer to a question for the SRV records of `name`.
  init(_ name: String, answers: Int) {
    bytes = [0, 7, 0x81, 0x80, 0, 1, 0, UInt8(answers), 0, 0, 0, 0]
    bytes += Self.encoded(name) + [0, 33, 0, 1]
  }

  static func encoded(_ name: String) -> [UInt8] {
    name.split(separator: ".").flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) } + [0]
  }

  mutating func add(_ owner: [UInt8], type: UInt8, seconds: UInt32, _ content: [UInt8]) {
    bytes += owner + [0, type, 0, 1]
    bytes += (0..<4).map { UInt8(truncatingIfNeeded: seconds >> (24 - 8 * $0)) }
    bytes += [UInt8(content.count >> 8), UInt8(content.count & 255)] + content
  }

  /// An SRV record of the name that was asked for.
  mutating func addService(
    _ priority: UInt8, _ weight: UInt8, _ port: UInt16, _ target: String, seconds: UInt32 = 60
  ) {
    add(
      [0xc0, 12], type: 33, seconds: seconds,
      [0, priority, 0, weight, UInt8(port >> 8), UInt8(port & 255)] + Self.encoded(target))
  }
}

@Suite struct DNSAnswerTests {
  private static var good: DNSMessage {
    var message = DNSMessage("_http._tcp.app.test", answers: 3)
    message.addService(1, 5, 8080, "a.app.test", seconds: 30)
    message.addService(2, 0, 81, "b.app.test")
    // An address of a host, which is of no interest here.
    message.add(DNSMessage.encoded("a.app.test"), type: 1, seconds: 5, [10, 0, 0, 1])
    return message
  }

  @Test func readsRecordsAndTheShortestTime() throws {
    let answer = try #require(DNSAnswer(Self.good.bytes, name: "_HTTP._tcp.app.test"))
    #expect(
      answer.services == [
        ServiceRecord(target: "a.app.test", port: 8080, priority: 1, weight: 5),
        // No weight is the smallest one.
        ServiceRecord(target: "b.app.test", port: 81, priority: 2, weight: 1),
      ])
    #expect(answer.timeToLive == 30 && answer.alias == nil)
  }

  @Test func followsAliasesWithinTheAnswer() throws {
    var message = DNSMessage("_http._tcp.app.test", answers: 3)
    message.add([0xc0, 12], type: 5, seconds: 9, DNSMessage.encoded("one.test"))
    message.add(DNSMessage.encoded("ONE.test"), type: 5, seconds: 8, DNSMessage.encoded("two.test"))
    message.add(
      DNSMessage.encoded("two.test"), type: 33, seconds: 60,
      [0, 1, 0, 1, 0, 80] + DNSMessage.encoded("host.test"))
    let answer = try #require(DNSAnswer(message.bytes, name: "_http._tcp.app.test"))
    #expect(answer.services.map(\.target) == ["host.test"])
    #expect(answer.timeToLive == 8 && answer.alias == "two.test")
  }

  @Test func aCircleOfAliasesEnds() throws {
    var message = DNSMessage("a.test", answers: 2)
    message.add(DNSMessage.encoded("a.test"), type: 5, seconds: 9, DNSMessage.encoded("b.test"))
    message.add(DNSMessage.encoded("b.test"), type: 5, seconds: 9, DNSMessage.encoded("a.test"))
    #expect(DNSAnswer(message.bytes, name: "a.test")?.services == [])
  }

  @Test func theRootAsTargetIsNoServer() {
    var message = DNSMessage("a.test", answers: 1)
    message.addService(0, 0, 0, "")
    #expect(DNSAnswer(message.bytes, name: "a.test")?.services == [])
  }

  @Test func aTimeWithItsHighestBitSetIsNone() {
    var message = DNSMessage("a.test", answers: 1)
    message.addService(0, 0, 80, "h.test", seconds: 0x8000_0000)
    #expect(DNSAnswer(message.bytes, name: "a.test")?.timeToLive == 0)
  }

  @Test func noPartOfAnAnswerIsAnAnswer() {
    let bytes = Self.good.bytes
    for count in 0..<bytes.count {
      #expect(DNSAnswer(Array(bytes.prefix(count)), name: "_http._tcp.app.test") == nil, "\(count)")
    }
  }

  @Test func noByteIsTrusted() {
    let bytes = Self.good.bytes
    for position in bytes.indices {
      for value in [0, 1, 0x3f, 0x40, 0xbf, 0xc0, 0xff] as [UInt8] {
        var broken = bytes
        broken[position] = value
        let answer = DNSAnswer(broken, name: "_http._tcp.app.test")
        #expect((answer?.services.count ?? 0) <= 2)
      }
    }
  }

  // A pointer to itself, one behind the end, a label with a dot, and one with a zero.
  private static let noNames: [[UInt8]] = [
    [0xc0, 37], [0xc0, 0xff], [3, 0x61, 0x2e, 0x62, 0], [1, 0, 0],
  ]

  @Test(arguments: noNames)
  func refusesTargetsThatAreNoNames(target: [UInt8]) {
    var message = DNSMessage("a.test", answers: 1)
    message.add([0xc0, 12], type: 33, seconds: 1, [0, 1, 0, 1, 0, 80] + target)
    let isPointerToItself = target == [0xc0, 37]
    if isPointerToItself { message.bytes[message.bytes.count - 1] = UInt8(message.bytes.count - 2) }
    #expect(DNSAnswer(message.bytes, name: "a.test") == nil)
  }

  // --- from records to servers -------------------------------------------------------------------

  private func addresses(_ hosts: String...) -> [SocketAddress] {
    hosts.map { SocketAddress(literal: $0, port: 0)! }
  }

  @Test func theLowestPriorityIsPrimaryAndTheOthersAreBackups() {
    var lookup = ServiceLookup(
      [
        ServiceRecord(target: "b", port: 81, priority: 2, weight: 3),
        ServiceRecord(target: "a", port: 80, priority: 1, weight: 5),
        ServiceRecord(target: "a", port: 80, priority: 1, weight: 5),
      ], timeToLive: 9_000)
    #expect(lookup.targets == ["a", "b"] && !lookup.isComplete)
    lookup.take(.addresses(addresses("10.0.0.1", "::1"), timeToLive: 4_000), for: "a")
    lookup.take(.addresses(addresses("10.0.0.2"), timeToLive: 5_000), for: "b")
    #expect(lookup.isComplete && lookup.failure == nil && lookup.timeToLive == 4_000)
    #expect(
      lookup.members.map { "\($0.address.description) \($0.weight) \($0.isBackup)" } == [
        "10.0.0.1:80 5 false", "[::1]:80 5 false", "10.0.0.1:80 5 false", "[::1]:80 5 false",
        "10.0.0.2:81 3 true",
      ])
  }

  @Test func aHostThatIsGoneTakesOnlyItselfOutAndAFailureHoldsAllUp() {
    let records = [
      ServiceRecord(target: "a", port: 80, priority: 1, weight: 1),
      ServiceRecord(target: "b", port: 80, priority: 1, weight: 1),
    ]
    var lookup = ServiceLookup(records, timeToLive: 1_000)
    lookup.take(.failed(.notFound), for: "a")
    lookup.take(.addresses(addresses("10.0.0.2"), timeToLive: 1_000), for: "b")
    #expect(lookup.failure == nil && lookup.members.count == 1)
    lookup = ServiceLookup(records, timeToLive: 1_000)
    lookup.take(.failed(.timedOut), for: "a")
    #expect(lookup.failure == .timedOut)
  }

  @Test func theLineOfTheServerComesBeforeItsRecords() {
    let registry = PeerRegistry()
    let host = UpstreamServerSettings.Host.service("_http._tcp.app.test")
    _ = registry.record(
      [
        NamedAddress(address: SocketAddress(literal: "10.0.0.1", port: 80)!, weight: 5),
        NamedAddress(
          address: SocketAddress(literal: "10.0.0.2", port: 80)!, weight: 6, isBackup: true),
      ], of: host, in: "u")
    func servers(_ change: (inout UpstreamServerSettings) -> Void) -> [String] {
      var server = UpstreamServerSettings(host)
      change(&server)
      return registry.servers(of: UpstreamSettings(name: "u", servers: [server])).map {
        "\($0.address.host) \($0.server.weight) \($0.server.isBackup)"
      }
    }
    #expect(servers { _ in } == ["10.0.0.1 5 false", "10.0.0.2 6 true"])
    #expect(servers { $0.weight = 3 } == ["10.0.0.1 3 false", "10.0.0.2 3 true"])
    #expect(servers { $0.isBackup = true } == ["10.0.0.1 5 true"])
  }

  @Test func aNameWhosePortChangedIsWhereItWas() {
    let registry = PeerRegistry()
    _ = registry.record(
      [NamedAddress(address: SocketAddress(literal: "10.0.0.1", port: 80)!)],
      of: .name("app.test", port: 80), in: "u")
    func servers(_ upstream: String, _ name: String) -> [String] {
      let server = UpstreamServerSettings(.name(name, port: 81))
      return registry.servers(of: UpstreamSettings(name: upstream, servers: [server]))
        .map(\.address.description)
    }
    #expect(servers("u", "app.test") == ["10.0.0.1:81"])
    #expect(servers("v", "app.test") == [] && servers("u", "other.test") == [])
  }
}
