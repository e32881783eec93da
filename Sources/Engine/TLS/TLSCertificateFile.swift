// Certificates, keys and revocation lists out of PEM bytes.
//
// Used when a context is made and when a configuration is checked. Everything is made in the
// caller's library context. Nothing here ever asks the terminal for a password. What is returned is
// owned by the caller or by the object that is returned.

import COpenSSL

/// A certificate of a `TLSCertificateFile`, which owns it.
@safe
struct TLSCertificate {
  let handle: OpaquePointer
}

/// The certificates of one PEM file, in their order; at least one.
@safe
final class TLSCertificateFile {
  private(set) var certificates: [TLSCertificate] = []

  /// Reads every certificate of `pem`; the first may be a "TRUSTED CERTIFICATE".
  init(
    pem: [UInt8], path: String, library: TLSLibrary, about subject: TLSSubject = .certificate
  ) throws(TLSConfigurationError) {
    portico_clear_errors()
    guard let input = PEMInput(pem) else {
      throw TLSConfigurationError(
        "cannot load certificate \"\(path)\": the file is empty", about: subject)
    }
    while true {
      var certificate = unsafe X509_new_ex(library.handle, nil)
      let isRead =
        unsafe certificates.isEmpty
        ? PEM_read_bio_X509_AUX(input.bio, &certificate, noPassword, nil) != nil
        : PEM_read_bio_X509(input.bio, &certificate, noPassword, nil) != nil
      guard isRead, let certificate = unsafe certificate else {
        unsafe X509_free(certificate)
        break
      }
      unsafe certificates.append(TLSCertificate(handle: certificate))
    }
    let code = ERR_peek_last_error()
    if certificates.isEmpty && (code == 0 || portico_is_pem_end(code) != 0) {
      ERR_clear_error()
      throw TLSConfigurationError(
        "cannot load certificate \"\(path)\": the file holds no certificate; expected a PEM block "
          + "that begins with \"-----BEGIN CERTIFICATE-----\"", about: subject)
    }
    guard code == 0 || portico_is_pem_end(code) != 0 else {
      throw TLSConfigurationError(
        openSSL: "cannot load certificate number \(certificates.count + 1) of \"\(path)\"",
        about: subject)
    }
    ERR_clear_error()
  }

  deinit {
    for certificate in certificates { unsafe X509_free(certificate.handle) }
  }
}

/// A private key.
@safe
final class TLSPrivateKey {
  let handle: OpaquePointer

  /// Reads the key of `source`, trying its passwords one after another. `directives` is what the
  /// names of those begin with that it was named by.
  init(
    source: TLSCertificateSource, library: TLSLibrary, directives: String = "ssl_"
  ) throws(TLSConfigurationError) {
    let path = source.keyPath
    portico_clear_errors()
    guard let key = unsafe Self.read(source, library) else {
      throw Self.explain(source, path, directives)
    }
    unsafe handle = key
  }

  private static func read(
    _ source: TLSCertificateSource, _ library: TLSLibrary
  ) -> OpaquePointer? {
    let attempts: [[UInt8]?] = source.passwords.isEmpty ? [nil] : source.passwords
    for password in attempts {
      guard let input = PEMInput(source.keyPEM) else { return nil }
      ERR_clear_error()
      var attempt = PasswordAttempt(password: password ?? [])
      let key = unsafe withUnsafeMutablePointer(to: &attempt) { pointer in
        unsafe PEM_read_bio_PrivateKey_ex(
          input.bio, nil, givePassword, pointer, library.handle, nil)
      }
      if let key = unsafe key { return unsafe key }
      if !attempt.wasAsked { return nil }
    }
    return nil
  }

  private static func explain(
    _ source: TLSCertificateSource, _ path: String, _ directives: String
  ) -> TLSConfigurationError {
    let code = ERR_peek_last_error()
    if source.isKeyEncrypted {
      ERR_clear_error()
      return TLSConfigurationError(
        source.passwords.isEmpty
          ? "cannot load key \"\(path)\": it is encrypted; name the file with its password in "
            + "\"\(directives)password_file\", or remove the password with \"openssl pkey\""
          : "cannot load key \"\(path)\": it is encrypted, and no password of "
            + "\"\(directives)password_file\" opens it", about: .key)
    }
    if source.keyPEM.isEmpty || code == 0 || portico_is_pem_end(code) != 0 || !source.hasKey {
      ERR_clear_error()
      return TLSConfigurationError(
        "cannot load key \"\(path)\": the file holds no private key; expected a PEM block "
          + "that begins with \"-----BEGIN PRIVATE KEY-----\"", about: .key)
    }
    return TLSConfigurationError(openSSL: "cannot load key \"\(path)\"", about: .key)
  }

  deinit { unsafe EVP_PKEY_free(handle) }
}

extension TLSCertificateSource {
  /// The key needs a password: "ENCRYPTED PRIVATE KEY", or the older "Proc-Type: 4,ENCRYPTED".
  var isKeyEncrypted: Bool { keyPEM.holds("ENCRYPTED") }
  /// One of both stands in the configuration itself.
  var isData: Bool { certificatePath == Self.dataName || keyPath == Self.dataName }
  /// What messages call PEM that stands in the configuration.
  static let dataName = "data:…"
  fileprivate var hasKey: Bool { keyPEM.holds("PRIVATE KEY-----") }
}

extension [UInt8] {
  /// Whether the bytes of `text` occur in these.
  fileprivate func holds(_ text: StaticString) -> Bool {
    let wanted = Array(text.description.utf8)
    guard count >= wanted.count else { return false }
    return (0...(count - wanted.count)).contains { start in
      self[start..<(start + wanted.count)].elementsEqual(wanted)
    }
  }
}

/// A BIO that reads a copy of PEM bytes.
@safe
final class PEMInput {
  let bio: OpaquePointer
  private let bytes: UnsafeMutableBufferPointer<UInt8>

  /// Nil when there are no bytes or no memory.
  init?(_ pem: [UInt8]) {
    guard !pem.isEmpty, pem.count < 1 << 24 else { return nil }  // Bound: 16 MiB of PEM
    let copy = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: pem.count)
    _ = unsafe copy.initialize(from: pem)
    guard let bio = unsafe BIO_new_mem_buf(copy.baseAddress, Int32(pem.count)) else {
      unsafe copy.deallocate()
      return nil
    }
    unsafe self.bio = bio
    unsafe self.bytes = copy
  }

  deinit {
    unsafe BIO_free(bio)
    unsafe bytes.deallocate()
  }
}

private struct PasswordAttempt {
  let password: [UInt8]
  var wasAsked = false
}

/// Tells OpenSSL that there is no password, so that it does not ask the terminal.
private func noPassword(
  _: UnsafeMutablePointer<CChar>?, _: Int32, _: Int32, _: UnsafeMutableRawPointer?
) -> Int32 { -1 }

private func givePassword(
  buffer: UnsafeMutablePointer<CChar>?, capacity: Int32, _: Int32, user: UnsafeMutableRawPointer?
) -> Int32 {
  guard let buffer = unsafe buffer,
    let attempt = unsafe user?.assumingMemoryBound(to: PasswordAttempt.self)
  else { return -1 }
  unsafe attempt.pointee.wasAsked = true
  let password = unsafe attempt.pointee.password
  guard !password.isEmpty, password.count <= Int(capacity) else { return -1 }
  for index in password.indices {
    unsafe buffer[index] = CChar(bitPattern: password[index])
  }
  return Int32(password.count)
}
