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
}

/// All states of servers in the process.
final class PeerRegistry: Sendable {
  // Bound: for how long the state of a server that left the configuration is kept for its return,
  // and for exchanges of an old plan that may still choose it.
  private static let keptUnused: Milliseconds = 60_000

  private struct Key: Hashable {
    let upstream: String
    let address: String
    /// Counts the lines of an upstream that have the same address.
    let occurrence: Int
  }

  private struct Entry {
    let state: PeerState
    var unusedSince: Milliseconds?
  }

  private struct Name: Hashable {
    let upstream: String
    let host: UpstreamServerSettings.Host
  }

  private struct Contents {
    var entries: [Key: Entry] = [:]
    var free: [PeerState] = []
    var addresses: [Name: [SocketAddress]] = [:]
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
      for (server, address, key) in Self.servers(of: upstream, in: contents) {
        let state = Self.state(key, in: &contents)
        result.append(ResolvedServer(server: server, address: address, state: state))
      }
      return result
    }
  }

  /// Remembers what a name of an upstream was resolved to. False if it was known.
  func record(
    _ addresses: [SocketAddress], of host: UpstreamServerSettings.Host, in upstream: String
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
  ) -> [SocketAddress]? {
    contents.withLock { $0.addresses[Name(upstream: upstream, host: host)] }
  }

  /// Lets go of states that no server of `upstreams` has had for a while. O(servers).
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
        if used.contains(key) {
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
      let addresses =
        switch server.host {
        case .address(let address): [address]
        case .name: contents.addresses[Name(upstream: upstream.name, host: server.host)] ?? []
        }
      for address in addresses {
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
