// One server as a worker sees it, and what choosing among servers needs of each. Made by
// UpstreamGroup, held by attempts and by pooled connections; dies with the last of them.

import HTTP

/// One server of an upstream, in one worker.
final class Peer {
  let address: SocketAddress
  /// What all workers know of the server.
  let state: PeerState
  /// The line of the configuration that it stems from.
  let server: UpstreamServerSettings
  /// A small number that no other server of the group has as long as this one is in it.
  let slot: Int

  private let lease: PeerLease
  private let text: Buffer
  private let routeText: Buffer?

  /// A server of a group; `isSticky`: clients can be bound to it.
  init(_ resolved: ResolvedServer, slot: Int, isSticky: Bool = false) {
    address = resolved.address
    state = resolved.state
    server = resolved.server
    lease = resolved.lease
    self.slot = slot
    text = Buffer(holding: Array(address.description.utf8))
    routeText =
      isSticky
      ? Buffer(holding: server.route.map { Array($0.utf8) } ?? Route.standard(of: address)) : nil
  }

  var isBackup: Bool { server.isBackup }

  /// The address as logs and `$upstream_addr` show it; valid as long as the peer lives.
  var name: Bytes { text.unread }

  /// What clients that are bound to the server bring along; empty in a group without `sticky`.
  var route: Bytes { routeText?.unread ?? Bytes() }
}

/// What a balancer looks at: plain numbers side by side, so that a choice among many servers walks
/// through memory and counts no references.
struct Seat: BitwiseCopyable {
  let state: PeerState
  let slot: Int
  let weight: Int
  let maxConnections: Int
  let maxFails: Int
  let failTimeout: Milliseconds
  let isDown: Bool
  /// Whether only requests that are bound to the server go there.
  let isDraining: Bool
  let route: Route
  /// How far ahead of its turn the server is; the highest is chosen.
  var currentWeight = 0
  /// The weight after failures; recovers by one with each choice.
  var effectiveWeight: Int

  init(_ peer: Peer) {
    state = peer.state
    slot = peer.slot
    weight = peer.server.weight
    maxConnections = peer.server.maxConnections
    maxFails = peer.server.maxFails
    failTimeout = peer.server.failTimeout
    isDown = peer.server.isDown
    isDraining = peer.server.isDraining
    route = Route(peer.route)
    effectiveWeight = weight
  }

  /// Whether any request may go to the server at the moment.
  @inline(__always)
  func isEligible(_ tried: borrowing TriedSet, now: Milliseconds) -> Bool {
    !isDraining && isUsable(tried, now: now)
  }

  /// Whether a request that is bound to the server may go there at the moment.
  @inline(__always)
  func isUsable(_ tried: borrowing TriedSet, now: Milliseconds) -> Bool {
    if isDown || tried.contains(slot) || state.health != .healthy { return false }
    if state.isFailed(maxFails: maxFails, failTimeout: failTimeout, now: now) { return false }
    return hasRoom
  }

  /// Whether `max_conns` leaves room for a request.
  @inline(__always)
  var hasRoom: Bool { maxConnections == 0 || state.active < maxConnections }

  /// Takes the server: counts the request in and claims the trial if one is due. False if another
  /// thread was faster.
  @inline(__always)
  func claim(now: Milliseconds) -> Bool {
    guard state.enter(limit: maxConnections) else { return false }
    if state.claimTrial(maxFails: maxFails, failTimeout: failTimeout, now: now) { return true }
    state.leave()
    return false
  }
}

/// Which servers of a group an exchange has tried, by slot. Up to 64 cost no memory.
struct TriedSet {
  private var low: UInt64 = 0
  private var high: [UInt64] = []

  init() {}

  @inline(__always)
  func contains(_ slot: Int) -> Bool {
    if slot < 64 { return low & (1 << UInt64(slot)) != 0 }
    let word = slot / 64 - 1
    return word < high.count && high[word] & (1 << UInt64(slot % 64)) != 0
  }

  @inline(__always)
  mutating func insert(_ slot: Int) {
    if slot < 64 {
      low |= 1 << UInt64(slot)
      return
    }
    let word = slot / 64 - 1
    while high.count <= word { high.append(0) }
    high[word] |= 1 << UInt64(slot % 64)
  }

  /// Lets `slot` be tried again.
  mutating func remove(_ slot: Int) {
    if slot < 64 {
      low &= ~(1 << UInt64(slot))
    } else if slot / 64 - 1 < high.count {
      high[slot / 64 - 1] &= ~(1 << UInt64(slot % 64))
    }
  }

  /// Forgets all, keeping its memory.
  mutating func removeAll() {
    low = 0
    for index in high.indices { high[index] = 0 }
  }

  var isEmpty: Bool { low == 0 && high.allSatisfy { $0 == 0 } }
}
