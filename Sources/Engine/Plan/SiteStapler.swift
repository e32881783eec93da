// Stapling for one site: which question to ask about the certificate that a handshake shows, and
// its answer (`ssl_stapling`, `ssl_stapling_responder`, `ssl_stapling_verify`).

import HTTP

/// What `ssl_stapling` says when responders are asked.
struct StaplingSettings {
  /// nil: the one that the certificate names.
  var responder: HTTPURL?
  var verifies: Bool
  /// `ssl_trusted_certificate`: issuers, and what answers are verified by.
  var trustedPEM: [UInt8]

  /// The message about a certificate that nothing can be asked about.
  func isIgnored(for source: TLSCertificateSource, _ error: OCSPQuestion.Impossible) -> String {
    "\"ssl_stapling\" ignored for certificate \"\(source.certificatePath)\": \(error.reason)"
  }
}

extension OCSPQuestion {
  /// The question about `source`, as `ssl_stapling` and its siblings want it asked.
  init(
    _ source: TLSCertificateSource, _ settings: StaplingSettings, library: TLSLibrary
  ) throws(Impossible) {
    try self.init(
      source, responder: settings.responder, trustedPEM: settings.trustedPEM,
      verifies: settings.verifies, library: library)
  }
}

extension TLSCertificateSource {
  /// The message about the response of `ssl_stapling_file` if this isn't the certificate that it
  /// speaks of: clients would break the handshake off.
  func problem(ofStaple response: [UInt8]?) -> String? {
    guard let response, !OCSPQuestion.isAnswer(response, about: certificatePEM) else { return nil }
    return "\"ssl_stapling_file\" is not about certificate \"\(certificatePath)\": it isn't stapled"
  }
}

/// Staples for the certificates of a site, on its worker's thread.
final class SiteStapler: TLSStapler {
  private let settings: StaplingSettings
  private let certificates: [TLSCertificateSource]
  private let store: StapleStore
  private let library: TLSLibrary
  private let errorLog: ErrorLog
  /// Made when the first client asks: 10,000 sites need not be looked into before.
  private lazy var questions = makeQuestions()

  init(
    _ settings: StaplingSettings, _ certificates: [TLSCertificateSource], _ store: StapleStore,
    _ library: TLSLibrary, _ errorLog: ErrorLog
  ) {
    self.settings = settings
    self.certificates = certificates
    self.store = store
    self.library = library
    self.errorLog = errorLog
  }

  override func response(for certificate: [UInt8]) -> [UInt8] {
    guard let question = questions.first(where: { $0.isAbout(certificate) }) else { return [] }
    return store.response(to: question, now: Int(Clock.wall / 1000))
  }

  private func makeQuestions() -> [OCSPQuestion] {
    certificates.compactMap { source in
      do throws(OCSPQuestion.Impossible) {
        return try OCSPQuestion(source, settings, library: library)
      } catch {
        errorLog.write(.warn, settings.isIgnored(for: source, error))
        return nil
      }
    }
  }
}
