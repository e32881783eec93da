// Where a request is passed: an upstream of the configuration, an address, or a name that has to be
// resolved first (https://nginx.org/r/proxy_pass). Exchange+RequestBuffering goes on from there.

import HTTP

extension Exchange {
  /// Answers by asking an upstream.
  func proxy(_ pass: ProxyPass) {
    unresolved = nil
    if location.settings.proxy.value.isGRPC && !hasSoundMetadata {
      log(.info, "client sent binary metadata that isn't base 64")
      return fail(400)
    }
    switch pass.destination {
    case .upstream(let url): proxy(to: url)
    case .variable(let template): proxy(toURL: evaluate(template))
    }
  }

  private func proxy(to url: UpstreamURL) {
    attempt.group = url.upstream.group
    guard attempt.group != nil else { return fail(502) }
    proxyHost = url.host
    proxyPort = url.port
    proxyURI = url.uri
    proxyURIIsComplete = false
    proxyIsTLS = url.isTLS
    prepareBody()
  }

  /// The destination was computed: an upstream's name, an address, or a name to resolve.
  private func proxy(toURL url: Bytes) {
    guard let target = ProxyTarget.parse(url, isGRPC: location.settings.proxy.value.isGRPC) else {
      log(.error, "invalid URL prefix in \"\(url.string)\"")
      return fail(500)
    }
    proxyHost = target.authority
    proxyPort = target.port
    proxyIsTLS = target.isTLS
    proxyURI = target.uri
    proxyURIIsComplete = target.uri != nil
    let name = target.authority.string
    if let group = core.group(named: target.hostOnly ? target.host.string : name) {
      attempt.group = group
      return prepareBody()
    }
    if let address = target.address {
      attempt.group = core.adHocGroup(name, [address])
      return prepareBody()
    }
    unresolved = UnresolvedDestination(
      host: target.host, port: target.portNumber,
      // A cache may have the response: who asks it needs no address. A body would have to be read
      // before.
      isResolvedLast: location.settings.cache.value.source != nil && !body.hasBody)
    if unresolved?.isResolvedLast != true { return resolveDestination() }
    attempt.group = nil
    prepareBody()
  }

  /// Has the name of a computed destination looked up.
  func resolveDestination() {
    guard let host = unresolved?.host.string,
      let settings = location.settings.core.value.resolver
    else {
      log(.error, "no resolver defined to resolve \(unresolved?.host.string ?? "")")
      return fail(502)
    }
    state = .resolving
    core.resolve(host, settings, handle)
  }

  /// The name of a computed destination was resolved, or not.
  func onResolved(_ name: String, _ addresses: [SocketAddress], _ problem: String?) {
    guard state == .resolving, let destination = unresolved.take() else { return }
    state = .working
    if addresses.isEmpty {
      log(.error, "\(name) could not be resolved (\(problem ?? "no address"))")
      if cache != nil && useStale(after: .noServer) { return }
      return fail(502)
    }
    let port = destination.port
    attempt.group = core.adHocGroup(
      proxyHost.string,
      addresses.map { address in
        var address = address
        address.port = port
        return address
      })
    if destination.isResolvedLast { beginTries() } else { prepareBody() }
  }
}

/// A computed destination whose name has to be looked up.
struct UnresolvedDestination {
  /// In the exchange's arena.
  let host: Bytes
  let port: UInt16
  /// Whether everything else that precedes the first try was done.
  let isResolvedLast: Bool
}
