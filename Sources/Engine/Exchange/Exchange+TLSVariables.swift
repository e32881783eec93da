// The `$ssl_…` variables (https://nginx.org/en/docs/http/ngx_http_ssl_module.html#variables).

import HTTP

extension Exchange {
  /// The value of a variable about the session; nil without TLS.
  func value(of name: TLSVariable) -> Bytes? {
    guard let tls = connection.tls else { return nil }
    switch name {
    case .ssl_protocol: return tls.protocolName
    case .ssl_cipher: return tls.cipherName
    case .ssl_ciphers: return arena.copy(tls.offeredCiphers)
    case .ssl_curve: return tls.curve
    case .ssl_curves: return arena.copy(tls.offeredCurves)
    case .ssl_sigalgs: return arena.copy(tls.offeredSignatures)
    // OpenSSL says these from 3.5 and 4.0 on.
    case .ssl_sigalg, .ssl_client_sigalg, .ssl_ech_status, .ssl_ech_outer_server_name:
      return Bytes()
    case .ssl_session_id: return arena.copy(tls.sessionID)
    case .ssl_session_reused: return tls.isResumed ? Bytes("r") : Bytes(".")
    case .ssl_server_name: return tls.serverName.isEmpty ? nil : tls.serverName
    case .ssl_early_data: return tls.isEarlyData ? Bytes("1") : nil
    case .ssl_alpn_protocol: return tls.alpnProtocol.isEmpty ? nil : tls.alpnProtocol
    case .ssl_client_verify:
      guard let problem = connection.inquiry?.verdict?.problem else {
        return arena.copy(tls.clientVerify)
      }
      return arena.copy(Array("FAILED:\(problem)".utf8))
    }
  }

  /// The value of a variable about the client's certificate; nil without one.
  func value(of name: CertificateVariable) -> Bytes? {
    guard let certificate = connection.tls?.peerCertificate else { return nil }
    return switch name {
    case .ssl_client_cert: arena.copy(certificate.tabbedPEM)
    case .ssl_client_raw_cert: arena.copy(certificate.pem)
    case .ssl_client_escaped_cert: arena.copy(certificate.escapedPEM)
    case .ssl_client_s_dn: arena.copy(certificate.subject)
    case .ssl_client_i_dn: arena.copy(certificate.issuer)
    case .ssl_client_s_dn_legacy: arena.copy(certificate.legacySubject)
    case .ssl_client_i_dn_legacy: arena.copy(certificate.legacyIssuer)
    case .ssl_client_serial: arena.copy(certificate.serial)
    case .ssl_client_fingerprint: arena.copy(certificate.fingerprint)
    case .ssl_client_v_start: arena.copy(certificate.validFrom)
    case .ssl_client_v_end: arena.copy(certificate.validUntil)
    case .ssl_client_v_remain:
      arena.decimal(Int(certificate.remainingDays(now: Int64(loop.wallTime / 1000))))
    }
  }
}
