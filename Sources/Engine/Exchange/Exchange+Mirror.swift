// mirror: copies of a request go to other locations, and what those answer is dropped
// (https://nginx.org/en/docs/http/ngx_http_mirror_module.html).

import HTTP

extension Exchange {
  /// Sends the copies that `mirror` asks for, then lets the content answer. The body comes first,
  /// if copies are to have it.
  func answerMirrored() {
    guard location.settings.core.value.mirror.copiesBody, body.hasBody, body.phase == .untouched
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
    DetachedStream(core, for: .mirror, connection).start(plan) { copy in
      copy.enter(mirroring: self)
      copy.redirectInternally(to: target, arguments: copy.arguments)
    }
  }

  private func enter(mirroring original: Exchange) {
    enter(copying: original)
    // It goes by the number of the request that it copies.
    requestID = original.value(of: RequestVariable.request_id).map { arena.copy($0) }
    if original.location.settings.core.value.mirror.copiesBody { body = original.body.forAnother() }
  }
}

extension WorkerCore {
  /// Whether another mirrored request may begin: as many at once as `mostDetached` says.
  func mayMirror(logging exchange: Exchange) -> Bool {
    guard mirrorCount >= mostDetached else {
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
