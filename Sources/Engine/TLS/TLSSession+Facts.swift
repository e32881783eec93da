// What a session can tell about itself: the values of nginx's $ssl_… variables that aren't about
// the client's certificate (those are in TLSPeerCertificate).
//
// Names of protocols, ciphers and groups are OpenSSL's own constant strings: views, never copies.

import COpenSSL
import HTTP

extension TLSSession {
  /// "TLSv1.3": `$ssl_protocol`.
  var protocolName: Bytes { unsafe constant(SSL_get_version(ssl)) }

  /// `$ssl_cipher`; empty before the handshake is done.
  var cipherName: Bytes {
    guard let cipher = unsafe SSL_get_current_cipher(ssl) else { return Bytes() }
    return unsafe constant(SSL_CIPHER_get_name(cipher))
  }

  /// `$ssl_curve`, the key exchange group; empty when there was no such exchange.
  var curve: Bytes { unsafe constant(portico_ssl_curve(ssl)) }

  /// `$ssl_ciphers`: what the client offered, by name where OpenSSL knows it.
  var offeredCiphers: [UInt8] {
    var bytes: UnsafePointer<UInt8>?
    let count = unsafe portico_ssl_raw_ciphers(ssl, &bytes)
    guard let bytes = unsafe bytes else { return [] }
    var list: [UInt8] = []
    for index in stride(from: 0, to: count - 1, by: 2) {
      let name = unsafe constant(portico_cipher_name(ssl, bytes + index))
      let code = unsafe Int(bytes[index]) << 8 | Int(bytes[index + 1])
      Self.append(name, or: code, to: &list)
    }
    return list
  }

  /// `$ssl_curves`: the groups that the client offered.
  var offeredCurves: [UInt8] {
    // Bound: more than any client names.
    var codes = [Int32](repeating: 0, count: 64)
    let count = unsafe Int(portico_ssl_offered_curves(ssl, &codes, Int32(codes.count)))
    var list: [UInt8] = []
    for code in codes.prefix(count) {
      let name = unsafe constant(portico_curve_name(ssl, code))
      Self.append(name, or: Int(code) & 0xffff, to: &list)
    }
    return list
  }

  /// `$ssl_sigalgs`: the signature algorithms that the client offered.
  var offeredSignatures: [UInt8] {
    var list: [UInt8] = []
    // Bound: more than any client names.
    for index in 0..<Int32(128) {
      let code = unsafe portico_ssl_offered_signature(ssl, index)
      if code < 0 { break }
      Self.append(Bytes(), or: Int(code), to: &list)
    }
    return list
  }

  private static func append(_ name: Bytes, or code: Int, to list: inout [UInt8]) {
    if !list.isEmpty { list.append(UInt8(ascii: ":")) }
    if name.isEmpty {
      let digits = String(code, radix: 16)
      list += Array("0x\(String(repeating: "0", count: max(0, 4 - digits.count)))\(digits)".utf8)
    } else {
      list += name.array
    }
  }

  /// `$ssl_session_reused`.
  var isResumed: Bool { unsafe SSL_session_reused(ssl) == 1 }

  /// `$ssl_alpn_protocol`; empty when none was agreed. Lives as long as the session.
  var alpnProtocol: Bytes {
    var bytes: UnsafePointer<UInt8>?
    var count: UInt32 = 0
    unsafe SSL_get0_alpn_selected(ssl, &bytes, &count)
    guard let bytes = unsafe bytes else { return Bytes() }
    return unsafe Bytes(base: bytes, count: Int(count))
  }

  /// `$ssl_session_id` in hexadecimal; empty when the session has none.
  var sessionID: [UInt8] {
    guard let session = unsafe SSL_get_session(ssl) else { return [] }
    var count: UInt32 = 0
    guard let bytes = unsafe SSL_SESSION_get_id(session, &count) else { return [] }
    return unsafe ASCII.hexadecimal(UnsafeBufferPointer(start: bytes, count: Int(count)))
  }

  /// `$ssl_client_verify`: NONE, SUCCESS or FAILED:reason.
  var clientVerify: [UInt8] {
    guard hasPeerCertificate else { return Array("NONE".utf8) }
    guard verifyResult != 0 else { return Array("SUCCESS".utf8) }
    return Array("FAILED:\(verifyResultText)".utf8)
  }

  /// How far a handshake with a server came.
  enum ClientStep {
    case waiting
    case done
    /// It came to nothing: why, in nginx's words.
    case failed(String)
  }

  /// Goes on with the handshake of a client, up to the verdict on the server's certificate.
  func connectStep() -> ClientStep {
    switch handshake() {
    case .bytes: serverProblem.map { .failed($0) } ?? .done
    case .wantRead, .wantWrite: .waiting
    case .closed: .failed("peer closed connection in SSL handshake")
    case .failed(let failure): .failed("SSL_do_handshake() failed (\(failure.reason))")
    }
  }

  /// What is wrong with a server's certificate although OpenSSL ended the handshake well, or nil.
  private var serverProblem: String? {
    guard verifiesServer else { return nil }
    if !hasPeerCertificate { return "upstream sent no SSL certificate" }
    if verifyResult == 0 { return nil }
    return "upstream SSL certificate verify error: (\(verifyResult):\(verifyResultText))"
  }

  /// What `ssl_verify_client` makes of the client's certificate, for answering 400.
  enum ClientVerdict {
    case accepted
    /// A certificate is required, and none was sent (nginx's 496).
    case missing
    /// The certificate sent is not good enough (nginx's 495); `verifyResultText` says why.
    case refused
  }

  /// The verdict under the policy in force.
  var clientVerdict: ClientVerdict {
    clientVerdict(under: serverContext?.clientTrust.verify ?? .off)
  }

  /// The verdict for a site that verifies clients in this way.
  func clientVerdict(under mode: TLSClientVerification) -> ClientVerdict {
    switch mode {
    case .off: return .accepted
    case .on where !hasPeerCertificate: return .missing
    case .on, .optional: return !hasPeerCertificate || verifyResult == 0 ? .accepted : .refused
    case .optionalNoCA:
      // Who issued it is the application's business; that it has expired, say, is not.
      return !hasPeerCertificate || verifyResult == 0 || portico_is_unknown_ca(verifyResult) != 0
        ? .accepted : .refused
    }
  }

  /// OpenSSL's X509_V_ERR code for the peer's certificate; 0 is good (or there is none).
  var verifyResult: Int { unsafe SSL_get_verify_result(ssl) }

  /// The words for `verifyResult`.
  var verifyResultText: String {
    guard let text = unsafe X509_verify_cert_error_string(verifyResult) else { return "unknown" }
    return unsafe String(cString: text)
  }

  /// The peer sent a certificate, or the resumed session remembers one.
  var hasPeerCertificate: Bool { unsafe SSL_get0_peer_certificate(ssl) != nil }

  /// The peer's certificate; nil when it sent none.
  var peerCertificate: TLSPeerCertificate? {
    guard let certificate = unsafe SSL_get0_peer_certificate(ssl) else { return nil }
    return unsafe TLSPeerCertificate(certificate)
  }

  private func constant(_ text: UnsafePointer<CChar>?) -> Bytes {
    guard let text = unsafe text else { return Bytes() }
    let base = unsafe UnsafeRawPointer(text).assumingMemoryBound(to: UInt8.self)
    return unsafe Bytes(base: base, count: strlen(text))
  }
}
