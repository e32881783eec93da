// What an exchange that another one makes knows from the beginning: the head, the site, what was
// found out about the client.
//
// An inner exchange (`auth_request`, includes) ends before the one that made it, and looks at the
// head where that lies. One that may outlive it (`mirror`, updates of a cache) has a copy.

import HTTP

extension Exchange {
  /// Begins a life inside `owner`, whose head this exchange looks at.
  func enter(innerOf owner: Exchange) {
    inherit(from: owner) { $0 }
    self.owner = owner
    depth = owner.depth + 1
    (method, methodName) = (.get, Bytes("GET"))
  }

  /// Begins a life at the root of `original`'s site with a copy of its request, since `original`
  /// and its connection may end before this exchange does.
  func enter(copying original: Exchange) {
    inherit(from: original) { arena.copy($0) }
    arguments = arena.copy(original.arguments)
    (method, methodName) = (original.method, arena.copy(original.methodName))
  }

  /// Takes over all that holds for both; `kept` gives bytes that live as long as this exchange.
  private func inherit(from other: Exchange, _ kept: (Bytes) -> Bytes) {
    isInner = true
    state = .working
    address = other.address
    site = other.site
    location = site.root
    request = other.request
    headBytes = kept(other.headBytes)
    host = kept(other.host)
    requestTarget = kept(other.requestTarget)
    realAddress = other.realAddress
    connectionNamesFields = other.connectionNamesFields
    // What was limited already isn't limited again, as in nginx.
    requestLimitOutcome = other.requestLimitOutcome
    connectionLimitOutcome = other.connectionLimitOutcome
    for index in values.indices { values[index] = other.values[index].map(kept) }
  }
}
