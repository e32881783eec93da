// Where the shared states of servers live between plans: found by upstream and address, so that
// what is known of a server survives a reload. Also what DNS last said, so that whoever compiles a
// plan begins with the servers of the moment. One a process; used by the control thread and by
// whoever builds plans, never on the data path.

import Synchronization

/// A server of an upstream as of now: a line of the configuration, one address of it, its state.
struct ResolvedServer: Sendable {
  /// The line of the configuration that this is an address of.
  let server: UpstreamServerSettings
  let address: SocketAddress
  let state: PeerState
  /// As long as it lives, the state is this server's.
  let lease: PeerLease
}

/// Keeps the state of a server from being given to another one. Who may still choose the server
/// holds it: groups of plans that exchanges are on, and those that computed addresses were given.
final class PeerLease: Sendable {}

/// One address that a name of an upstream was resolved to.
struct NamedAddress: Sendable, Equatable {
  var address: SocketAddress
  /// What an SRV record says of it; the words of the `server` line go before.
  var weight = 1
  var isBackup = false
}

/// All states of servers in the process.
final class PeerRegistry: Sendable {
  // Bound: for how long the state of a server that nobody has any more is kept for its return.
  private static let keptUnused: Milliseconds = 60_000

  private struct Key: Hashable {
    let upstream: String
    let address: String
    /// Counts the lines of an upstream that have the same address.
    let occurrence: Int
  }

  private struct Entry {
    let state: PeerState
    weak var lease: PeerLease?
    var unusedSince: Milliseconds?
  }

  private struct Name: Hashable {
    let upstream: String
    let host: UpstreamServerSettings.Host
  }

  private struct Contents {
    var entries: [Key: Entry] = [:]
    var free: [PeerState] = []
    var addresses: [Name: [NamedAddress]] = [:]
  }

  private let contents = Mutex(Contents())

  /// The state of a server. `occurrence` tells equal addresses in one upstream apart.
  func state(upstream: String, address: SocketAddress, occurrence: Int = 0) -> PeerState {
    contents.withLock {
      Self.state(
        Key(upstream: upstream, address: address.description, occurrence: occurrence), in: &$0)
    }
  }

  /// All servers of an upstream as of now: those with addresses, and what names were last resolved
  /// to. In the order of the configuration.
  func servers(of upstream: UpstreamSettings) -> [ResolvedServer] {
    contents.withLock { contents in
      var result: [ResolvedServer] = []
      Self.adoptPorts(of: upstream, in: &contents)
      for (server, address, key) in Self.servers(of: upstream, in: contents) {
        let state = Self.state(key, in: &contents)
        let lease = contents.entries[key]?.lease ?? PeerLease()
        contents.entries[key]?.lease = lease
        result.append(
          ResolvedServer(server: server, address: address, state: state, lease: lease))
      }
      return result
    }
  }

  /// Remembers what a name of an upstream was resolved to. False if it was known.
  func record(
    _ addresses: [NamedAddress], of host: UpstreamServerSettings.Host, in upstream: String
  ) -> Bool {
    contents.withLock { contents in
      let name = Name(upstream: upstream, host: host)
      if contents.addresses[name] == addresses { return false }
      contents.addresses[name] = addresses
      return true
    }
  }

  /// What a name of an upstream was last resolved to; nil if it never was.
  func addresses(
    of host: UpstreamServerSettings.Host, in upstream: String
  ) -> [NamedAddress]? {
    contents.withLock { $0.addresses[Name(upstream: upstream, host: host)] }
  }

  /// Lets go of states that no server of `upstreams` and no group has had for a while. O(servers).
  func recycle(keeping upstreams: [UpstreamSettings], now: Milliseconds) {
    contents.withLock { contents in
      var used: Set<Key> = []
      var names: Set<Name> = []
      for upstream in upstreams {
        for (_, _, key) in Self.servers(of: upstream, in: contents) { used.insert(key) }
        for server in upstream.servers {
          names.insert(Name(upstream: upstream.name, host: server.host))
        }
      }
      contents.addresses = contents.addresses.filter { names.contains($0.key) }
      for (key, entry) in contents.entries {
        if used.contains(key) || entry.lease != nil {
          contents.entries[key]?.unusedSince = nil
        } else if let since = entry.unusedSince {
          guard now - since >= Self.keptUnused, entry.state.active <= 0 else { continue }
          entry.state.reset()
          contents.free.append(entry.state)
          contents.entries[key] = nil
        } else {
          contents.entries[key]?.unusedSince = now
        }
      }
    }
  }

  /// The number of states that are kept for servers.
  var count: Int { contents.withLock { $0.entries.count } }

  /// A name whose port changed is where it was until DNS says so: a reload while DNS is away must
  /// not take servers out.
  private static func adoptPorts(of upstream: UpstreamSettings, in contents: inout Contents) {
    for server in upstream.servers {
      guard case .name(let name, let port) = server.host else { continue }
      let wanted = Name(upstream: upstream.name, host: server.host)
      if contents.addresses[wanted] != nil { continue }
      let known = contents.addresses.first { entry in
        guard entry.key.upstream == upstream.name, case .name(name, _) = entry.key.host else {
          return false
        }
        return true
      }
      guard let known else { continue }
      contents.addresses[wanted] = known.value.map { member in
        var member = member
        member.address.port = port
        return member
      }
    }
  }

  private static func state(_ key: Key, in contents: inout Contents) -> PeerState {
    if let entry = contents.entries[key] { return entry.state }
    let state = contents.free.popLast() ?? PeerState()
    contents.entries[key] = Entry(state: state)
    return state
  }

  private static func servers(
    of upstream: UpstreamSettings, in contents: Contents
  ) -> [(UpstreamServerSettings, SocketAddress, Key)] {
    var result: [(UpstreamServerSettings, SocketAddress, Key)] = []
    var occurrences: [String: Int] = [:]
    for server in upstream.servers {
      let members =
        switch server.host {
        case .address(let address): [NamedAddress(address: address)]
        case .name, .service:
          contents.addresses[Name(upstream: upstream.name, host: server.host)] ?? []
        }
      for member in members {
        // Of a service that is a backup as a whole, its own backups are ignored, as in nginx.
        if member.isBackup && server.isBackup { continue }
        var server = server
        if server.weight == 1 { server.weight = member.weight }
        if member.isBackup { server.isBackup = true }
        let address = member.address
        let text = address.description
        let occurrence = occurrences[text, default: 0]
        occurrences[text] = occurrence + 1
        let key = Key(upstream: upstream.name, address: text, occurrence: occurrence)
        result.append((server, address, key))
      }
    }
    return result
  }
}
