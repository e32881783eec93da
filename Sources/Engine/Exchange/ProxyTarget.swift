// The URL of a `proxy_pass` or `grpc_pass` that holds variables, once they have values.

import HTTP

/// A computed `proxy_pass` URL, taken apart.
struct ProxyTarget {
  var isTLS: Bool
  var authority: Bytes
  var host: Bytes
  var port: Bytes
  var portNumber: UInt16
  /// Whether the authority has no port.
  var hostOnly: Bool
  var uri: Bytes?
  var address: SocketAddress?

  /// nil unless `url` has an authority and begins with http:// or https://, or, for gRPC, with
  /// grpc://, grpcs:// or nothing; in any case.
  static func parse(_ url: Bytes, isGRPC: Bool = false) -> ProxyTarget? {
    let isTLS = url.hasPrefixIgnoringCase(isGRPC ? Bytes("grpcs://") : Bytes("https://"))
    let isPlain = url.hasPrefixIgnoringCase(isGRPC ? Bytes("grpc://") : Bytes("http://"))
    guard isTLS || isPlain || isGRPC else { return nil }
    let rest = url.dropping(isTLS ? 8 : isPlain ? 7 : 0)
    if rest.hasPrefix(Bytes("unix:")) { return parseUnix(rest, isTLS: isTLS) }
    var end = 0
    while end < rest.count && rest[end] != UInt8(ascii: "/") && rest[end] != UInt8(ascii: "?") {
      end += 1
    }
    let authority = rest.prefix(end)
    guard !authority.isEmpty else { return nil }
    let uri = end < rest.count ? rest.dropping(end) : nil
    if isGRPC && uri != nil { return nil }
    var host = authority
    var port = isTLS ? Bytes("443") : Bytes("80")
    var hostOnly = true
    let bracket = authority.lastIndex(of: UInt8(ascii: "]")) ?? -1
    if let colon = authority.lastIndex(of: UInt8(ascii: ":")), colon > bracket {
      host = authority.prefix(colon)
      port = authority.dropping(colon + 1)
      hostOnly = false
    }
    guard let number = port.decimal, number > 0, number < 65_536 else { return nil }
    let literal =
      host.hasPrefix(Bytes("[")) && bracket > 0
      ? host.slice(1, host.count - 1).string : host.string
    return ProxyTarget(
      isTLS: isTLS, authority: authority, host: host, port: port, portNumber: UInt16(number),
      hostOnly: hostOnly, uri: uri, address: SocketAddress(literal: literal, port: UInt16(number)))
  }

  private static func parseUnix(_ rest: Bytes, isTLS: Bool) -> ProxyTarget? {
    let tail = rest.dropping(5)
    let colon = tail.firstIndex(of: UInt8(ascii: ":"))
    let path = colon.map { tail.prefix($0) } ?? tail
    guard let address = SocketAddress(unixPath: path.string) else { return nil }
    return ProxyTarget(
      isTLS: isTLS, authority: Bytes("localhost"), host: Bytes("localhost"), port: Bytes(),
      portNumber: 0, hostOnly: true,
      uri: colon.map { tail.dropping($0 + 1) }.flatMap { $0.isEmpty ? nil : $0 }, address: address)
  }
}
