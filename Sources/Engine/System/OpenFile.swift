// A descriptor of a file that closes itself with its last user: a cached file that is being sent
// outlives its eviction, a temporary file vanishes with its exchange.

import CLinux
import HTTP

/// An open file. Subclasses know more about it.
class OpenFile {
  /// The descriptor, or -1.
  var fd: Int32 { -1 }
  /// Counts another user; each says `release` when it is done.
  func retain() {}
  /// A user is done.
  func release() {}
}

/// A file without a name (O_TMPFILE) that spools what does not fit in memory.
final class TemporaryFile: OpenFile {
  private let descriptor: Int32
  /// The number of bytes written so far.
  private(set) var size = 0

  private init(_ descriptor: Int32) { self.descriptor = descriptor }

  deinit { Socket.close(descriptor) }

  override var fd: Int32 { descriptor }

  /// Opens a nameless file in `folder`, which must exist.
  static func make(in folder: String) throws(SystemError) -> TemporaryFile {
    TemporaryFile(Int32(try check(unsafe linux_open_temporary(folder))))
  }

  /// Appends all of `bytes`; a full disk is an error.
  func append(_ bytes: Bytes) throws(SystemError) {
    var rest = bytes
    while !rest.isEmpty {
      let written = try check(unsafe linux_pwrite(fd, rest.unsafeBase, rest.count, Int64(size)))
      size += written
      rest = rest.dropping(written)
    }
  }
}
