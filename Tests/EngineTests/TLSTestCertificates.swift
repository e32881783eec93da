// Certificates for the tests of TLS, made with OpenSSL when the tests start: a CA, leaves that it
// signed, and broken ones.

import COpenSSL

@testable import Engine

/// A certificate with its key, and what it was made from.
@safe
final class TestCertificate: @unchecked Sendable {
  enum KeyKind { case p256, p384, rsa2048, rsa1024, ed25519 }

  private let key: OpaquePointer
  private let handle: OpaquePointer
  let name: String
  let certificatePEM: [UInt8]
  let keyPEM: [UInt8]

  /// Signed by `issuer`, or by itself when that is nil. Valid from `from` to `to` seconds from
  /// today. `extensions` are further ones, in the language of openssl.cnf.
  init(
    _ name: String, kind: KeyKind = .p256, issuer: TestCertificate? = nil,
    from: Int = -3600, to: Int = 30 * 86_400, isCA: Bool = false,
    extensions: [(Int32, String)] = []
  ) {
    self.name = name
    let key = unsafe EVP_PKEY.make(kind)
    let certificate = unsafe X509_new()!
    unsafe X509_set_version(certificate, 2)
    unsafe ASN1_INTEGER_set(X509_get_serialNumber(certificate), Int.random(in: 1...0x7fff_ffff))
    unsafe X509_gmtime_adj(X509_getm_notBefore(certificate), from)
    unsafe X509_gmtime_adj(X509_getm_notAfter(certificate), to)
    let subject = unsafe X509_get_subject_name(certificate)
    unsafe X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, name, -1, -1, 0)
    unsafe X509_set_issuer_name(
      certificate, issuer.map { unsafe X509_get_subject_name($0.handle) } ?? subject)
    unsafe X509_set_pubkey(certificate, key)
    if isCA {
      _ = unsafe portico_add_extension(certificate, NID_basic_constraints, "critical,CA:TRUE")
    } else {
      _ = unsafe portico_add_extension(certificate, NID_subject_alt_name, "DNS:\(name)")
    }
    for (identifier, text) in extensions {
      var context = unsafe X509V3_CTX()
      unsafe X509V3_set_ctx(&context, issuer?.handle ?? certificate, certificate, nil, nil, 0)
      let made = unsafe X509V3_EXT_conf_nid(nil, &context, identifier, text)
      unsafe X509_add_ext(certificate, made, -1)
      unsafe X509_EXTENSION_free(made)
    }
    unsafe X509_sign(certificate, issuer?.key ?? key, kind == .ed25519 ? nil : EVP_sha256())
    unsafe self.key = key
    unsafe handle = certificate
    certificatePEM = unsafe pem { unsafe PEM_write_bio_X509($0, certificate) }
    keyPEM = unsafe pem { unsafe PEM_write_bio_PrivateKey($0, key, nil, nil, 0, nil, nil) }
  }

  deinit {
    unsafe X509_free(handle)
    unsafe EVP_PKEY_free(key)
  }

  /// The key in the form that its algorithm has of its own: PKCS #1, SEC 1.
  var traditionalKeyPEM: [UInt8] {
    unsafe pem {
      unsafe PEM_write_bio_PrivateKey_traditional($0, key, nil, nil, 0, nil, nil)
    }
  }

  /// The key, encrypted.
  func keyPEM(password: String) -> [UInt8] {
    var password = Array(password.utf8)
    return unsafe pem {
      unsafe PEM_write_bio_PrivateKey(
        $0, key, EVP_aes_256_cbc(), &password, Int32(password.count), nil, nil)
    }
  }

  /// The certificate, followed by `chain`, with its key.
  func source(chain: [TestCertificate] = [], key: TestCertificate? = nil) -> TLSCertificateSource {
    TLSCertificateSource(
      certificatePEM: certificatePEM + chain.flatMap(\.certificatePEM),
      keyPEM: (key ?? self).keyPEM, certificatePath: "\(name).pem",
      keyPath: "\((key ?? self).name).key")
  }
}

/// Certificates that all tests share.
enum TestPKI {
  static let ca = TestCertificate("Test CA", isCA: true)
  static let one = TestCertificate("one.example", issuer: ca)
  static let two = TestCertificate("two.example", issuer: ca)
  static let rsa = TestCertificate("one.example", kind: .rsa2048, issuer: ca)
  static let client = TestCertificate("client", issuer: ca)
  static let stranger = TestCertificate("stranger")
}

private enum EVP_PKEY {
  static func make(_ kind: TestCertificate.KeyKind) -> OpaquePointer {
    switch kind {
    case .p256: return unsafe portico_generate_curve(nil, "P-256")
    case .p384: return unsafe portico_generate_curve(nil, "P-384")
    case .ed25519: return unsafe portico_generate_curve(nil, "ED25519")
    case .rsa2048: return unsafe portico_generate_rsa(nil, 2048)
    case .rsa1024: return unsafe portico_generate_rsa(nil, 1024)
    }
  }
}

private func pem(_ print: (OpaquePointer) -> Int32) -> [UInt8] {
  let output = unsafe BIO_new(BIO_s_mem())!
  defer { unsafe BIO_free(output) }
  _ = unsafe print(output)
  var bytes: UnsafePointer<UInt8>?
  let count = unsafe portico_bio_bytes(output, &bytes)
  return unsafe Array(UnsafeBufferPointer(start: bytes, count: count))
}
