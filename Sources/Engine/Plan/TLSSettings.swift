// What the `ssl_` directives amount to, and those of TLS to upstreams.

import Configuration

/// The `ssl_` directives of a server.
struct TLSSettings {
  var certificates: [Word] = []
  var keys: [Word] = []
  var protocols: [String] = ["TLSv1.2", "TLSv1.3"]
  /// nil: what the protocols take.
  var ciphers: String?
  /// nil: ours, where our list of ciphers holds.
  var prefersServerCiphers: Bool?
  var confCommands: [(name: Word, value: Word)] = []
  var sessionTimeoutSeconds = 300
  var usesTickets = true
  var sessionCache = TLSSessionCache.none
  var ticketKeys: [Word] = []
  var clientCertificates: Word?
  var trustedCertificates: Word?
  var crl: Word?
  var verify = ClientVerification.off
  var verifyDepth = 1
  var clientStatus = ClientStatus.off
  var statusResponder: HTTPURL?
  var statusCache: StatusCacheSettings?
  var rejectsHandshake = false
  var bufferBytes = 16 << 10
  var takesEarlyData = false
  var staples = false
  var stapleFile: Word?
  var stapleResponder: HTTPURL?
  var verifiesStaples = false
  var curves: String?
  var dhparam: Word?
  var passwords: Word?
  /// `http2 on`: ALPN names h2.
  var offersHTTP2 = false
  var certificateCache: CertificateCacheSettings?
  var compressesCertificates = false
  var isWatched = true
  /// Arguments of the rows that ask for it, by the names of these, for diagnostics.
  var words: [String: Word] = [:]

  /// `ssl_ocsp`.
  enum ClientStatus: String, CaseIterable {
    case on, off, leaf
  }

  enum ClientVerification: String, CaseIterable {
    case off, on, optional
    case optionalNoCA = "optional_no_ca"

    /// The same, as the TLS layer says it.
    var mode: TLSClientVerification {
      switch self {
      case .off: .off
      case .on: .on
      case .optional: .optional
      case .optionalNoCA: .optionalNoCA
      }
    }
  }
}

/// The `proxy_ssl_` directives.
struct UpstreamTLSSettings {
  var name: Template?
  var sendsServerName = false
  var verifies = false
  var verifyDepth = 1
  var trustedCertificates: Word?
  var crl: Word?
  var certificate: Word?
  var key: Word?
  var protocols: [String] = ["TLSv1.2", "TLSv1.3"]
  var ciphers: Word?
  var reusesSessions = true
  var confCommands: [(name: Word, value: Word)] = []
  var passwords: Word?
  var certificateCache: CertificateCacheSettings?
}
