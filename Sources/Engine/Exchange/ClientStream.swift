// What an exchange knows of its client: something that takes a response and gives a request body.
// An HTTP/1 connection is one, an HTTP/2 stream is one, a subrequest too.

import HTTP

/// The client side of one exchange.
///
/// A class with overridden methods, since the data path allows no existentials; each method says
/// what an override must do.
class ClientStream {
  /// What the transport knows: TLS session, addresses. A stored property, because asking a method
  /// for an object counts a reference.
  final var connection: ConnectionFacts

  init(_ connection: ConnectionFacts) { self.connection = connection }

  /// How many bytes of the response wait in memory for the client to take them.
  var queuedByteCount: Int { 0 }
  /// How many bytes of the response, in memory and in files, wait for the client to take them.
  var unsentByteCount: Int { queuedByteCount }
  /// How many bytes of the response were handed to the kernel.
  var sentByteCount: Int { 0 }

  /// Which request of its connection this is, from 1.
  var requestNumber: Int { connection.requestCount }

  /// Writes `exchange.response` as a head. Called once per exchange, after interim responses.
  func sendHead(_ exchange: Exchange) { preconditionFailure("abstract") }
  /// Queues an interim response (102, 103) with the fields `exchange.response.interim`, if the
  /// client's protocol has such; may be called several times before `sendHead`.
  func sendInterim(_ exchange: Exchange, _ status: Int) {}
  /// Queues body bytes and takes the buffer over.
  func sendBody(_ buffer: consuming Buffer) { preconditionFailure("abstract") }
  /// Queues body bytes that live until the exchange finishes.
  func sendBody(_ bytes: Bytes) { preconditionFailure("abstract") }
  /// Queues a piece of a file.
  func sendBody(_ file: OpenFile, offset: Int64, count: Int) { preconditionFailure("abstract") }
  /// Says that the body is complete; the exchange finishes when all of it is sent.
  func endBody() { preconditionFailure("abstract") }
  /// Hands queued bytes to the kernel, as many as it takes.
  func flush() { preconditionFailure("abstract") }
  /// Moves body bytes of the request to the free room of `buffer`.
  func readBody(into buffer: Buffer) -> BodyRead { .complete }
  /// Whether the body of the request was read to its end.
  var isBodyRead: Bool { false }
  /// Whether the body of the response goes nowhere, so that nobody need be sent it slowly.
  var dropsResponseBody: Bool { false }
  /// Breaks the response off such that the client can't take it for complete.
  func abort() { preconditionFailure("abstract") }
  /// Turns the connection into a tunnel once the head is sent; `readBody` gives raw bytes then.
  func startTunnel() {}
  /// Waits at most `timeout` for the client to send more of the body.
  func awaitBody(atMost timeout: Milliseconds) {}
  /// The client owes nothing of the body at present.
  func stopAwaitingBody() {}
  /// The exchange waits for something that has nothing to do with its client, who may leave
  /// meanwhile.
  func noteWaiting() {}
}

/// The outcome of asking for request body bytes.
enum BodyRead: BitwiseCopyable {
  /// This many bytes were moved.
  case bytes(Int)
  /// Nothing waits now; `Exchange.onBodyReadable` follows.
  case wouldBlock
  /// The body ended (the tunnel's peer closed its side).
  case complete
  /// The client is gone or sent something malformed: answer with this status, 0 for gone.
  case failed(Int)
}

/// What variables and policies want to know of a client's connection.
final class ConnectionFacts {
  var peerAddress = SocketAddress()
  /// The listening socket that the connection came from.
  var listen: ListenPlan?
  /// The plan that `listen` is part of.
  var plan: Plan?
  var serial: UInt64 = 0
  var requestCount = 0
  /// Requests at present.
  var exchangeCount = 0
  var openedAt: Milliseconds = 0
  var tls: TLSSession?
  /// What OCSP responders are asked about the client's certificate, once a request wanted it.
  var inquiry: CertificateInquiry?
  /// What a PROXY protocol header said; nil where none came.
  var proxy: ProxyFacts?
  /// The client spoke plain HTTP on a port that wants TLS.
  var isPlainOnTLS = false
  /// The request had come before its predecessor was answered.
  var isPipelined = false
  var fd: Int32 = -1
  /// Where the connection came to, of a copy that can't ask the kernel.
  var keptLocalAddress: KeptAddress?

  /// What the client connected to. Asked of the kernel where the listening socket has several
  /// addresses: keeping it would cost each idle connection 24 bytes.
  var localAddress: SocketAddress {
    guard let listen else { return SocketAddress() }
    if listen.addresses.count == 1 && !listen.settings.address.isWildcard {
      return listen.settings.address
    }
    if fd >= 0 { return Socket.localAddress(fd) }
    return keptLocalAddress?.address ?? SocketAddress()
  }
}

/// An address that few connections have to keep.
final class KeptAddress {
  let address: SocketAddress

  init(_ address: SocketAddress) { self.address = address }
}
