// Settings are inherited from block to block by copying, and most blocks change little: a box that is
// copied only when it is written keeps 10,000 servers small and quick to build.

/// A value that copies share until one of them changes it.
@dynamicMemberLookup
struct Shared<Value> {
  private final class Storage {
    var value: Value
    init(_ value: Value) { self.value = value }
  }

  private var storage: Storage

  init(_ value: Value) { storage = Storage(value) }

  /// Reads without copying; writing copies first if the box is shared.
  var value: Value {
    @inline(__always) _read { yield storage.value }
    _modify {
      if !isKnownUniquelyReferenced(&storage) { storage = Storage(storage.value) }
      yield &storage.value
    }
  }

  subscript<Member>(dynamicMember path: WritableKeyPath<Value, Member>) -> Member {
    @inline(__always) _read { yield value[keyPath: path] }
    _modify { yield &value[keyPath: path] }
  }

  /// Whether both are the same box, and so certainly equal.
  func isSame(as other: Shared<Value>) -> Bool { storage === other.storage }
}
