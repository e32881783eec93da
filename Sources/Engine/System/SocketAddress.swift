// Socket addresses: parsed from the configuration, given by accept, printed into logs and variables.

import CLinux
import HTTP

/// An IPv4, IPv6 or Unix socket address, stored as the kernel wants it.
struct SocketAddress: Sendable {
  /// Large enough for `sockaddr_un`.
  var storage = sockaddr_storage()
  /// How much of `storage` counts.
  var length: socklen_t = 0

  /// AF_INET, AF_INET6, AF_UNIX, or 0 when empty.
  var family: Int32 { Int32(storage.ss_family) }

  var isUnix: Bool { family == AF_UNIX }

  init() {}

  /// An address of four or sixteen bytes in network order.
  init(bytes: [UInt8], port: UInt16) {
    if bytes.count == 4 {
      var address = sockaddr_in()
      address.sin_family = sa_family_t(AF_INET)
      address.sin_port = port.bigEndian
      unsafe withUnsafeMutableBytes(of: &address.sin_addr) { unsafe $0.copyBytes(from: bytes) }
      self.init(address, of: sockaddr_in.self)
    } else {
      precondition(bytes.count == 16)
      var address = sockaddr_in6()
      address.sin6_family = sa_family_t(AF_INET6)
      address.sin6_port = port.bigEndian
      unsafe withUnsafeMutableBytes(of: &address.sin6_addr) { unsafe $0.copyBytes(from: bytes) }
      self.init(address, of: sockaddr_in6.self)
    }
  }

  init(_ endpoint: IPEndpoint) {
    let address = endpoint.address
    if address.isV6 {
      var raw = sockaddr_in6()
      raw.sin6_family = sa_family_t(AF_INET6)
      raw.sin6_port = endpoint.port.bigEndian
      unsafe withUnsafeMutableBytes(of: &raw.sin6_addr) { bytes in
        unsafe bytes.storeBytes(of: address.high.bigEndian, as: UInt64.self)
        unsafe bytes.storeBytes(of: address.low.bigEndian, toByteOffset: 8, as: UInt64.self)
      }
      self.init(raw, of: sockaddr_in6.self)
    } else {
      var raw = sockaddr_in()
      raw.sin_family = sa_family_t(AF_INET)
      raw.sin_port = endpoint.port.bigEndian
      raw.sin_addr.s_addr = UInt32(truncatingIfNeeded: address.low).bigEndian
      self.init(raw, of: sockaddr_in.self)
    }
  }

  /// The IP address; nil for a Unix socket.
  var ip: IPAddress? {
    unsafe withUnsafeBytes(of: storage) { raw in
      switch family {
      case AF_INET:
        IPAddress(v4: UInt32(bigEndian: unsafe raw.loadUnaligned(fromByteOffset: 4, as: UInt32.self)))
      case AF_INET6:
        IPAddress(
          high: UInt64(bigEndian: unsafe raw.loadUnaligned(fromByteOffset: 8, as: UInt64.self)),
          low: UInt64(bigEndian: unsafe raw.loadUnaligned(fromByteOffset: 16, as: UInt64.self)))
      default: nil
      }
    }
  }

  /// The address of a Unix socket, or nil if `path` is longer than 107 bytes.
  init?(unixPath path: String) {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let bytes = Array(path.utf8)
    guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else { return nil }
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: bytes) }
    self.init(address, of: sockaddr_un.self)
  }

  /// A literal IPv4 or IPv6 address (without brackets), or nil.
  init?(literal: String, port: UInt16) {
    var four = in_addr()
    var six = in6_addr()
    if unsafe inet_pton(AF_INET, literal, &four) == 1 {
      self.init(bytes: unsafe withUnsafeBytes(of: four) { unsafe Array($0) }, port: port)
    } else if unsafe inet_pton(AF_INET6, literal, &six) == 1 {
      self.init(bytes: unsafe withUnsafeBytes(of: six) { unsafe Array($0) }, port: port)
    } else {
      return nil
    }
  }

  private init<T>(_ address: T, of type: T.Type) {
    unsafe withUnsafeMutableBytes(of: &storage) { to in
      unsafe withUnsafeBytes(of: address) { unsafe to.copyMemory(from: $0) }
    }
    length = socklen_t(MemoryLayout<T>.size)
  }

  /// The port, or 0 for a Unix socket.
  var port: UInt16 {
    get {
      // sin_port and sin6_port are at the same place.
      guard family == AF_INET || family == AF_INET6 else { return 0 }
      return unsafe withUnsafeBytes(of: storage) {
        UInt16(bigEndian: unsafe $0.loadUnaligned(fromByteOffset: 2, as: UInt16.self))
      }
    }
    set {
      guard family == AF_INET || family == AF_INET6 else { return }
      unsafe withUnsafeMutableBytes(of: &storage) {
        unsafe $0.storeBytes(of: newValue.bigEndian, toByteOffset: 2, as: UInt16.self)
      }
    }
  }

  /// The four or sixteen bytes of the address in network order; empty for a Unix socket.
  var addressBytes: [UInt8] {
    unsafe withUnsafeBytes(of: storage) {
      switch family {
      case AF_INET: unsafe Array($0[4..<8])
      case AF_INET6: unsafe Array($0[8..<24])
      default: []
      }
    }
  }

  /// Whether this is 0.0.0.0 or ::.
  var isWildcard: Bool { !isUnix && addressBytes.allSatisfy { $0 == 0 } }

  /// The path of a Unix socket.
  var unixPath: String {
    guard isUnix else { return "" }
    return unsafe withUnsafeBytes(of: storage) {
      let bytes = unsafe $0[2..<max(2, Int(length))]
      return unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
  }

  /// Writes the textual address without port ("127.0.0.1", "::1", "unix:") and returns its length.
  func writeHost(into output: MutableBytes) -> Int {
    if family == AF_INET || family == AF_INET6 {
      let written = unsafe withUnsafeBytes(of: storage) { raw -> Bool in
        let source = unsafe raw.baseAddress! + (family == AF_INET ? 4 : 8)
        return unsafe output.unsafeBase.withMemoryRebound(to: CChar.self, capacity: output.count) {
          unsafe inet_ntop(family, source, $0, socklen_t(output.count)) != nil
        }
      }
      guard written else { return 0 }
      var length = 0
      while length < output.count && output[length] != 0 { length += 1 }
      return length
    }
    let text = Bytes("unix:")
    output.copy(text, at: 0)
    return text.count
  }

  /// The textual address without port.
  var host: String {
    guard !isUnix else { return "unix:" }
    var storage = [UInt8](repeating: 0, count: 64)
    let count = unsafe storage.withUnsafeMutableBufferPointer {
      writeHost(into: unsafe MutableBytes(base: $0.baseAddress!, count: 64))
    }
    return String(decoding: storage.prefix(count), as: UTF8.self)
  }

  /// As nginx prints it: "127.0.0.1:80", "[::1]:80", "unix:/run/app.sock".
  var description: String {
    switch family {
    case AF_INET: "\(host):\(port)"
    case AF_INET6: "[\(host)]:\(port)"
    case AF_UNIX: "unix:\(unixPath)"
    default: "-"
    }
  }

  /// Calls `body` with what bind(2) and connect(2) take.
  func withSockaddr<R>(_ body: (UnsafeRawPointer, socklen_t) -> R) -> R {
    unsafe withUnsafeBytes(of: storage) { unsafe body($0.baseAddress!, length) }
  }
}

extension SocketAddress: Hashable {
  static func == (a: SocketAddress, b: SocketAddress) -> Bool { a.description == b.description }
  func hash(into hasher: inout Hasher) { hasher.combine(description) }
}
