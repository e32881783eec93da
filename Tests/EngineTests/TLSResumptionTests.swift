// Resuming sessions: by ticket and by id, within a policy, and never across policies.

import COpenSSL
import HTTP
import Testing

@testable import Engine

@Suite struct TLSResumptionTests {
  let library = TLSLibrary()
  let keys = TLSTicketKeys()

  func policy(_ change: (inout TLSServerPolicy) -> Void = { _ in }) -> TLSServerPolicy {
    var policy = TLSServerPolicy(certificates: [TestPKI.one.source()])
    change(&policy)
    return policy
  }

  func server(
    _ policy: TLSServerPolicy, keys: TLSTicketKeys? = nil, library: TLSLibrary? = nil
  ) throws -> TLSServerContext {
    try TLSServerContext(
      policy: policy, library: library ?? self.library, ticketKeys: keys ?? self.keys)
  }

  func client(_ version: TLSProtocols) throws -> TLSClientContext {
    try TLSClientContext(library: library, options: TLSClientOptions(protocols: version))
  }

  /// Makes a session at `first`, and tells whether a second connection to `second` resumes it.
  func resumes(
    _ version: TLSProtocols, first: TLSServerContext, second: TLSServerContext,
    names: (String, String)? = nil, resolver: TLSNameResolver? = nil
  ) throws -> Bool {
    let client = try client(version)
    let before = TLSPair(first, client, name: names?.0, resolver: resolver)
    before.connect()
    guard let resumption = before.client.resumption else { return false }
    let after = TLSPair(second, client, name: names?.1, resolver: resolver, resuming: resumption)
    after.connect()
    #expect(after.client.isResumed == after.server.isResumed)
    return after.server.isResumed
  }

  @Test(arguments: [TLSProtocols.tls12, .tls13])
  func resumesByTicketOnAnotherThreadAndAfterAReload(version: TLSProtocols) throws {
    let second = try server(policy(), library: TLSLibrary())
    #expect(try resumes(version, first: try server(policy()), second: second))
  }

  @Test(arguments: [TLSProtocols.tls12, .tls13])
  func aResumedSessionBringsItsSuccessorInTLS13(version: TLSProtocols) throws {
    let (context, client) = (try server(policy()), try client(version))
    let first = TLSPair(context, client)
    first.connect()
    let resumption = try #require(first.client.resumption)
    let second = TLSPair(context, client, resuming: resumption)
    second.connect()
    #expect(second.server.isResumed)
    #expect((second.client.resumption != nil) == (version == .tls13))
  }

  @Test(arguments: [TLSProtocols.tls12, .tls13])
  func refusesTicketsOfOtherKeys(version: TLSProtocols) throws {
    let second = try server(policy(), keys: TLSTicketKeys())
    #expect(try !resumes(version, first: try server(policy()), second: second))
  }

  static let otherPolicies: [@Sendable (inout TLSServerPolicy) -> Void] = [
    { $0.certificates = [TestPKI.two.source()] },
    { $0.certificates.append(TestPKI.rsa.source()) },
    { $0.verifyClient = .optional },
    {
      $0.verifyClient = .optional
      $0.clientCAPEM = TestPKI.ca.certificatePEM
    },
    {
      $0.verifyClient = .optional
      $0.trustedPEM = TestPKI.ca.certificatePEM
    },
    {
      $0.verifyClient = .optional
      $0.verifyDepth = 3
    },
  ]

  @Test(arguments: [TLSProtocols.tls12, .tls13])
  func neverResumesUnderAnotherPolicy(version: TLSProtocols) throws {
    for (index, change) in Self.otherPolicies.enumerated() {
      let other = try server(policy(change))
      #expect(try !resumes(version, first: try server(policy()), second: other), "policy \(index)")
      #expect(try !resumes(version, first: other, second: try server(policy())), "policy \(index)")
      // By name on one listener: the attack of CVE-2025-23419.
      let resolver = TableResolver()
      resolver.choices = ["two.example": .use(other)]
      let listener = try server(policy())
      #expect(
        try !resumes(
          version, first: listener, second: listener, names: ("one.example", "two.example"),
          resolver: resolver), "policy \(index)")
      #expect(
        try resumes(
          version, first: listener, second: listener, names: ("two.example", "two.example"),
          resolver: resolver), "policy \(index)")
    }
  }

  @Test(arguments: [TLSProtocols.tls12, .tls13])
  func resumesByIDOnlyFromACache(version: TLSProtocols) throws {
    let caches: [(TLSSessionCache, Bool)] = [
      (.off, false), (.none, false), (.builtin(sessionCount: 100), true),
      (.shared(Self.zone), false),
    ]
    for (cache, expected) in caches {
      let context = try server(
        policy {
          $0.sessionTickets = false
          $0.sessionCache = cache
        })
      #expect(try resumes(version, first: context, second: context) == expected, "\(cache)")
    }
  }

  private static let zone = TLSSessionZoneSettings(name: "all", byteCount: 1 << 20)

  /// A policy whose sessions are in a zone, and a context of it on a thread of its own.
  private func server(
    in zones: ZoneRegistry<TLSSessionZone>, change: (inout TLSServerPolicy) -> Void = { _ in }
  ) throws -> TLSServerContext {
    let policy = policy {
      $0.sessionTickets = false
      $0.sessionCache = .shared(Self.zone)
      change(&$0)
    }
    return try TLSServerContext(
      policy: policy, library: TLSLibrary(), ticketKeys: keys, sessions: zones.lease(Self.zone))
  }

  @Test(arguments: [TLSProtocols.tls12, .tls13])
  func resumesFromAZoneOnAnotherThread(version: TLSProtocols) throws {
    let zones = ZoneRegistry<TLSSessionZone>()
    let (first, second) = (try server(in: zones), try server(in: zones))
    #expect(try resumes(version, first: first, second: second))
    #expect(zones.count == 1)
    let others = ZoneRegistry<TLSSessionZone>()
    #expect(try !resumes(version, first: first, second: try server(in: others)))
  }

  @Test(arguments: [TLSProtocols.tls12, .tls13])
  func resumesNothingOfAnotherPolicyFromAZone(version: TLSProtocols) throws {
    let zones = ZoneRegistry<TLSSessionZone>()
    for (index, change) in Self.otherPolicies.enumerated() {
      let (listener, other) = (try server(in: zones), try server(in: zones, change: change))
      #expect(try !resumes(version, first: listener, second: other), "policy \(index)")
      #expect(try !resumes(version, first: other, second: listener), "policy \(index)")
      let resolver = TableResolver()
      resolver.choices = ["two.example": .use(other)]
      for (name, expected) in [("one.example", false), ("two.example", true)] {
        #expect(
          try resumes(
            version, first: listener, second: listener, names: ("two.example", name),
            resolver: resolver) == expected, "policy \(index)")
      }
    }
  }

  /// The context that a handshake began with outlives its place in the plan.
  @Test func aZoneLivesAsLongAsAConnectionThatBeganWithIt() throws {
    let zones = ZoneRegistry<TLSSessionZone>()
    var listener: TLSServerContext? = try server(in: zones)
    let resolver = TableResolver()
    resolver.choices = ["two.example": .use(try server(policy()))]
    var pair: TLSPair? = TLSPair(
      try #require(listener), try client(.tls12), name: "two.example", resolver: resolver)
    listener = nil
    pair?.connect()
    #expect(zones.count == 1)
    pair = nil
    #expect(zones.count == 0)
  }

  @Test func aCacheForgetsWhatExceedsItsLimit() throws {
    let context = try server(
      policy {
        $0.sessionTickets = false
        $0.sessionCache = .builtin(sessionCount: 2)
      })
    let client = try client(.tls12)
    let sessions = try (0..<4).map { _ in
      let pair = TLSPair(context, client)
      pair.connect()
      return try #require(pair.client.resumption)
    }
    let resumed = [sessions[3], sessions[0]].map { session in
      let pair = TLSPair(context, client, resuming: session)
      pair.connect()
      return pair.server.isResumed
    }
    #expect(resumed == [true, false])
  }

  @Test func aSessionIsNotOfferedUnderAnotherName() throws {
    let context = try server(policy())
    let client = try TLSClientContext(
      library: library,
      options: TLSClientOptions(verify: true, trustedPEM: TestPKI.ca.certificatePEM))
    let first = TLSPair(context, client, verifyName: "one.example")
    first.connect()
    let resumption = try #require(first.client.resumption)
    let second = TLSPair(context, client, verifyName: "two.example", resuming: resumption)
    let reason = second.handshake().client.failure?.reason
    #expect(reason == "certificate refused: hostname mismatch")
  }

  @Test func readsEarlyDataAndSaysSo() throws {
    let context = try server(policy { $0.earlyData = true })
    let client = try client(.tls13)
    let first = TLSPair(context, client)
    first.connect()
    let second = TLSPair(context, client, resuming: first.client.resumption)
    let early = Array("GET /early".utf8)
    var written = 0
    #expect(unsafe SSL_write_early_data(second.client.ssl, early, early.count, &written) == 1)
    // OpenSSL's client flushes its early data when the handshake goes on.
    #expect(second.client.handshake().isWaiting)
    second.server.socketBecameReadable()
    #expect(second.server.handshake().isDone)
    #expect(second.server.isEarlyData)
    #expect(second.server.readText() == .text("GET /early"))
    second.server.send("early answer")
    #expect(second.server.isEarlyData)
    second.client.socketBecameReadable()
    #expect(second.client.handshake().isDone)
    #expect(second.client.readText() == .text("early answer"))
    second.client.send("later")
    #expect(second.server.receive() == .text("later"))
    #expect(!second.server.isEarlyData)
    second.server.send("late answer")
    #expect(second.client.receive() == .text("late answer"))
  }

  @Test func withoutEarlyDataAnEarlyContextBehavesAsUsual() throws {
    let context = try server(policy { $0.earlyData = true })
    for version in [TLSProtocols.tls12, .tls13] {
      let pair = TLSPair(context, try client(version))
      pair.connect()
      #expect(!pair.server.isEarlyData)
      pair.client.send("question")
      #expect(pair.server.receive() == .text("question"))
    }
  }
}
