// Two ends of a TLS connection over a socket pair, both in this process, for the tests of TLS.

import CLinux
import Testing

@testable import Engine

/// A connected pair of non-blocking sockets.
final class SocketPair {
  let server: Int32
  let client: Int32

  init(sendBufferBytes: Int32? = nil) {
    var ends: [Int32] = [0, 0]
    let kind = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
    precondition(unsafe socketpair(AF_UNIX, kind, 0, &ends) == 0)
    (server, client) = (ends[0], ends[1])
    if var size = sendBufferBytes {
      for end in ends { unsafe setsockopt(end, SOL_SOCKET, SO_SNDBUF, &size, 4) }
    }
  }

  deinit {
    close(server)
    close(client)
  }
}

/// A server's and a client's session on one socket pair.
final class TLSPair {
  let sockets: SocketPair
  let server: TLSSession
  let client: TLSSession

  init(
    _ serverContext: TLSServerContext, _ clientContext: TLSClientContext, name: String? = nil,
    verifyName: String? = nil, resolver: TLSNameResolver? = nil, resuming: TLSResumption? = nil,
    sendBufferBytes: Int32? = nil
  ) {
    sockets = SocketPair(sendBufferBytes: sendBufferBytes)
    server = TLSSession(server: serverContext, fd: sockets.server, resolver: resolver)!
    client = TLSSession(
      client: clientContext, fd: sockets.client, serverName: name, verifyName: verifyName,
      resuming: resuming)!
  }

  /// What the handshake came to, on the server and on the client.
  func handshake() -> (server: TLSResult, client: TLSResult) {
    var (atServer, atClient) = (TLSResult.wantRead, TLSResult.wantRead)
    for _ in 0..<10 {
      client.socketBecameReadable()
      if atClient.isWaiting { atClient = client.handshake() }
      server.socketBecameReadable()
      if atServer.isWaiting { atServer = server.handshake() }
    }
    return (atServer, atClient)
  }

  /// Shakes hands, and lets the session ticket pass.
  func connect(sourceLocation: SourceLocation = #_sourceLocation) {
    let (atServer, atClient) = handshake()
    #expect(
      atServer.isDone && atClient.isDone, "\(atServer) \(atClient)", sourceLocation: sourceLocation)
    guard atServer.isDone, atClient.isDone else { return }
    #expect(server.receive() == .waiting, sourceLocation: sourceLocation)
    #expect(client.receive() == .waiting, sourceLocation: sourceLocation)
  }
}

extension TLSResult {
  var isWaiting: Bool {
    switch self {
    case .wantRead, .wantWrite: true
    default: false
    }
  }
  var isDone: Bool {
    if case .bytes = self { true } else { false }
  }
  var failure: TLSFailure? {
    if case .failed(let failure) = self { failure } else { nil }
  }
}

/// What a session in a test received.
enum Received: Equatable {
  case text(String)
  case waiting, closed, failed
}

extension TLSSession {
  /// One read of at most 64 KiB, after an event.
  func receive() -> Received {
    socketBecameReadable()
    return readText()
  }

  /// One read of at most 64 KiB.
  func readText() -> Received {
    var buffer = [UInt8](repeating: 0, count: 65_536)
    let result = unsafe buffer.withUnsafeMutableBytes { unsafe read(into: $0) }
    switch result {
    case .bytes(let count): return .text(String(decoding: buffer[..<count], as: UTF8.self))
    case .wantRead, .wantWrite: return .waiting
    case .closed: return .closed
    case .failed: return .failed
    }
  }

  /// Writes all of `text`, which must fit the socket.
  func send(_ text: String) {
    let bytes = Array(text.utf8)
    let result = unsafe bytes.withUnsafeBytes { unsafe write($0) }
    guard case .bytes(bytes.count) = result else {
      Issue.record("write: \(result)")
      return
    }
  }
}
