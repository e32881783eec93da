// A worker's connections to upstreams by the names of these, which is how a new plan finds what was
// kept under the one before. Both pools have one; a name that is gone is forgotten.

/// The connections to the servers of one upstream.
protocol UpstreamList: AnyObject {
  /// The upstream's name, which identifies it across reloads.
  var name: String { get }
  var connections: [Connection] { get }
  associatedtype Connection

  /// Has no connection be kept from here on: nobody would find it.
  func keepNone()
}

/// The lists of a pool.
struct UpstreamLists<List: UpstreamList> {
  private var lists: [String: List] = [:]

  var count: Int { lists.count }
  var all: [List] { Array(lists.values) }

  subscript(name: String) -> List? { lists[name] }

  mutating func add(_ list: List) { lists[list.name] = list }

  /// Forgets upstreams that nobody knows any more, but for those that have connections: a computed
  /// address may return before these end. So there are no more lists than known upstreams and
  /// connections. O(lists).
  mutating func prune(unless isKnown: (_ upstream: String) -> Bool) {
    for list in lists.values where list.connections.isEmpty && !isKnown(list.name) {
      list.keepNone()
      lists[list.name] = nil
    }
  }
}
