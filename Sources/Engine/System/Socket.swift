// Sockets and files without blocking: thin, named forms of the calls the data path makes.

import CLinux
import HTTP

/// The calls on stream sockets and files that worker threads make.
enum Socket {
  /// Receives into `buffer`. Zero bytes from the kernel are `.end`.
  @inline(__always)
  static func receive(_ fd: Int32, into buffer: MutableBytes) -> IOResult {
    unsafe IOResult(linux_recv(fd, buffer.unsafeBase, buffer.count), zeroIsEnd: true)
  }

  /// Sends `bytes`; `more` promises that another send follows at once (MSG_MORE).
  @inline(__always)
  static func send(_ fd: Int32, _ bytes: Bytes, more: Bool) -> IOResult {
    unsafe IOResult(
      linux_send(fd, bytes.unsafeBase, bytes.count, more ? 1 : 0), zeroIsEnd: false)
  }

  /// Sends file content from `offset`, which moves forward by what was sent.
  /// `.end` means that the file ended before `count` bytes.
  static func sendFile(_ fd: Int32, file: Int32, offset: inout Int64, count: Int) -> IOResult {
    unsafe IOResult(linux_sendfile(fd, file, &offset, count), zeroIsEnd: true)
  }

  /// Gives a socket its local address before it connects; without a port the kernel chooses one
  /// that is free for the connection, not for the address.
  static func bind(_ fd: Int32, to address: SocketAddress) -> SystemError? {
    if address.port == 0 {
      _ = linux_set_option(fd, Int32(IPPROTO_IP), IP_BIND_ADDRESS_NO_PORT, 1)
    } else {
      _ = linux_set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1)
    }
    let result = unsafe address.withSockaddr { unsafe linux_bind(fd, $0, $1) }
    return result >= 0 ? nil : SystemError(code: Int32(-result))
  }

  /// A new non-blocking socket that is connected to `address`, or about to be; from the address
  /// `local`, if there is one, and without Nagle's algorithm.
  static func open(
    to address: SocketAddress, from local: SocketAddress? = nil
  ) -> Result<Int32, SystemError> {
    let descriptor = linux_stream_socket(address.family)
    guard descriptor >= 0 else { return .failure(SystemError(code: Int32(-descriptor))) }
    let fd = Int32(descriptor)
    if !address.isUnix { setNoDelay(fd) }
    if let error = local.flatMap({ bind(fd, to: $0) }) ?? connect(fd, to: address) {
      close(fd)
      return .failure(error)
    }
    return .success(fd)
  }

  /// Starts connecting. nil when connected at once or under way.
  static func connect(_ fd: Int32, to address: SocketAddress) -> SystemError? {
    let result = unsafe address.withSockaddr { unsafe linux_connect(fd, $0, $1) }
    if result >= 0 || result == -Int64(EINPROGRESS) { return nil }
    return SystemError(code: Int32(-result))
  }

  /// Takes a connection from the queue of a listening socket: its descriptor and whose it is, or
  /// what the kernel says instead.
  static func accept(_ fd: Int32) -> Result<(fd: Int32, peer: SocketAddress), SystemError> {
    var raw = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let result = unsafe linux_accept(fd, &raw, &length)
    if result < 0 { return .failure(SystemError(code: Int32(-result))) }
    return .success((Int32(result), SocketAddress(raw, length: length)))
  }

  /// The pending error of a socket (SO_ERROR), such as a refused connection.
  static func pendingError(_ fd: Int32) -> SystemError? {
    let value = linux_get_option(fd, SOL_SOCKET, SO_ERROR)
    return value == 0 ? nil : SystemError(code: Int32(abs(value)))
  }

  /// Switches Nagle's algorithm off.
  static func setNoDelay(_ fd: Int32) {
    _ = linux_set_option(fd, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
  }

  /// Lets TCP find out whether the peer of an idle connection is still there.
  static func setKeepAlive(_ fd: Int32) { _ = linux_set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1) }

  /// Makes close(2) send a reset instead of lingering in the kernel.
  static func resetOnClose(_ fd: Int32) { _ = linux_reset_on_close(fd) }

  /// How many bytes of what was sent the peer's kernel has not acknowledged; 0 if that isn't known.
  static func unacknowledgedCount(_ fd: Int32) -> Int { max(0, Int(linux_unacknowledged(fd))) }

  /// The local address of a connected or bound socket.
  static func localAddress(_ fd: Int32) -> SocketAddress {
    var raw = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    guard unsafe linux_local_address(fd, &raw, &length) >= 0 else { return SocketAddress() }
    return SocketAddress(raw, length: length)
  }

  /// Reads file content at `offset`.
  static func read(_ fd: Int32, into buffer: MutableBytes, at offset: Int64) -> IOResult {
    unsafe IOResult(linux_pread(fd, buffer.unsafeBase, buffer.count, offset), zeroIsEnd: true)
  }

  static func close(_ fd: Int32) { _ = linux_close(fd) }
}
