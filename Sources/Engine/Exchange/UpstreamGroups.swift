// Groups of servers as one worker knows them: those of the plan, and those that a computed
// `proxy_pass` named, kept for a while.

import HTTP

extension WorkerCore {
  /// The plan's group of that name.
  func group(named name: String) -> UpstreamGroup? { plan.groups[UpstreamSettings.key(name)] }

  /// A group for addresses that only a request knows, kept for the next one.
  func adHocGroup(_ name: String, _ addresses: [SocketAddress]) -> UpstreamGroup {
    let key = name + "|" + addresses.map(\.description).joined(separator: ",")
    if let group = adHocGroups[key] { return group }
    // Bound: computed destinations that are remembered; clients may choose names.
    if adHocGroups.count >= 256 {
      adHocGroups.removeAll()
      pruneUpstreams()
    }
    var settings = UpstreamSettings(
      name: key, servers: addresses.map { UpstreamServerSettings(.address($0)) })
    settings.displayName = name
    settings.isImplied = true
    let group = UpstreamGroup(settings, servers: registry.servers(of: settings))
    adHocGroups[key] = group
    return group
  }

  /// The kept connections of a group.
  func idleConnections(_ group: UpstreamGroup) -> IdleConnections {
    if let list = group.idle { return list }
    let list = upstreams.list(of: group.settings)
    group.idle = list
    return list
  }

  /// DNS, or a service, has other servers for an upstream.
  func update(_ upstream: String, _ servers: [ResolvedServer]) {
    guard let group = plan.groups[upstream] else { return }
    group.update(servers)
    upstreams.retire { $0 != upstream || group.has($1) }
    h2Upstreams.retire { $0 != upstream || group.has($1) }
  }

  /// Lets go of what only the plan before had.
  func retireFormerUpstreams() {
    upstreams.retire { knownGroup($0)?.has($1) == true }
    h2Upstreams.retire { knownGroup($0)?.has($1) == true }
    pruneUpstreams()
  }

  private func pruneUpstreams() {
    upstreams.prune { knownGroup($0) != nil }
    h2Upstreams.prune { knownGroup($0) != nil }
  }

  private func knownGroup(_ name: String) -> UpstreamGroup? {
    plan.groups[name] ?? adHocGroups[name]
  }
}
