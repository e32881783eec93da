// Settings are inherited from block to block by copying, and most blocks change little: a box that is
// copied only when it is written keeps 10,000 servers small and quick to build. Reading a member of a
// box copies that member alone: the data path never copies a whole structure of settings.

/// A value that copies share until one of them changes it.
@dynamicMemberLookup
struct Shared<Value> {
  private final class Storage {
    var value: Value
    init(_ value: Value) { self.value = value }
  }

  private var storage: Storage

  init(_ value: Value) { storage = Storage(value) }

  /// The box itself: what holds it for reading costs one reference.
  var value: Shared<Value> {
    @inline(__always) get { self }
    @inline(__always) _modify { yield &self }
  }

  /// A member of the value. Writing copies the value first if the box is shared.
  subscript<Member>(dynamicMember path: WritableKeyPath<Value, Member>) -> Member {
    @inline(__always) get { storage.value[keyPath: path] }
    @inline(__always) _modify {
      if !isKnownUniquelyReferenced(&storage) { storage = Storage(storage.value) }
      yield &storage.value[keyPath: path]
    }
  }

  /// A computed member of the value.
  subscript<Member>(dynamicMember path: KeyPath<Value, Member>) -> Member {
    @inline(__always) get { storage.value[keyPath: path] }
  }

  /// What tells this box from others while it lives.
  var identity: ObjectIdentifier { ObjectIdentifier(storage) }

  /// Whether both are the same box, and so certainly equal.
  func isSame(as other: Shared<Value>) -> Bool { storage === other.storage }
}
