// A certificate made on the spot, for `portico serve` and `portico proxy`: P-256, for localhost, valid
// for a month, known to nobody. It lives in memory and is another one at each start.

import COpenSSL

/// A self-signed certificate and its key.
enum SelfSignedCertificate {
  /// Both in PEM; nil if OpenSSL can't make them.
  static func make() -> (certificate: [UInt8], key: [UInt8])? {
    guard let key = unsafe makeKey() else { return nil }
    defer { unsafe EVP_PKEY_free(key) }
    guard let certificate = unsafe X509_new() else { return nil }
    defer { unsafe X509_free(certificate) }
    guard unsafe fill(certificate, key), unsafe X509_sign(certificate, key, EVP_sha256()) > 0
    else { return nil }
    let certificateText = unsafe text { unsafe PEM_write_bio_X509($0, certificate) }
    let keyText = unsafe text { unsafe PEM_write_bio_PrivateKey($0, key, nil, nil, 0, nil, nil) }
    guard let certificateText, let keyText else { return nil }
    return (certificateText, keyText)
  }

  private static func makeKey() -> OpaquePointer? {
    guard let context = unsafe EVP_PKEY_CTX_new_from_name(nil, "EC", nil) else { return nil }
    defer { unsafe EVP_PKEY_CTX_free(context) }
    var key: OpaquePointer?
    guard unsafe EVP_PKEY_keygen_init(context) > 0,
      unsafe EVP_PKEY_CTX_set_group_name(context, "P-256") > 0,
      unsafe EVP_PKEY_generate(context, &key) > 0
    else { return nil }
    return unsafe key
  }

  private static func fill(_ certificate: OpaquePointer, _ key: OpaquePointer) -> Bool {
    var serial: Int64 = 0
    unsafe withUnsafeMutableBytes(of: &serial) {
      _ = unsafe RAND_bytes($0.baseAddress?.assumingMemoryBound(to: UInt8.self), 7)
    }
    unsafe X509_set_version(certificate, 2)
    unsafe ASN1_INTEGER_set_int64(X509_get_serialNumber(certificate), serial | 1)
    // An hour back: clocks differ.
    unsafe X509_gmtime_adj(X509_getm_notBefore(certificate), -3600)
    unsafe X509_gmtime_adj(X509_getm_notAfter(certificate), 30 * 86_400)
    unsafe X509_set_pubkey(certificate, key)
    let name = unsafe X509_get_subject_name(certificate)
    let text = Array("localhost".utf8)
    unsafe X509_NAME_add_entry_by_txt(
      name, "CN", MBSTRING_ASC_VALUE, text, Int32(text.count), -1, 0)
    unsafe X509_set_issuer_name(certificate, name)
    let names = "DNS:localhost,IP:127.0.0.1,IP:::1"
    guard
      let names = unsafe X509V3_EXT_conf_nid(nil, nil, NID_subject_alt_name, names)
    else { return false }
    defer { unsafe X509_EXTENSION_free(names) }
    return unsafe X509_add_ext(certificate, names, -1) > 0
  }

  /// MBSTRING_ASC: a macro that Swift doesn't see.
  private static let MBSTRING_ASC_VALUE: Int32 = 0x1001

  /// What `write` puts into a memory stream.
  private static func text(_ write: (OpaquePointer) -> Int32) -> [UInt8]? {
    guard let stream = unsafe BIO_new(BIO_s_mem()) else { return nil }
    defer { unsafe BIO_free(stream) }
    guard unsafe write(stream) > 0 else { return nil }
    // Bound: a P-256 certificate or key takes less than a kilobyte.
    var bytes = [UInt8](repeating: 0, count: 8192)
    let count = unsafe BIO_read(stream, &bytes, Int32(bytes.count))
    return count > 0 ? Array(bytes[..<Int(count)]) : nil
  }
}
