// The client side of TLS: connections to upstream servers (`proxy_ssl_…`), and sessions to resume.
//
// A context belongs to one thread. With `verify`, a server whose certificate is not trusted,
// expired or not for the expected name fails the handshake; without it any certificate will do.
// Nothing is cached here: what can be resumed is handed to the owner of the upstream connection.

import COpenSSL

/// A configured SSL_CTX for making connections.
@safe
final class TLSClientContext {
  let handle: OpaquePointer
  let library: TLSLibrary
  let verify: Bool

  /// Makes the SSL_CTX, parsing certificates and keys.
  init(library: TLSLibrary, options: TLSClientOptions) throws(TLSConfigurationError) {
    let setup = try TLSContextSetup(
      isServer: false, library: library, directives: options.directives)
    do throws(TLSConfigurationError) {
      try Self.configure(setup, options)
    } catch {
      unsafe SSL_CTX_free(setup.handle)
      throw error
    }
    unsafe handle = setup.handle
    self.library = library
    verify = options.verify
    unsafe portico_ctx_set_client_cache(handle)
    unsafe SSL_CTX_sess_set_new_cb(handle, onNewSession)
  }

  deinit { unsafe SSL_CTX_free(handle) }

  private static func configure(
    _ setup: TLSContextSetup, _ options: TLSClientOptions
  ) throws(TLSConfigurationError) {
    setup.allow(options.protocols)
    try setup.use(ciphers: options.ciphers, cipherSuites: options.cipherSuites)
    for source in options.certificates { try setup.use(source) }
    if options.verify {
      if options.trustedPEM.isEmpty {
        throw TLSConfigurationError(
          "no \"\(options.directives)trusted_certificate\" is given, but "
            + "\"\(options.directives)verify\" is on")
      }
      unsafe portico_ctx_verify_server(setup.handle, Int32(clamping: options.verifyDepth))
    }
    try setup.trust(options.trustedPEM)
    try setup.use(crlPEM: options.crlPEM)
    let wire = try TLSContextSetup.wireForm(alpn: options.alpn)
    if !wire.isEmpty {
      _ = unsafe SSL_CTX_set_alpn_protos(setup.handle, wire, UInt32(wire.count))
    }
    try setup.apply(options.confCommands)
  }
}

/// A session with an upstream server that a later connection may resume.
@safe
final class TLSResumption {
  let handle: OpaquePointer
  /// Whose context and expected name it was made under; it is good for no other.
  let context: TLSClientContext
  let verifyName: String?

  /// Takes over the reference to `handle`.
  @unsafe
  init(handle: OpaquePointer, context: TLSClientContext, verifyName: String?) {
    unsafe self.handle = handle
    self.context = context
    self.verifyName = verifyName
  }

  deinit { unsafe SSL_SESSION_free(handle) }
}

/// OpenSSL's callback for a session that can be resumed; 1 keeps the reference.
private func onNewSession(ssl: OpaquePointer?, state: OpaquePointer?) -> Int32 {
  guard let state = unsafe state, let session = unsafe TLSSession.owner(of: ssl) else { return 0 }
  return unsafe session.remember(resumable: state) ? 1 : 0
}
