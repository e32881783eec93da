// What a configuration says about TLS, as plain values: the TLS layer makes contexts from them.
//
// PEM comes as bytes, never as a path to open: the bundle captured the files when the configuration
// was validated. Paths are only for messages. Defaults are nginx's.

import COpenSSL

/// Versions of the protocol.
struct TLSProtocols: OptionSet, Hashable {
  let rawValue: UInt8

  static let tls10 = TLSProtocols(rawValue: UInt8(PORTICO_TLS1_0))
  static let tls11 = TLSProtocols(rawValue: UInt8(PORTICO_TLS1_1))
  static let tls12 = TLSProtocols(rawValue: UInt8(PORTICO_TLS1_2))
  static let tls13 = TLSProtocols(rawValue: UInt8(PORTICO_TLS1_3))
  static let standard: TLSProtocols = [.tls12, .tls13]
}

/// A certificate with its chain, and its private key.
struct TLSCertificateSource: Hashable {
  var certificatePEM: [UInt8]
  var keyPEM: [UInt8]
  var certificatePath: String
  var keyPath: String
  /// Passwords to try on an encrypted key, in this order.
  var passwords: [[UInt8]]

  init(
    certificatePEM: [UInt8], keyPEM: [UInt8], certificatePath: String, keyPath: String,
    passwords: [[UInt8]] = []
  ) {
    self.certificatePEM = certificatePEM
    self.keyPEM = keyPEM
    self.certificatePath = certificatePath
    self.keyPath = keyPath
    self.passwords = passwords
  }
}

/// A pair that was renewed, as it goes to the worker process. The names are those of the
/// configuration.
struct CertificateRenewal: Sendable, Equatable {
  var certificatePath: String
  var keyPath: String
  var certificatePEM: [UInt8]
  var keyPEM: [UInt8]
}

/// Whether clients are asked for a certificate, as `ssl_verify_client` says it.
enum TLSClientVerification: UInt8, Hashable {
  case off, on, optional, optionalNoCA
}

/// Where a server keeps sessions that clients resume by id, as `ssl_session_cache` says it.
enum TLSSessionCache: Hashable {
  /// Not at all, and clients are told so.
  case off
  /// Not at all, but clients are not told.
  case none
  /// So many sessions, on each thread its own: a client that comes back on another thread makes a
  /// full handshake.
  case builtin(sessionCount: Int)
  /// In a zone of all threads.
  case shared(TLSSessionZoneSettings)

  /// OpenSSL's own default.
  static let defaultSessionCount = 20_480
}

/// Whose order of ciphers counts, as `ssl_prefer_server_ciphers` says it.
enum TLSCipherOrder: Hashable {
  /// The client's.
  case theirs
  /// Ours.
  case ours
  /// Ours, but a client that lists ChaCha20 first gets it: its processor has no instructions for
  /// AES.
  case oursButChaCha
}

/// How a `server` block does TLS.
struct TLSServerPolicy: Hashable {
  /// RSA and ECDSA certificates together.
  var certificates: [TLSCertificateSource] = []
  /// The names of certificates that are found per handshake, as written; then there are no others.
  var dynamicNames: [String] = []
  var protocols: TLSProtocols = .standard
  var ciphers = TLSServerPolicy.standardCiphers
  /// The cipher suites of TLS 1.3; nil for OpenSSL's own list.
  var cipherSuites: String?
  var cipherOrder = TLSCipherOrder.theirs
  var confCommands: [TLSConfCommand] = []
  var sessionTimeoutSeconds = 300
  var sessionTickets = true
  var sessionCache = TLSSessionCache.none
  /// CA certificates that are trusted and named to clients (`ssl_client_certificate`).
  var clientCAPEM: [UInt8] = []
  /// CA certificates that are trusted and not named (`ssl_trusted_certificate`).
  var trustedPEM: [UInt8] = []
  var crlPEM: [UInt8] = []
  var verifyClient = TLSClientVerification.off
  var verifyDepth = 1
  /// How OCSP responders are asked about clients' certificates; nil: they aren't.
  var clientStatus: CertificateStatusPolicy?
  /// Application protocols, the preferred first; a client that offers none of them is refused.
  var alpn: [String] = []
  /// Certificates are sent compressed to clients that take them so, where OpenSSL can.
  var compressesCertificates = false
  var earlyData = false
  /// The longest record that is sent: 512 to 16,384 bytes.
  var recordBytes = 16 << 10
  /// An OCSP response for clients that ask (`ssl_stapling_file`), DER; nil: there is no file.
  var stapleDER: [UInt8]?
  /// A list of groups separated by colons; nil ("auto") for `portico_standard_groups`.
  var ecdhCurve: String?
  var dhparamPEM: [UInt8] = []
  /// Refuse every handshake (`ssl_reject_handshake`); such a policy needs no certificate.
  var rejectHandshake = false
}

extension TLSServerPolicy {
  /// Long lists go into the hash by their length: 10,000 sites may name one file of CAs.
  func hash(into hasher: inout Hasher) {
    for bytes in [clientCAPEM, trustedPEM, crlPEM, stapleDER ?? [], dhparamPEM] {
      hasher.combine(bytes.count)
    }
    hasher.combine(certificates.map(\.certificatePath))
    hasher.combine(dynamicNames)
    hasher.combine(protocols)
    hasher.combine(ciphers)
    hasher.combine(confCommands)
    hasher.combine(verifyClient)
    hasher.combine(rejectHandshake)
  }
}

/// The part of a policy that decides which clients are let in.
struct TLSClientTrust: Hashable {
  var verify = TLSClientVerification.off
  var depth = 0
  /// A hash of the trusted CAs and the revocation lists: requests compare it, and a list may have
  /// megabytes.
  var authorities: [UInt8] = []
  var status: CertificateStatusPolicy?
}

extension TLSServerPolicy {
  /// Forward secrecy and authenticated encryption, nothing else: what RFC 9325 §4.2 recommends, in
  /// its order. DHE takes `ssl_dhparam`.
  static let standardCiphers =
    "ECDHE+AESGCM+AES128:ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM+AES128:DHE+AESGCM:DHE+CHACHA20"
  /// The suites of TLS 1.3 in the order of `standardCiphers`; OpenSSL's has AES-256 in front.
  static let standardCipherSuites =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
  /// nginx's own default: the versions before TLS 1.2 know none of the others.
  static let ciphersOfOldVersions = "HIGH:!aNULL:!MD5"

  /// How clients are verified; the same for all policies that verify nobody. Made anew each time.
  var clientTrust: TLSClientTrust {
    if verifyClient == .off { return TLSClientTrust() }
    let authorities = Self.joined([clientCAPEM, trustedPEM, crlPEM] + trustCommands)
    let digest = MessageDigest.hash(authorities, .sha256)
    return TLSClientTrust(
      verify: verifyClient, depth: verifyDepth, authorities: digest.isEmpty ? authorities : digest,
      status: clientStatus)
  }

  /// The value of the last `ssl_conf_command` of this name, in lower case.
  func command(_ name: String) -> String? {
    confCommands.last { $0.name.lowercased() == name }?.value
  }

  /// The commands of OpenSSL that decide whose certificates are good: VerifyCAFile, ClientCAPath,
  /// VerifyMode and their like.
  var trustCommands: [[UInt8]] {
    confCommands.filter {
      let name = $0.name.lowercased()
      return name.contains("verify") || name.contains("ca")
    }.map { Array("\($0.name) \($0.value)".utf8) }
  }

  /// `parts` behind each other. Each has its length in front, so that no two lists of parts read
  /// the same.
  static func joined(_ parts: [[UInt8]]) -> [UInt8] {
    var bytes: [UInt8] = []
    for part in parts {
      unsafe withUnsafeBytes(of: UInt64(part.count).bigEndian) {
        unsafe bytes.append(contentsOf: $0)
      }
      bytes += part
    }
    return bytes
  }
}

/// One `ssl_conf_command` or `proxy_ssl_conf_command`.
struct TLSConfCommand: Hashable {
  var name: String
  var value: String
}

/// How connections to upstream servers do TLS (`proxy_ssl_…`).
struct TLSClientOptions: Hashable {
  /// The certificate to show to servers that ask for one.
  var certificates: [TLSCertificateSource] = []
  var protocols: TLSProtocols = .standard
  var ciphers = "DEFAULT"
  var cipherSuites: String?
  var confCommands: [TLSConfCommand] = []
  /// Refuse servers whose certificate is not trusted or not for the expected name.
  var verify = false
  var verifyDepth = 1
  var trustedPEM: [UInt8] = []
  var crlPEM: [UInt8] = []
  var alpn: [String] = []
  /// What the names of the directives begin with that say all this, for messages.
  var directives = "proxy_ssl_"
}
