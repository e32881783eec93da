// auth_request: another location says whether a request may go on
// (https://nginx.org/en/docs/http/ngx_http_auth_request_module.html).

import HTTP

extension Exchange {
  /// Asks the location that `auth_request` names.
  func authorize() -> AdmissionVerdict {
    guard let request = location.settings.admission.value.authorization else { return .abstains }
    let inner = self.inner ?? InnerStream(self)
    self.inner = inner
    if inner.ask(request.uri, request.arguments) { return judgeAnswer(inner) }
    wait(for: .answer)
    return .waits
  }

  /// The answer came after a while.
  func onInnerAnswer() {
    guard let inner, state == .waiting, case .answer = awaited else { return }
    goOnAdmitting(judgeAnswer(inner))
    if state != .idle { stream.flush() }
  }

  /// What the answer means: 2xx yes, 401 and 403 no, anything else is a mistake.
  private func judgeAnswer(_ inner: InnerStream) -> AdmissionVerdict {
    defer { inner.close() }
    guard let exchange = inner.exchange else { return .fails(500) }
    takeVariables(of: exchange)
    switch inner.status {
    case 200..<300: return .admits
    case 403: return .refuses(403)
    case 401:
      for field in exchange.response.fields
      where field.name.equalsIgnoringCase(Bytes("www-authenticate")) {
        challenges.append(arena.copy(field.value))
      }
      return .refuses(401)
    default:
      log(.error, "auth request unexpected status: \(inner.status)")
      return .fails(500)
    }
  }

  /// What the other request knows becomes this one's: variables that `set` and named groups gave
  /// it, as in nginx, and those of `auth_request_set`.
  private func takeVariables(of inner: Exchange) {
    for index in values.indices where isShared(index) {
      guard let value = inner.values[index], values[index] != value else { continue }
      values[index] = arena.copy(value)
    }
    let settings = location.settings.admission.value
    for index in 0..<settings.authorizationVariables.count {
      let (variable, value) = settings.authorizationVariables[index]
      assign(variable, arena.copy(inner.evaluate(value)))
    }
  }

  /// Whether a variable is assigned; what a map computes depends on the request that asks.
  private func isShared(_ slot: Int) -> Bool {
    guard let map = plan.maps[slot] else { return true }
    if case .unassigned = map.kind { return true }
    return false
  }
}
