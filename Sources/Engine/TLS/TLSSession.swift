// One TLS connection: an SSL on a non-blocking socket, driven by the loop that owns it.
//
// The owner calls `handshake` until it answers `.bytes(0)`, then `read` and `write`; after
// `.wantRead` or `.wantWrite` it waits for epoll. Before each step that follows a readable event it
// calls `socketBecameReadable`: between a short receive and that call no read makes a system call.
//
//   handshaking ──► open ──► ended          ended: close_notify, end of input or failure was seen;
//        └──► early ──┘                     every further read answers the same
//
// A write that answered `.wantWrite` must be repeated with the same bytes in front (from anywhere
// in memory, and at least as many). The descriptor is the owner's; it outlives the session.

import COpenSSL
import HTTP

/// A TLS session on a socket.
@safe
final class TLSSession {
  private enum Phase: BitwiseCopyable {
    case handshaking
    /// The client's early data is being read; the handshake has not ended (RFC 8446 §2.3).
    case early
    case open
  }

  let ssl: OpaquePointer
  let io: UnsafeMutablePointer<portico_bio>
  private var phase = Phase.handshaking
  private var ending: TLSResult?
  private(set) var isBroken = false
  /// close_notify was sent. OpenSSL forgets it when the peer closes without one.
  var didSayGoodbye = false
  private var triesEarlyData = false
  private var earlyByte: UInt8?

  /// The context in force: the resolver's choice, once it has chosen. Nil on the client side.
  private(set) var serverContext: TLSServerContext?
  /// The context that the session began with, which OpenSSL's callbacks about sessions get.
  let firstContext: TLSServerContext?
  private let clientContext: TLSClientContext?
  private let resolver: TLSNameResolver?
  private(set) var hasChosenContext = false
  /// HTTP/2 is offered by ALPN whatever the context says: the listening socket speaks it.
  var offersHTTP2 = false
  private var isRejected = false
  private var isUnusable = false
  private var name: UnsafeMutableBufferPointer<UInt8>?
  private let verifyName: String?
  /// What the owner knows of the connection; it outlives the session.
  unowned(unsafe) var connection: AnyObject?

  /// The newest session that the server gave us for resumption. Client side only.
  private(set) var resumption: TLSResumption?

  /// A server's session for a connection accepted on `fd`. Nil when memory is exhausted.
  init?(server context: TLSServerContext, fd: Int32, resolver: TLSNameResolver? = nil) {
    guard let made = unsafe Self.make(context.handle, context.library, fd) else { return nil }
    unsafe (ssl, io) = made
    serverContext = context
    firstContext = context
    clientContext = nil
    self.resolver = resolver
    verifyName = nil
    triesEarlyData = context.earlyData
    unsafe io.pointee.owner = Unmanaged.passUnretained(self).toOpaque()
    unsafe SSL_set_accept_state(ssl)
  }

  /// A client's session for a connection made on `fd`. `serverName` is sent as SNI; `verifyName` is
  /// what the certificate must be for, when the context verifies. Nil when a name can't be used
  /// (NUL, too long) or memory is exhausted.
  init?(
    client context: TLSClientContext, fd: Int32, serverName: String?, verifyName: String?,
    resuming: TLSResumption? = nil
  ) {
    guard let made = unsafe Self.make(context.handle, context.library, fd) else { return nil }
    unsafe (ssl, io) = made
    serverContext = nil
    firstContext = nil
    clientContext = context
    resolver = nil
    self.verifyName = verifyName
    unsafe io.pointee.owner = Unmanaged.passUnretained(self).toOpaque()
    unsafe SSL_set_connect_state(ssl)
    portico_clear_errors()
    if let serverName, unsafe portico_ssl_set_server_name(ssl, serverName) != 1 { return nil }
    if context.verify {
      guard let verifyName, !verifyName.isEmpty, !verifyName.utf8.contains(0),
        unsafe portico_ssl_expect_name(ssl, verifyName) == 1
      else { return nil }
    }
    if let resuming, resuming.context === context, resuming.verifyName == verifyName {
      unsafe SSL_set_session(ssl, resuming.handle)
    }
  }

  deinit {
    if !isBroken && phase == .open { unsafe portico_ssl_keep_session(ssl) }
    unsafe SSL_free(ssl)
    unsafe portico_bio_drop_held(io)
    unsafe io.deallocate()
    unsafe name?.deallocate()
  }

  private static func make(
    _ context: OpaquePointer, _ library: TLSLibrary, _ fd: Int32
  ) -> (OpaquePointer, UnsafeMutablePointer<portico_bio>)? {
    portico_clear_errors()
    guard let ssl = unsafe SSL_new(context) else { return nil }
    let io = UnsafeMutablePointer<portico_bio>.allocate(capacity: 1)
    var state = unsafe portico_bio()
    unsafe state.fd = fd
    unsafe state.gathers = UInt8(PORTICO_GATHER_FLIGHT)
    unsafe io.initialize(to: state)
    guard unsafe portico_bio_attach(library.transport, ssl, io) == 1 else {
      unsafe SSL_free(ssl)
      unsafe io.deallocate()
      return nil
    }
    return unsafe (ssl, io)
  }

  // MARK: Steps, in the order they are called

  /// epoll reported the socket as readable, or as hung up by the peer (EPOLLRDHUP, EPOLLHUP,
  /// EPOLLERR): the end of the stream gives no further event, so that from then on reads go on
  /// until they see it.
  func socketBecameReadable(peerHungUp: Bool = false) {
    unsafe portico_bio_readable(io, peerHungUp ? 1 : 0)
  }

  /// Goes on with the handshake: `.bytes(0)` when it is done, or when early data can be read.
  func handshake() -> TLSResult {
    if let ending { return ending }
    if triesEarlyData {
      var byte: UInt8 = 0
      var count = 0
      portico_clear_errors()
      switch unsafe SSL_read_early_data(ssl, &byte, 1, &count) {
      case SSL_READ_EARLY_DATA_SUCCESS:
        triesEarlyData = false
        earlyByte = byte
        phase = .early
        return .bytes(0)
      case SSL_READ_EARLY_DATA_FINISH: triesEarlyData = false
      default: return outcome(0)
      }
    }
    portico_clear_errors()
    let status = unsafe SSL_do_handshake(ssl)
    guard status == 1 else { return outcome(status) }
    open()
    return .bytes(0)
  }

  /// Reads until `buffer` is full or nothing more can be had without waiting.
  ///
  /// `.bytes` is at least 1. Whether a further read could give more, `canReadMore` says.
  func read(into buffer: UnsafeMutableRawBufferPointer) -> TLSResult {
    if let ending { return ending }
    var total = 0
    while total < buffer.count {
      var count = 0
      let room = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[total...])
      let status = unsafe phase == .early ? readEarly(room, &count) : readRecord(room, &count)
      total += count
      if status == 1 {
        if !canReadMore { break }
        continue
      }
      let result = outcome(status)
      if total > 0 { break }
      if case .wantRead = result { return flushBeforeWaiting() }
      return result
    }
    return .bytes(total)
  }

  /// Writes as much of `bytes` as the socket takes. `.bytes` is at least 1 unless `bytes` is empty.
  func write(_ bytes: UnsafeRawBufferPointer) -> TLSResult {
    if isBroken, let ending { return ending }
    var total = 0
    while total < bytes.count {
      var count = 0
      let rest = unsafe UnsafeRawBufferPointer(rebasing: bytes[total...])
      portico_clear_errors()
      let status: Int32
      if phase == .early && !isHandshakeFinished {
        // OpenSSL ignores that a flush fell short here: what is held must leave first.
        switch flush() {
        case .bytes: break
        case let stopped: return total > 0 ? .bytes(total) : stopped
        }
        status = unsafe SSL_write_early_data(ssl, rest.baseAddress, rest.count, &count)
      } else {
        status = unsafe SSL_write_ex(ssl, rest.baseAddress, rest.count, &count)
      }
      guard status == 1 else {
        let result = outcome(status)
        return total > 0 ? .bytes(total) : result
      }
      total += count
    }
    return .bytes(total)
  }

  /// Sends what the session itself holds back: the ticket of TLS 1.3, which otherwise leaves in
  /// front of the first bytes written or when a read finds nothing. `.bytes(0)` when nothing is
  /// held any more.
  func flush() -> TLSResult {
    switch unsafe portico_bio_flush(io) {
    case 1: return .bytes(0)
    case 0: return .wantWrite
    default: return fail(code: 0)
    }
  }

  // MARK: State

  /// The last receive emptied the socket: until epoll reports it again there is nothing to receive.
  var didReadShort: Bool { unsafe io.pointee.drained != 0 }

  /// A read may give bytes, or will give the end, before epoll reports the socket again.
  var canReadMore: Bool {
    unsafe io.pointee.drained == 0 || ending != nil || SSL_has_pending(ssl) == 1
  }

  /// A client's session that takes only servers whose certificate is trusted.
  var verifiesServer: Bool { clientContext?.verify == true }

  /// Something that must leave is waiting for the socket or for the first write.
  var holdsOutput: Bool { unsafe io.pointee.heldCount > 0 }

  /// The peer closed the connection without close_notify: what it sent may have been cut off.
  var wasTruncated: Bool { unsafe io.pointee.sawEOF != 0 }

  /// The handshake is complete. False while early data is being read, which could be a replay: the
  /// value of `$ssl_early_data`.
  var isHandshakeFinished: Bool { unsafe SSL_is_init_finished(ssl) == 1 }

  /// What we read so far was early data, and may be a replay (RFC 8470).
  var isEarlyData: Bool { phase == .early && !isHandshakeFinished }

  /// The name that the client asked for, lower-case and without a trailing dot; empty when it sent
  /// none. Lives as long as the session.
  var serverName: Bytes {
    guard let name = unsafe name, let base = name.baseAddress else { return Bytes() }
    return unsafe Bytes(base: base, count: name.count)
  }

  // MARK: Called by OpenSSL, through the callbacks of this folder

  /// The session whose SSL this is. It is alive: it frees the SSL when it goes.
  @unsafe
  static func owner(of ssl: OpaquePointer?) -> TLSSession? {
    guard let pointer = unsafe portico_ssl_owner(ssl) else { return nil }
    return unsafe Unmanaged<TLSSession>.fromOpaque(pointer).takeUnretainedValue()
  }

  /// Keeps a lower-case copy of the name.
  func remember(serverName: Bytes) {
    var count = serverName.count
    if count > 1, serverName[count - 1] == UInt8(ascii: ".") { count -= 1 }
    let copy = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: count)
    for index in 0..<count {
      unsafe copy.initializeElement(at: index, to: ASCII.lowercased(serverName[index]))
    }
    unsafe name?.deallocate()
    unsafe name = copy
  }

  /// Keeps the session for resumption; true when the reference is taken over.
  @unsafe
  func remember(resumable: OpaquePointer) -> Bool {
    guard let clientContext else { return false }
    resumption = unsafe TLSResumption(
      handle: resumable, context: clientContext, verifyName: verifyName)
    return true
  }

  /// Finds certificates that depend on the handshake, where the context has such.
  func findCertificates() -> Bool {
    guard let dynamic = serverContext?.dynamic else { return true }
    return resolver?.findCertificates(dynamic, for: self) ?? false
  }

  /// How the choice of a context ended.
  enum ChoiceOutcome { case accepted, rejected, broken }

  /// Asks the resolver, and moves the connection to the policy that it names.
  func chooseContext() -> ChoiceOutcome {
    hasChosenContext = true
    let name: Bytes? = serverName.isEmpty ? nil : serverName
    switch resolver?.context(for: name, session: self) ?? .keep {
    case .keep: break
    case .use(let context):
      if context !== serverContext && !adopt(context) { return .broken }
    case .reject: isRejected = true
    case .fail:
      isUnusable = true
      return .broken
    }
    if serverContext?.rejectHandshake ?? true { isRejected = true }
    return isRejected ? .rejected : .accepted
  }

  private func adopt(_ context: TLSServerContext) -> Bool {
    guard unsafe portico_ssl_switch(ssl, context.handle) == 1 else { return false }
    // These were copied into the SSL when it was made.
    if context.cipherSuites != serverContext?.cipherSuites {
      let suites =
        context.cipherSuites
        ?? "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256"
      guard unsafe SSL_set_ciphersuites(ssl, suites) == 1 else { return false }
    }
    if context.ecdhCurve != serverContext?.ecdhCurve {
      guard unsafe portico_ssl_set_curves(ssl, context.ecdhCurve) == 1 else { return false }
    }
    if context.recordBytes != serverContext?.recordBytes {
      _ = unsafe portico_ssl_set_record_size(ssl, context.recordBytes)
    }
    serverContext = context
    return true
  }

  // MARK: Helpers

  private func open() {
    phase = .open
    unsafe io.pointee.gathers = UInt8(PORTICO_GATHER_NOTHING)
  }

  private func readRecord(_ room: UnsafeMutableRawBufferPointer, _ count: inout Int) -> Int32 {
    portico_clear_errors()
    return unsafe SSL_read_ex(ssl, room.baseAddress, room.count, &count)
  }

  /// Reads early data; once it has ended, SSL_read completes the handshake and reads what follows.
  private func readEarly(_ room: UnsafeMutableRawBufferPointer, _ count: inout Int) -> Int32 {
    if let byte = earlyByte {
      unsafe room[0] = byte
      earlyByte = nil
      count = 1
      return 1
    }
    portico_clear_errors()
    let status = unsafe SSL_read_early_data(ssl, room.baseAddress, room.count, &count)
    if status == SSL_READ_EARLY_DATA_SUCCESS { return 1 }
    guard status == SSL_READ_EARLY_DATA_FINISH else { return 0 }
    if count > 0 { return 1 }
    let read = unsafe readRecord(room, &count)
    if isHandshakeFinished { open() }
    return read
  }

  private func flushBeforeWaiting() -> TLSResult {
    if !holdsOutput || phase == .handshaking { return .wantRead }
    if case .failed(let failure) = flush() { return .failed(failure) }
    return .wantRead
  }

  /// What a step that did not succeed means. An end is remembered.
  private func outcome(_ status: Int32) -> TLSResult {
    switch unsafe SSL_get_error(ssl, status) {
    case SSL_ERROR_WANT_READ: return .wantRead
    case SSL_ERROR_WANT_WRITE: return .wantWrite
    case SSL_ERROR_ZERO_RETURN:
      ending = .closed
      return .closed
    default: return fail(code: ERR_peek_error())
    }
  }

  private func fail(code: UInt) -> TLSResult {
    ERR_clear_error()
    isBroken = true
    let systemError = unsafe io.pointee.error
    let isRefusal = portico_is_verify_failure(code) != 0
    let result: TLSResult
    if code == 0 && systemError == 0 && wasTruncated {
      result = .closed
    } else {
      let verifyError = unsafe isRefusal ? Int32(clamping: SSL_get_verify_result(ssl)) : 0
      result = .failed(
        TLSFailure(
          code: code, systemError: systemError, verifyError: verifyError, isRejected: isRejected,
          isUnusable: isUnusable))
    }
    ending = result
    return result
  }
}
