// What the kernel answers, as Swift values. Every system call of the engine goes through CLinux,
// whose functions return a value or -errno; the types here give those answers names.

import CLinux
import HTTP

/// An error number of Linux (errno(3)).
struct SystemError: Error, Equatable, BitwiseCopyable {
  /// The positive error number, such as ECONNREFUSED.
  let code: Int32

  /// The kernel's own words, such as "Connection refused".
  var text: String {
    var storage = [CChar](repeating: 0, count: 128)
    guard unsafe linux_error_text(code, &storage, storage.count) == 0 else {
      return "error \(code)"
    }
    return String(decoding: storage.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// Whether it says that this machine lacks something (descriptors, memory, local ports), and
  /// nothing of the other side.
  var isShortage: Bool {
    switch code {
    case EMFILE, ENFILE, ENOBUFS, ENOMEM, EADDRNOTAVAIL, EAGAIN: true
    default: false
    }
  }

  /// The form that nginx's logs use: "(111: Connection refused)".
  var logText: String { "(\(code): \(text))" }
}

/// Turns a CLinux answer into a value or a thrown `SystemError`.
@inline(__always)
func check(_ result: Int64) throws(SystemError) -> Int {
  if result < 0 { throw SystemError(code: Int32(truncatingIfNeeded: -result)) }
  return Int(result)
}

/// The outcome of moving bytes to or from a descriptor, without blocking.
enum IOResult: BitwiseCopyable {
  /// This many bytes moved.
  case bytes(Int)
  /// Nothing can move until the descriptor is ready again.
  case wouldBlock
  /// The peer closed its side.
  case end
  /// The descriptor is of no more use.
  case failed(SystemError)

  /// Reads a CLinux answer; zero means the end of the stream when `zeroIsEnd`.
  @inline(__always)
  init(_ result: Int64, zeroIsEnd: Bool) {
    if result > 0 {
      self = .bytes(Int(result))
    } else if result == 0 {
      self = zeroIsEnd ? .end : .bytes(0)
    } else if result == -Int64(EAGAIN) || result == -Int64(EINTR) {
      self = .wouldBlock
    } else {
      self = .failed(SystemError(code: Int32(-result)))
    }
  }
}

/// Milliseconds of the monotonic clock, or a span of them.
typealias Milliseconds = Int

/// The clocks that a loop reads once per turn.
enum Clock {
  /// Milliseconds since an arbitrary moment; never goes back.
  static var monotonic: Milliseconds { Int(linux_monotonic_ms()) }
  /// Milliseconds since 1970.
  static var wall: Milliseconds { Int(linux_wall_ms()) }
}

/// The name of this machine, for `$hostname`.
enum HostName {
  static var current: String {
    var storage = [CChar](repeating: 0, count: 256)
    guard unsafe gethostname(&storage, storage.count - 1) == 0 else { return "localhost" }
    return String(decoding: storage.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
      .lowercased()
  }
}
