// Groups of servers as one worker knows them: those of the plan, and those that a computed
// `proxy_pass` named, kept for a while.

import HTTP

extension WorkerCore {
  /// The plan's group of that name, or one that was made for a computed address.
  func group(named name: String) -> UpstreamGroup? { plan.groups[name] }

  /// A group for addresses that only a request knows, kept for the next one.
  func adHocGroup(_ name: String, _ addresses: [SocketAddress]) -> UpstreamGroup {
    let key = name + "|" + addresses.map(\.description).joined(separator: ",")
    if let group = adHocGroups[key] { return group }
    // Bound: computed destinations that are remembered; clients may choose names.
    if adHocGroups.count >= 256 { adHocGroups.removeAll() }
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
    let list = upstreams.idleConnections(
      group.settings.name, limit: group.settings.keepalive.connectionCount)
    group.idle = list
    return list
  }
}
