// Certificates that are found per handshake, because their names have variables in them.
//
// A context knows that it has such (a `TLSDynamicCertificates`), OpenSSL asks for them once it
// knows that it needs one (not for a resumed session), and the session's resolver, who can evaluate
// variables, puts them into the session.

import COpenSSL

/// What the owner of a context keeps of certificates that are loaded per handshake.
class TLSDynamicCertificates {
  init() {}
}

extension TLSSession {
  /// Shows `file` with its chain, and proves it by `key`: one of each key type can be given.
  func use(
    _ file: TLSCertificateFile, _ key: TLSPrivateKey, names: (certificate: String, key: String)
  ) throws(TLSConfigurationError) {
    portico_clear_errors()
    guard unsafe SSL_use_certificate(ssl, file.certificates[0].handle) == 1 else {
      throw TLSConfigurationError(openSSL: "cannot use certificate \"\(names.certificate)\"")
    }
    _ = unsafe portico_ssl_clear_chain(ssl)
    for link in file.certificates.dropFirst() {
      guard unsafe portico_ssl_add_chain(ssl, link.handle) == 1 else {
        throw TLSConfigurationError(
          openSSL: "cannot use the certificate chain of \"\(names.certificate)\"")
      }
    }
    guard unsafe SSL_use_PrivateKey(ssl, key.handle) == 1 else {
      throw TLSConfigurationError(openSSL: "cannot use key \"\(names.key)\"")
    }
  }

  /// Forgets the certificates that came with the context.
  func dropCertificates() { unsafe SSL_certs_clear(ssl) }
}

/// OpenSSL's callback where a certificate is needed: 1 goes on, 0 ends the handshake.
func onCertificateWanted(ssl: OpaquePointer?, _: UnsafeMutableRawPointer?) -> Int32 {
  guard let session = unsafe TLSSession.owner(of: ssl) else { return 0 }
  return session.findCertificates() ? 1 : 0
}
