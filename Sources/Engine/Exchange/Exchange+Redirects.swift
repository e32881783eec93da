// `proxy_redirect`: Location and Refresh of responses point at the upstream's own addresses;
// clients need ours (https://nginx.org/r/proxy_redirect).

import HTTP

extension Exchange {
  /// The value of Location or Refresh as the client gets it.
  func rewriteRedirect(_ value: Bytes, _ token: FieldName, _ settings: Borrowed<ProxySettings>)
    -> Bytes
  {
    guard token == .refresh else { return rewriteURL(value, settings) ?? value }
    guard let start = urlStart(in: value), let url = rewriteURL(value.dropping(start), settings)
    else { return value }
    return concatenate(value.prefix(start), url)
  }

  /// Where the URL of a Refresh field begins: behind "url=".
  private func urlStart(in value: Bytes) -> Int? {
    guard value.count > 4 else { return nil }
    for index in 0..<value.count - 4
    where value.slice(index, index + 4).equalsIgnoringCase(Bytes("url=")) { return index + 4 }
    return nil
  }

  /// The first rule that matches replaces; nil if none does.
  private func rewriteURL(_ url: Bytes, _ settings: Borrowed<ProxySettings>) -> Bytes? {
    for rule in settings.redirects {
      switch rule {
      case .standard:
        if let result = rewriteStandard(url, settings) { return result }
      case .prefix(let pattern, let replacement):
        let prefix = evaluate(pattern)
        if url.hasPrefix(prefix) {
          return concatenate(evaluate(replacement), url.dropping(prefix.count))
        }
      case .regex(let regex, let replacement):
        if matches(regex, url) { return evaluate(replacement) }
      }
    }
    return nil
  }

  /// The default: the URL of proxy_pass gives way to the location.
  private func rewriteStandard(_ url: Bytes, _ settings: Borrowed<ProxySettings>) -> Bytes? {
    guard let pass = settings.pass?.url else { return nil }
    if pass.uri != nil {
      guard url.hasPrefix(pass.text), !location.isRegex else { return nil }
      return concatenate(location.prefix, url.dropping(pass.text.count))
    }
    guard url.hasPrefix(pass.text), url.count > pass.text.count,
      url[pass.text.count] == UInt8(ascii: "/")
    else { return nil }
    return url.dropping(pass.text.count)
  }
}
