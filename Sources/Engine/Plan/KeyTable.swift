// The hash table under server names, maps and media types: names to small numbers, A–Z as a–z.
//
// Open addressing with linear probing, at most half full. Keys are copied when they are inserted;
// looking up compares bytes with bytes and allocates nothing. Keys come from the configuration,
// never from a client, so a fixed hash suffices: a client may choose what it asks, not what is
// stored.

import HTTP

/// Names, compared without case, to numbers.
struct KeyTable {
  private struct Slot {
    var hash: UInt64
    var key: Bytes
    /// -1 in an empty slot.
    var value: Int32
  }

  private var slots: [Slot] = []
  private let store: ByteStore
  /// The number of keys.
  private(set) var count = 0

  /// An empty table that keeps its keys in `store`.
  init(store: ByteStore) { self.store = store }

  /// The number that `key` was inserted with, or nil. O(1).
  func find(_ key: Bytes) -> Int? {
    guard count > 0 else { return nil }
    let index = slot(of: key, hash: key.hash64IgnoringCase)
    let value = slots[index].value
    return value < 0 ? nil : Int(value)
  }

  /// Inserts a copy of `key`. False, and no change, if it is there already.
  ///
  /// - Precondition: `0 ≤ value ≤ Int32.max`.
  @discardableResult
  mutating func insert(_ key: Bytes, value: Int) -> Bool {
    precondition(value >= 0)
    if slots.count < 2 * (count + 1) { grow() }
    let hash = key.hash64IgnoringCase
    let index = slot(of: key, hash: hash)
    guard slots[index].value < 0 else { return false }
    slots[index] = Slot(hash: hash, key: store.append(key), value: Int32(value))
    count += 1
    return true
  }

  /// Gives a key that is in the table another number.
  mutating func replace(_ key: Bytes, value: Int) {
    guard count > 0 else { return }
    let index = slot(of: key, hash: key.hash64IgnoringCase)
    if slots[index].value >= 0 { slots[index].value = Int32(value) }
  }

  /// The slot that holds `key`, or the empty one where it belongs.
  private func slot(of key: Bytes, hash: UInt64) -> Int {
    let mask = slots.count - 1
    var index = Int(truncatingIfNeeded: hash) & mask
    while slots[index].value >= 0 {
      if slots[index].hash == hash && slots[index].key.equalsIgnoringCase(key) { return index }
      index = (index + 1) & mask
    }
    return index
  }

  private mutating func grow() {
    let old = slots
    let empty = Slot(hash: 0, key: Bytes(), value: -1)
    slots = Array(repeating: empty, count: max(8, old.count * 2))
    let mask = slots.count - 1
    for each in old where each.value >= 0 {
      var index = Int(truncatingIfNeeded: each.hash) & mask
      while slots[index].value >= 0 { index = (index + 1) & mask }
      slots[index] = each
    }
  }
}
