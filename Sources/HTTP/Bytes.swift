// Views of bytes that somebody else owns: a receive buffer, an arena, a literal in the binary.
//
// `Bytes` is what parsers read and what heads, variables and log lines are made of: a pointer and a
// count, trivially copied, never retained. The owner guarantees the lifetime: bytes of a request
// live until its exchange finishes, bytes of a literal for ever. Each access is bounds-checked, in
// release builds too.

/// Read-only bytes owned by somebody else. Copying it copies a pointer and a count.
@frozen
@safe
public struct Bytes: BitwiseCopyable {
  @usableFromInline let base: UnsafePointer<UInt8>
  /// The number of bytes.
  public let count: Int

  /// A view of `count` bytes at `base`.
  ///
  /// - Precondition: the memory stays valid and unchanged for as long as the view is used.
  @inlinable @unsafe
  public init(base: UnsafePointer<UInt8>, count: Int) {
    precondition(count >= 0)
    unsafe self.base = base
    self.count = count
  }

  /// A view of a literal, valid for ever.
  @inlinable
  public init(_ literal: StaticString) {
    precondition(literal.hasPointerRepresentation)
    unsafe base = literal.utf8Start
    count = literal.utf8CodeUnitCount
  }

  /// A view of no bytes.
  @inlinable
  public init() { self.init("") }

  @inlinable public var isEmpty: Bool { count == 0 }

  @inlinable
  public subscript(index: Int) -> UInt8 {
    precondition(UInt(bitPattern: index) < UInt(bitPattern: count), "index out of bounds")
    return unsafe base[index]
  }

  /// The bytes from `start` up to but not including `end`.
  @inlinable
  public func slice(_ start: Int, _ end: Int) -> Bytes {
    precondition(start >= 0 && start <= end && end <= count, "slice out of bounds")
    return unsafe Bytes(base: base + start, count: end - start)
  }

  /// The bytes from `start` to the end.
  @inlinable
  public func dropping(_ start: Int) -> Bytes { slice(start, count) }

  /// The first `length` bytes.
  @inlinable
  public func prefix(_ length: Int) -> Bytes { slice(0, length) }

  /// The address of the first byte, for handing to the kernel or to a C library.
  @inlinable @unsafe
  public var unsafeBase: UnsafePointer<UInt8> { unsafe base }
}

/// Writable bytes owned by somebody else. Each access is bounds-checked.
@frozen
@safe
public struct MutableBytes: BitwiseCopyable {
  @usableFromInline let base: UnsafeMutablePointer<UInt8>
  /// The number of bytes.
  public let count: Int

  /// A view of `count` writable bytes at `base`.
  ///
  /// - Precondition: the memory stays valid for as long as the view is used.
  @inlinable @unsafe
  public init(base: UnsafeMutablePointer<UInt8>, count: Int) {
    precondition(count >= 0)
    unsafe self.base = base
    self.count = count
  }

  @inlinable
  public subscript(index: Int) -> UInt8 {
    get {
      precondition(UInt(bitPattern: index) < UInt(bitPattern: count), "index out of bounds")
      return unsafe base[index]
    }
    nonmutating set {
      precondition(UInt(bitPattern: index) < UInt(bitPattern: count), "index out of bounds")
      unsafe base[index] = newValue
    }
  }

  /// The writable bytes from `start` up to but not including `end`.
  @inlinable
  public func slice(_ start: Int, _ end: Int) -> MutableBytes {
    precondition(start >= 0 && start <= end && end <= count, "slice out of bounds")
    return unsafe MutableBytes(base: base + start, count: end - start)
  }

  /// The same bytes, read-only.
  @inlinable
  public var readOnly: Bytes { unsafe Bytes(base: UnsafePointer(base), count: count) }

  /// The address of the first byte, for handing to the kernel or to a C library.
  @inlinable @unsafe
  public var unsafeBase: UnsafeMutablePointer<UInt8> { unsafe base }

  /// Copies all of `source` to `offset` (the ranges may overlap).
  @inlinable
  public func copy(_ source: Bytes, at offset: Int) {
    precondition(offset >= 0 && source.count <= count - offset, "copy out of bounds")
    // Most pieces of heads are short: two words that overlap cost less than the call of memmove.
    // Both are read before one is written, as overlapping ranges need it.
    switch source.count {
    case 8...16: unsafe copyEnds(UInt64.self, source, offset)
    case 4...7: unsafe copyEnds(UInt32.self, source, offset)
    case 2...3: unsafe copyEnds(UInt16.self, source, offset)
    default: unsafe (base + offset).update(from: source.base, count: source.count)
    }
  }

  /// Copies the first and the last `Word` of `source`, whose ranges cover it. The bounds are
  /// checked.
  @inlinable @inline(__always) @unsafe
  func copyEnds<Word: FixedWidthInteger & BitwiseCopyable>(
    _: Word.Type, _ source: Bytes, _ offset: Int
  ) {
    let last = source.count &- MemoryLayout<Word>.size
    let from = unsafe UnsafeRawPointer(source.base)
    let to = unsafe UnsafeMutableRawPointer(base + offset)
    let head = unsafe from.loadUnaligned(as: Word.self)
    let tail = unsafe from.loadUnaligned(fromByteOffset: last, as: Word.self)
    unsafe to.storeBytes(of: head, as: Word.self)
    unsafe to.storeBytes(of: tail, toByteOffset: last, as: Word.self)
  }
}
