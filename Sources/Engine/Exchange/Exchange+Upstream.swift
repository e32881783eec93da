// Trying servers: a server is chosen, a kept connection taken or a new one made. The events of the
// upstream connection arrive here; `Attempt` holds what is known of the try.
//
//   startTries ─► nextTry ─► send            (Exchange+UpstreamRequest)
//                    ▲         └─► receive   (Exchange+UpstreamResponse, then Body)
//                    └── failTry             (Exchange+Retries)

import HTTP

extension Exchange {
  /// Starts the first try at the group that `proxy` chose.
  func startTries() {
    if location.settings.cache.value.source != nil && !consultCache() { return }
    if unresolved != nil { return resolveDestination() }
    beginTries()
  }

  /// The same when it is settled that an upstream is asked, and which.
  func beginTries() {
    state = .attempting
    attempt.startedAt = loop.now
    attempt.tryCount = 0
    attempt.didRetryStale = false
    attempt.excludedCount = 0
    attempt.tried.removeAll()
    upstreamLog.beginGroup()
    writeUpstreamRequest()
    nextTry()
  }

  /// Tries a server of the group that was not tried yet.
  func nextTry() {
    guard let group = attempt.group else { return fail(502) }
    let route = if let sticky = group.sticky { boundRoute(sticky) } else { Route.none }
    guard
      let peer = group.choose(
        &attempt.tried, now: loop.now, key: balancingKey(group), route: route)
    else {
      upstreamLog.begin(groupName: arena.copy(group.settings.displayName))
      log(.error, "no live upstreams while connecting to upstream\(absence(of: group))")
      if cache != nil && useStale(after: .noServer) { return }
      return fail(502)
    }
    attempt.peer = peer
    attempt.number += 1
    attempt.tryCount += 1
    attempt.triedAt = loop.now
    if group.settings.method.leastTime?.countsPending == true {
      peer.state.beginPending(at: loop.now)
    }
    attempt.requestSent = 0
    attempt.bytesSent = 0
    // An empty body has an end all the same, which this server wants to have, too.
    attempt.didEndBody = false
    attempt.resetResponse()
    attempt.bodySent = attempt.inlineBodyCount
    upstreamLog.begin(peer)
    let settings = location.settings.proxy.value
    let local = settings.bind == nil || peer.address.isUnix ? nil : upstreamBind
    if settings.version == .http2 { return openStream(peer, group, from: local?.address) }
    // Servers on SwiftNIO can upgrade only the first request of a connection: an upgrade gets a
    // connection of its own.
    let list = core.idleConnections(group)
    if !passesUpgrade, !attempt.didRetryStale,
      let kept = core.upstreams.checkOut(list, peer.state, upstreamTLSTerms, from: local)
    {
      attempt.isReused = true
      use(consume kept)
      upstreamLog.update { $0.connectTime = 0 }
      return send()
    }
    attempt.isReused = false
    guard core.takesConnection() else {
      log(.alert, "worker_connections are not enough")
      return failTry(.noRoom, "no free connection for")
    }
    switch core.upstreams.connect(to: peer.address, peer.state, from: local, for: list) {
    case .failure(let error):
      failTry(
        .connecting(error), "connect() failed \(error.logText) while connecting to")
    case .success(let connection):
      connection.tlsKey = upstreamTLSTerms?.key
      if location.settings.proxy.value.socketKeepalive {
        Socket.setKeepAlive(connection.transport.fd)
      }
      use(connection)
      attempt.phase = .connecting
      setUpstreamTimer(location.settings.proxy.value.connectTimeout)
    }
  }

  /// Why a group has no server to ask, where it isn't that all failed.
  private func absence(of group: UpstreamGroup) -> String {
    guard group.isEmpty, group.settings.hasNames else { return "" }
    return " (no name in \"\(group.settings.displayName)\" has an address)"
  }

  /// What `hash` and `ip_hash` choose by.
  private func balancingKey(_ group: UpstreamGroup) -> Bytes {
    switch group.settings.method {
    case .addressHash where clientAddress.isUnix: Bytes()
    case .addressHash: value(of: ClientVariable.binary_remote_addr) ?? Bytes()
    case .keyHash: group.hashKey.map { evaluate($0) } ?? Bytes()
    default: Bytes()
    }
  }

  /// What `proxy_bind` says; an address that isn't one is left to the system.
  private var upstreamBind: LocalAddress? {
    guard let bind = location.settings.proxy.value.bind else { return nil }
    let text = evaluate(bind).string
    if text.isEmpty { return nil }
    let literal = SocketAddress(literal: text, port: 0)
    guard let address = literal ?? HostPort(text, defaultPort: 0)?.address else {
      log(.error, "invalid local address \"\(text)\" in proxy_bind")
      return nil
    }
    return LocalAddress(address)
  }

  private func use(_ connection: consuming UpstreamConnection) {
    connection.exchange = handle
    connection.requestCount += 1
    attempt.connection = connection
    attempt.phase = .sending
  }

  func setUpstreamTimer(_ timeout: Milliseconds) {
    if attempt.stream != nil { return setStreamTimer(timeout) }
    guard let timer = attempt.connection?.timer, let handle = attempt.connection?.handle
    else { return }
    loop.setTimer(timer, after: timeout, for: handle)
  }

  // --- events ------------------------------------------------------------------------------------

  /// The upstream connection of this exchange became ready.
  func onUpstreamEvent(_ connection: UpstreamConnection, _ readiness: Readiness) {
    guard connection.exchange == handle else { return }
    connection.transport.note(readiness)
    switch attempt.phase {
    case .connecting: connected(connection, readiness)
    case .handshaking: handshake(connection)
    case .sending, .awaitingHead, .receivingBody:
      if connection.transport.isWritable && !isRequestSent { send() }
      if connection.exchange == handle && connection.transport.isReadable { receive() }
    case .tunneling: pumpTunnel()
    case .none: break
    }
    if state != .idle { stream.flush() }
  }

  /// The deadline of the try passed.
  func onUpstreamTimeout(_ connection: UpstreamConnection) {
    guard attempt.connection === connection else { return }
    upstreamTimedOut()
    if state != .idle { stream.flush() }
  }

  func upstreamTimedOut() {
    let timedOut = "upstream timed out (110: Connection timed out) while"
    switch attempt.phase {
    case .connecting, .handshaking: failTry(.timeout, "\(timedOut) connecting to")
    case .sending where attempt.stream.map { $0.takenCount > attempt.takenAtTimer } == true:
      // The server opened its window a little.
      setUpstreamTimer(location.settings.proxy.value.sendTimeout)
    case .sending: failTry(.timeout, "\(timedOut) sending request to")
    case .awaitingHead: failTry(.timeout, "\(timedOut) reading response header from")
    case .receivingBody where attempt.isPausedByRate: receive()
    case .receivingBody: failTry(.timeout, "\(timedOut) reading")
    case .tunneling:
      log(.error, "\(timedOut) proxying upgraded connection")
      endTunnel()
    case .none: break
    }
  }

  private func connected(_ connection: UpstreamConnection, _ readiness: Readiness) {
    if readiness.isDisjoint(with: [.writable, .broken]) { return }
    if let error = Socket.pendingError(connection.transport.fd) {
      return failTry(
        .connecting(error), "connect() failed \(error.logText) while connecting to")
    }
    guard proxyIsTLS else { return sendOnNewConnection() }
    guard let session = makeUpstreamSession(connection.transport.fd) else {
      return failTry(.noRoom, "SSL session could not be made for")
    }
    connection.transport.start(session)
    attempt.phase = .handshaking
    handshake(connection)
  }

  /// `$upstream_connect_time` includes the handshake.
  private func sendOnNewConnection() {
    upstreamLog.update { $0.connectTime = loop.now - attempt.triedAt }
    send()
  }

  private func handshake(_ connection: UpstreamConnection) {
    guard let tls = connection.transport.tls else { return }
    switch tls.connectStep() {
    case .done: sendOnNewConnection()
    case .waiting: break
    case .failed(let problem): failTry(.error, "\(problem) while SSL handshaking to")
    }
  }
}
