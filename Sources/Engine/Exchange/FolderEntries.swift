// The entries of a folder, read at once: for lists of files.

import CLinux
import HTTP

/// One file or folder in a folder.
struct FolderEntry: BitwiseCopyable {
  let name: Bytes
  let status: FileStatus
  var isFolder: Bool { status.kind == .directory }

  /// As lists in XML and JSON say it; what is no file has no size there.
  var typeName: Bytes {
    switch status.kind {
    case .directory: Bytes("directory")
    case .regular: Bytes("file")
    case .other: Bytes("other")
    }
  }
}

/// What stands in a folder, hidden entries (".name") left out.
struct FolderEntries {
  private(set) var list: [FolderEntry] = []
  /// There are more than a list takes.
  private(set) var isCut = false

  // Bound: entries of one list; each costs a system call and a line, 10,000 about 30 ms.
  private static let maxCount = 10_000

  /// Reads the folder at `path`; names are copied to `arena`.
  ///
  /// - Parameter follows: entries that are links are what they point to; otherwise they are left
  ///   out.
  init(_ path: Bytes, follows: Bool, _ arena: inout Arena) throws(SystemError) {
    let name = arena.allocate(path.count + 1)
    name.copy(path, at: 0)
    name[path.count] = 0
    let result = unsafe name.unsafeBase.withMemoryRebound(to: CChar.self, capacity: name.count) {
      unsafe linux_open($0, O_RDONLY | O_DIRECTORY | O_NONBLOCK, 0)
    }
    let descriptor = Int32(try check(result))
    guard let folder = unsafe linux_folder(descriptor) else {
      Socket.close(descriptor)
      throw SystemError(code: ENOTDIR)
    }
    defer { unsafe linux_folder_close(folder) }
    var status = stat()
    var isFound: Int32 = 0
    while let entry = unsafe linux_folder_next(folder, follows ? 1 : 0, &status, &isFound) {
      guard unsafe entry[0] != CChar(bitPattern: UInt8(ascii: ".")), isFound != 0 else { continue }
      if !follows, unsafe linux_is_link(&status) != 0 { continue }
      if list.count == Self.maxCount {
        isCut = true
        return
      }
      let length = unsafe strlen(entry)
      let copy = unsafe entry.withMemoryRebound(to: UInt8.self, capacity: length) {
        unsafe arena.copy(Bytes(base: $0, count: length))
      }
      list.append(FolderEntry(name: copy, status: FileStatus(status)))
    }
  }

  /// Puts folders first, and names in the order of their bytes.
  mutating func sort() {
    list.sort { left, right in
      if left.isFolder != right.isFolder { return left.isFolder }
      return left.name.compare(right.name) < 0
    }
  }
}
