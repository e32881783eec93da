// Whole files, folders and paths, for the code that runs at start and at reload: the supervisor,
// the bundle, the command line. Everything here may block; no worker thread calls it.

import CLinux

/// Reads and writes whole files.
enum ProcessFiles {
  // Bound: one file of a configuration. A larger one is a mistake (a disk image behind a wrong
  // path), and refusing it names the mistake.
  static let fileLimitBytes = 64 << 20

  /// The content of a file. With `waits`, that of a pipe when its writer has closed it; without,
  /// it is an error (EAGAIN) that somebody has a pipe open to write to, and one that nobody has is
  /// empty.
  static func read(_ path: String, waits: Bool = true) throws(SystemError) -> [UInt8] {
    let flags = waits ? O_RDONLY : O_RDONLY | O_NONBLOCK
    let fd = Int32(try check(unsafe linux_open(path, flags, 0)))
    defer { _ = linux_close(fd) }
    return try readAll(fd)
  }

  /// What a descriptor gives from its position to its end.
  static func readAll(_ fd: Int32) throws(SystemError) -> [UInt8] {
    var content: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 65_536)
    while true {
      let result = unsafe linux_read(fd, &piece, piece.count)
      if result == -Int64(EINTR) { continue }
      let count = try check(result)
      if count == 0 { return content }
      content += piece[..<count]
      if content.count > fileLimitBytes { throw SystemError(code: EFBIG) }
    }
  }

  /// Writes all bytes to a descriptor that blocks.
  static func writeAll(_ fd: Int32, _ bytes: [UInt8]) throws(SystemError) {
    var offset = 0
    while offset < bytes.count {
      let result = unsafe bytes.withUnsafeBytes {
        unsafe linux_write(fd, $0.baseAddress! + offset, $0.count - offset)
      }
      if result == -Int64(EINTR) { continue }
      offset += try check(result)
    }
  }

  /// A file without a name that holds `bytes`, for another process; `name` is for people who list
  /// descriptors.
  static func makeNameless(_ name: String, _ bytes: [UInt8]) throws(SystemError) -> Int32 {
    let fd = Int32(try check(unsafe linux_memfd(name)))
    do {
      try writeAll(fd, bytes)
    } catch {
      _ = linux_close(fd)
      throw error
    }
    return fd
  }

  /// Replaces the content of a file, which is made if it doesn't exist.
  static func write(_ path: String, _ bytes: [UInt8], mode: UInt32) throws(SystemError) {
    let fd = Int32(try check(unsafe linux_open(path, O_WRONLY | O_CREAT | O_TRUNC, mode)))
    defer { _ = linux_close(fd) }
    try writeAll(fd, bytes)
  }

  /// Makes a folder with `mode`, and the ones above it that are missing with `parentMode`: by
  /// default everybody may look for what is below them.
  static func makeFolders(
    _ path: String, mode: UInt32, parentMode: UInt32 = 0o755
  ) throws(SystemError) {
    let result = unsafe linux_mkdir(path, mode)
    if result == -Int64(ENOENT), let parent = parent(of: path), parent != path {
      try makeFolders(parent, mode: parentMode, parentMode: parentMode)
      _ = try check(unsafe linux_mkdir(path, mode))
    } else if result != -Int64(EEXIST) {
      _ = try check(result)
    }
  }

  /// Removes a file, if it is there.
  static func remove(_ path: String) { _ = unsafe linux_unlink(path) }

  /// The paths that match a pattern (glob(7)), sorted.
  static func glob(_ pattern: String) -> [String] {
    var paths: [String] = []
    _ = unsafe withUnsafeMutablePointer(to: &paths) { state in
      unsafe linux_glob(pattern, state) { state, path in
        guard let state = unsafe state, let path = unsafe path else { return }
        let paths = unsafe state.assumingMemoryBound(to: [String].self)
        unsafe paths.pointee.append(String(cString: path))
      }
    }
    return paths
  }

  /// The addresses of a host, as the system's resolver knows them. Waits for it.
  static func addresses(of host: String) -> [String] {
    // Bound: a hundred addresses; what doesn't fit is left out.
    var text = [CChar](repeating: 0, count: 4096)
    let count = unsafe linux_host_addresses(host, &text, text.count)
    return text.prefix(Int(max(0, count))).split(separator: CChar(10)).map { line in
      String(decoding: line.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
  }

  /// What an environment variable holds.
  static func environment(_ name: String) -> String? {
    guard let value = unsafe linux_get_environment(name) else { return nil }
    return unsafe String(cString: value)
  }

  /// The folder that relative paths of this process start from.
  static var workingFolder: String {
    var buffer = [CChar](repeating: 0, count: 4096)
    guard unsafe linux_working_folder(&buffer, buffer.count) >= 0 else { return "/" }
    return text(of: buffer)
  }

  /// Where a symbolic link points.
  static func linkTarget(_ path: String) -> String? {
    var buffer = [CChar](repeating: 0, count: 4096)
    guard unsafe linux_readlink(path, &buffer, buffer.count - 1) >= 0 else { return nil }
    return text(of: buffer)
  }

  /// The folder that holds `path`, without its slash; nil if the path names none.
  static func parent(of path: String) -> String? {
    guard let slash = path.lastIndex(of: "/") else { return nil }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }

  /// `path` itself if it is absolute, otherwise below `folder`.
  static func absolute(_ path: String, in folder: String) -> String {
    if path.hasPrefix("/") { return path }
    return folder.hasSuffix("/") ? folder + path : folder + "/" + path
  }

  private static func text(of buffer: [CChar]) -> String {
    String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}
