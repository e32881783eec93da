// From the `proxy_ssl_` settings of a location to a context for its upstream connections. Locations
// that inherit the same settings share it, and with it sessions and kept connections.

import Configuration
import HTTP

/// What locations that share a context have in common.
struct UpstreamTLSKey: Hashable {
  var settings: ObjectIdentifier
  var speaksHTTP2: Bool
}

extension PlanBuilder {
  /// Gives `place` what its `proxy_pass` needs to speak TLS.
  func settleUpstreamTLS(_ scope: Scope, _ place: Location) {
    guard let pass = scope.location.proxyInForce.pass else { return }
    guard let url = pass.url else { return makeTLS(scope, place) }
    if url.isTLS { makeTLS(scope, place) }
    if !passedTLS.keys.contains(url.upstream.name) {
      passedTLS[url.upstream.name] = .some(healthTLS(scope, url))
    }
  }

  private func makeTLS(_ scope: Scope, _ place: Location) {
    let proxy = scope.location.proxyInForce
    let settings = scope.location.upstreamTLSInForce
    let speaksHTTP2 = proxy.version == .http2
    let key = UpstreamTLSKey(settings: settings.identity, speaksHTTP2: speaksHTTP2)
    if let known = madeUpstreams[key] {
      place.upstreamTLS = known.tls
      return
    }
    let word = scope.seen.first("proxy_pass") ?? scope.seen.first("grpc_pass")
    var (options, dynamic) = clientOptions(settings, word, proxy.isGRPC)
    if speaksHTTP2 { options.alpn = ["h2"] }
    let made = UpstreamTLS(options: options, dynamic: dynamic)
    madeUpstreams[key] = (settings, made)
    place.upstreamTLS = made
  }

  /// How health checks speak TLS to the servers that the location `scope` passes to by `url`. A
  /// `proxy_ssl_name` with variables is known only per request: the host of `proxy_pass` counts
  /// then.
  func healthTLS(_ scope: Scope, _ url: UpstreamURL) -> HealthCheckTLS? {
    guard url.isTLS, let made = scope.place?.upstreamTLS else { return nil }
    let settings = scope.location.upstreamTLSInForce.value
    let written = settings.name.flatMap { $0.literal } ?? url.host
    let name = HostPort(written.string, defaultPort: 443)?.host ?? written.string
    let isAddress = name.isEmpty || SocketAddress(literal: name, port: 0) != nil
    return HealthCheckTLS(
      options: made.options, serverName: settings.sendsServerName && !isAddress ? name : nil,
      verifyName: settings.verifies ? name : nil)
  }

  private func clientOptions(
    _ settings: Shared<UpstreamTLSSettings>, _ pass: Word?, _ isGRPC: Bool
  ) -> (TLSClientOptions, DynamicCertificates?) {
    var options = TLSClientOptions()
    options.directives = isGRPC ? "grpc_ssl_" : "proxy_ssl_"
    if let ciphers = settings.ciphers { options.ciphers = ciphers.text }
    options.protocols = TLSProtocols(names: settings.protocols)
    options.verify = settings.verifies
    options.verifyDepth = settings.verifyDepth
    options.confCommands = commands(settings.confCommands)
    options.trustedPEM = pemContent(of: settings.trustedCertificates)
    options.crlPEM = pemContent(of: settings.crl)
    let pairs = certificateWords(
      settings.certificate.map { [$0] } ?? [], settings.key.map { [$0] } ?? [],
      settings.confCommands)
    if settings.certificate != nil && settings.key == nil {
      diagnostics.error(
        "\"\(options.directives)certificate\" needs \"\(options.directives)certificate_key\"",
        at: settings.certificate)
    }
    var dynamic: DynamicCertificates?
    do throws(Refusal) {
      let passwords = try passwords(settings.passwords)
      dynamic = try dynamicCertificates(pairs, passwords, settings.certificateCache)
      if dynamic == nil { options.certificates = sources(pairs, passwords) }
    } catch {
      diagnostics.error(error.message, at: settings.passwords ?? pairs.last?.certificate)
    }
    if settings.verifies && settings.trustedCertificates == nil {
      diagnostics.error(
        "\"\(options.directives)verify\" needs \"\(options.directives)trusted_certificate\"",
        at: pass)
    } else if surroundings.certificateChecks != .none && !diagnostics.hasErrors {
      do throws(TLSConfigurationError) {
        _ = try TLSClientContext(library: library, options: options)
      } catch {
        let word =
          switch error.subject {
          case .certificate: pairs.last?.certificate
          case .key: pairs.last?.key
          case .ciphers: settings.ciphers
          case .trustedCertificate: settings.trustedCertificates
          case .crl: settings.crl
          case .command(let index): commandWords(settings.confCommands)[index].name
          case .clientCertificate, .curves, .dhparam, .stapleFile, nil: pass
          }
        diagnostics.error(error.message, at: word ?? pass)
      }
    }
    return (options, dynamic)
  }

  private func sources(
    _ pairs: [(certificate: Word, key: Word)], _ passwords: [[UInt8]]
  ) -> [TLSCertificateSource] {
    pairs.compactMap { certificate, key in
      do throws(TLSConfigurationError) {
        return try source(certificate, key, passwords)
      } catch {
        diagnostics.error(error.message, at: error.subject == .key ? key : certificate)
        return nil
      }
    }
  }

  /// What is in a file of certificates, lists or parameters; nothing without a file. An empty one,
  /// as a download that failed leaves it, is an error: it would revoke and trust nobody.
  func pemContent(of file: Word?) -> [UInt8] {
    guard let file else { return [] }
    do throws(Refusal) {
      let bytes = try read(file.text, nil)
      if bytes.isEmpty { diagnostics.error("\"\(file.text)\" is empty", at: file) }
      return bytes
    } catch {
      diagnostics.error(error.message, at: file)
      return []
    }
  }
}
