// Memory of libnghttp2's sessions. Most of it is a few large blocks, which hold next to nothing on
// a connection where nothing is going on: the buffer in which a frame is written nothing at all;
// the session, the rings of its two field tables and the table of streams mostly zeros. Those
// blocks lie on pages of their own. A session that nobody needs for a while is folded: the words
// that aren't zero move to the heap, and the pages go back to the kernel, so that an idle
// connection costs 3.5 KiB less than with the frame buffer's pages given back alone. All else comes
// from malloc.
//
//   base                                          frameOffset                     byteCount
//   | size, block | size, block | …  free         | frame buffer                  |
//   0                            usedByteCount

import CLinux
import CNGHTTP2

/// The large blocks of one session, on pages of their own.
@safe
final class H2SessionMemory {
  // The buffer for one frame: 16 KiB, a byte of padding length, a frame header (libnghttp2's
  // NGHTTP2_FRAMEBUF_CHUNKLEN). A library whose buffer has another size gets it from malloc.
  private static let frameBufferByteCount = (16 << 10) + 1 + H2Callbacks.frameHeaderByteCount
  private static let pageByteCount = 4096
  // Bound: the frame buffer, and 12 KiB, of which libnghttp2 1.52 takes 9.
  private static let byteCount = 7 * pageByteCount
  private static let frameOffset = byteCount - aligned(frameBufferByteCount)
  /// Blocks that are smaller come from malloc: the library frees them and takes others.
  private static let leastByteCount = 1024
  /// As malloc(3) aligns; a block's size stands in so many bytes before it.
  private static let alignment = 16

  private let base: UnsafeMutableRawPointer
  /// How much is taken from the beginning: what a folded session keeps.
  private(set) var usedByteCount = 0
  private var isFrameBufferTaken = false
  private var isMakingSession = false
  /// What stood in the pages of a folded session.
  private var folded = SparseWords()
  /// Whether the session's pages are with the kernel: the library must not be called.
  private(set) var isFolded = false

  /// - Precondition: there is memory for seven pages.
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
    isFrameBufferTaken = false
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

  /// Gives the pages back to the kernel. For a session that has no frame to write; nobody may call
  /// the library for it before `unfold`.
  func fold() {
    if isFolded { return }
    folded = unsafe SparseWords(UnsafeBufferPointer(usedWords))
    isFolded = true
    dropPages()
  }

  /// Lets the session be what it was.
  func unfold() {
    guard isFolded else { return }
    unsafe folded.restore(to: usedWords)
    folded = SparseWords()
    isFolded = false
  }

  /// Gives the pages back to the kernel. For a session that has ended.
  func discard() {
    folded = SparseWords()
    isFolded = false
    dropPages()
  }

  /// How many of the pages are in memory, for tests.
  var residentPageCount: Int {
    var pages = [UInt8](repeating: 0, count: Self.byteCount / Self.pageByteCount)
    unsafe mincore(base, Self.byteCount, &pages)
    return pages.count { $0 & 1 == 1 }
  }

  private var usedWords: UnsafeMutableBufferPointer<UInt64> {
    let count = usedByteCount / MemoryLayout<UInt64>.size
    return unsafe UnsafeMutableBufferPointer(
      start: base.bindMemory(to: UInt64.self, capacity: count), count: count)
  }

  // They read as zeros afterwards.
  private func dropPages() { unsafe madvise(base, Self.byteCount, MADV_DONTNEED) }

  // --- libnghttp2's allocator --------------------------------------------------------------------

  private static func aligned(_ byteCount: Int) -> Int {
    (byteCount + alignment - 1) & ~(alignment - 1)
  }

  /// A large block on the pages while a session is made, if there is room.
  private func take(_ byteCount: Int) -> UnsafeMutableRawPointer? {
    guard isMakingSession else { return nil }
    if byteCount == Self.frameBufferByteCount && !isFrameBufferTaken {
      isFrameBufferTaken = true
      return unsafe base + Self.frameOffset
    }
    guard (Self.leastByteCount...Self.frameOffset).contains(byteCount) else { return nil }
    let start = usedByteCount + Self.alignment
    let end = start + Self.aligned(byteCount)
    guard end <= Self.frameOffset else { return nil }
    unsafe base.storeBytes(of: byteCount, toByteOffset: usedByteCount, as: Int.self)
    usedByteCount = end
    return unsafe base + start
  }

  fileprivate func allocate(_ byteCount: Int) -> UnsafeMutableRawPointer? {
    unsafe take(byteCount) ?? malloc(byteCount)
  }

  fileprivate func allocateZeroed(_ count: Int, _ size: Int) -> UnsafeMutableRawPointer? {
    let (byteCount, overflows) = count.multipliedReportingOverflow(by: size)
    guard !overflows, let block = unsafe take(byteCount) else { return unsafe calloc(count, size) }
    unsafe memset(block, 0, byteCount)
    return unsafe block
  }

  fileprivate func resize(
    _ block: UnsafeMutableRawPointer?, to byteCount: Int
  ) -> UnsafeMutableRawPointer? {
    // The library asks for its frame buffer this way, too.
    guard let block = unsafe block else { return unsafe allocate(byteCount) }
    guard unsafe owns(block) else { return unsafe realloc(block, byteCount) }
    guard let other = unsafe malloc(byteCount) else { return nil }
    unsafe memcpy(other, block, min(byteCount, size(of: block)))
    unsafe release(block)
    return unsafe other
  }

  fileprivate func release(_ block: UnsafeMutableRawPointer?) {
    guard let block = unsafe block else { return }
    guard unsafe owns(block) else { return unsafe free(block) }
    // Zeros needn't be kept by `fold`.
    if unsafe block != base + Self.frameOffset { unsafe memset(block, 0, size(of: block)) }
  }

  private func size(of block: UnsafeMutableRawPointer) -> Int {
    if unsafe block == base + Self.frameOffset { return Self.frameBufferByteCount }
    return unsafe (block - Self.alignment).load(as: Int.self)
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
