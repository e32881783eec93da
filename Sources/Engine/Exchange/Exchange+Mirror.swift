// mirror: copies of a request go to other locations, and what those answer is dropped
// (https://nginx.org/en/docs/http/ngx_http_mirror_module.html).

import HTTP

extension Exchange {
  /// Sends the copies that `mirror` asks for, then lets the content answer. The body comes first, if
  /// copies are to have it.
  func answerMirrored() {
    guard location.settings.core.value.mirror.copiesBody, body.hasBody, body.phase == .untouched,
      !requestedUpgrade
    else { return sendMirrors() }
    body.isMirrored = true
    readWholeBody()
  }

  /// Sends the copies, and goes on.
  func sendMirrors() {
    let count = location.settings.core.value.mirror.targets.count
    for index in 0..<count { mirror(location.settings.core.value.mirror.targets[index]) }
    answerUnmirrored()
  }

  private func mirror(_ target: Bytes) {
    guard core.mayMirror(logging: self) else { return }
    MirrorStream(core, connection.copy()).start(target, self)
  }

  /// Begins a life as a copy of `original`, which may end before this exchange does.
  func enter(mirroring original: Exchange) {
    enter(innerOf: original)
    owner = nil
    depth = 0
    headBytes = arena.copy(original.headBytes)
    host = arena.copy(original.host)
    requestTarget = arena.copy(original.requestTarget)
    arguments = arena.copy(original.arguments)
    (method, methodName) = (original.method, arena.copy(original.methodName))
    // It goes by the number of the request that it copies.
    requestID = original.value(of: .builtin(.request_id)).map { arena.copy($0) }
    for index in values.indices { values[index] = values[index].map { arena.copy($0) } }
    if original.location.settings.core.value.mirror.copiesBody { body = original.body.forAnother() }
  }
}

extension WorkerCore {
  /// Whether another mirrored request may begin. Bound: a quarter of `worker_connections`, or a
  /// mirror that answers slowly would take the connections that clients need.
  func mayMirror(logging exchange: Exchange) -> Bool {
    guard mirrorCount >= max(1, plan.main.workerConnections / 4) else {
      leavesMirrorsOut = false
      return true
    }
    if !leavesMirrorsOut {
      leavesMirrorsOut = true
      exchange.log(.warn, "\(mirrorCount) mirrored requests are under way: others are left out")
    }
    return false
  }
}

extension ConnectionFacts {
  /// What holds for a request that may outlive the connection.
  func copy() -> ConnectionFacts {
    let facts = ConnectionFacts()
    facts.peerAddress = peerAddress
    facts.listen = listen
    facts.plan = plan
    (facts.serial, facts.requestCount, facts.openedAt) = (serial, requestCount, openedAt)
    facts.tls = tls
    facts.proxy = proxy
    facts.keptLocalAddress = KeptAddress(localAddress)
    return facts
  }
}
