// `ssl_ocsp`: a request waits until OCSP responders have said what they know of its client's
// certificate (https://nginx.org/en/docs/http/ngx_http_ssl_module.html#ssl_ocsp).
//
// nginx lets the handshake wait; here the requests do, before anything of their site has run. A
// resumed session is asked about like any other: only `ssl_ocsp_cache` spares a question.

import HTTP

extension Exchange {
  /// Whether the client's certificate is known to be good; otherwise the request has been answered,
  /// or waits for `onCertificateJudged`.
  func admitByCertificateStatus(_ tls: TLSSession) -> Bool {
    guard let policy = tls.serverContext?.clientTrust.status, tls.hasPeerCertificate else {
      return true
    }
    let connection = connection
    if connection.inquiry == nil { connection.inquiry = inquire(tls, policy) }
    guard let inquiry = connection.inquiry else { return true }
    guard let verdict = inquiry.verdict else {
      inquiry.waiting.append(handle)
      state = .waiting
      return false
    }
    guard let problem = verdict.problem else { return true }
    log(.info, "client SSL certificate verify error: \(problem)")
    fail(495)
    return false
  }

  /// Begins to ask.
  private func inquire(
    _ tls: TLSSession, _ policy: CertificateStatusPolicy
  ) -> CertificateInquiry {
    do throws(OCSPQuestion.Impossible) {
      let inquiry = CertificateInquiry(try tls.statusQuestions(policy), policy.cache)
      core.ask(inquiry)
      return inquiry
    } catch {
      log(.error, "OCSP responders can't be asked about the client's certificate: \(error.reason)")
      return CertificateInquiry(.failed)
    }
  }

  /// The verdict that the request waited for is there.
  func onCertificateJudged() {
    guard state == .waiting, let tls = connection.tls else { return }
    state = .working
    if admitByCertificateStatus(tls) { beginAtSite() }
    if state != .idle { stream.flush() }
  }
}

/// The inquiries of a worker that are under way.
struct CertificateInquiries {
  private var open: [UInt64: CertificateInquiry] = [:]
  private var next: UInt64 = 0

  /// Keeps an inquiry until an answer comes; gives its token.
  mutating func add(_ inquiry: CertificateInquiry) -> UInt64 {
    next += 1
    open[next] = inquiry
    return next
  }

  /// The inquiry of a token; nil if its connection is gone.
  mutating func remove(_ token: UInt64) -> CertificateInquiry? {
    guard var inquiry = open.removeValue(forKey: token) else { return nil }
    return isKnownUniquelyReferenced(&inquiry) ? nil : inquiry
  }
}

extension WorkerCore {
  /// Asks the next question of an inquiry, if there is one.
  fileprivate func ask(_ inquiry: CertificateInquiry) {
    guard let question = inquiry.question else { return }
    guard let control else { return inquiry.take(.failed) }
    control.askStatus(
      StatusRequest(
        question: question, cache: inquiry.cache, token: inquiries.add(inquiry), worker: index))
  }

  /// An answer about a certificate is there.
  func onCertificateJudged(_ token: UInt64, _ verdict: CertificateVerdict) {
    guard let inquiry = inquiries.remove(token) else { return }
    inquiry.take(verdict)
    ask(inquiry)
    guard inquiry.verdict != nil else { return }
    let waiting = inquiry.waiting
    inquiry.waiting = []
    for handle in waiting { exchanges.object(handle)?.onCertificateJudged() }
  }
}
