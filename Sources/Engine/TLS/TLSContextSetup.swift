// The steps that server and client contexts have in common: from plain values to a configured
// SSL_CTX.
//
// Called when a context is made, never per connection. Each step throws an error that names the
// directive or file at fault.

import COpenSSL

/// An SSL_CTX under construction.
@safe
struct TLSContextSetup {
  let handle: OpaquePointer
  let library: TLSLibrary
  /// What the names of the directives begin with, for messages.
  private let directives: String

  /// A new SSL_CTX for servers or for clients with the settings that never differ.
  init(
    isServer: Bool, library: TLSLibrary, directives: String
  ) throws(TLSConfigurationError) {
    portico_clear_errors()
    let method = unsafe isServer ? TLS_server_method() : TLS_client_method()
    guard let handle = unsafe SSL_CTX_new_ex(library.handle, nil, method) else {
      throw TLSConfigurationError(openSSL: "cannot make a TLS context")
    }
    unsafe self.handle = handle
    self.library = library
    self.directives = directives
    unsafe portico_ctx_set_modes(handle)
  }

  /// `ssl_protocols`.
  func allow(_ protocols: TLSProtocols) {
    unsafe portico_ctx_set_protocols(handle, protocols.rawValue)
  }

  /// `ssl_ciphers`, and the cipher suites of TLS 1.3.
  func use(ciphers: String, cipherSuites: String?) throws(TLSConfigurationError) {
    portico_clear_errors()
    guard unsafe SSL_CTX_set_cipher_list(handle, ciphers) == 1 else {
      throw TLSConfigurationError(
        openSSL: "\"\(directives)ciphers\": no cipher matches \"\(ciphers)\"", about: .ciphers)
    }
    guard let cipherSuites else { return }
    guard unsafe SSL_CTX_set_ciphersuites(handle, cipherSuites) == 1 else {
      throw TLSConfigurationError(
        openSSL: "no TLS 1.3 cipher suite matches \"\(cipherSuites)\"", about: .ciphers)
    }
  }

  /// `ssl_certificate` and `ssl_certificate_key`, with the chain as the file has it.
  func use(_ source: TLSCertificateSource) throws(TLSConfigurationError) {
    let path = source.certificatePath
    let file = try TLSCertificateFile(
      pem: source.certificatePEM, path: path, library: library)
    let key = try TLSPrivateKey(source: source, library: library, directives: directives)
    guard unsafe SSL_CTX_use_certificate(handle, file.certificates[0].handle) == 1 else {
      throw TLSConfigurationError(
        openSSL: "cannot use certificate \"\(path)\"", about: .certificate)
    }
    _ = unsafe portico_ctx_clear_chain(handle)
    for link in file.certificates.dropFirst() {
      unsafe X509_up_ref(link.handle)
      guard unsafe portico_ctx_add_chain(handle, link.handle) == 1 else {
        unsafe X509_free(link.handle)
        throw TLSConfigurationError(
          openSSL: "cannot use the certificate chain of \"\(path)\"", about: .certificate)
      }
    }
    guard unsafe SSL_CTX_use_PrivateKey(handle, key.handle) == 1 else {
      if portico_is_key_mismatch(ERR_peek_last_error()) != 0 {
        ERR_clear_error()
        throw TLSCheck.keyMismatch(source, file, key)
      }
      throw TLSConfigurationError(
        openSSL: "cannot use key \"\(source.keyPath)\"", about: .key)
    }
  }

  /// `ssl_client_certificate`: trusts the certificates of `pem`, whose names clients are shown.
  func trustAndName(_ pem: [UInt8]) throws(TLSConfigurationError) {
    try trust(pem, named: true, "client_certificate", .clientCertificate)
  }

  /// `ssl_trusted_certificate`.
  func trust(_ pem: [UInt8]) throws(TLSConfigurationError) {
    try trust(pem, named: false, "trusted_certificate", .trustedCertificate)
  }

  private func trust(
    _ pem: [UInt8], named: Bool, _ name: String, _ subject: TLSSubject
  ) throws(TLSConfigurationError) {
    if pem.isEmpty { return }
    let directive = directives + name
    let file = try TLSCertificateFile(
      pem: pem, path: directive, library: library, about: subject)
    let store = unsafe SSL_CTX_get_cert_store(handle)
    for certificate in file.certificates {
      guard unsafe X509_STORE_add_cert(store, certificate.handle) == 1,
        unsafe !named || portico_ctx_add_client_ca(handle, certificate.handle) == 1
      else {
        throw TLSConfigurationError(
          openSSL: "cannot trust a certificate of \"\(directive)\"", about: subject)
      }
    }
  }

  /// `ssl_crl`: every certificate of a chain is looked up in these lists.
  func use(crlPEM: [UInt8]) throws(TLSConfigurationError) {
    guard let input = PEMInput(crlPEM) else { return }
    portico_clear_errors()
    let store = unsafe SSL_CTX_get_cert_store(handle)
    var count = 0
    while let list = unsafe PEM_read_bio_X509_CRL(input.bio, nil, nil, nil) {
      defer { unsafe X509_CRL_free(list) }
      guard unsafe X509_STORE_add_crl(store, list) == 1 else {
        throw TLSConfigurationError(
          openSSL: "cannot use revocation list \"\(directives)crl\"", about: .crl)
      }
      count += 1
    }
    let code = ERR_peek_last_error()
    guard count > 0, code == 0 || portico_is_pem_end(code) != 0 else {
      throw TLSConfigurationError(
        openSSL: "cannot load revocation list \"\(directives)crl\"", about: .crl)
    }
    ERR_clear_error()
    _ = unsafe portico_store_check_crls(store)
  }

  /// `ssl_ecdh_curve`; nil for the groups that need no directive.
  func use(curves: String?) throws(TLSConfigurationError) {
    portico_clear_errors()
    guard let curves else { return unsafe portico_ctx_set_standard_curves(handle) }
    guard unsafe portico_ctx_set_curves(handle, curves) == 1 else {
      throw TLSConfigurationError(
        openSSL: "\"ssl_ecdh_curve\": \"\(curves)\" is not a list of key exchange groups",
        about: .curves)
    }
  }

  /// `ssl_dhparam`.
  func use(dhparamPEM: [UInt8]) throws(TLSConfigurationError) {
    if dhparamPEM.isEmpty { return }
    portico_clear_errors()
    guard let input = PEMInput(dhparamPEM),
      let parameters = unsafe PEM_read_bio_Parameters_ex(input.bio, nil, library.handle, nil)
    else {
      throw TLSConfigurationError(
        openSSL: "cannot load the parameters of \"ssl_dhparam\"", about: .dhparam)
    }
    guard unsafe SSL_CTX_set0_tmp_dh_pkey(handle, parameters) == 1 else {
      unsafe EVP_PKEY_free(parameters)
      throw TLSConfigurationError(
        openSSL: "cannot use the parameters of \"ssl_dhparam\"", about: .dhparam)
    }
  }

  /// `ssl_conf_command`: last, so that it wins.
  func apply(_ commands: [TLSConfCommand]) throws(TLSConfigurationError) {
    if commands.isEmpty { return }
    let directive = directives + "conf_command"
    portico_clear_errors()
    guard let state = unsafe SSL_CONF_CTX_new() else {
      throw TLSConfigurationError(openSSL: "cannot apply \"\(directive)\"")
    }
    defer { unsafe SSL_CONF_CTX_free(state) }
    let flags =
      SSL_CONF_FLAG_FILE | SSL_CONF_FLAG_SERVER | SSL_CONF_FLAG_CLIENT
      | SSL_CONF_FLAG_CERTIFICATE | SSL_CONF_FLAG_SHOW_ERRORS
    unsafe SSL_CONF_CTX_set_flags(state, UInt32(flags))
    unsafe SSL_CONF_CTX_set_ssl_ctx(state, handle)
    for (index, command) in commands.enumerated() {
      guard unsafe SSL_CONF_cmd(state, command.name, command.value) > 0 else {
        throw TLSConfigurationError(
          openSSL:
            "\"\(directive)\": OpenSSL refuses the command \"\(command.name) \(command.value)\"",
          about: .command(index))
      }
    }
    guard unsafe SSL_CONF_CTX_finish(state) == 1 else {
      throw TLSConfigurationError(
        openSSL: "OpenSSL refuses the commands of \"\(directive)\"", about: .command(0))
    }
  }

  /// Application protocols in the form of the wire: each with its length in front.
  static func wireForm(alpn: [String]) throws(TLSConfigurationError) -> [UInt8] {
    var wire: [UInt8] = []
    for name in alpn {
      guard (1...255).contains(name.utf8.count) else {
        throw TLSConfigurationError("\"\(name)\" is not an application protocol: 1 to 255 bytes")
      }
      wire.append(UInt8(name.utf8.count))
      wire.append(contentsOf: name.utf8)
    }
    return wire
  }
}
