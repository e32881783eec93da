// Bytes to and from a peer, over TLS or not. A transport remembers what epoll said (edge-triggered:
// said once), so that nobody asks the kernel for what it would refuse.

import CLinux
import HTTP

/// A connected socket, with TLS above it or not.
struct Transport {
  private(set) var fd: Int32 = -1
  private(set) var tls: TLSSession?
  /// Bytes, or the end, can be read as far as is known.
  private(set) var isReadable = false
  /// The socket takes bytes as far as is known.
  private(set) var isWritable = false
  /// The peer closed its sending side (EPOLLRDHUP); bytes may still wait before the end.
  private(set) var sawPeerClose = false
  /// The connection broke (EPOLLERR, EPOLLHUP).
  private(set) var isBroken = false
  /// A TLS read has to wait until the socket takes bytes (a handshake inside TLS 1.2).
  private var readWaitsForWrite = false
  /// The end has yet to be said, once the client has finished the handshake.
  private var owesEnd = false

  /// Takes over `descriptor`, connected or connecting.
  mutating func open(_ descriptor: Int32, readable: Bool, writable: Bool) {
    self = Transport()
    fd = descriptor
    isReadable = readable
    isWritable = writable
  }

  /// Puts TLS above the socket.
  mutating func start(_ session: TLSSession) { tls = session }

  /// Remembers what an event reported.
  @inline(__always)
  mutating func note(_ readiness: Readiness) {
    if !readiness.isDisjoint(with: [.readable, .peerClosed, .broken]) {
      isReadable = true
      if let tls {
        tls.socketBecameReadable(peerHungUp: !readiness.isDisjoint(with: [.peerClosed, .broken]))
      }
      if !readiness.isDisjoint(with: .peerClosed) { sawPeerClose = true }
      if !readiness.isDisjoint(with: .broken) { isBroken = true }
    }
    if !readiness.isDisjoint(with: [.writable, .broken]) {
      isWritable = true
      if readWaitsForWrite {
        readWaitsForWrite = false
        isReadable = true
      }
    }
  }

  /// Remembers that nothing can be read at the moment.
  mutating func noteEmpty() { isReadable = false }

  /// Reads into `room`, which must not be empty.
  @inline(__always)
  mutating func receive(into room: MutableBytes) -> IOResult {
    guard isReadable else { return .wouldBlock }
    if let tls { return receive(tls, into: room) }
    let result = Socket.receive(fd, into: room)
    switch result {
    case .bytes(let count):
      // A short read emptied the socket, unless the end stands behind it: no need to ask again.
      if count < room.count && !sawPeerClose { isReadable = false }
    case .wouldBlock: isReadable = false
    case .end, .failed: break
    }
    return result
  }

  private mutating func receive(_ tls: TLSSession, into room: MutableBytes) -> IOResult {
    let buffer = unsafe UnsafeMutableRawBufferPointer(start: room.unsafeBase, count: room.count)
    let result = unsafe tls.read(into: buffer)
    if owesEnd { shutdownWrite() }
    switch result {
    case .bytes(let count):
      if !tls.canReadMore { isReadable = false }
      return .bytes(count)
    case .wantRead:
      isReadable = false
      return .wouldBlock
    case .wantWrite:
      isReadable = false
      readWaitsForWrite = true
      isWritable = false
      return .wouldBlock
    case .closed: return .end
    case .failed: return .failed(SystemError(code: EPROTO))
    }
  }

  /// Sends `bytes`; `more` promises that another send follows at once.
  @inline(__always)
  mutating func send(_ bytes: Bytes, more: Bool) -> IOResult {
    guard isWritable else { return .wouldBlock }
    if let tls { return send(tls, bytes) }
    let result = Socket.send(fd, bytes, more: more)
    switch result {
    case .bytes(let count): if count < bytes.count { isWritable = false }
    case .wouldBlock: isWritable = false
    case .end, .failed: break
    }
    return result
  }

  private mutating func send(_ tls: TLSSession, _ bytes: Bytes) -> IOResult {
    let buffer = unsafe UnsafeRawBufferPointer(start: bytes.unsafeBase, count: bytes.count)
    switch unsafe tls.write(buffer) {
    case .bytes(let count): return .bytes(count)
    case .wantRead, .wantWrite:
      isWritable = false
      return .wouldBlock
    case .closed: return .failed(SystemError(code: EPIPE))
    case .failed: return .failed(SystemError(code: EPROTO))
    }
  }

  /// Sends several pieces by one system call; plain sockets only.
  mutating func send(_ vector: UnsafeMutablePointer<iovec>, count: Int, byteCount: Int) -> IOResult
  {
    guard isWritable else { return .wouldBlock }
    let result = unsafe IOResult(linux_send_vector(fd, vector, count, 0), zeroIsEnd: false)
    switch result {
    case .bytes(let sent): if sent < byteCount { isWritable = false }
    case .wouldBlock: isWritable = false
    case .end, .failed: break
    }
    return result
  }

  /// Sends a piece of a file by sendfile(2); plain sockets only.
  mutating func sendFile(_ file: Int32, offset: inout Int64, count: Int) -> IOResult {
    guard isWritable else { return .wouldBlock }
    let result = Socket.sendFile(fd, file: file, offset: &offset, count: count)
    if case .wouldBlock = result { isWritable = false }
    return result
  }

  /// Whether TLS keeps bytes back that the socket didn't take.
  var holdsLast: Bool { tls?.holdsLast ?? false }

  /// What is sent from here on, a few KiB at most, is the last: close_notify goes along with it,
  /// when `sendLast` is called behind it. Nothing happens without TLS.
  mutating func holdLast() { tls?.holdLast() }

  /// Sends what `holdLast` kept back; `.bytes` when nothing is kept back any more.
  mutating func sendLast() -> IOResult {
    guard let tls else { return .bytes(0) }
    if !isWritable && tls.holdsLast { return .wouldBlock }
    switch tls.sendLast() {
    case .bytes: return .bytes(0)
    case .wantRead, .wantWrite:
      isWritable = false
      return .wouldBlock
    case .closed: return .failed(SystemError(code: EPIPE))
    case .failed: return .failed(SystemError(code: EPROTO))
    }
  }

  /// The client has yet to finish the handshake, behind its early data: only then it can be told
  /// the end, and a socket that is closed with its last flight unread resets the connection.
  var awaitsHandshake: Bool { tls.map { $0.isEarlyData && !$0.isBroken } ?? false }

  /// Says that no more bytes will be sent (close_notify under TLS, FIN otherwise): at once, or when
  /// a read has finished the handshake.
  mutating func shutdownWrite() {
    guard fd >= 0 else { return }
    owesEnd = awaitsHandshake
    if owesEnd { return }
    if let tls { tls.shutdownWrite() }
    _ = linux_shutdown_write(fd)
  }

  /// Closes the socket. `reset` drops what is still queued in the kernel.
  mutating func close(reset: Bool = false) {
    guard fd >= 0 else { return }
    if reset {
      Socket.resetOnClose(fd)
    } else {
      tls?.shutdownWrite()
    }
    tls = nil
    Socket.close(fd)
    fd = -1
  }
}
