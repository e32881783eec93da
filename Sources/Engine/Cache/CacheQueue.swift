// Who waits until somebody else has fetched something for a cache (`proxy_cache_lock`). Part of
// `CacheIndex`, behind its zone's lock.
//
//   free ──join──► in the line of a key ──call──► called ──leave──► free
//                            │                                        ▲
//                            └──────────────── leave ─────────────────┘
//
// A line is a ring whose first place its key's entry knows. Each place is left once by whoever has
// it, called or not: so that what a client that is gone holds here goes with it, whatever its key's
// fetch comes to.

/// Who waits for a ticket to be given back.
struct CacheWaiter: Equatable, Sendable {
  let worker: Int
  /// The handle of the exchange.
  let exchange: UInt64
}

/// The lines of one cache. All operations take constant time.
struct CacheQueue {
  /// A place in a line, or none.
  typealias Place = Int

  private struct Node {
    var waiter: CacheWaiter
    var key: CacheKey
    var next: Place
    var previous: Place
    var isCalled: Bool
  }

  static let none: Place = -1
  // Bound: memory for so many places stays when nobody waits.
  private static let keptCount = 1 << 10

  private var nodes: [Node] = []
  private var free: [Place] = []

  /// How many places are taken.
  var count: Int { nodes.count - free.count }

  /// Puts `waiter` at the end of the line that begins at `first`; gives its place.
  mutating func join(_ first: inout Place, _ waiter: CacheWaiter, for key: CacheKey) -> Place {
    let place = free.popLast() ?? nodes.count
    let last = first == Self.none ? place : nodes[first].previous
    let next = first == Self.none ? place : first
    let node = Node(waiter: waiter, key: key, next: next, previous: last, isCalled: false)
    if place == nodes.count { nodes.append(node) } else { nodes[place] = node }
    nodes[last].next = place
    nodes[next].previous = place
    if first == Self.none { first = place }
    return place
  }

  /// Takes the first out of its line, to be told; nil: nobody is there.
  mutating func call(_ first: inout Place) -> CacheWaiter? {
    guard first != Self.none else { return nil }
    let called = first
    unlink(called, &first)
    nodes[called].isCalled = true
    return nodes[called].waiter
  }

  /// For which key somebody waits, or waited, at `place`.
  func key(_ place: Place) -> CacheKey { nodes[place].key }

  /// Gives a place back, once; whether its waiter was called.
  mutating func leave(_ place: Place, _ first: inout Place) -> Bool {
    let isCalled = nodes[place].isCalled
    if !isCalled { unlink(place, &first) }
    free.append(place)
    if count == 0 && nodes.count > Self.keptCount { self = CacheQueue() }
    return isCalled
  }

  private mutating func unlink(_ place: Place, _ first: inout Place) {
    let (next, previous) = (nodes[place].next, nodes[place].previous)
    nodes[previous].next = next
    nodes[next].previous = previous
    if first == place { first = next == place ? Self.none : next }
  }
}
