// From the `proxy_ssl_` settings of a location to a context for its upstream connections. Locations that
// inherit the same settings share it, and with it sessions and kept connections.

import Configuration
import HTTP

extension PlanBuilder {
  /// Gives `place` what its `proxy_pass` needs to speak TLS.
  func settleUpstreamTLS(_ scope: Scope, _ place: Location) {
    guard let pass = scope.location.proxy.pass else { return }
    if case .upstream = pass.destination, !pass.isTLS { return }
    let settings = scope.location.upstreamTLS
    if let known = madeUpstreams[settings.identity] {
      place.upstreamTLS = known.tls
      return
    }
    let made = UpstreamTLS(options: clientOptions(settings.value, scope.seen["proxy_pass"]?.first))
    madeUpstreams[settings.identity] = (settings, made)
    place.upstreamTLS = made
  }

  private func clientOptions(_ settings: Shared<UpstreamTLSSettings>, _ pass: Word?) -> TLSClientOptions {
    var options = TLSClientOptions()
    options.ciphers = settings.ciphers
    options.protocols = TLSProtocols(names: settings.protocols)
    options.verify = settings.verifies
    options.verifyDepth = settings.verifyDepth
    options.confCommands = commands(settings.confCommands)
    options.trustedPEM = bytes(of: settings.trustedCertificates)
    options.crlPEM = bytes(of: settings.crl)
    let pairs = certificateWords(
      settings.certificate.map { [$0] } ?? [], settings.key.map { [$0] } ?? [],
      settings.confCommands)
    if settings.certificate != nil && settings.key == nil {
      diagnostics.error(
        "\"proxy_ssl_certificate\" needs \"proxy_ssl_certificate_key\"", at: settings.certificate)
    }
    for (certificate, key) in pairs {
      do throws(Refusal) {
        options.certificates.append(try source(certificate, key, try passwords(settings.passwords)))
      } catch {
        diagnostics.error(error.message, at: certificate)
      }
    }
    if settings.verifies && settings.trustedCertificates == nil {
      diagnostics.error("\"proxy_ssl_verify\" needs \"proxy_ssl_trusted_certificate\"", at: pass)
    } else if surroundings.checksCertificates && !diagnostics.hasErrors {
      do throws(TLSConfigurationError) {
        _ = try TLSClientContext(library: library, options: options)
      } catch {
        diagnostics.error(error.message, at: pairs.last?.certificate ?? pass)
      }
    }
    return options
  }

  private func bytes(of file: Word?) -> [UInt8] {
    guard let file else { return [] }
    do throws(Refusal) {
      return try read(file.text, nil)
    } catch {
      diagnostics.error(error.message, at: file)
      return []
    }
  }
}
