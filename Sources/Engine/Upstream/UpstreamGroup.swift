// The servers of one upstream in one worker: who is in, whose turn it is. Made with the plan; the
// control thread sends new lists of servers when DNS answers change. Servers that stay keep their
// turn, their weight after failures and their connections; the shared state of each is in
// PeerState.

/// The servers of one upstream in one worker.
final class UpstreamGroup {
  /// The primary servers, or the backups. `seats[i]` belongs to `peers[i]`.
  struct Tier {
    var peers: [Peer] = []
    var seats: [Seat] = []
    /// Where the `server` lines stand if hashing is consistent.
    var ring: [RingPoint] = []
    /// For each seat the next one of a line with the same text, or -1.
    var nextOfLine: [Int] = []
  }

  let settings: UpstreamSettings
  var primary = Tier()
  var backup = Tier()
  /// Whether there is one server and nobody else: it is then never out because of failures.
  private(set) var isSingle = false
  /// The kept connections of this group's servers; set by the worker that uses the group.
  var idle: IdleConnections?
  /// Their connections by HTTP/2, in use or not; set when one is first needed.
  var streamed: H2UpstreamList?
  /// The key of `hash`.
  var hashKey: Template?
  /// What binds clients to servers.
  var sticky: StickySettings?
  /// How many servers an exchange may try: those that are not `down`.
  private(set) var tryCount = 0

  /// A group of `servers`.
  init(_ settings: UpstreamSettings, servers: [ResolvedServer]) {
    self.settings = settings
    update(servers)
  }

  /// All servers, in the order of the configuration, backups last.
  var peers: [Peer] { primary.peers + backup.peers }

  /// Whether the server with that state is one of the group. O(servers).
  func has(_ state: PeerState) -> Bool {
    primary.peers.contains { $0.state == state } || backup.peers.contains { $0.state == state }
  }

  var isEmpty: Bool { primary.peers.isEmpty && backup.peers.isEmpty }

  /// Replaces the servers by `servers`. O(servers).
  func update(_ servers: [ResolvedServer]) {
    var known: [PeerState.ID: (peer: Peer, seat: Seat)] = [:]
    for tier in [primary, backup] {
      for (peer, seat) in zip(tier.peers, tier.seats) { known[peer.state.id] = (peer, seat) }
    }
    primary = Tier()
    backup = Tier()
    var takenSlots = TriedSet()
    for resolved in servers {
      // A state belongs to one address in one upstream; a server whose line changed is a new one.
      guard let (peer, _) = known[resolved.state.id], peer.server == resolved.server else {
        continue
      }
      takenSlots.insert(peer.slot)
    }
    var nextSlot = 0
    for resolved in servers {
      if let (peer, seat) = known[resolved.state.id], peer.server == resolved.server {
        known[resolved.state.id] = nil
        add(peer, seat)
        continue
      }
      while takenSlots.contains(nextSlot) { nextSlot += 1 }
      takenSlots.insert(nextSlot)
      let peer = Peer(resolved, slot: nextSlot, isSticky: settings.isSticky)
      add(peer, Seat(peer))
    }
    isSingle =
      primary.peers.count + backup.peers.count == 1 && !peers.contains { $0.server.isDraining }
    tryCount = peers.count { !$0.server.isDown }
    if settings.method == .keyHash(consistent: true) { primary.layRing() }
  }

  private func add(_ peer: Peer, _ seat: Seat) {
    if peer.isBackup {
      backup.peers.append(peer)
      backup.seats.append(seat)
    } else {
      primary.peers.append(peer)
      primary.seats.append(seat)
    }
  }
}
