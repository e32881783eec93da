// Memory of libnghttp2's sessions. Most of a session's memory is two large blocks: the buffer in
// which a frame is written, and the table of open streams. On a connection where nothing is going
// on neither holds anything, so their pages go back to the kernel until they are needed again; that
// halves what an idle HTTP/2 connection costs. All else comes from malloc.

import CLinux
import CNGHTTP2

/// The large blocks of one session, on pages of their own.
@safe
final class H2SessionMemory {
  // The buffer for one frame: 16 KiB, a byte of padding length, a frame header (libnghttp2's
  // NGHTTP2_FRAMEBUF_CHUNKLEN). A library whose buffer has another size gets it from malloc.
  private static let frameBufferByteCount = (16 << 10) + 1 + H2Callbacks.frameHeaderByteCount
  private static let pageByteCount = 4096
  // Bound: the frame buffer's five pages, and one for the table of streams in its first size.
  private static let byteCount = 6 * pageByteCount

  private let base: UnsafeMutableRawPointer
  private(set) var usedByteCount = 0
  /// Where the table is: that block may be given back only while it is zero.
  private var table: UnsafeMutableRawPointer?
  private var isMakingSession = false

  /// - Precondition: there is memory for six pages.
  init() {
    guard let start = unsafe linux_map_pages(Self.byteCount) else {
      preconditionFailure("memory is exhausted")
    }
    unsafe base = start
  }

  deinit { unsafe munmap(base, Self.byteCount) }

  /// Calls `make` with the functions from which a session takes its memory. The blocks it takes
  /// meanwhile live as long as the session; this object must outlive it.
  func withAllocator<Result>(_ make: (inout nghttp2_mem) -> Result) -> Result {
    usedByteCount = 0
    unsafe table = nil
    isMakingSession = true
    defer { isMakingSession = false }
    var allocator = unsafe nghttp2_mem(
      mem_user_data: Unmanaged.passUnretained(self).toOpaque(),
      malloc: { size, owner in unsafe with(owner) { unsafe $0.allocate(size) } },
      free: { block, owner in unsafe with(owner) { unsafe $0.release(block) } },
      calloc: { count, size, owner in
        unsafe with(owner) { unsafe $0.allocateZeroed(count, size) }
      },
      realloc: { block, size, owner in
        unsafe with(owner) { unsafe $0.resize(block, to: size) }
      })
    return unsafe make(&allocator)
  }

  /// Gives the pages back to the kernel; they read as zeros then. For a session that has no frame
  /// to write and no stream: its table is looked at, its frame buffer is not.
  func trim() {
    if isTableEmpty { discard() }
  }

  /// Gives the pages back to the kernel. For a session that has ended.
  func discard() { unsafe madvise(base, Self.byteCount, MADV_DONTNEED) }

  /// How many of the pages are in memory, for tests.
  var residentPageCount: Int {
    var pages = [UInt8](repeating: 0, count: Self.byteCount / Self.pageByteCount)
    unsafe mincore(base, Self.byteCount, &pages)
    return pages.count { $0 & 1 == 1 }
  }

  private var isTableEmpty: Bool {
    guard let table = unsafe table else { return true }
    return unsafe UnsafeRawBufferPointer(start: table, count: Self.pageByteCount)
      .bindMemory(to: UInt64.self).allSatisfy { $0 == 0 }
  }

  // --- libnghttp2's allocator --------------------------------------------------------------------

  /// A block of whole pages while a session is made, if there is room.
  private func take(_ byteCount: Int) -> UnsafeMutableRawPointer? {
    let end = usedByteCount + (byteCount + Self.pageByteCount - 1) & ~(Self.pageByteCount - 1)
    guard isMakingSession, end <= Self.byteCount else { return nil }
    defer { usedByteCount = end }
    return unsafe base + usedByteCount
  }

  fileprivate func allocate(_ byteCount: Int) -> UnsafeMutableRawPointer? {
    if byteCount == Self.frameBufferByteCount, let block = unsafe take(byteCount) {
      return unsafe block
    }
    return unsafe malloc(byteCount)
  }

  fileprivate func allocateZeroed(_ count: Int, _ size: Int) -> UnsafeMutableRawPointer? {
    let (byteCount, overflows) = count.multipliedReportingOverflow(by: size)
    guard !overflows, byteCount == Self.pageByteCount, unsafe table == nil,
      let block = unsafe take(byteCount)
    else {
      return unsafe calloc(count, size)
    }
    unsafe table = block
    unsafe memset(block, 0, byteCount)
    return unsafe block
  }

  fileprivate func resize(
    _ block: UnsafeMutableRawPointer?, to byteCount: Int
  ) -> UnsafeMutableRawPointer? {
    // The library asks for its frame buffer this way, too.
    guard let block = unsafe block else { return unsafe allocate(byteCount) }
    guard unsafe owns(block) else { return unsafe realloc(block, byteCount) }
    guard let larger = unsafe malloc(byteCount) else { return nil }
    let start = unsafe block - base
    unsafe memcpy(larger, block, min(byteCount, Self.byteCount - start))
    return unsafe larger
  }

  fileprivate func release(_ block: UnsafeMutableRawPointer?) {
    guard let block = unsafe block else { return }
    guard unsafe owns(block) else { return unsafe free(block) }
    if unsafe block == table { unsafe table = nil }
  }

  private func owns(_ block: UnsafeMutableRawPointer) -> Bool {
    unsafe block >= base && block < base + Self.byteCount
  }
}

/// Calls the memory of a session, without counting a reference.
@inline(__always)
private func with<Result>(
  _ owner: UnsafeMutableRawPointer?, _ body: (H2SessionMemory) -> Result
) -> Result {
  // Safety: `withAllocator` put it there, and it outlives the session.
  unsafe Unmanaged<H2SessionMemory>.fromOpaque(owner!)._withUnsafeGuaranteedRef(body)
}
