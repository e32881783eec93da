// Opening one listening socket, with the options of its `listen` directive.

import CLinux

/// Makes and adjusts listening sockets.
enum ListenerSockets {
  /// Which call failed, and how.
  struct OpenFailure: Error {
    let call: String
    let error: SystemError
  }

  /// A socket that listens. `leaving` are sockets of this process that overlap with it and are
  /// given up when it serves: `listen 8080` that becomes `listen 127.0.0.1:8080`. The kernel allows
  /// both for as long as both share the port, and prefers the one with the exact address.
  static func open(
    _ settings: ListenSettings, beside leaving: [Int32] = []
  ) throws(OpenFailure) -> Int32 {
    let fd = try call("socket()", linux_stream_socket(settings.address.family))
    let alone = leaving.filter { linux_get_option($0, SOL_SOCKET, SO_REUSEPORT) == 0 }
    let sharing = leaving.isEmpty ? [] : alone + [Int32(fd)]
    for each in sharing { _ = linux_set_option(each, SOL_SOCKET, SO_REUSEPORT, 1) }
    defer {
      // Nobody else may join the port.
      for each in sharing where each != Int32(fd) || !settings.reusePort {
        _ = linux_set_option(each, SOL_SOCKET, SO_REUSEPORT, 0)
      }
    }
    do {
      try configure(Int32(fd), settings)
      try bind(Int32(fd), settings.address)
      _ = try call("listen()", linux_listen(Int32(fd), Int32(settings.backlog)))
      applyAfterListen(Int32(fd), settings)
    } catch {
      _ = linux_close(Int32(fd))
      throw error
    }
    return Int32(fd)
  }

  /// Why a start would be refused the address of `settings`; nil if it would not, or if it is in
  /// use: most likely by the instance whose next configuration is being tested. Nobody can connect
  /// to what this binds, and a Unix socket that is there already is left alone.
  static func problem(binding settings: ListenSettings) -> String? {
    do throws(OpenFailure) {
      let fd = Int32(try call("socket()", linux_stream_socket(settings.address.family)))
      defer { _ = linux_close(fd) }
      try configure(fd, settings)
      let result = unsafe settings.address.withSockaddr { unsafe linux_bind(fd, $0, $1) }
      if result == -Int64(EADDRINUSE) { return nil }
      _ = try call("bind()", result)
      if settings.address.isUnix { _ = unsafe linux_unlink(settings.address.unixPath) }
      return nil
    } catch {
      return "\(error.call) to \(settings.address.description) failed \(error.error.logText)"
    }
  }

  /// Applies what can change on a socket that listens already.
  static func adjust(_ fd: Int32, from old: ListenSettings, to new: ListenSettings) {
    if new.backlog != old.backlog { _ = linux_listen(fd, Int32(new.backlog)) }
    // The other sockets of the address can be bound only if this one shares its port too.
    if new.reusePort && !new.address.isUnix {
      _ = linux_set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1)
    }
    applyAfterListen(fd, new)
  }

  private static func configure(
    _ fd: Int32, _ settings: ListenSettings
  ) throws(OpenFailure) {
    if settings.address.isUnix { return }
    // A restart must not wait for connections in TIME_WAIT.
    _ = try call("setsockopt(SO_REUSEADDR)", linux_set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1))
    if settings.reusePort {
      _ = try call("setsockopt(SO_REUSEPORT)", linux_set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1))
    }
    if settings.address.family == AF_INET6 {
      _ = linux_set_option(fd, Int32(IPPROTO_IPV6), IPV6_V6ONLY, settings.ipv6Only ? 1 : 0)
    }
  }

  private static func applyAfterListen(_ fd: Int32, _ settings: ListenSettings) {
    if let bytes = settings.receiveBufferBytes {
      _ = linux_set_option(fd, SOL_SOCKET, SO_RCVBUF, Int32(clamping: bytes))
    }
    if let bytes = settings.sendBufferBytes {
      _ = linux_set_option(fd, SOL_SOCKET, SO_SNDBUF, Int32(clamping: bytes))
    }
    if !settings.address.isUnix {
      _ = linux_set_option(
        fd, Int32(IPPROTO_TCP), TCP_DEFER_ACCEPT, settings.deferredAccept ? 1 : 0)
      if let keepAlive = settings.keepAlive { apply(keepAlive, to: fd) }
      if let queue = settings.fastOpen {
        _ = linux_set_option(fd, Int32(IPPROTO_TCP), TCP_FASTOPEN, Int32(clamping: queue))
      }
    }
  }

  /// Connections inherit it from the socket that accepts them.
  private static func apply(_ keepAlive: TCPKeepAlive, to fd: Int32) {
    _ = linux_set_option(fd, SOL_SOCKET, SO_KEEPALIVE, keepAlive.isOn ? 1 : 0)
    let times = [
      (TCP_KEEPIDLE, keepAlive.idleSeconds), (TCP_KEEPINTVL, keepAlive.intervalSeconds),
      (TCP_KEEPCNT, keepAlive.probes),
    ]
    for case (let option, let value?) in times {
      _ = linux_set_option(fd, Int32(IPPROTO_TCP), option, Int32(value))
    }
  }

  private static func bind(_ fd: Int32, _ address: SocketAddress) throws(OpenFailure) {
    var result = unsafe address.withSockaddr { unsafe linux_bind(fd, $0, $1) }
    if result == -Int64(EADDRINUSE) && address.isUnix && isStale(address) {
      _ = unsafe linux_unlink(address.unixPath)
      result = unsafe address.withSockaddr { unsafe linux_bind(fd, $0, $1) }
    }
    _ = try call("bind()", result)
    // Clients of a Unix socket need the right to write to it; the folder says who gets that far.
    if address.isUnix { _ = unsafe linux_chmod(address.unixPath, 0o666) }
  }

  /// Whether the file of a Unix socket was left behind by a process that died. Files of other kinds
  /// refuse connections, too.
  private static func isStale(_ address: SocketAddress) -> Bool {
    guard isSocket(address.unixPath) else { return false }
    switch Socket.open(to: address) {
    case .failure(let error): return error.code == ECONNREFUSED
    case .success(let fd):
      Socket.close(fd)
      return false
    }
  }

  /// Whether there is a socket at `path` itself.
  static func isSocket(_ path: String) -> Bool {
    var status = stat()
    return unsafe linux_stat_at(AT_FDCWD, path, &status) >= 0 && linux_is_socket(&status) != 0
  }

  private static func call(_ name: String, _ result: Int64) throws(OpenFailure) -> Int64 {
    if result < 0 {
      throw OpenFailure(call: name, error: SystemError(code: Int32(truncatingIfNeeded: -result)))
    }
    return result
  }
}
