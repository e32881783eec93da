// The peer's certificate in the forms of nginx's $ssl_client_… variables.
//
// Made on demand, when a configuration uses such a variable: each property formats anew. The value
// holds a reference of its own to the certificate.

import COpenSSL
import HTTP

/// A certificate that the peer showed.
@safe
final class TLSPeerCertificate {
  private let handle: OpaquePointer

  /// Retains `handle`.
  @unsafe
  init(_ handle: OpaquePointer) {
    unsafe X509_up_ref(handle)
    unsafe self.handle = handle
  }

  deinit { unsafe X509_free(handle) }

  /// `$ssl_client_raw_cert`.
  var pem: [UInt8] { unsafe printed { unsafe PEM_write_bio_X509($0, handle) } }

  /// `$ssl_client_cert`: fit for a header field of old, each line but the first begins with a tab.
  var tabbedPEM: [UInt8] {
    var text: [UInt8] = []
    for byte in pem.dropLast() {
      text.append(byte)
      if byte == UInt8(ascii: "\n") { text.append(UInt8(ascii: "\t")) }
    }
    return text
  }

  /// `$ssl_client_escaped_cert`: percent-encoded, all but unreserved characters (RFC 3986 §2.3).
  var escapedPEM: [UInt8] {
    var text: [UInt8] = []
    for byte in pem {
      switch byte {
      case UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"):
        text.append(byte)
      case _ where ASCII.isLetter(byte) || ASCII.isDigit(byte):
        text.append(byte)
      default:
        text += [UInt8(ascii: "%"), ASCII.hexDigit(byte >> 4), ASCII.hexDigit(byte & 15)]
      }
    }
    return text
  }

  /// `$ssl_client_s_dn`, as RFC 2253 writes names.
  var subject: [UInt8] {
    unsafe printed { unsafe portico_name_print($0, X509_get_subject_name(handle)) }
  }

  /// `$ssl_client_i_dn`.
  var issuer: [UInt8] {
    unsafe printed { unsafe portico_name_print($0, X509_get_issuer_name(handle)) }
  }

  /// `$ssl_client_s_dn_legacy`: "/CN=…", as nginx wrote names before 1.11.6.
  var legacySubject: [UInt8] {
    unsafe printed { unsafe portico_name_print_oneline($0, X509_get_subject_name(handle)) }
  }

  /// `$ssl_client_i_dn_legacy`.
  var legacyIssuer: [UInt8] {
    unsafe printed { unsafe portico_name_print_oneline($0, X509_get_issuer_name(handle)) }
  }

  /// `$ssl_client_serial`, hexadecimal.
  var serial: [UInt8] {
    unsafe printed { unsafe i2a_ASN1_INTEGER($0, X509_get0_serialNumber(handle)) }
  }

  /// `$ssl_client_fingerprint`: SHA-1, hexadecimal.
  var fingerprint: [UInt8] {
    var digest = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
    var count: UInt32 = 0
    guard unsafe X509_digest(handle, EVP_sha1(), &digest, &count) == 1 else { return [] }
    return unsafe digest.withUnsafeBufferPointer { bytes in
      unsafe ASCII.hexadecimal(UnsafeBufferPointer(rebasing: bytes[..<Int(count)]))
    }
  }

  /// `$ssl_client_v_start`: "Feb  3 00:55:52 2015 GMT".
  var validFrom: [UInt8] {
    unsafe printed { unsafe ASN1_TIME_print($0, X509_get0_notBefore(handle)) }
  }

  /// `$ssl_client_v_end`.
  var validUntil: [UInt8] {
    unsafe printed { unsafe ASN1_TIME_print($0, X509_get0_notAfter(handle)) }
  }

  /// `$ssl_client_v_remain`: whole days that the certificate is good for after `now` (seconds since
  /// 1970), 0 when there are none.
  func remainingDays(now: Int64) -> Int64 {
    let end = unsafe portico_time_seconds(X509_get0_notAfter(handle))
    return end == .min ? 0 : max(0, (end - now) / 86_400)
  }

  /// What `print` writes to a memory BIO.
  private func printed(_ print: (OpaquePointer) -> Int32) -> [UInt8] {
    guard let output = unsafe BIO_new(BIO_s_mem()) else { return [] }
    defer { unsafe BIO_free(output) }
    guard unsafe print(output) >= 0 else { return [] }
    var bytes: UnsafePointer<UInt8>?
    let count = unsafe portico_bio_bytes(output, &bytes)
    return unsafe Array(UnsafeBufferPointer(start: bytes, count: count))
  }
}
