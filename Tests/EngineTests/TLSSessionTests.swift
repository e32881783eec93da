// Sessions end to end over socket pairs: handshakes, data both ways, closing, and what fails.

import CLinux
import COpenSSL
import HTTP
import Testing

@testable import Engine

@Suite struct TLSSessionTests {
  let library = TLSLibrary()
  let keys = TLSTicketKeys()

  func server(_ change: (inout TLSServerPolicy) -> Void = { _ in }) throws -> TLSServerContext {
    var policy = TLSServerPolicy(certificates: [TestPKI.one.source()])
    change(&policy)
    return try TLSServerContext(policy: policy, library: library, ticketKeys: keys)
  }

  func client(_ change: (inout TLSClientOptions) -> Void = { _ in }) throws -> TLSClientContext {
    var options = TLSClientOptions()
    change(&options)
    return try TLSClientContext(library: library, options: options)
  }

  @Test(arguments: [(TLSProtocols.tls12, "TLSv1.2"), (.tls13, "TLSv1.3")])
  func carriesBytesBothWaysInEachVersion(version: TLSProtocols, name: String) throws {
    let pair = TLSPair(try server(), try client { $0.protocols = version })
    pair.connect()
    #expect(text(pair.server.protocolName) == name)
    #expect(!text(pair.server.cipherName).isEmpty)
    // Alone, or with ML-KEM where OpenSSL has it (3.5).
    #expect(text(pair.server.curve).lowercased().hasPrefix("x25519"))
    #expect(!pair.server.isResumed)
    pair.client.send("question")
    #expect(pair.server.receive() == .text("question"))
    pair.server.send("answer")
    #expect(pair.client.receive() == .text("answer"))
    #expect(pair.client.receive() == .waiting)
  }

  @Test func showsTheCertificateThatTheClientCanCheck() throws {
    let context = try server { $0.certificates = [TestPKI.rsa.source(), TestPKI.one.source()] }
    for algorithms in ["RSA-PSS+SHA256", "ECDSA+SHA256"] {
      let pair = TLSPair(
        context,
        try client { $0.confCommands = [.init(name: "SignatureAlgorithms", value: algorithms)] })
      pair.connect()
      let isRSA = try #require(pair.client.peerCertificate).pem == TestPKI.rsa.certificatePEM
      #expect(isRSA == algorithms.hasPrefix("RSA"))
    }
  }

  @Test func closesWithCloseNotify() throws {
    let pair = TLSPair(try server(), try client())
    pair.connect()
    pair.server.send("last")
    pair.server.shutdownWrite()
    pair.server.shutdownWrite()
    #expect(pair.client.receive() == .text("last"))
    #expect(pair.client.readText() == .closed)
    #expect(pair.client.readText() == .closed)
    #expect(!pair.client.wasTruncated)
    // Only the write side is shut down: the client may still say something.
    pair.client.send("bye")
    #expect(pair.server.receive() == .text("bye"))
  }

  @Test func tellsAnEndWithoutCloseNotifyApart() throws {
    let pair = TLSPair(try server(), try client())
    pair.connect()
    shutdown(pair.sockets.server, Int32(SHUT_WR))
    #expect(pair.client.receive() == .closed)
    #expect(pair.client.wasTruncated)
  }

  @Test func recognisesPlainHTTP() throws {
    let sockets = SocketPair()
    let session = try #require(TLSSession(server: try server(), fd: sockets.server))
    let request = Array("GET / HTTP/1.1\r\nHost: one.example\r\n\r\n".utf8)
    #expect(unsafe send(sockets.client, request, request.count, 0) == request.count)
    let failure = try #require(session.handshake().failure)
    #expect(failure.isHTTPRequest)
    #expect(failure.reason.contains("plain HTTP"))
  }

  @Test func doesNotTakeGarbageForHTTP() throws {
    let sockets = SocketPair()
    let session = try #require(TLSSession(server: try server(), fd: sockets.server))
    #expect(unsafe send(sockets.client, "\u{1}\u{2}rubbish", 9, 0) == 9)
    let failure = try #require(session.handshake().failure)
    #expect(!failure.isHTTPRequest)
    #expect(!failure.reason.isEmpty)
  }

  @Test func aClientThatLeavesInTheHandshakeHasClosed() throws {
    let sockets = SocketPair()
    let session = try #require(TLSSession(server: try server(), fd: sockets.server))
    #expect(session.handshake().isWaiting)
    shutdown(sockets.client, Int32(SHUT_WR))
    session.socketBecameReadable(peerHungUp: true)
    guard case .closed = session.handshake() else {
      Issue.record("not closed")
      return
    }
  }

  @Test func noCommonVersionFailsWithAReason() throws {
    let pair = TLSPair(
      try server { $0.protocols = .tls13 }, try client { $0.protocols = .tls12 })
    let result = pair.handshake()
    #expect(result.server.failure?.reason == "unsupported protocol")
    #expect(result.client.failure?.reason.contains("protocol version") == true)
  }

  @Test(arguments: [TLSProtocols.tls12, .tls13])
  func movesMegabytesThroughASmallSocket(version: TLSProtocols) throws {
    let pair = TLSPair(try server(), try client { $0.protocols = version }, sendBufferBytes: 8192)
    pair.connect()
    let sent = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
    var received: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 40_000)
    var (start, waits) = (0, 0)
    for _ in 0..<100_000 where received.count < sent.count {
      // Each retry hands over another copy, at another address.
      let rest = Array(sent[start...].prefix(200_000))
      switch unsafe rest.withUnsafeBytes({ unsafe pair.server.write($0) }) {
      case .bytes(let count): start += count
      case .wantWrite: waits += 1
      case let other: Issue.record("write: \(other)")
      }
      pair.client.socketBecameReadable()
      while case .bytes(let count) = unsafe buffer.withUnsafeMutableBytes({
        unsafe pair.client.read(into: $0)
      }) {
        received += buffer[..<count]
      }
    }
    #expect(received == sent)
    #expect(waits > 0)
  }

  @Test func readsNothingFromTheSocketAfterAShortReceive() throws {
    let pair = TLSPair(try server(), try client())
    pair.connect()
    pair.client.send("one")
    #expect(pair.server.receive() == .text("one"))
    #expect(pair.server.didReadShort)
    #expect(!pair.server.canReadMore)
    pair.client.send("two")
    #expect(pair.server.readText() == .waiting)
    #expect(pair.server.receive() == .text("two"))
    // Once the peer has hung up there is no further event: a short receive proves nothing.
    pair.client.send("three")
    pair.client.shutdownWrite()
    shutdown(pair.sockets.client, Int32(SHUT_WR))
    pair.server.socketBecameReadable(peerHungUp: true)
    #expect(pair.server.readText() == .text("three"))
    #expect(pair.server.readText() == .closed)
  }

  @Test func aReadFillsTheBufferFromManyRecords() throws {
    let pair = TLSPair(try server(), try client())
    pair.connect()
    for word in ["a", "b", "c"] { pair.client.send(word) }
    #expect(pair.server.receive() == .text("abc"))
  }

  @Test func theTicketLeavesWithTheFirstResponse() throws {
    let pair = TLSPair(try server(), try client { $0.protocols = .tls13 })
    #expect(pair.client.handshake().isWaiting)
    #expect(pair.server.handshake().isWaiting)
    pair.client.socketBecameReadable()
    #expect(pair.client.handshake().isDone)
    pair.client.send("question")
    pair.server.socketBecameReadable()
    #expect(pair.server.handshake().isDone)
    #expect(pair.server.holdsOutput)
    #expect(pair.server.readText() == .text("question"))
    #expect(pair.server.holdsOutput)
    #expect(pair.client.resumption == nil)
    pair.server.send("answer")
    #expect(!pair.server.holdsOutput)
    #expect(pair.client.receive() == .text("answer"))
    #expect(pair.client.resumption != nil)
  }

  // Since 3.2 OpenSSL reads the header of a handshake's record by itself, which a packet doesn't
  // bear.
  @Test(.enabled(if: OpenSSL_version_num() < 0x3020_0000))
  func aFlightLeavesInOnePiece() throws {
    // A chain of more than OpenSSL's own buffer of 4 KiB: a socket of packets shows each send.
    let chain = (0..<12).map { TestCertificate("Test CA \($0)", isCA: true) }
    let context = try server { $0.certificates = [TestPKI.one.source(chain: chain)] }
    var ends: [Int32] = [0, 0]
    let kind = Int32(SOCK_SEQPACKET.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
    #expect(unsafe socketpair(AF_UNIX, kind, 0, &ends) == 0)
    defer { for end in ends { close(end) } }
    let server = try #require(TLSSession(server: context, fd: ends[0]))
    let client = try #require(
      TLSSession(client: try client(), fd: ends[1], serverName: nil, verifyName: nil))
    #expect(client.handshake().isWaiting)
    #expect(server.handshake().isWaiting)
    var buffer = [UInt8](repeating: 0, count: 65_536)
    #expect(unsafe recv(ends[1], &buffer, buffer.count, 0) > 4096)
    #expect(unsafe recv(ends[1], &buffer, buffer.count, 0) == -1)
  }

  @Test func agreesOnAnApplicationProtocolOrFails() throws {
    let context = try server { $0.alpn = ["h2", "http/1.1"] }
    for (offer, expected) in [(["http/1.1", "h2"], "h2"), (["http/1.1"], "http/1.1"), ([], "")] {
      let pair = TLSPair(context, try client { $0.alpn = offer })
      pair.connect()
      #expect(text(pair.server.alpnProtocol) == expected)
      #expect(text(pair.client.alpnProtocol) == expected)
    }
    let pair = TLSPair(context, try client { $0.alpn = ["spdy/1"] })
    #expect(pair.handshake().client.failure?.reason.contains("no application protocol") == true)
  }

  /// Which alerts have words among the reasons of errors differs between OpenSSL's versions.
  @Test(arguments: [
    (UInt(120), "no application protocol"), (115, "unknown PSK identity"),
    (40, "handshake failure"), (99, "tls alert 99"),
  ])
  func everyAlertOfThePeerHasWords(alert: UInt, words: String) {
    let text = TLSFailure.text(of: UInt(ERR_LIB_SSL) << 23 | (1000 + alert))
    #expect(text.lowercased().contains(words.lowercased()))
  }

  func text(_ bytes: Bytes) -> String {
    String(decoding: (0..<bytes.count).map { bytes[$0] }, as: UTF8.self)
  }
}
