// The OCSP responses that a worker staples, and when it asks for newer ones.
//
// A question is asked when a client first wants its answer, that client goes without; the control
// thread fetches, and tells all workers. A response is used until it ends, asked for again an hour
// after it came, and five minutes after a failure.

import COpenSSL

/// The way to whoever asks responders.
protocol StaplePort: Sendable {
  /// Asks; all workers are told the outcome.
  func fetchStaple(_ question: OCSPQuestion)
}

/// What came of a question.
struct StapleOutcome: Sendable {
  /// The response, DER; nil after a failure.
  var response: [UInt8]?
  /// When it ends, in seconds since 1970.
  var until = Int.max
}

/// The responses of one worker thread under one plan.
final class StapleStore {
  private struct Entry {
    var response: [UInt8] = []
    var until = 0
    var askAt = 0
  }

  // In seconds, as nginx has them.
  static let refreshSeconds = 3600
  static let retrySeconds = 300
  // After this long without an outcome the question is asked again.
  private static let patienceSeconds = 60

  private var entries: [OCSPQuestion: Entry] = [:]
  var port: (any StaplePort)?

  /// The response at `now` (seconds since 1970); empty while there is none.
  func response(to question: OCSPQuestion, now: Int) -> [UInt8] {
    var entry = entries[question] ?? Entry()
    if now >= entry.askAt {
      entry.askAt = now + Self.patienceSeconds
      entries[question] = entry
      port?.fetchStaple(question)
    }
    return now < entry.until ? entry.response : []
  }

  /// Takes in what came of a question.
  func take(_ question: OCSPQuestion, _ outcome: StapleOutcome, now: Int) {
    guard var entry = entries[question] else { return }
    if let response = outcome.response {
      entry.response = response
      entry.until = outcome.until
      entry.askAt = min(outcome.until, now + Self.refreshSeconds)
    } else {
      entry.askAt = now + Self.retrySeconds
    }
    entries[question] = entry
  }
}

/// What staples for the certificates of a site.
class TLSStapler {
  init() {}

  /// The response for the certificate that a handshake shows, DER; empty: there is none.
  func response(for certificate: [UInt8]) -> [UInt8] { [] }
}
