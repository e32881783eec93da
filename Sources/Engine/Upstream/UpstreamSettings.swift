// What the configuration says about an upstream: its servers, how one of them is chosen, how many
// idle connections are kept, which DNS servers know its names. Filled by the plan builder, read by
// workers (UpstreamGroup) and by the control thread (names, health checks). Values only.

/// One `upstream` block, or the single server that a `proxy_pass` names.
struct UpstreamSettings: Sendable {
  /// How a server is chosen.
  enum Method: Sendable, Equatable {
    /// Smooth weighted round robin.
    case roundRobin
    /// The fewest requests in flight for its weight; round robin among equals.
    case leastConnections
    /// The client's address decides.
    case addressHash
    /// A key decides; `consistent`: on a ring, so that few keys move when servers come and go.
    case keyHash(consistent: Bool)
    /// The least time to answer, times the requests in flight, for its weight.
    case leastTime(LeastTime)
    /// Chance decides; `two`: between two the number of their requests does, or their time.
    case random(two: Bool, time: LeastTime?)
  }

  /// What identifies the upstream across reloads; states of its servers are found by it.
  let name: String
  /// How log lines call it; what the user wrote.
  var displayName: String
  var servers: [UpstreamServerSettings]
  var method = Method.roundRobin
  /// Whether no `upstream` block made it, but an address in a `proxy_pass` or the like.
  var isImplied = false
  var keepalive = UpstreamKeepaliveSettings()
  /// Whether clients can be bound to servers.
  var isSticky = false
  var healthCheck: HealthCheckSettings?
  /// The DNS servers that know its names; nil means those of the system.
  var resolver: ResolverSettings?
  /// Its own `resolver_timeout`.
  var resolverTimeout: Milliseconds?

  init(name: String, servers: [UpstreamServerSettings] = []) {
    self.name = name
    displayName = name
    self.servers = servers
  }

  /// What a group is found by: names of hosts have no case, nor have those of groups; paths have.
  static func key(_ name: String) -> String {
    name.hasPrefix("unix:") ? name : name.lowercased()
  }

  /// Whether a server is named rather than addressed, so that DNS decides who is in the group.
  var hasNames: Bool {
    servers.contains { if case .address = $0.host { false } else { true } }
  }
}

/// One `server` line of an upstream.
struct UpstreamServerSettings: Sendable, Equatable {
  /// Where the server is.
  enum Host: Sendable, Hashable {
    case address(SocketAddress)
    /// A name that DNS or /etc/hosts turns into one address or many.
    case name(String, port: UInt16)
    /// The name of SRV records, which say host, port, weight and order.
    case service(String)
  }

  var host: Host
  /// At least 1.
  var weight = 1
  /// Requests in flight over all workers; 0 means no limit.
  var maxConnections = 0
  /// Failures within `failTimeout` that take the server out; 0 means that none does.
  var maxFails = 1
  /// For how long failures add up, and for how long the server then stays out.
  var failTimeout: Milliseconds = 10_000
  /// Asked only when no other server can be.
  var isBackup = false
  /// Never asked.
  var isDown = false
  /// Asked only by requests that are bound to it.
  var isDraining = false
  /// What `sticky` calls the server; nil: by its address.
  var route: String?
  /// Whether `resolve` was written. Names are followed with or without it; with it, an answer that
  /// a name has no addresses takes its servers out.
  var isResolved = false
  /// What stands in the line, from which consistent hashing lays the server's points; nil: as
  /// `description` says.
  var written: String?

  init(_ host: Host) { self.host = host }

  /// As the user would write it: "10.0.0.3:8080", "unix:/run/app.sock", "app.internal:8080".
  var description: String {
    switch host {
    case .address(let address): address.description
    case .name(let name, let port): "\(name):\(port)"
    case .service(let name): name
    }
  }
}

/// How many idle connections to an upstream a worker keeps, and for how long.
struct UpstreamKeepaliveSettings: Sendable, Equatable {
  /// Idle connections of one worker; 0 closes each connection after its request.
  var connectionCount = 32
  /// Requests before a connection is closed.
  var requestCount = 1_000
  /// How old a connection may get.
  var maxAge: Milliseconds = 3_600_000
  /// How long a connection may be idle.
  var idleTimeout: Milliseconds = 60_000
}

/// The `resolver` directive.
struct ResolverSettings: Sendable, Hashable {
  /// The DNS servers, with ports.
  var servers: [SocketAddress]
  /// `valid=`: how long an answer holds, whatever its TTL says.
  var validity: Milliseconds?
  var usesIPv4 = true
  var usesIPv6 = true
  /// `resolver_timeout`: how long one resolution may take.
  var timeout: Milliseconds = 30_000

  init(servers: [SocketAddress]) { self.servers = servers }
}
