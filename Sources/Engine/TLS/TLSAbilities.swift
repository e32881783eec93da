// What the OpenSSL that we run with can do beyond 3.0, which is what we are built for: found out at
// run time, for `-V` and for the directives that need it.

import COpenSSL

/// Abilities of the OpenSSL library in use.
enum TLSAbilities {
  /// The version, as OpenSSL says it.
  static var version: String {
    guard let text = unsafe OpenSSL_version(OPENSSL_VERSION) else { return "an unknown OpenSSL" }
    return unsafe String(cString: text)
  }

  /// Whether the key exchange group or hybrid called `name` can be agreed on.
  static func hasGroup(_ name: String) -> Bool {
    defer { ERR_clear_error() }
    guard let context = unsafe SSL_CTX_new(TLS_server_method()) else { return false }
    defer { unsafe SSL_CTX_free(context) }
    return unsafe portico_ctx_set_curves(context, name) == 1
  }

  /// Whether certificates can be sent compressed (RFC 8879).
  static var compressesCertificates: Bool { portico_can_compress_certificates() != 0 }
}
