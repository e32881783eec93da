// Objects made once and recycled: connections and exchanges live in slabs, so that a connection
// costs no allocation once its worker is warm, and a handle finds its object by index.

/// A table of recycled objects of one kind.
///
/// Looking up, taking and giving back are O(1).
struct Slab<Object: AnyObject>: ~Copyable {
  private struct Slot {
    var object: Object
    var generation: UInt32
    var isTaken: Bool
  }

  private var slots: [Slot] = []
  private var free: [Int] = []
  private let kind: HandleKind

  /// The number of objects in use.
  private(set) var count = 0

  init(kind: HandleKind) { self.kind = kind }

  /// Takes an object out of the slab, making one with `make` only if none is free.
  mutating func take(_ make: () -> Object) -> (object: Object, handle: Handle) {
    count += 1
    if let index = free.popLast() {
      slots[index].isTaken = true
      return (slots[index].object, Handle(kind, slot: index, generation: slots[index].generation))
    }
    let object = make()
    slots.append(Slot(object: object, generation: 1, isTaken: true))
    free.reserveCapacity(slots.count)
    return (object, Handle(kind, slot: slots.count - 1, generation: 1))
  }

  /// Gives an object back. Handles that name it are stale from here on.
  mutating func giveBack(_ handle: Handle) {
    let index = handle.slot
    guard index < slots.count, slots[index].isTaken,
      slots[index].generation == handle.generation
    else { return }
    count -= 1
    slots[index].isTaken = false
    slots[index].generation = (slots[index].generation + 1) & 0xff_ffff
    free.append(index)
  }

  /// The object that `handle` names, or nil if that object's life is over.
  @inline(__always)
  func object(_ handle: Handle) -> Object? {
    let index = handle.slot
    guard index < slots.count else { return nil }
    guard slots[index].generation == handle.generation, slots[index].isTaken else { return nil }
    return slots[index].object
  }

  /// The objects that wait to be taken.
  var freeObjects: [Object] { free.map { slots[$0].object } }

  /// The objects in use.
  var objects: [Object] { slots.filter(\.isTaken).map(\.object) }
}
