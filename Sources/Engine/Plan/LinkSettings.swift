// Links that only this site hands out: by where they are followed from (`valid_referers`), and by a
// signature (`secure_link`).

import HTTP

/// `valid_referers` of a block (https://nginx.org/en/docs/http/ngx_http_referer_module.html).
final class RefererRules {
  /// A request without the field is fine.
  var allowsNone = false
  /// A field that is no URL is fine: something on the way took it out.
  var allowsBlocked = false
  /// Hosts, with the beginning of the path that is wanted; empty: any.
  var hosts = MapTable<Bytes>(hostnames: true)
  /// Matched with what stands behind the scheme.
  var expressions: [Regex] = []
  /// Matched with the host alone: server names.
  var hostExpressions: [Regex] = []

  // Bound: the longest host that is looked at, as in nginx.
  private static let longestHost = 256

  /// Whether `referer`, the field's value, is one of these.
  func allows(_ referer: Bytes?, captures: inout CaptureSet) -> Bool {
    guard let referer else { return allowsNone }
    guard referer.count >= Bytes("http://i.ru").count, let rest = Self.behindScheme(referer) else {
      return allowsBlocked
    }
    var end = 0
    while end < rest.count && rest[end] != UInt8(ascii: "/") && rest[end] != UInt8(ascii: ":") {
      end += 1
    }
    guard end <= Self.longestHost else { return false }
    if let wanted = hosts.find(rest.prefix(end), captures: &captures) {
      let tail = rest.dropping(end)
      let slash = tail.firstIndex(of: UInt8(ascii: "/")) ?? tail.count
      return tail.dropping(slash).hasPrefix(wanted)
    }
    for each in hostExpressions where each.match(rest.prefix(end), into: &captures) { return true }
    for each in expressions where each.match(rest, into: &captures) { return true }
    return false
  }

  private static func behindScheme(_ referer: Bytes) -> Bytes? {
    if referer.hasPrefixIgnoringCase(Bytes("http://")) { return referer.dropping(7) }
    if referer.hasPrefixIgnoringCase(Bytes("https://")) { return referer.dropping(8) }
    return nil
  }
}

/// The `secure_link` directives of a block
/// (https://nginx.org/en/docs/http/ngx_http_secure_link_module.html).
struct SecureLinkSettings {
  /// The signature, and behind a comma until when it holds.
  var link: Template?
  /// What was signed.
  var signed: Template?
  /// Of links with the signature in their path.
  var secret: Bytes?
}
