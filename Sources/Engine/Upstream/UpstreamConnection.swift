// A connection to one server of an upstream: in use by one attempt, or kept idle for the next.

import HTTP

/// One connection to an upstream server.
final class UpstreamConnection {
  var transport = Transport()
  var handle = Handle.none
  let timer: TimerWheel.ID
  /// Which server this leads to; equal for all threads and across reloads.
  var peerState: PeerState?
  /// TLS towards upstreams of different names must not be mixed; nil: no TLS.
  var tlsKey: TLSKey?
  /// The local address that `proxy_bind` asked for.
  var bound: LocalAddress?
  /// Whose attempt uses it; none: it is kept for the next.
  var exchange = Handle.none
  var requestCount = 0
  var openedAt: Milliseconds = 0
  /// Its server left its upstream: it isn't kept.
  fileprivate(set) var isRetired = false
  /// Where it is kept; nil: it is closed.
  fileprivate var list: IdleConnections?

  init(timer: TimerWheel.ID) { self.timer = timer }

  var isIdle: Bool { exchange == .none }

  /// Whether it was opened to that server, under these conditions.
  fileprivate func leads(
    to server: PeerState, _ terms: TLSTerms?, from local: LocalAddress?
  ) -> Bool {
    peerState == server && bound?.address == local?.address
      && TLSTerms.areMet(terms, by: tlsKey)
  }

  /// What distinguishes TLS connections to one address.
  struct TLSKey {
    /// Held, so that nothing else can have its identity.
    let tls: UpstreamTLS
    let name: [UInt8]
    /// Whether the name was sent (SNI): a server may choose its site by it.
    let sendsName: Bool
  }

  /// What a request wants of its TLS connection, without a copy of the name.
  struct TLSTerms {
    let tls: UpstreamTLS
    let name: Bytes
    let sendsName: Bool

    /// What a connection that is opened for the request is known by.
    var key: TLSKey { TLSKey(tls: tls, name: name.array, sendsName: sendsName) }

    /// Whether a connection is what a request wants; nil on either side: none with TLS.
    /// Connections made under equal options survive a reload.
    static func areMet(_ terms: TLSTerms?, by key: TLSKey?) -> Bool {
      guard let terms, let key else { return terms == nil && key == nil }
      return terms.sendsName == key.sendsName && terms.name == key.name
        && (terms.tls === key.tls || terms.tls.options == key.tls.options)
    }
  }
}

/// A local address to connect from. An object, because most connections have none: passing on that
/// there is no `SocketAddress` costs as much as passing one on.
final class LocalAddress {
  let address: SocketAddress
  init(_ address: SocketAddress) { self.address = address }
}

/// The idle connections of one upstream, most recently used last.
final class IdleConnections: UpstreamList {
  let name: String
  fileprivate(set) var connections: [UpstreamConnection] = []
  /// Bound: `keepalive` of the upstream.
  fileprivate(set) var limit: Int

  init(_ name: String, limit: Int) {
    self.name = name
    self.limit = limit
    connections.reserveCapacity(limit)
  }

  func keepNone() { limit = 0 }
}

/// All connections of a worker to upstreams.
struct UpstreamPool: ~Copyable {
  private let loop: Loop
  private var slab = Slab<UpstreamConnection>(kind: .upstream)
  private var lists = UpstreamLists<IdleConnections>()

  init(loop: Loop) { self.loop = loop }

  /// The number of open connections, idle ones included.
  var count: Int { slab.count }
  /// The number of upstreams that are remembered.
  var listCount: Int { lists.count }

  /// The idle connections of `upstream`; they survive reloads.
  mutating func list(of upstream: UpstreamSettings) -> IdleConnections {
    let limit = upstream.keepalive.connectionCount
    if let list = lists[upstream.name] {
      list.limit = limit
      return list
    }
    let list = IdleConnections(upstream.name, limit: limit)
    lists.add(list)
    return list
  }

  /// Forgets upstreams that nobody knows any more.
  mutating func prune(unless isKnown: (_ upstream: String) -> Bool) {
    lists.prune(unless: isKnown)
  }

  func connection(_ handle: Handle) -> Resident<UpstreamConnection>? { slab.resident(handle) }

  /// Takes an idle connection to that server, or nil.
  func checkOut(
    _ list: IdleConnections, _ peerState: PeerState, _ terms: UpstreamConnection.TLSTerms?,
    from local: LocalAddress? = nil
  ) -> UpstreamConnection? {
    guard let last = list.connections.popLast() else { return nil }
    if last.leads(to: peerState, terms, from: local) { return awake(last) }
    list.connections.append(last)
    guard
      let index = list.connections.lastIndex(where: {
        $0.leads(to: peerState, terms, from: local)
      })
    else { return nil }
    return awake(list.connections.remove(at: index))
  }

  private func awake(_ connection: consuming UpstreamConnection) -> UpstreamConnection {
    loop.clearTimer(connection.timer)
    return connection
  }

  /// Opens a connection to `address`; `.failed` if the kernel refuses at once.
  mutating func connect(
    to address: SocketAddress, _ peerState: PeerState, from local: LocalAddress?,
    for list: IdleConnections
  ) -> Result<UpstreamConnection, SystemError> {
    let fd: Int32
    switch Socket.open(to: address, from: local?.address) {
    case .failure(let error): return .failure(error)
    case .success(let opened): fd = opened
    }
    let loop = loop
    let (connection, handle) = slab.take { UpstreamConnection(timer: loop.makeTimer()) }
    connection.handle = handle
    connection.transport.open(fd, readable: false, writable: false)
    connection.list = list
    connection.isRetired = false
    connection.peerState = peerState
    connection.tlsKey = nil
    connection.bound = local
    connection.exchange = .none
    connection.requestCount = 0
    connection.openedAt = loop.now
    do throws(SystemError) {
      try loop.poller.add(fd, handle)
    } catch {
      close(connection)
      return .failure(error)
    }
    return .success(connection)
  }

  /// Keeps `connection` for a later exchange, in place of the oldest one if the list is full.
  mutating func checkIn(_ connection: consuming UpstreamConnection, timeout: Milliseconds) {
    guard let list = connection.list, list.limit > 0, !connection.isRetired else {
      return close(connection)
    }
    if list.connections.count >= list.limit { close(list.connections[0]) }
    connection.exchange = .none
    loop.setTimer(connection.timer, after: timeout, for: connection.handle)
    list.connections.append(connection)
  }

  /// Closes a connection, idle or not.
  mutating func close(_ connection: UpstreamConnection) {
    if connection.isIdle, let list = connection.list,
      let index = list.connections.firstIndex(where: { $0 === connection })
    {
      list.connections.remove(at: index)
    }
    connection.list = nil
    connection.transport.close()
    connection.exchange = .none
    loop.clearTimer(connection.timer)
    slab.giveBack(connection.handle)
  }

  /// Gives up connections to servers that left their upstream: at once if nobody uses them, when
  /// their exchange is done with them otherwise.
  mutating func retire(unless isServed: (_ upstream: String, PeerState) -> Bool) {
    for connection in slab.objects {
      guard let list = connection.list, let state = connection.peerState,
        !isServed(list.name, state)
      else { continue }
      connection.isRetired = true
      if connection.isIdle { close(connection) }
    }
  }

  /// Closes every idle connection.
  mutating func closeIdle() {
    for list in lists.all {
      for connection in list.connections { close(connection) }
    }
  }

  /// Something happened on an idle connection: the server closed it, or said what nobody asked for.
  mutating func onIdleEvent(_ connection: UpstreamConnection, _ readiness: Readiness) {
    connection.transport.note(readiness)
    if connection.transport.isReadable { close(connection) }
  }
}
