// All HTTP/2 connections of a worker to upstreams: which one has room for another stream, how many
// are kept when nobody uses them.

import HTTP

/// The HTTP/2 connections to the servers of one upstream, in use or idle.
final class H2UpstreamList: UpstreamList {
  let name: String
  fileprivate(set) var connections: [H2UpstreamConnection] = []
  var keepalive: UpstreamKeepaliveSettings
  /// How many streams a server allows that didn't say yet: what one of them said last.
  var expectedStreams = 100
  /// How long a head a server takes that didn't say yet, each field counted with 32 bytes more (RFC
  /// 9113 §6.5.2): what one of them said last.
  var expectedHeadBytes = 8 << 10
  /// How many requests a server takes on a connection: what its last GOAWAY came after.
  var expectedRequests = Int.max

  init(_ name: String, _ keepalive: UpstreamKeepaliveSettings) {
    self.name = name
    self.keepalive = keepalive
  }

  func keepNone() { keepalive.connectionCount = 0 }

  fileprivate var idleCount: Int {
    var count = 0
    for connection in connections where connection.isIdle { count += 1 }
    return count
  }
}

/// All HTTP/2 connections of a worker to upstreams.
struct H2UpstreamPool: ~Copyable {
  private let loop: Loop
  private var slab = Slab<H2UpstreamConnection>(kind: .h2Upstream)
  private var lists = UpstreamLists<H2UpstreamList>()
  private var freeStreams: [H2UpstreamStream] = []

  // Bound: streams kept for later, about 2 KiB each.
  private static let keptStreams = 1024

  init(loop: Loop) {
    self.loop = loop
    freeStreams.reserveCapacity(Self.keptStreams)
  }

  /// The number of open connections, idle ones included.
  var count: Int { slab.count }
  /// The number of upstreams that are remembered.
  var listCount: Int { lists.count }

  /// The connections of `upstream`; they survive reloads. Without an `upstream` block, which is
  /// where `keepalive` stands, a connection ends with its last stream.
  mutating func list(of upstream: UpstreamSettings) -> H2UpstreamList {
    var keepalive = upstream.keepalive
    if upstream.isImplied { keepalive.connectionCount = 0 }
    if let list = lists[upstream.name] {
      list.keepalive = keepalive
      return list
    }
    let list = H2UpstreamList(upstream.name, keepalive)
    lists.add(list)
    return list
  }

  /// Forgets upstreams that nobody knows any more.
  mutating func prune(unless isKnown: (_ upstream: String) -> Bool) {
    lists.prune(unless: isKnown)
  }

  func connection(_ handle: Handle) -> H2UpstreamConnection? { slab.object(handle) }

  /// A connection to that server with room for another stream, or nil.
  func find(
    _ list: H2UpstreamList, _ peerState: PeerState, _ terms: UpstreamConnection.TLSTerms?,
    from local: SocketAddress?, where isWanted: (H2UpstreamConnection) -> Bool
  ) -> H2UpstreamConnection? {
    for connection in list.connections
    where connection.peerState == peerState
      && UpstreamConnection.TLSTerms.areMet(terms, by: connection.tlsKey)
      && connection.bound == local && connection.takesStream() && isWanted(connection)
    {
      return connection
    }
    return nil
  }

  /// Opens a connection to `address`; `.failure` if the kernel refuses at once.
  mutating func connect(
    to address: SocketAddress, _ peerState: PeerState, from local: SocketAddress?,
    in list: H2UpstreamList
  ) -> Result<H2UpstreamConnection, SystemError> {
    let fd: Int32
    switch Socket.open(to: address, from: local) {
    case .failure(let error): return .failure(error)
    case .success(let opened): fd = opened
    }
    let loop = loop
    let (connection, handle) = slab.take { H2UpstreamConnection(loop) }
    guard connection.open(fd, handle, peerState, from: local) else {
      Socket.close(fd)
      slab.giveBack(handle)
      return .failure(SystemError(code: 12))
    }
    connection.list = list
    list.connections.append(connection)
    do throws(SystemError) {
      try loop.poller.add(fd, handle)
    } catch {
      close(connection)
      return .failure(error)
    }
    return .success(connection)
  }

  /// A stream on `connection` for the attempt of `exchange`; if it is to be `alone` there, nobody
  /// else has one as long as it lasts.
  mutating func attach(
    _ exchange: Handle, to connection: H2UpstreamConnection, alone: Bool
  ) -> H2UpstreamStream? {
    guard let session = connection.session else { return nil }
    connection.isReserved = alone
    let stream = freeStreams.popLast() ?? H2UpstreamStream()
    stream.exchange = exchange
    stream.connection = connection
    connection.noteRequest()
    session.attach(stream)
    loop.clearTimer(connection.timer)
    return stream
  }

  /// Takes a stream back; its connection is kept or closed if that was the last one.
  mutating func release(_ stream: H2UpstreamStream, isDraining: Bool) {
    let connection = stream.connection
    connection?.noteRelease(of: stream)
    if stream.session?.detach(stream) == true { connection?.noteReset() }
    stream.reset(loop.pool)
    if freeStreams.count < Self.keptStreams { freeStreams.append(stream) }
    guard let connection else { return }
    connection.requestFlush()
    guard connection.isIdle, !reap(connection, isDraining: isDraining), let list = connection.list
    else { return }
    if list.idleCount > list.keepalive.connectionCount {
      guard let oldest = list.connections.first(where: { $0.isIdle }) else {
        return
      }
      close(oldest)
      if oldest === connection { return }
    }
    loop.setTimer(connection.timer, after: list.keepalive.idleTimeout, for: connection.handle)
  }

  /// Closes a connection that nobody uses and that is of no more use; whether it did.
  mutating func reap(_ connection: H2UpstreamConnection, isDraining: Bool) -> Bool {
    guard connection.isIdle else { return false }
    if !isDraining && connection.isKeepable { return false }
    close(connection)
    return true
  }

  /// Closes a connection without streams.
  mutating func close(_ connection: H2UpstreamConnection) {
    guard let list = connection.list else { return }
    list.connections.removeAll { $0 === connection }
    let handle = connection.handle
    connection.close()
    slab.giveBack(handle)
  }

  /// Gives up connections to servers that left their upstream: at once if nobody uses them,
  /// with their last stream otherwise.
  mutating func retire(unless isServed: (_ upstream: String, PeerState) -> Bool) {
    for connection in slab.objects {
      guard let list = connection.list, let state = connection.peerState,
        !isServed(list.name, state)
      else { continue }
      connection.isRetired = true
      _ = reap(connection, isDraining: false)
    }
  }

  /// Closes every connection that nobody uses.
  mutating func closeIdle() {
    for connection in slab.objects where connection.isIdle {
      close(connection)
    }
  }
}
