// What the kernel knows of a file: kind, size, times, identity.
//
// Two equal statuses mean that nobody changed the file in between, but for changes within one tick
// of the file system's clock (see `restSeconds` of the pool).

import CLinux

/// The part of stat(2) that serving files needs.
struct FileStatus: Equatable, BitwiseCopyable {
  enum Kind: BitwiseCopyable { case regular, directory, other }

  let kind: Kind
  /// In bytes.
  let size: Int
  /// When the content changed, in seconds since 1970.
  let modified: Int
  let inode: UInt64
  private let modifiedNanoseconds: Int
  /// Whether somebody may execute it.
  let isExecutable: Bool
  private let changed: Int
  private let changedNanoseconds: Int
  private let device: UInt64

  /// The status of the file at a C string, symbolic links followed.
  static func of(path: UnsafePointer<CChar>) -> Result<FileStatus, SystemError> {
    var status = stat()
    let result = unsafe linux_stat(path, &status)
    return result < 0 ? .failure(SystemError(code: Int32(-result))) : .success(Self(status))
  }

  /// The status of an open file.
  static func of(descriptor: Int32) -> Result<FileStatus, SystemError> {
    var status = stat()
    let result = unsafe linux_fstat(descriptor, &status)
    return result < 0 ? .failure(SystemError(code: Int32(-result))) : .success(Self(status))
  }

  init(_ status: stat) {
    var status = status
    if unsafe linux_is_regular(&status) != 0 {
      kind = .regular
    } else {
      kind = unsafe linux_is_directory(&status) != 0 ? .directory : .other
    }
    size = Int(status.st_size)
    isExecutable = status.st_mode & 0o111 != 0
    // A file may claim any time: far enough from the ends of Int that differences are numbers.
    modified = min(max(status.st_mtim.tv_sec, -1 << 40), 1 << 40)
    modifiedNanoseconds = status.st_mtim.tv_nsec
    changed = status.st_ctim.tv_sec
    changedNanoseconds = status.st_ctim.tv_nsec
    inode = UInt64(status.st_ino)
    device = UInt64(status.st_dev)
  }
}
