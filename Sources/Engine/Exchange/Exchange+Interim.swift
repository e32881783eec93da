// What an upstream says before its answer: 103 Early Hints and other interim responses, passed on
// where `early_hints` allows it (https://nginx.org/r/early_hints, RFC 8297).

import HTTP

extension Exchange {
  /// Hands the interim response that stands in `attempt.head` to the client. 100 answers the
  /// client's own `Expect`, which was done when its body was read.
  func passInterim(_ status: Int) {
    guard isPassed(status) else { return }
    let settings = location.settings.proxy.value
    let bytes = attempt.headBytes
    for entry in attempt.head.fields where !entry.token.isHopByHop {
      if settings.hiddenTokens.contains(entry.token) { continue }
      let name = entry.name.of(bytes)
      if isHidden(name, settings) { continue }
      response.interim.append(
        OutgoingField(name: name, value: entry.value.of(bytes), token: entry.token))
    }
    stream.sendInterim(self, status)
    response.interim.removeAll(keepingCapacity: true)
  }

  /// The same for those that came by HTTP/2.
  func passInterim(of stream: H2UpstreamStream) {
    guard let heads = stream.takeInterim() else { return }
    attempt.didReceive = true
    attempt.framing = UpstreamFraming()
    for var interim in heads {
      countReceived(interim.bytes.count)
      // What nobody wants takes no memory until the exchange ends.
      if isPassed(interim.head.statusCode) {
        attempt.headBytes = arena.copy(interim.bytes.unread)
        swap(&attempt.head, &interim.head)
        passInterim(attempt.head.statusCode)
      }
      loop.pool.giveBack(interim.bytes)
    }
    attempt.head.reset()
    attempt.headBytes = Bytes()
  }

  private func isPassed(_ status: Int) -> Bool { status > 101 && !didSendHead && allowsInterim }

  private var allowsInterim: Bool {
    for condition in location.settings.core.value.earlyHints {
      let value = evaluate(condition)
      if !value.isEmpty && value != Bytes("0") { return true }
    }
    return false
  }
}
