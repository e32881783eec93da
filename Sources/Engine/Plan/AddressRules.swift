// `allow` and `deny` of a block (https://nginx.org/en/docs/http/ngx_http_access_module.html): the
// first rule that the client's address fits decides.

import HTTP

/// One `allow` or `deny`.
struct AddressRule {
  /// Whom a rule speaks of.
  enum Subject {
    case everybody
    /// Clients that came by a Unix socket.
    case unix
    case network(IPNetwork)
  }

  var subject: Subject
  var isDenied: Bool
}

/// The rules of a block, compiled: asking takes the same time for ten rules and ten thousand.
final class AddressRules {
  // Values are twice the position of the rule, and 1 more where it denies: the smallest one
  // decides.
  private let networks: NetworkTable
  private let unixIsDenied: Bool?

  init(_ rules: [AddressRule]) {
    var networks: [(network: IPNetwork, value: Int32)] = []
    var unixIsDenied: Bool?
    for (index, rule) in rules.enumerated() {
      let value = Int32(truncatingIfNeeded: index * 2) | (rule.isDenied ? 1 : 0)
      switch rule.subject {
      case .network(let network): networks.append((network, value))
      case .unix: unixIsDenied = unixIsDenied ?? rule.isDenied
      case .everybody:
        unixIsDenied = unixIsDenied ?? rule.isDenied
        for network in Self.everything { networks.append((network, value)) }
      }
    }
    self.networks = NetworkTable(networks, .smallestValue)
    self.unixIsDenied = unixIsDenied
  }

  private static let everything: [IPNetwork] = [
    IPNetwork(IPAddress(v4: 0), prefixLength: 0),
    IPNetwork(IPAddress(high: 0, low: 0), prefixLength: 0),
  ].compactMap(\.self)

  /// Whether the rules deny `address`; nil: none of them speaks of it.
  func denies(_ address: SocketAddress) -> Bool? {
    guard let ip = address.ip else { return address.isUnix ? unixIsDenied : nil }
    let value = networks.find(ip)
    return value == NetworkTable.none ? nil : value & 1 == 1
  }
}
