// A certificate made on the spot, for `portico serve` and `portico proxy` without a configuration.
//
// P-256, signed by itself, for the names given: browsers warn about it, curl wants -k. A
// certificate for work comes from a CA; certs-dev/make-certs makes a local one.

import COpenSSL

/// Makes self-signed certificates.
enum SelfSigned {
  private static let validDays = 397  // what browsers accept at most from a CA

  /// A certificate for `names` (DNS names or IP addresses), and its key.
  static func make(
    names: [String], library: TLSLibrary
  ) throws(TLSConfigurationError) -> (certificatePEM: [UInt8], keyPEM: [UInt8]) {
    precondition(!names.isEmpty)
    portico_clear_errors()
    guard let key = unsafe portico_generate_curve(library.handle, "P-256") else {
      throw TLSConfigurationError(openSSL: "cannot make a key")
    }
    defer { unsafe EVP_PKEY_free(key) }
    guard let certificate = unsafe X509_new_ex(library.handle, nil) else {
      throw TLSConfigurationError(openSSL: "cannot make a certificate")
    }
    defer { unsafe X509_free(certificate) }
    guard unsafe fill(certificate, key, names), unsafe sign(certificate, key, library) else {
      throw TLSConfigurationError(
        openSSL: "cannot make a certificate for \(names.joined(separator: ", "))")
    }
    let certificatePEM = unsafe printed { unsafe PEM_write_bio_X509($0, certificate) }
    let keyPEM = unsafe printed {
      unsafe PEM_write_bio_PrivateKey($0, key, nil, nil, 0, nil, nil)
    }
    guard let certificatePEM, let keyPEM else {
      throw TLSConfigurationError(openSSL: "cannot write a certificate")
    }
    return (certificatePEM, keyPEM)
  }

  private static func fill(
    _ certificate: OpaquePointer, _ key: OpaquePointer, _ names: [String]
  ) -> Bool {
    // RFC 5280 §4.1.2.2: positive, and at most 20 bytes.
    let serial = UInt64.random(in: 1...UInt64(Int64.max))
    let names = names.map { isAddress($0) ? "IP:\($0)" : "DNS:\($0)" }
    let subject = unsafe X509_get_subject_name(certificate)
    return unsafe X509_set_version(certificate, 2) == 1
      && ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial) == 1
      && X509_gmtime_adj(X509_getm_notBefore(certificate), -3600) != nil
      && X509_gmtime_adj(X509_getm_notAfter(certificate), validDays * 86_400) != nil
      && X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, "Portico", -1, -1, 0) == 1
      && X509_set_issuer_name(certificate, subject) == 1
      && X509_set_pubkey(certificate, key) == 1
      && portico_add_extension(
        certificate, NID_subject_alt_name, names.joined(separator: ",")) == 1
      && portico_add_extension(certificate, NID_basic_constraints, "critical,CA:FALSE") == 1
      && portico_add_extension(certificate, NID_ext_key_usage, "serverAuth") == 1
      && portico_add_extension(certificate, NID_key_usage, "critical,digitalSignature") == 1
      && portico_add_extension(certificate, NID_subject_key_identifier, "hash") == 1
  }

  private static func sign(
    _ certificate: OpaquePointer, _ key: OpaquePointer, _ library: TLSLibrary
  ) -> Bool {
    guard let digest = unsafe EVP_MD_fetch(library.handle, "SHA256", nil) else { return false }
    defer { unsafe EVP_MD_free(digest) }
    return unsafe X509_sign(certificate, key, digest) > 0
  }

  private static func isAddress(_ name: String) -> Bool {
    guard let address = unsafe a2i_IPADDRESS(name) else {
      ERR_clear_error()
      return false
    }
    unsafe ASN1_OCTET_STRING_free(address)
    return true
  }

  private static func printed(_ print: (OpaquePointer) -> Int32) -> [UInt8]? {
    guard let output = unsafe BIO_new(BIO_s_mem()) else { return nil }
    defer { unsafe BIO_free(output) }
    guard unsafe print(output) == 1 else { return nil }
    var bytes: UnsafePointer<UInt8>?
    let count = unsafe portico_bio_bytes(output, &bytes)
    return unsafe Array(UnsafeBufferPointer(start: bytes, count: count))
  }
}
