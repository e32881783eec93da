// A file of a cache, opened for an exchange and found sound: its header was read and its hash
// compared, its key is the request's in full, its size is what it says. Everything else counts as
// no file at all.

import CLinux
import HTTP

/// A response as a cache has it.
final class StoredResponse: OpenFile {
  private let descriptor: Int32
  let header: CacheFileHeader
  /// All before the body, and the body too if it is small; of the exchange's arena, or of `memory`.
  private let beginning: Bytes
  /// All of the file, whose descriptor isn't needed then.
  private let memory: ByteStore?

  override var fd: Int32 { descriptor }

  private init(
    _ descriptor: Int32, _ header: CacheFileHeader, _ beginning: Bytes, _ memory: ByteStore? = nil
  ) {
    self.descriptor = descriptor
    self.header = header
    self.beginning = beginning
    self.memory = memory
  }

  deinit { if descriptor >= 0 { Socket.close(descriptor) } }

  /// How much memory of its own it takes.
  var memoryCount: Int { memory == nil ? 0 : beginning.count }

  /// The same in memory of its own, without a descriptor; nil if it is larger than `limit`.
  func copied(atMost limit: Int) -> StoredResponse? {
    guard isWhole, beginning.count <= limit else { return nil }
    let memory = ByteStore()
    let bytes = memory.append(beginning)
    guard let header = CacheFileHeader(bytes) else { return nil }
    return StoredResponse(-1, header, bytes, memory)
  }

  private var isWhole: Bool { beginning.count == header.count + header.bodyCount }

  /// What looking at a file comes to.
  enum Outcome {
    case sound(StoredResponse)
    case absent
    /// There is something else.
    case unsound(String)
    /// Somebody writes over its beginning at this moment.
    case changing
    case failed(SystemError)
  }

  // Bound: what is read at once: most heads, and responses that are hardly more.
  private static let firstCount = 4 << 10
  // Bound: the largest response that is read into memory; larger ones are sent from the file.
  private static let wholeCount = 16 << 10

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
    _ descriptor: Int32, _ key: CacheKey, _ text: Bytes, _ arena: inout Arena,
    isLocked: Bool = false
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
      guard let more = extend(bytes, to: headerCount, descriptor, &arena) else {
        return .unsound("is cut short")
      }
      bytes = more
    }
    guard var header = CacheFileHeader(bytes) else {
      if isLocked { return .unsound("is damaged") }
      // A renewal may be seen half: of three million reads beside a writer that never rests, three
      // thousand were (ext4). With the lock in hand nobody is at it.
      guard linux_flock(descriptor, LOCK_SH | LOCK_NB) >= 0 else { return .changing }
      defer { _ = linux_flock(descriptor, LOCK_UN) }
      return read(descriptor, key, text, &arena, isLocked: true)
    }
    guard header.key == text else { return .unsound("has another key of the same digest") }
    guard header.digest == key else { return .unsound("is in the wrong place") }
    let (size, isHuge) = headerCount.addingReportingOverflow(header.bodyCount)
    guard !isHuge else { return .unsound("is damaged") }
    if size > bytes.count && size <= wholeCount,
      let whole = extend(bytes, to: size, descriptor, &arena),
      let same = CacheFileHeader(whole)
    {
      (bytes, header) = (whole, same)
    }
    // One read that ended before its room did saw all of it.
    if size != bytes.count || bytes.count >= firstCount {
      guard case .success(let status) = FileStatus.of(descriptor: descriptor), status.size == size
      else { return .unsound("is cut short") }
    }
    return .sound(StoredResponse(descriptor, header, bytes))
  }

  /// `bytes`, which begin a file, and what follows them up to `count`; nil if it isn't there.
  private static func extend(
    _ bytes: Bytes, to count: Int, _ descriptor: Int32, _ arena: inout Arena
  ) -> Bytes? {
    let room = arena.allocate(count)
    room.copy(bytes, at: 0)
    let rest = room.slice(bytes.count, count)
    guard
      case .bytes(let got) = Socket.read(descriptor, into: rest, at: Int64(bytes.count)),
      got == rest.count
    else { return nil }
    return room.readOnly
  }

  /// The body, as it lies in the file or in memory.
  var body: StoredBody {
    StoredBody(
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
    defer { Socket.close(Int32(result)) }
    // Without the lock the response is revalidated once more; closing gives it up.
    guard linux_flock(Int32(result), LOCK_EX | LOCK_NB) >= 0 else { return }
    let fixed = CacheFileHeader.fixedCount
    _ = unsafe linux_pwrite(Int32(result), room.unsafeBase, fixed, 0)
  }
}
