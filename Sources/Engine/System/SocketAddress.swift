// Socket addresses: parsed from the configuration, given by accept, printed into logs and
// variables.
//
// Each connection of a client keeps one, so it takes 24 bytes; the form that the kernel wants, 128
// bytes, is made when it is asked for something.

import CLinux
import HTTP

/// An IPv4, IPv6 or Unix socket address.
struct SocketAddress: Hashable, Sendable {
  private enum Form: Hashable {
    case none
    case ip(IPEndpoint)
    case unix(path: String)
  }

  private var form = Form.none

  /// AF_INET, AF_INET6, AF_UNIX, or 0 when empty.
  var family: Int32 {
    switch form {
    case .none: 0
    case .ip(let endpoint): endpoint.address.isV6 ? AF_INET6 : AF_INET
    case .unix: AF_UNIX
    }
  }

  var isUnix: Bool {
    if case .unix = form { return true }
    return false
  }

  init() {}

  init(_ endpoint: IPEndpoint) { form = .ip(endpoint) }

  /// An address of four or sixteen bytes in network order.
  init(bytes: [UInt8], port: UInt16) {
    guard let address = bytes.withBytes({ IPAddress(bytes: $0) }) else {
      preconditionFailure("neither four bytes nor sixteen")
    }
    self.init(IPEndpoint(address, port: port))
  }

  /// The address of a Unix socket, or nil if `path` is longer than 107 bytes.
  init?(unixPath path: String) {
    guard path.utf8.count <= Self.longestUnixPath else { return nil }
    form = .unix(path: path)
  }

  /// A literal IPv4 or IPv6 address (without brackets), or nil.
  init?(literal: String, port: UInt16) {
    guard let address = Array(literal.utf8).withBytes({ IPAddress($0) }) else { return nil }
    self.init(IPEndpoint(address, port: port))
  }

  /// What the kernel wrote to the first `length` bytes of `raw`. Empty for other families.
  init(_ raw: borrowing sockaddr_storage, length: socklen_t) {
    let (family, path) = (Int32(raw.ss_family), Self.unixPathOffset)
    unsafe withUnsafeBytes(of: raw) { raw in
      // sin_port and sin6_port are at the same place.
      let port = UInt16(bigEndian: unsafe raw.loadUnaligned(fromByteOffset: 2, as: UInt16.self))
      switch family {
      case AF_INET:
        let number = UInt32(bigEndian: unsafe raw.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
        form = .ip(IPEndpoint(IPAddress(v4: number), port: port))
      case AF_INET6:
        let high = UInt64(bigEndian: unsafe raw.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
        let low = UInt64(bigEndian: unsafe raw.loadUnaligned(fromByteOffset: 16, as: UInt64.self))
        form = .ip(IPEndpoint(IPAddress(high: high, low: low), port: port))
      case AF_UNIX:
        let bytes = unsafe raw[path..<max(path, min(Int(length), raw.count))].prefix { $0 != 0 }
        form = unsafe .unix(path: String(decoding: bytes, as: UTF8.self))
      default: form = .none
      }
    }
  }

  /// The IP address; nil for a Unix socket.
  var ip: IPAddress? {
    if case .ip(let endpoint) = form { return endpoint.address }
    return nil
  }

  /// The port, or 0 for a Unix socket.
  var port: UInt16 {
    get {
      if case .ip(let endpoint) = form { return endpoint.port }
      return 0
    }
    set {
      if case .ip(let endpoint) = form { form = .ip(IPEndpoint(endpoint.address, port: newValue)) }
    }
  }

  /// The four or sixteen bytes of the address in network order; empty for a Unix socket.
  var addressBytes: [UInt8] {
    guard let ip else { return [] }
    return (0..<ip.byteCount).map { ip.byte($0) }
  }

  /// Whether this is 0.0.0.0 or ::.
  var isWildcard: Bool {
    guard let ip else { return false }
    return ip.high == 0 && ip.low == 0
  }

  /// The path of a Unix socket.
  var unixPath: String {
    if case .unix(let path) = form { return path }
    return ""
  }

  /// Writes the textual address without port ("127.0.0.1", "::1", "unix:") and returns its length.
  func writeHost(into output: MutableBytes) -> Int {
    guard let ip else {
      let text = Bytes("unix:")
      output.copy(text, at: 0)
      return text.count
    }
    var network = (ip.high.bigEndian, ip.low.bigEndian)
    let isWritten = unsafe withUnsafeBytes(of: &network) { raw in
      let source = unsafe raw.baseAddress! + (ip.isV6 ? 0 : 12)
      return unsafe output.unsafeBase.withMemoryRebound(to: CChar.self, capacity: output.count) {
        unsafe inet_ntop(family, source, $0, socklen_t(output.count)) != nil
      }
    }
    guard isWritten else { return 0 }
    var length = 0
    while length < output.count && output[length] != 0 { length += 1 }
    return length
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
    var raw = sockaddr_storage()
    raw.ss_family = sa_family_t(family)
    let length = unsafe withUnsafeMutableBytes(of: &raw) { unsafe write(to: $0) }
    return unsafe withUnsafeBytes(of: raw) { unsafe body($0.baseAddress!, socklen_t(length)) }
  }

  // --- the kernel's form -------------------------------------------------------------------------

  /// Where `sun_path` begins.
  private static let unixPathOffset = MemoryLayout<sa_family_t>.size
  /// How many bytes the path of a Unix socket may have; a NUL follows them.
  static let longestUnixPath = unixPathByteCount - 1
  private static let unixPathByteCount = MemoryLayout<sockaddr_un>.size - unixPathOffset

  /// Writes everything behind the family, and returns how many bytes count.
  private func write(to raw: UnsafeMutableRawBufferPointer) -> Int {
    switch form {
    case .none: return 0
    case .ip(let endpoint):
      let address = endpoint.address
      unsafe raw.storeBytes(of: endpoint.port.bigEndian, toByteOffset: 2, as: UInt16.self)
      guard address.isV6 else {
        let number = UInt32(truncatingIfNeeded: address.low).bigEndian
        unsafe raw.storeBytes(of: number, toByteOffset: 4, as: UInt32.self)
        return MemoryLayout<sockaddr_in>.size
      }
      unsafe raw.storeBytes(of: address.high.bigEndian, toByteOffset: 8, as: UInt64.self)
      unsafe raw.storeBytes(of: address.low.bigEndian, toByteOffset: 16, as: UInt64.self)
      return MemoryLayout<sockaddr_in6>.size
    case .unix(let path):
      // A path that the kernel gave may have become longer, if it wasn't UTF-8.
      unsafe UnsafeMutableRawBufferPointer(rebasing: raw[Self.unixPathOffset...])
        .copyBytes(from: path.utf8.prefix(Self.unixPathByteCount - 1))
      return MemoryLayout<sockaddr_un>.size
    }
  }
}
