// Password files as `auth_basic_user_file` names them, read when they are needed and read again
// when they changed, as nginx does: they are no part of the bundle, because people change them
// without a reload.
//
// nginx opens and reads the file for each request. Here a request costs one stat(2); what was read
// is sorted by user and kept.

import CLinux
import HTTP

/// A password file: users and their stored passwords.
struct PasswordFile {
  private struct Entry {
    let user: Range<Int>
    let stored: Range<Int>
  }

  private let content: [UInt8]
  /// Sorted by user; of equal ones the first in the file comes first.
  private let entries: [Entry]

  /// Reads lines `user:password`; what comes behind another colon is a comment, as are lines that
  /// begin with "#".
  init(_ content: [UInt8]) {
    self.content = content
    var entries: [Entry] = []
    for line in content.split(separator: 10, omittingEmptySubsequences: true) {
      guard line.first != UInt8(ascii: "#"), let colon = line.firstIndex(of: UInt8(ascii: ":"))
      else { continue }
      let end =
        line[(colon + 1)...].firstIndex { $0 == UInt8(ascii: ":") || $0 == 13 } ?? line.endIndex
      entries.append(Entry(user: line.startIndex..<colon, stored: colon + 1..<end))
    }
    self.entries = entries.sorted {
      let order = Self.compare(content[$0.user], content[$1.user])
      return order == 0 ? $0.user.lowerBound < $1.user.lowerBound : order < 0
    }
  }

  private static func compare(_ one: ArraySlice<UInt8>, _ other: ArraySlice<UInt8>) -> Int {
    one.lexicographicallyPrecedes(other) ? -1 : other.lexicographicallyPrecedes(one) ? 1 : 0
  }

  /// The stored password of `user`. O(log users).
  func stored(for user: Bytes) -> ArraySlice<UInt8>? {
    let wanted = user.array[...]
    var (low, high) = (0, entries.count)
    while low < high {
      let middle = (low + high) >> 1
      if Self.compare(content[entries[middle].user], wanted) < 0 {
        low = middle + 1
      } else {
        high = middle
      }
    }
    guard low < entries.count, content[entries[low].user] == wanted else { return nil }
    return content[entries[low].stored]
  }
}

/// Why a password file can't be read.
enum PasswordFileFailure: Error, Equatable {
  case system(SystemError)
  /// A folder, or something that would keep its reader waiting, such as a FIFO.
  case notRegular
}

/// The password files of one worker.
struct PasswordFiles {
  // Bound: files that are kept. Their names may come from requests; a site has one or a few.
  private static let limit = 64

  private struct Known {
    let path: [UInt8]
    let status: FileStatus
    let file: PasswordFile
  }

  private var known: [Known] = []

  /// The file at `path`, a C string in an array.
  mutating func open(
    _ path: [UInt8], wallTime: Milliseconds
  ) -> Result<PasswordFile, PasswordFileFailure> {
    let found = unsafe path.withUnsafeBufferPointer { bytes -> Result<FileStatus, SystemError> in
      guard let base = bytes.baseAddress else { return .failure(SystemError(code: ENOENT)) }
      return unsafe FileStatus.of(
        path: UnsafeRawPointer(base).assumingMemoryBound(to: CChar.self))
    }
    let status: FileStatus
    switch found {
    case .success(let known): status = known
    case .failure(let error): return .failure(.system(error))
    }
    let index = known.firstIndex { $0.path == path }
    if let index, known[index].status == status { return .success(known[index].file) }
    let file: PasswordFile
    do {
      guard let content = try Self.read(path) else { return .failure(.notRegular) }
      file = PasswordFile(content)
    } catch {
      return .failure(.system(error))
    }
    if let index { known.remove(at: index) }
    if status.hasComeToRest(at: Int(wallTime / 1000)) {
      if known.count == Self.limit { known.removeFirst() }
      known.append(Known(path: path, status: status, file: file))
    }
    return .success(file)
  }

  /// The content of a regular file; nil if it is none.
  private static func read(_ path: [UInt8]) throws(SystemError) -> [UInt8]? {
    let text = String(decoding: path.dropLast(), as: UTF8.self)
    // Opening a FIFO would wait for a writer without O_NONBLOCK.
    let flags = O_RDONLY | O_NONBLOCK | O_NOCTTY
    let fd = Int32(try check(unsafe linux_open(text, flags, 0)))
    defer { _ = linux_close(fd) }
    guard try FileStatus.of(descriptor: fd).get().kind == .regular else { return nil }
    return try ProcessFiles.readAll(fd)
  }
}
