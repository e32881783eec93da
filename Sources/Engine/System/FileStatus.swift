// What the kernel knows of a file: kind, size, times, identity.
//
// Two equal statuses of a file that has come to rest mean that nobody changed it in between.

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
  /// Whether its owner may execute it.
  let isExecutable: Bool
  private let changed: Int
  private let changedNanoseconds: Int
  private let device: UInt64

  /// Whether the file is old enough, at `seconds` since 1970, for its times to tell of every change
  /// from here on: file systems count time in ticks of some milliseconds, some in seconds.
  func hasComeToRest(at seconds: Int) -> Bool { Self.hasComeToRest(modified, at: seconds) }

  /// The same of a file that was `modified` then.
  static func hasComeToRest(_ modified: Int, at seconds: Int) -> Bool { seconds - modified > 2 }

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
    isExecutable = status.st_mode & 0o100 != 0
    // A file may claim any time: far enough from the ends of Int that differences are numbers.
    modified = min(max(status.st_mtim.tv_sec, -1 << 40), 1 << 40)
    modifiedNanoseconds = status.st_mtim.tv_nsec
    changed = status.st_ctim.tv_sec
    changedNanoseconds = status.st_ctim.tv_nsec
    inode = UInt64(status.st_ino)
    device = UInt64(status.st_dev)
  }
}
