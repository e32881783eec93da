// TLS towards upstreams: which context, which name, what is verified
// (https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_ssl_verify).

import HTTP

extension Exchange {
  /// What a kept connection must have been opened with to serve this exchange.
  var upstreamTLSTerms: UpstreamConnection.TLSTerms? {
    guard proxyIsTLS, let tls = location.upstreamTLS else { return nil }
    return UpstreamConnection.TLSTerms(
      tls: tls, name: upstreamIdentity,
      sendsName: location.settings.upstreamTLS.value.sendsServerName)
  }

  /// `proxy_ssl_name`, by default the host of proxy_pass.
  private var upstreamServerName: Bytes {
    let name = location.settings.upstreamTLS.value.name.map { evaluate($0) } ?? proxyHost
    if name.hasPrefix(Bytes("[")), let end = name.firstIndex(of: UInt8(ascii: "]")) {
      return name.slice(1, end)
    }
    guard let colon = name.lastIndex(of: UInt8(ascii: ":")) else { return name }
    return name.prefix(colon)
  }

  /// Whose session may be resumed: of one server under one name.
  private var resumptionName: String {
    "\(attempt.peerName ?? "") \(upstreamIdentity.string)"
  }

  /// The server's name and, where variables name it, our certificate.
  private var upstreamIdentity: Bytes {
    guard let dynamic = location.upstreamTLS?.dynamic else { return upstreamServerName }
    return concatenate(upstreamServerName, Bytes("\0"), arena.copy(names(of: dynamic)))
  }

  func makeUpstreamSession(_ fd: Int32) -> TLSSession? {
    guard let tls = location.upstreamTLS else { return nil }
    let settings = location.settings.upstreamTLS.value
    do throws(TLSConfigurationError) {
      let context = try tls.context(core.tlsLibrary)
      let name = upstreamServerName.string
      let isAddress =
        SocketAddress(literal: name, port: 0) != nil || name.isEmpty
      let resumption = settings.reusesSessions ? tls.resumptions[resumptionName] : nil
      let session = TLSSession(
        client: context, fd: fd,
        serverName: settings.sendsServerName && !isAddress ? name : nil,
        verifyName: settings.verifies ? name : nil, resuming: resumption)
      if let session, let dynamic = tls.dynamic, !load(dynamic, into: session) { return nil }
      return session
    } catch {
      log(.error, "\(error.message)")
      return nil
    }
  }

  /// Keeps the session that the upstream gave us for the next connection.
  func rememberUpstreamSession() {
    let transport = attempt.stream?.connection?.transport ?? attempt.connection?.transport
    guard let tls = transport?.tls, let resumption = tls.resumption,
      location.settings.upstreamTLS.value.reusesSessions
    else { return }
    location.upstreamTLS?.remember(resumption, name: resumptionName)
  }
}
