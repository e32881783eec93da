// The server side of TLS for one policy: an SSL_CTX, made by its owner when a client first asks for
// it.
//
// A context belongs to one thread. Sessions that began with it keep it alive. The session id
// context is a hash of certificates, verify mode and trusted CAs, and OpenSSL compares it for
// tickets and for cached sessions alike: what one policy has issued is never resumed under another
// (the class of CVE-2025-23419). The name that a client asks for is resolved in the ClientHello
// callback, before versions, ciphers and tickets are looked at: see TLSNameResolver.

import COpenSSL
import HTTP

/// A configured SSL_CTX for accepting connections.
@safe
final class TLSServerContext {
  let handle: OpaquePointer
  let library: TLSLibrary
  let ticketKeys: TLSTicketKeys
  let clientTrust: TLSClientTrust
  var asksStatus: Bool { clientTrust.status != nil }
  let earlyData: Bool
  let rejectHandshake: Bool
  let cipherSuites: String?
  let ecdhCurve: String?
  let dynamic: TLSDynamicCertificates?
  let recordBytes: Int
  /// Where sessions are kept that begin with this context; nil: OpenSSL keeps them, or nobody.
  let sessions: ZoneLease<TLSSessionZone>?
  fileprivate let staple: [UInt8]
  fileprivate let stapler: TLSStapler?
  /// The application protocols in the form of the wire; empty when ALPN is not used.
  let alpn: UnsafeMutableBufferPointer<UInt8>

  /// Makes the SSL_CTX, parsing certificates and keys.
  init(
    policy: TLSServerPolicy, library: TLSLibrary, ticketKeys: TLSTicketKeys,
    dynamic: TLSDynamicCertificates? = nil, stapler: TLSStapler? = nil,
    sessions: ZoneLease<TLSSessionZone>? = nil
  ) throws(TLSConfigurationError) {
    let setup = try TLSContextSetup(isServer: true, library: library, directives: "ssl_")
    let wire: [UInt8]
    do throws(TLSConfigurationError) {
      try Self.configure(setup, policy, hasZone: sessions != nil)
      wire = try TLSContextSetup.wireForm(alpn: policy.alpn)
    } catch {
      unsafe SSL_CTX_free(setup.handle)
      throw error
    }
    unsafe handle = setup.handle
    self.library = library
    self.ticketKeys = ticketKeys
    clientTrust = policy.clientTrust
    earlyData = policy.earlyData
    rejectHandshake = policy.rejectHandshake
    // A command has the last word.
    cipherSuites = policy.command("ciphersuites") ?? policy.cipherSuites
    ecdhCurve = policy.command("groups") ?? policy.command("curves") ?? policy.ecdhCurve
    self.dynamic = dynamic
    recordBytes = policy.recordBytes
    staple = policy.stapleDER ?? []
    self.stapler = stapler
    self.sessions = sessions
    if !staple.isEmpty || stapler != nil {
      unsafe portico_ctx_set_status_callback(handle, onStatusWanted)
    }
    if dynamic != nil { unsafe SSL_CTX_set_cert_cb(handle, onCertificateWanted, nil) }
    unsafe alpn = .allocate(capacity: wire.count)
    _ = unsafe alpn.initialize(from: wire)
    unsafe SSL_CTX_set_client_hello_cb(handle, onClientHello, nil)
    unsafe portico_ctx_acknowledge_names(handle)
    unsafe SSL_CTX_set_tlsext_ticket_key_evp_cb(handle, onTicketKey)
    unsafe SSL_CTX_set_session_ticket_cb(handle, nil, onTicket, nil)
    if !wire.isEmpty { unsafe SSL_CTX_set_alpn_select_cb(handle, onApplicationProtocols, nil) }
    if sessions != nil { useZone() }
  }

  deinit {
    unsafe SSL_CTX_free(handle)
    unsafe alpn.deallocate()
  }

  private static func configure(
    _ setup: TLSContextSetup, _ policy: TLSServerPolicy, hasZone: Bool
  ) throws(TLSConfigurationError) {
    let handle = unsafe setup.handle
    setup.allow(policy.protocols)
    try setup.use(ciphers: policy.ciphers, cipherSuites: policy.cipherSuites)
    switch policy.cipherOrder {
    case .theirs: break
    case .ours: unsafe portico_ctx_prefer_server_ciphers(handle, 0)
    case .oursButChaCha: unsafe portico_ctx_prefer_server_ciphers(handle, 1)
    }
    guard !policy.certificates.isEmpty || !policy.dynamicNames.isEmpty || policy.rejectHandshake
    else {
      throw TLSConfigurationError("no \"ssl_certificate\" is given for a TLS server")
    }
    for source in policy.certificates { try setup.use(source) }
    if policy.verifyClient != .off {
      unsafe portico_ctx_ask_for_certificate(handle, Int32(clamping: policy.verifyDepth))
    }
    try setup.trustAndName(policy.clientCAPEM)
    try setup.trust(policy.trustedPEM)
    try setup.use(crlPEM: policy.crlPEM)
    try setup.use(curves: policy.ecdhCurve)
    try setup.use(dhparamPEM: policy.dhparamPEM)
    _ = unsafe portico_ctx_set_record_size(handle, policy.recordBytes)
    if let staple = policy.stapleDER {
      guard unsafe portico_is_ocsp_response(staple, staple.count) == 1 else {
        throw TLSConfigurationError(
          openSSL: "\"ssl_stapling_file\" holds no successful OCSP response in DER",
          about: .stapleFile)
      }
    }
    if policy.earlyData { unsafe SSL_CTX_set_max_early_data(handle, 16_384) }
    try configureSessions(setup, policy, hasZone)
    try setup.apply(policy.confCommands)
    if policy.compressesCertificates { unsafe portico_ctx_compress_certificates(handle) }
  }

  private static func configureSessions(
    _ setup: TLSContextSetup, _ policy: TLSServerPolicy, _ hasZone: Bool
  ) throws(TLSConfigurationError) {
    let handle = unsafe setup.handle
    unsafe SSL_CTX_set_timeout(handle, policy.sessionTimeoutSeconds)
    var (mode, sessionCount) = (PORTICO_CACHE_ON, TLSSessionCache.defaultSessionCount)
    switch policy.sessionCache {
    case .off: mode = PORTICO_CACHE_OFF
    case .none: (mode, sessionCount) = (PORTICO_CACHE_NONE, 1)
    case .builtin(let count): sessionCount = count
    case .shared: (mode, sessionCount) = (hasZone ? PORTICO_CACHE_ZONE : PORTICO_CACHE_NONE, 1)
    }
    unsafe portico_ctx_set_server_cache(handle, Int32(mode), sessionCount)
    if !policy.sessionTickets { unsafe portico_ctx_disable_tickets(handle) }
    // Without tickets TLS 1.3 sends session ids in their place: none if no cache would know them.
    let canResume = policy.sessionTickets || mode == PORTICO_CACHE_ON || mode == PORTICO_CACHE_ZONE
    unsafe SSL_CTX_set_num_tickets(handle, canResume ? 1 : 0)
    let identity = sessionIdentity(policy)
    var digest = [UInt8](repeating: 0, count: 32)
    var count = digest.count
    guard
      unsafe EVP_Q_digest(
        setup.library.handle, "SHA256", nil, identity, identity.count, &digest, &count) == 1,
      unsafe SSL_CTX_set_session_id_context(handle, digest, UInt32(count)) == 1
    else { throw TLSConfigurationError(openSSL: "cannot set the session id context") }
  }

  /// What two policies must share for a session of one to be resumed under the other.
  private static func sessionIdentity(_ policy: TLSServerPolicy) -> [UInt8] {
    var parts = policy.certificates.map(\.certificatePEM)
    parts += policy.dynamicNames.map { Array($0.utf8) }
    if policy.verifyClient != .off {
      parts += [policy.clientCAPEM, policy.trustedPEM, policy.crlPEM] + policy.trustCommands
      parts.append(Array("\(policy.verifyDepth)".utf8))
    }
    return [policy.verifyClient.rawValue] + TLSServerPolicy.joined(parts)
  }
}

/// Decides whether the session of a ticket is resumed. One whose client's certificate has to be
/// asked about (`ssl_ocsp`), but whose chain the client would have to send again, is not: a full
/// handshake.
private func onTicket(
  ssl: OpaquePointer?, session: OpaquePointer?, _: UnsafePointer<UInt8>?, _: Int,
  status: SSL_TICKET_STATUS, _: UnsafeMutableRawPointer?
) -> SSL_TICKET_RETURN {
  guard status == SSL_TICKET_SUCCESS || status == SSL_TICKET_SUCCESS_RENEW,
    let ssl = unsafe ssl, let session = unsafe session
  else { return SSL_TICKET_RETURN_IGNORE_RENEW }
  if let owner = unsafe TLSSession.owner(of: ssl), owner.serverContext?.asksStatus == true,
    unsafe portico_session_has_chain(ssl, session) == 0
  {
    portico_clear_errors()
    return SSL_TICKET_RETURN_IGNORE_RENEW
  }
  return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW
}

/// Staples the OCSP response for a client that asks for one (RFC 6066 §8).
private func onStatusWanted(ssl: OpaquePointer?, _: UnsafeMutableRawPointer?) -> Int32 {
  guard let ssl = unsafe ssl, let session = unsafe TLSSession.owner(of: ssl),
    let context = session.serverContext
  else { return SSL_TLSEXT_ERR_NOACK }
  guard let certificate = unsafe SSL_get_certificate(ssl) else { return SSL_TLSEXT_ERR_NOACK }
  var staple = context.staple
  if let stapler = context.stapler {
    let der = unsafe OCSPQuestion.bytes { unsafe portico_x509_der(certificate, &$0) }
    staple = stapler.response(for: der)
  } else if unsafe portico_ocsp_is_about(staple, staple.count, certificate) != 1 {
    // Of another certificate: this one was renewed, and the file is taken up by a reload.
    portico_clear_errors()
    return SSL_TLSEXT_ERR_NOACK
  }
  guard !staple.isEmpty, unsafe portico_ssl_staple(ssl, staple, staple.count) == 1 else {
    return SSL_TLSEXT_ERR_NOACK
  }
  return SSL_TLSEXT_ERR_OK
}

/// Picks the application protocol: ours in our order; RFC 7301 §3.2: none in common is fatal.
private func onApplicationProtocols(
  ssl: OpaquePointer?, out: UnsafeMutablePointer<UnsafePointer<UInt8>?>?,
  outCount: UnsafeMutablePointer<UInt8>?, theirs: UnsafePointer<UInt8>?, count: UInt32,
  _: UnsafeMutableRawPointer?
) -> Int32 {
  guard let session = unsafe TLSSession.owner(of: ssl), let context = session.serverContext,
    let out = unsafe out
  else { return SSL_TLSEXT_ERR_ALERT_FATAL }
  let ours =
    session.offersHTTP2
    ? Bytes("\u{2}h2\u{8}http/1.1\u{8}http/1.0")
    : unsafe Bytes(base: UnsafePointer(context.alpn.baseAddress!), count: context.alpn.count)
  var chosen: UnsafeMutablePointer<UInt8>?
  let status = unsafe SSL_select_next_proto(
    &chosen, outCount, ours.unsafeBase, UInt32(ours.count), theirs, count)
  unsafe out.pointee = UnsafePointer(chosen)
  return status == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL
}
