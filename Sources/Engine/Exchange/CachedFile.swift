// An open regular file with all that its response needs: descriptor, size, validators, and for a
// small file that the cache keeps, its content.
//
// Opened by OpenFileCache. Each user counts itself; the descriptor is closed when there is no user
// left and the cache doesn't hold the file (any more). What a file says of itself never changes
// while it is used: a file that changed on disk gets a new object. Objects are recycled.

import CLinux
import HTTP

/// An open file, shared by its users.
final class CachedFile: OpenFile {
  private var descriptor: Int32 = -1
  override var fd: Int32 { descriptor }
  private(set) var status: FileStatus?
  /// Written as nginx does: `"modified-size"` in hexadecimal, quotes included.
  private(set) var etag = Bytes()
  /// The value of a Last-Modified field.
  private(set) var lastModified = Bytes()
  /// All of a small file, or nil: then it is read from `fd`.
  private(set) var content: Bytes?
  /// How many users there are.
  private(set) var userCount = 0
  /// Whether the cache will give this object out again.
  private(set) var isCached = false

  private let etagRoom: MutableBytes
  private let lastModifiedRoom: MutableBytes
  private let store = ByteStore()
  private var contentStore: ByteStore?
  /// nil while the object waits in the pool.
  private var pool: CachedFilePool?

  override fileprivate init() {
    etagRoom = store.allocate(2 * 16 + 3)
    lastModifiedRoom = store.allocate(HTTPDate.length)
  }

  /// In bytes.
  var size: Int { status?.size ?? 0 }
  /// When the content changed, in seconds since 1970.
  var modified: Int { status?.modified ?? 0 }
  var inode: UInt64 { status?.inode ?? 0 }

  /// Counts one more user.
  override func retain() { userCount += 1 }

  /// Ends one use; the file may be closed here.
  override func release() {
    precondition(userCount > 0)
    userCount -= 1
    closeIfUnused()
  }

  /// Says that the cache holds the file from here on, or doesn't.
  func setCached(_ isCached: Bool) {
    self.isCached = isCached
    if !isCached { closeIfUnused() }
  }

  /// Reads the content into memory if the file is small, has come to rest, and the pool has room.
  func keepContent() {
    guard content == nil, size <= CachedFilePool.contentLimit, let pool,
      FileStatus.hasComeToRest(modified, at: Clock.wall / 1000), pool.reserveContent(size)
    else { return }
    let store = ByteStore()
    let room = store.allocate(size)
    // A file that is shorter or longer than it said is being written.
    var beyond: UInt8 = 0
    guard unsafe linux_pread(fd, room.unsafeBase, size, 0) == Int64(size),
      unsafe linux_pread(fd, &beyond, 1, Int64(size)) == 0
    else { return pool.releaseContent(size) }
    contentStore = store
    content = room.readOnly
  }

  fileprivate func open(_ fd: Int32, _ status: FileStatus, from pool: CachedFilePool) {
    descriptor = fd
    self.status = status
    self.pool = pool
    userCount = 1
    writeValidators(status)
  }

  private func writeValidators(_ status: FileStatus) {
    HTTPDate.write(status.modified, into: lastModifiedRoom)
    lastModified = lastModifiedRoom.readOnly
    var count = 1
    etagRoom[0] = UInt8(ascii: "\"")
    count += Self.writeHex(status.modified, into: etagRoom.slice(count, etagRoom.count))
    etagRoom[count] = UInt8(ascii: "-")
    count += 1
    count += Self.writeHex(status.size, into: etagRoom.slice(count, etagRoom.count))
    etagRoom[count] = UInt8(ascii: "\"")
    etag = etagRoom.readOnly.prefix(count + 1)
  }

  private func closeIfUnused() {
    guard userCount == 0, !isCached, let pool else { return }
    _ = linux_close(fd)
    descriptor = -1
    status = nil
    if let content { pool.releaseContent(content.count) }
    content = nil
    contentStore = nil
    self.pool = nil
    pool.giveBack(self)
  }

  /// Lower-case digits without leading zeros; a negative number as its two's complement.
  private static func writeHex(_ number: Int, into output: MutableBytes) -> Int {
    let value = UInt64(bitPattern: Int64(number))
    let count = max(1, (64 - value.leadingZeroBitCount + 3) / 4)
    for index in 0..<count {
      let digit = UInt8(truncatingIfNeeded: value >> UInt64(4 * (count - 1 - index))) & 15
      output[index] = digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10
    }
    return count
  }
}

/// Opens files for one worker and recycles their objects.
final class CachedFilePool {
  // Bound: the largest file whose content is kept. Sending it costs one system call instead of two,
  // which no longer matters for larger ones.
  static let contentLimit = 16 << 10
  // Bound: bytes of content that one worker keeps.
  static let contentBudget = 32 << 20
  // Bound: objects that wait to be used again.
  private static let freeLimit = 1024

  private var free: [CachedFile] = []
  private var contentBytes = 0
  private let store = ByteStore()
  private let scratch: MutableBytes

  init() { scratch = store.allocate(Int(PATH_MAX)) }

  /// Opens the file at `path` for one user, through the links that `links` allows.
  func open(_ path: Bytes, _ links: SymlinkPolicy = SymlinkPolicy()) -> FileLookup {
    if let error = copyToScratch(path) { return .failed(error) }
    // Opening a FIFO would wait for a writer without O_NONBLOCK.
    let flags = O_RDONLY | O_NONBLOCK | O_NOCTTY
    let result =
      links.mode == .all
      ? unsafe withScratch { unsafe linux_open($0, flags, 0) }
      : walk(path, links, flags: flags)
    guard result >= 0 else { return .failed(SystemError(code: Int32(-result))) }
    let fd = Int32(result)
    switch FileStatus.of(descriptor: fd) {
    case .success(let status) where status.kind == .regular:
      let file = free.popLast() ?? CachedFile()
      file.open(fd, status, from: self)
      return .file(file)
    case .success(let status):
      _ = linux_close(fd)
      return status.kind == .directory ? .directory : .failed(SystemError(code: ENOENT))
    case .failure(let error):
      _ = linux_close(fd)
      return .failed(error)
    }
  }

  /// The status of what is at `path`.
  func status(
    _ path: Bytes, _ links: SymlinkPolicy = SymlinkPolicy()
  ) -> Result<FileStatus, SystemError> {
    if let error = copyToScratch(path) { return .failure(error) }
    if links.mode != .all {
      let fd = walk(path, links, flags: nil)
      guard fd >= 0 else { return .failure(SystemError(code: Int32(-fd))) }
      defer { _ = linux_close(Int32(fd)) }
      return FileStatus.of(descriptor: Int32(fd))
    }
    return unsafe withScratch { unsafe FileStatus.of(path: $0) }
  }

  private func walk(_ path: Bytes, _ links: SymlinkPolicy, flags: Int32?) -> Int64 {
    var walk = SymlinkWalk(scratch.slice(0, path.count + 1), links)
    return walk.open(flags: flags)
  }

  fileprivate func giveBack(_ file: CachedFile) {
    if free.count < Self.freeLimit { free.append(file) }
  }

  fileprivate func reserveContent(_ count: Int) -> Bool {
    guard contentBytes + count <= Self.contentBudget else { return false }
    contentBytes += count
    return true
  }

  fileprivate func releaseContent(_ count: Int) { contentBytes -= count }

  /// Makes a C string of `path`, or says why it can't name a file.
  private func copyToScratch(_ path: Bytes) -> SystemError? {
    guard path.count < scratch.count else { return SystemError(code: ENAMETOOLONG) }
    guard !path.isEmpty else { return SystemError(code: ENOENT) }
    // The kernel would open what is named before the NUL.
    guard !path.contains(0) else { return SystemError(code: EINVAL) }
    scratch.copy(path, at: 0)
    scratch[path.count] = 0
    return nil
  }

  @unsafe
  private func withScratch<R>(_ body: (UnsafePointer<CChar>) -> R) -> R {
    unsafe scratch.unsafeBase.withMemoryRebound(to: CChar.self, capacity: scratch.count) {
      unsafe body($0)
    }
  }
}
