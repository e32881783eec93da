// What TLS says about a request whose site is known: plain HTTP on a TLS port (497), a Host of
// another client-certificate policy than the one that was negotiated (421), a client's certificate
// that is missing (496) or not good enough (495, which may have to be asked: `ssl_ocsp`).
//
// Asked once per request, before the site's own directives run. Statuses 495 to 497 are shown as
// 400 unless `error_page` names them, as in nginx.

import HTTP

extension Exchange {
  /// Whether the request may be answered by its site; otherwise it has been answered, or waits
  /// until the status of the client's certificate is known, and `beginAtSite` follows.
  func admitByTLS() -> Bool {
    if connection.isPlainOnTLS {
      log(.info, "client sent plain HTTP request to HTTPS port")
      fail(497)
      return false
    }
    guard let tls = connection.tls else { return true }
    let mode = site.clientVerification
    guard mode != .off else { return true }
    guard isServed(by: tls) else {
      log(
        .info,
        "client attempted to request the server name different from the one that was negotiated")
      fail(421)
      return false
    }
    switch tls.clientVerdict(under: mode) {
    case .accepted: return admitByCertificateStatus(tls)
    case .missing:
      log(.info, "client sent no required SSL certificate")
      fail(496)
    case .refused:
      log(
        .info, "client SSL certificate verify error: (\(tls.verifyResult):\(tls.verifyResultText))")
      fail(495)
    }
    return false
  }

  /// Whether the handshake asked for certificates the way this site wants it (RFC 9110 §15.5.20).
  ///
  /// Without a server name nothing was chosen: a handshake that asked for no certificate is then
  /// judged by the certificate that is missing.
  private func isServed(by tls: TLSSession) -> Bool {
    guard let negotiated = tls.serverContext?.clientTrust,
      let wanted = (site.tls ?? address.defaultSite.tls)?.clientTrust
    else { return false }
    if negotiated == wanted { return true }
    return tls.serverName.isEmpty && negotiated.verify == .off
  }
}
