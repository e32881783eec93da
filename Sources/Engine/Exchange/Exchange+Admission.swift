// What a request passes between its location and its content, in the order of nginx's phases:
//
//   requests (limit_req) ─► connections (limit_conn) ─►
//   addresses (allow, deny), credentials (auth_basic), authorization (auth_request) ─►
//   └───────────────────── satisfy: all of them, or any ─────────────────────────┘
//   verdict ─► refusal, or content
//
// Each step gives an `AdmissionVerdict`; whoever adds a step adds a case and its place in the
// order. A step may have to wait (for a moment, or for another thread's answer): the exchange then
// is `waiting` and holds nothing but its request, and `goOnAdmitting` takes it up again. Internal
// redirects pass all of this anew for the location they come to. A location without any of it costs
// one test.

import HTTP

/// What one step says of a request.
enum AdmissionVerdict {
  /// It has nothing against the request, nor anything for it.
  case abstains
  /// It lets the request in.
  case admits
  /// It doesn't: 401 or 403, unless another step that `satisfy any` asks lets it in.
  case refuses(Int)
  /// The request is answered with this error, whatever other steps say.
  case fails(Int)
  /// `goOnAdmitting` will be called.
  case waits
}

/// What a request waits for before it may go on.
enum AdmissionWait {
  case nothing
  /// Some milliseconds; `onAdmissionTimeout` follows.
  case delay(Milliseconds)
  /// The outcome of a password check; `onPasswordChecked` follows.
  case credentials(CredentialDigest)
  /// What another location says; `onInnerAnswer` follows.
  case answer
  /// What another request fetches for the cache; `onCacheReleased` follows, after so many
  /// milliseconds at the latest.
  case cached(atMost: Milliseconds)

  /// After which time something follows.
  var delay: Milliseconds? {
    switch self {
    case .delay(let delay), .cached(let delay): delay
    default: nil
    }
  }
}

/// The steps, in order.
enum AdmissionStep: UInt8, Comparable {
  case requests, connections
  /// Those that `satisfy` speaks of.
  case addresses, credentials, authorization
  /// What the steps before make together.
  case verdict
  /// What the verdict was, after a delay.
  case refusal
  case content

  static func < (one: AdmissionStep, other: AdmissionStep) -> Bool {
    one.rawValue < other.rawValue
  }

  var next: AdmissionStep { AdmissionStep(rawValue: rawValue + 1) ?? .content }
}

extension Exchange {
  /// Asks every step; the content answers if all of them let it.
  func admit() {
    stopWaiting()
    admission = .requests
    refusal = 0
    goOnAdmitting()
  }

  /// Goes on with the step that is next.
  func goOnAdmitting() {
    while admission != .content {
      let step = admission
      admission = step.next
      guard heed(ask(step)) else { return }
    }
    answerByContent()
  }

  /// Goes on after a step that had to wait for its verdict.
  func goOnAdmitting(_ verdict: AdmissionVerdict) {
    stopWaiting()
    state = .working
    if heed(verdict) { goOnAdmitting() }
  }

  /// What a step waited for has passed.
  func onAdmissionTimeout() {
    if case .cached = awaited { return onCacheReleased() }
    guard state == .waiting, case .delay = awaited else { return }
    goOnAdmitting(.abstains)
    if state != .idle { stream.flush() }
  }

  /// Whether to go on with the next step.
  private func heed(_ verdict: AdmissionVerdict) -> Bool {
    let satisfaction = location.settings.admission.value.satisfaction
    switch verdict {
    case .abstains: return true
    case .admits:
      if satisfaction == .any {
        refusal = 0
        challenges.removeAll(keepingCapacity: true)
        admission = .content
      }
      return true
    case .refuses(let status):
      // Of several refusals the one that asks for credentials is told.
      if refusal != 401 { refusal = status }
      if satisfaction == .all { admission = .verdict }
      return true
    case .fails(let status):
      fail(status)
      return false
    case .waits: return false
    }
  }

  private func ask(_ step: AdmissionStep) -> AdmissionVerdict {
    // As in nginx, a request that another one makes is limited if that one wasn't, but for whom it
    // is was judged there.
    if isInner && step > .connections { return .abstains }
    return switch step {
    case .requests: limitRequests()
    case .connections: limitConnections()
    case .addresses: judgeAddress()
    case .credentials: judgeCredentials()
    case .authorization: authorize()
    case .verdict: sumUp()
    case .refusal: refusal == 0 ? .abstains : .fails(refusal)
    case .content: .abstains
    }
  }

  /// `allow` and `deny`.
  private func judgeAddress() -> AdmissionVerdict {
    guard let rules = location.settings.admission.value.addresses,
      let isDenied = rules.denies(clientAddress)
    else { return .abstains }
    guard isDenied else { return .admits }
    // With `satisfy any` it isn't the last word.
    if location.settings.admission.value.satisfaction == .all {
      log(.error, "access forbidden by rule")
    }
    return .refuses(403)
  }

  private func sumUp() -> AdmissionVerdict {
    guard refusal != 0 else { return .abstains }
    if refusal == 403 && location.settings.admission.value.satisfaction == .any {
      log(.error, "access forbidden by rule")
    }
    let delay = location.settings.admission.value.authDelay
    guard refusal == 401, delay > 0 else { return .fails(refusal) }
    log(.info, "delaying unauthorized request")
    wait(for: .delay(delay))
    return .waits
  }
}
