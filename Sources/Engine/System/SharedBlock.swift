// Memory that threads share without a lock, in a block of its own so that they slow nobody else
// down.

/// A value at an address that is valid while the process lives.
///
/// - Safety: it is never freed. What any thread may do with it is the value's affair: atomics.
enum SharedBlock {
  /// Two lines of 64 bytes, because the processor fetches lines in pairs.
  private static let byteCount = 128

  /// A block that holds `value`, which must fit it, and nothing else.
  static func make<Value: ~Copyable>(_ value: consuming Value) -> UnsafeMutablePointer<Value> {
    precondition(MemoryLayout<Value>.size <= byteCount)
    let memory = UnsafeMutableRawPointer.allocate(byteCount: byteCount, alignment: byteCount)
    let block = unsafe memory.bindMemory(to: Value.self, capacity: 1)
    unsafe block.initialize(to: value)
    return unsafe block
  }
}
