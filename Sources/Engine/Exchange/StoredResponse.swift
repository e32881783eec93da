// A file of a cache, opened for an exchange and found sound: its header was read and its hash
// compared, its key is the request's in full, its size is what it says. Everything else counts as
// no file at all.

import CLinux
import HTTP

/// A response as a cache has it.
final class StoredResponse: OpenFile {
  private let descriptor: Int32
  let header: CacheFileHeader
  /// All before the body, and the body too if it is small; of the exchange's arena.
  private let beginning: Bytes

  override var fd: Int32 { descriptor }

  private init(_ descriptor: Int32, _ header: CacheFileHeader, _ beginning: Bytes) {
    self.descriptor = descriptor
    self.header = header
    self.beginning = beginning
  }

  deinit { Socket.close(descriptor) }

  /// What looking at a file comes to.
  enum Outcome {
    case sound(StoredResponse)
    case absent
    /// There is something else.
    case unsound(String)
    case failed(SystemError)
  }

  // Bound: what is read at once. A response of this size costs no other call.
  private static let firstCount = 16 << 10

  /// Opens the file at `path`, which is to hold `text` under the digest `key`.
  static func open(_ path: String, _ key: CacheKey, _ text: Bytes, _ arena: inout Arena) -> Outcome
  {
    let result = unsafe linux_open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0)
    guard result >= 0 else {
      return result == -Int64(ENOENT) || result == -Int64(ENOTDIR)
        ? .absent : .failed(SystemError(code: Int32(-result)))
    }
    let descriptor = Int32(result)
    let outcome = read(descriptor, key, text, &arena)
    if case .sound = outcome {} else { Socket.close(descriptor) }
    return outcome
  }

  private static func read(
    _ descriptor: Int32, _ key: CacheKey, _ text: Bytes, _ arena: inout Arena
  ) -> Outcome {
    let room = arena.allocate(firstCount)
    var bytes: Bytes
    switch Socket.read(descriptor, into: room, at: 0) {
    case .bytes(let count): bytes = room.readOnly.prefix(count)
    case .failed(let error): return .failed(error)
    default: return .unsound("is empty")
    }
    guard let headerCount = CacheFileHeader.count(of: bytes) else {
      return .unsound("has another format")
    }
    if headerCount > bytes.count {
      let whole = arena.allocate(headerCount)
      whole.copy(bytes, at: 0)
      guard
        case .bytes(let rest) = Socket.read(
          descriptor, into: whole.slice(bytes.count, headerCount), at: Int64(bytes.count)),
        rest == headerCount - bytes.count
      else { return .unsound("is cut short") }
      bytes = whole.readOnly
    }
    guard let header = CacheFileHeader(bytes) else { return .unsound("is damaged") }
    guard header.key == text else { return .unsound("has another key of the same digest") }
    guard header.digest == key else { return .unsound("is in the wrong place") }
    let (size, isHuge) = headerCount.addingReportingOverflow(header.bodyCount)
    guard !isHuge else { return .unsound("is damaged") }
    if size != bytes.count || bytes.count == firstCount {
      guard case .success(let status) = FileStatus.of(descriptor: descriptor), status.size == size
      else { return .unsound("is cut short") }
    }
    return .sound(StoredResponse(descriptor, header, bytes))
  }

  /// The body, as it lies in the file or in memory.
  var body: StoredBody {
    let isWhole = beginning.count == header.count + header.bodyCount
    return StoredBody(
      file: self, offset: Int64(header.count), size: header.bodyCount,
      content: isWhole ? beginning.dropping(header.count) : nil)
  }

  /// Lets the file say from here on until when the response is fresh.
  func renew(_ arena: inout Arena, _ change: (inout CacheFileHeader) -> Void) {
    var renewed = header
    change(&renewed)
    let room = arena.allocate(renewed.count)
    renewed.write(into: room)
    // The file may have been replaced: what is written is the one that was read.
    let result = unsafe linux_open("/proc/self/fd/\(descriptor)", O_WRONLY, 0)
    guard result >= 0 else { return }
    let fixed = CacheFileHeader.fixedCount
    _ = unsafe linux_pwrite(Int32(result), room.unsafeBase, fixed, 0)
    Socket.close(Int32(result))
  }
}
