// What the TLS layer answers: the result of each step of a session, and the reasons for failing.
//
// A result is a few words, copied without a reference count: a failure keeps OpenSSL's packed error
// code, and its text is looked up only when somebody asks for it. Mistakes in a configuration,
// found when a context is made, are thrown with their words.

import COpenSSL

/// The outcome of one step of a TLS session.
enum TLSResult: BitwiseCopyable {
  /// So many bytes were read or written; 0 from a handshake that is done.
  case bytes(Int)
  /// The socket has to become readable first.
  case wantRead
  /// The socket has to become writable first.
  case wantWrite
  /// The peer sent its close_notify, or closed the connection.
  case closed
  /// The session is broken; nothing but freeing it is left to do.
  case failed(TLSFailure)
}

/// Why a session failed.
struct TLSFailure: BitwiseCopyable {
  /// OpenSSL's packed error code; 0 when the socket failed.
  let code: UInt
  /// The errno of the socket; 0 when the socket is well.
  let systemError: Int32
  /// The X509_V_ERR code when a certificate was refused; 0 otherwise.
  let verifyError: Int32
  /// We refused the name that the client asked for (`ssl_reject_handshake`).
  let isRejected: Bool
  /// The site that the client asked for has no certificate that can be used.
  var isUnusable = false

  /// The peer spoke HTTP in the clear: answer 400 in the clear.
  var isHTTPRequest: Bool { portico_is_http_request(code) != 0 }

  /// What went wrong, for the log.
  var reason: String {
    if isRejected { return "handshake rejected, the server name is not served here" }
    if isUnusable { return "the certificate of this server can't be used" }
    if isHTTPRequest { return "plain HTTP request sent to a TLS port" }
    if verifyError != 0, let text = unsafe X509_verify_cert_error_string(Int(verifyError)) {
      return unsafe "certificate refused: \(String(cString: text))"
    }
    if code != 0 { return Self.text(of: code) }
    if systemError != 0, let text = unsafe strerror(systemError) {
      return unsafe String(cString: text).lowercased()
    }
    return "connection closed in the middle of a TLS message"
  }

  /// OpenSSL's words for a packed error code.
  static func text(of code: UInt) -> String {
    if let reason = unsafe ERR_reason_error_string(code) { return unsafe String(cString: reason) }
    // The peer's alerts are reasons from 1000 on, and not each has words among the reasons:
    // OpenSSL 3.0.13 knows "no application protocol" only in its table of alerts.
    let alert = Int32(code & 0x7F_FFFF) - SSL_AD_REASON_OFFSET
    guard Int32(code >> 23 & 0xFF) == ERR_LIB_SSL, 0...255 ~= alert else {
      return "OpenSSL error \(String(code, radix: 16))"
    }
    let words = unsafe SSL_alert_desc_string_long(alert).map { unsafe String(cString: $0) }
    return "tls alert \(words.flatMap { $0 == "unknown" ? nil : $0 } ?? String(alert))"
  }
}

/// Which part of a configuration a problem is about: who has read it knows where that stands.
enum TLSSubject: Equatable {
  case certificate, key, ciphers, curves, clientCertificate, trustedCertificate, crl, dhparam
  case stapleFile
  /// The command of this index.
  case command(Int)
}

/// A configuration that OpenSSL refuses, in words that say which file or value and what to do.
struct TLSConfigurationError: Error, Equatable {
  let message: String
  /// nil: all of it.
  let subject: TLSSubject?

  init(_ message: String, about subject: TLSSubject? = nil) {
    self.message = message
    self.subject = subject
  }

  /// `message`, followed by the words of OpenSSL's last error, which is taken off its queue.
  init(openSSL message: String, about subject: TLSSubject? = nil) {
    self.subject = subject
    let code = ERR_peek_last_error()
    ERR_clear_error()
    self.message = code == 0 ? message : "\(message): \(TLSFailure.text(of: code))"
  }
}
