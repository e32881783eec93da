// Whose word about a client's address is believed, and where it stands
// (https://nginx.org/en/docs/http/ngx_http_realip_module.html).

import HTTP

/// The `set_real_ip_from`, `real_ip_header` and `real_ip_recursive` of a block.
struct RealIPSettings {
  /// Where the address stands.
  enum Source: Equatable {
    /// A field with one address; of several fields the first counts.
    case field(Bytes, FieldName)
    /// X-Forwarded-For: of all its fields the last address counts.
    case forwardedFor
    /// The PROXY protocol header.
    case proxyHeader
  }

  var trusted = TrustedSenders()
  var source = Source.field(Bytes("X-Real-IP"), .xRealIP)
  /// Whether to go on to the address before a trusted one.
  var isRecursive = false
}

/// The senders of `set_real_ip_from`.
struct TrustedSenders {
  var networks: [IPNetwork] = []
  /// Clients of Unix sockets are believed.
  var hasUnix = false

  var isEmpty: Bool { !hasUnix && networks.isEmpty }

  func contains(_ address: IPAddress) -> Bool {
    for network in networks where network.contains(address) { return true }
    return false
  }

  func contains(_ address: SocketAddress) -> Bool {
    if let ip = address.ip { return contains(ip) }
    return address.isUnix && hasUnix
  }
}
