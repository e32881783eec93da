// Whether certificates of clients are still good, as their OCSP responders say it (`ssl_ocsp`).
//
//   request ──► CertificateInquiry ──► question to the control thread ──► verdict ──┬──► over
//                     ▲                                                             │
//                     └──── good, and the chain has another certificate to ask about ┘
//
// One inquiry a connection, begun by its first request: requests wait for it, nothing is served
// before. Whatever isn't known to be good is refused: no answer, a bad one, no chain to ask about.

import COpenSSL
import HTTP

/// How `ssl_ocsp`, `ssl_ocsp_responder` and `ssl_ocsp_cache` have clients' certificates asked
/// about.
struct CertificateStatusPolicy: Hashable, Sendable {
  /// Only the client's own certificate, not those of the authorities between it and the root.
  var leafAlone: Bool
  /// nil: the one that each certificate names.
  var responder: HTTPURL?
  var cache: StatusCacheSettings?
}

/// `ssl_ocsp_cache shared:name:size`.
struct StatusCacheSettings: Hashable, Sendable {
  var name: String
  var byteCount: Int
}

/// What is known of a certificate.
enum CertificateVerdict: Sendable {
  case good, revoked, unknown
  /// Nobody could be asked, or the answer is none.
  case failed

  /// What stands in `$ssl_client_verify` behind "FAILED:", in nginx's words; nil: it is good.
  var problem: String? {
    switch self {
    case .good: nil
    case .revoked: "certificate revoked"
    case .unknown: "certificate status unknown"
    case .failed: "certificate status request failed"
    }
  }
}

/// A question of a worker about a client's certificate.
struct StatusRequest: Sendable {
  let question: OCSPQuestion
  let cache: StatusCacheSettings?
  /// What the worker knows its inquiry by.
  let token: UInt64
  let worker: Int
}

/// The questions about the certificate of one connection.
final class CertificateInquiry {
  let cache: StatusCacheSettings?
  /// nil: it is under way.
  private(set) var verdict: CertificateVerdict?
  /// The exchanges that wait for the verdict.
  var waiting: [Handle] = []
  private var questions: ArraySlice<OCSPQuestion>

  init(_ questions: [OCSPQuestion], _ cache: StatusCacheSettings?) {
    self.questions = questions[...]
    self.cache = cache
    if questions.isEmpty { verdict = .good }
  }

  /// An inquiry that ended before it began.
  init(_ verdict: CertificateVerdict) {
    questions = []
    cache = nil
    self.verdict = verdict
  }

  /// The certificate that is asked about.
  var question: OCSPQuestion? { verdict == nil ? questions.first : nil }

  /// Takes what is known of the certificate of `question`.
  func take(_ answer: CertificateVerdict) {
    questions = questions.dropFirst()
    if answer != .good || questions.isEmpty { verdict = answer }
  }
}

extension TLSSession {
  /// What to ask about the client's certificate; its chain was verified. The last certificate of
  /// the chain is what the configuration trusts: nobody is asked about it.
  func statusQuestions(
    _ policy: CertificateStatusPolicy
  ) throws(OCSPQuestion.Impossible) -> [OCSPQuestion] {
    defer { portico_clear_errors() }
    guard let chain = unsafe portico_ssl_verified_chain(ssl) else {
      throw OCSPQuestion.Impossible(reason: "the chain of the client's certificate is not known")
    }
    defer { unsafe portico_chain_free(chain) }
    let count = unsafe portico_chain_count(chain) - 1
    var questions: [OCSPQuestion] = []
    for index in 0..<max(policy.leafAlone ? min(count, 1) : count, 0) {
      guard let certificate = unsafe portico_chain_at(chain, index),
        let issuer = unsafe portico_chain_at(chain, index + 1)
      else { break }
      questions.append(
        try unsafe OCSPQuestion(
          client: TLSCertificate(handle: certificate), issuer: TLSCertificate(handle: issuer),
          responder: policy.responder))
    }
    return questions
  }
}
