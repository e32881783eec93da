// X-Accel-Redirect: the upstream lets another location answer, such as one that sends a file. A few
// of its fields stay
// (https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_ignore_headers).

import HTTP

extension Exchange {
  /// Takes the request to where the upstream says. False, as for every end of a try.
  func acceptInternalRedirect(_ target: Bytes) -> Bool {
    let target = arena.copy(target)
    if cache != nil { endCaching() }
    keepRedirectFields()
    endTry(.success, mayKeep: attempt.isBodyComplete)
    dropStreamedBody()
    if target.hasPrefix(Bytes("@")) {
      redirectInternally(toNamed: target.dropping(1).string)
      return false
    }
    guard let (path, query) = safePath(target) else {
      log(.error, "upstream sent an unsafe URI \"\(target.string)\" in X-Accel-Redirect")
      fail(404)
      return false
    }
    if method != .head {
      method = .get
      methodName = Bytes("GET")
    }
    redirectInternally(to: path, arguments: query ?? Bytes())
    return false
  }

  /// The fields that describe what the other location sends.
  private func keepRedirectFields() {
    let cookies = location.settings.proxy.value.cookies
    for entry in attempt.head.fields {
      let value = entry.value.of(attempt.headBytes)
      switch entry.token {
      // An empty one leaves it to the location.
      case .contentType: response.contentType = nonEmpty(value)
      case .setCookie, .contentDisposition, .cacheControl, .expires, .acceptRanges:
        let name = entry.name.of(attempt.headBytes)
        guard entry.token == .setCookie else {
          response.add(name, value, entry.token)
          continue
        }
        let cookie = OutgoingField(
          name: name, value: cookies.isEmpty ? value : rewriteCookie(value, cookies),
          token: .setCookie)
        response.add(cookie)
        redirectCookies.append(cookie)
      default: break
      }
    }
  }

  /// The decoded path and the query of a URI that an upstream or a page named; nil if its path
  /// leads upwards, escaped or not, or can't be one.
  func safePath(_ target: Bytes) -> (path: Bytes, query: Bytes?)? {
    let (escaped, query) = splitQuery(target)
    let room = arena.allocate(max(escaped.count, 1))
    let path = room.readOnly.prefix(Escape.unescape(escaped, kind: .all, into: room))
    guard !path.isEmpty, path.firstIndex(of: 0) == nil else { return nil }
    for candidate in [escaped, path] where hasUpwardSegment(candidate) { return nil }
    return (path, query)
  }

  private func hasUpwardSegment(_ path: Bytes) -> Bool {
    var start = 0
    for index in 0...path.count {
      guard index == path.count || path[index] == UInt8(ascii: "/") else { continue }
      if path.slice(start, index) == Bytes("..") { return true }
      start = index + 1
    }
    return false
  }
}
