// Objects made once and recycled: connections and exchanges live in slabs, so that a connection
// costs no allocation once its worker is warm, and a handle finds its object by index.
//
// A slab never frees an object while it lives itself. Events are therefore handed to objects by
// `Resident`, which counts no reference: counting them was the largest cost of a small request.

/// A table of recycled objects of one kind.
///
/// Looking up, taking and giving back are O(1).
struct Slab<Object: AnyObject>: ~Copyable {
  @safe
  private struct Slot {
    // Safety: the slab took a reference when the object was made, and drops it in its `deinit`.
    let reference: Unmanaged<Object>
    var generation: UInt32
    var isTaken: Bool

    init(_ object: Object) {
      unsafe reference = Unmanaged.passRetained(object)
      generation = 1
      isTaken = true
    }

    var object: Object { unsafe reference.takeUnretainedValue() }
  }

  private var slots: [Slot] = []
  private var free: [Int] = []
  private let kind: HandleKind

  /// The number of objects in use.
  private(set) var count = 0

  init(kind: HandleKind) { self.kind = kind }

  deinit { for slot in slots { unsafe slot.reference.release() } }

  /// Takes an object out of the slab, making one with `make` only if none is free.
  mutating func take(_ make: () -> Object) -> (object: Object, handle: Handle) {
    count += 1
    if let index = free.popLast() {
      slots[index].isTaken = true
      return (slots[index].object, Handle(kind, slot: index, generation: slots[index].generation))
    }
    let object = make()
    slots.append(Slot(object))
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
    guard let index = index(of: handle) else { return nil }
    return slots[index].object
  }

  /// The object that `handle` names, uncounted, or nil if that object's life is over.
  @inline(__always)
  func resident(_ handle: Handle) -> Resident<Object>? {
    guard let index = index(of: handle) else { return nil }
    return unsafe Resident(slots[index].reference)
  }

  @inline(__always)
  private func index(of handle: Handle) -> Int? {
    let index = handle.slot
    guard index < slots.count else { return nil }
    return slots[index].generation == handle.generation && slots[index].isTaken ? index : nil
  }

  /// The objects that wait to be taken.
  var freeObjects: [Object] { free.map { slots[$0].object } }

  /// The objects in use.
  var objects: [Object] { slots.filter(\.isTaken).map(\.object) }
}

/// An object of a slab, for handing it an event: copying this and calling the object count nothing.
///
/// - Safety: slabs belong to their worker and outlive each turn of its loop, and with the slab
///   lives the object, whatever becomes of its handle. A resident isn't stored.
@safe
struct Resident<Object: AnyObject> {
  private let reference: Unmanaged<Object>

  @unsafe
  fileprivate init(_ reference: Unmanaged<Object>) { unsafe self.reference = reference }

  /// Lets `body` use the object.
  @inline(__always)
  func visit(_ body: (Object) -> Void) { unsafe reference._withUnsafeGuaranteedRef(body) }
}
