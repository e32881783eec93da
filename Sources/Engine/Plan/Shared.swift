// Settings are inherited from block to block by copying, and most blocks change little: a box that
// is copied only when it is written keeps 10,000 servers small and quick to build.
//
//   while a plan is made     Shared<CoreSettings>     counted, copied when written
//   on the data path         Borrowed<CoreSettings>   an address: reading it counts nothing
//
// Reading a member through either reads that member alone: nobody copies a whole structure of
// settings.

/// A value that copies share until one of them changes it.
@dynamicMemberLookup
struct Shared<Value> {
  @safe
  private final class Storage {
    // In memory of its own, so that its address holds for as long as the storage lives.
    let base: UnsafeMutablePointer<Value>

    init(_ value: Value) {
      unsafe base = .allocate(capacity: 1)
      unsafe base.initialize(to: value)
    }

    deinit {
      unsafe base.deinitialize(count: 1)
      unsafe base.deallocate()
    }
  }

  private var storage: Storage

  init(_ value: Value) { storage = Storage(value) }

  /// The value for reading, without a reference; valid as long as this box lives and isn't written.
  /// The boxes of a plan live as long as the plan, and nobody writes them once it is made.
  var value: Borrowed<Value> {
    @inline(__always) get { unsafe Borrowed(storage.base) }
  }

  /// A member of the value. Writing copies the value first if the box is shared.
  subscript<Member>(dynamicMember path: WritableKeyPath<Value, Member>) -> Member {
    @inline(__always) get { unsafe storage.base.pointee[keyPath: path] }
    @inline(__always) _modify {
      if !isKnownUniquelyReferenced(&storage) { storage = Storage(unsafe storage.base.pointee) }
      yield unsafe &storage.base.pointee[keyPath: path]
    }
  }

  /// A computed member of the value.
  subscript<Member>(dynamicMember path: KeyPath<Value, Member>) -> Member {
    @inline(__always) get { unsafe storage.base.pointee[keyPath: path] }
  }

  /// The value itself, copied.
  var copy: Value { unsafe storage.base.pointee }

  /// Changes the value as a whole, a copy of it if the box is shared.
  mutating func update(_ change: (inout Value) -> Void) {
    if !isKnownUniquelyReferenced(&storage) { storage = Storage(unsafe storage.base.pointee) }
    unsafe change(&storage.base.pointee)
  }

  /// What tells this box from others while it lives.
  var identity: ObjectIdentifier { ObjectIdentifier(storage) }

  /// Whether both are the same box, and so certainly equal.
  func isSame(as other: Shared<Value>) -> Bool { storage === other.storage }
}

/// A value in a box that somebody else holds: copying it copies an address.
///
/// - Safety: an exchange holds its `Location`, whose boxes these are, for as long as it reads them.
@dynamicMemberLookup
@safe
struct Borrowed<Value>: BitwiseCopyable {
  private let base: UnsafePointer<Value>

  @unsafe
  fileprivate init(_ base: UnsafeMutablePointer<Value>) { unsafe self.base = UnsafePointer(base) }

  /// A member of the value.
  subscript<Member>(dynamicMember path: KeyPath<Value, Member>) -> Member {
    @inline(__always) get { unsafe base.pointee[keyPath: path] }
  }
}
