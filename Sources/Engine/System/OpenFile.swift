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

/// A file that spools what does not fit in memory: without a name (O_TMPFILE) unless one is wanted.
final class TemporaryFile: OpenFile {
  private let descriptor: Int32
  private let name: String?
  private var isKept: Bool
  /// The number of bytes written so far.
  private(set) var size = 0

  private init(_ descriptor: Int32, name: String? = nil, isKept: Bool = false) {
    self.descriptor = descriptor
    self.name = name
    self.isKept = isKept
  }

  deinit {
    Socket.close(descriptor)
    if let name, !isKept { _ = unsafe linux_unlink(name) }
  }

  /// Where others can open it; a file without a name only through this process.
  var path: String { name ?? "/proc/\(linux_pid())/fd/\(descriptor)" }

  override var fd: Int32 { descriptor }

  /// Opens a nameless file in `folder`, which must exist.
  static func make(in folder: String) throws(SystemError) -> TemporaryFile {
    TemporaryFile(Int32(try check(unsafe linux_open_temporary(folder))))
  }

  /// Opens a new file with a name in `folder`; it is removed at the end unless it `isKept`.
  static func make(
    in folder: String, named name: String, isKept: Bool
  ) throws(SystemError) -> TemporaryFile {
    let path = folder + "/" + name
    let flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC
    let descriptor = Int32(try check(unsafe linux_open(path, flags, 0o600)))
    return TemporaryFile(descriptor, name: path, isKept: isKept)
  }

  /// Puts the file at `path`, in the place of what is there, and keeps it. A folder that is missing
  /// is made.
  ///
  /// - Precondition: the file has a name.
  func move(to path: String) throws(SystemError) {
    guard let name else { preconditionFailure("a file without a name") }
    var result = unsafe linux_rename(name, path)
    if result == -Int64(ENOENT), let folder = ProcessFiles.parent(of: path) {
      try ProcessFiles.makeFolders(folder, mode: 0o700, parentMode: 0o700)
      result = unsafe linux_rename(name, path)
    }
    _ = try check(result)
    isKept = true
  }

  /// Writes `bytes` over the beginning of the file.
  func overwrite(_ bytes: Bytes) throws(SystemError) {
    let written = try check(unsafe linux_pwrite(fd, bytes.unsafeBase, bytes.count, 0))
    if written < bytes.count { throw SystemError(code: ENOSPC) }
  }

  /// Appends all of `bytes`; if that fails, as on a full disk, none of them count.
  func append(_ bytes: Bytes) throws(SystemError) {
    var rest = bytes
    var end = size
    while !rest.isEmpty {
      let written = try check(unsafe linux_pwrite(fd, rest.unsafeBase, rest.count, Int64(end)))
      end += written
      rest = rest.dropping(written)
    }
    size = end
  }
}
