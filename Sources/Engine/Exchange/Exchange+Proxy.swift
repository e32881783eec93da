// Where a request is passed: an upstream of the configuration, an address, or a name that has to be
// resolved first (https://nginx.org/r/proxy_pass). Exchange+RequestBuffering goes on from there.

import HTTP

extension Exchange {
  /// Answers by asking an upstream.
  func proxy(_ pass: ProxyPass) {
    guard pass.upstream != nil else { return proxyToComputed(pass) }
    attempt.group = pass.upstream?.group
    guard attempt.group != nil else { return fail(502) }
    proxyHost = pass.host
    proxyPort = pass.port
    proxyURI = pass.uri
    proxyIsTLS = pass.isTLS
    prepareBody()
  }

  private func proxyToComputed(_ pass: ProxyPass) {
    if case .variable(let template) = pass.destination { proxy(toURL: evaluate(template)) }
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
    let host = target.host.string
    if let address = target.address {
      attempt.group = core.adHocGroup(name, [address])
      return prepareBody()
    }
    guard let settings = location.settings.core.value.resolver else {
      log(.error, "no resolver defined to resolve \(host)")
      return fail(502)
    }
    state = .resolving
    resolvingPort = target.portNumber
    core.resolve(host, settings, handle)
  }

  /// The name of a computed destination was resolved, or not.
  func onResolved(_ name: String, _ addresses: [SocketAddress], _ problem: String?) {
    guard state == .resolving else { return }
    state = .working
    if addresses.isEmpty {
      log(.error, "\(name) could not be resolved (\(problem ?? "no address"))")
      return fail(502)
    }
    let port = resolvingPort
    attempt.group = core.adHocGroup(
      proxyHost.string,
      addresses.map { address in
        var address = address
        address.port = port
        return address
      })
    prepareBody()
  }
}
