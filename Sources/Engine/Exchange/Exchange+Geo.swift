// The variables of `geo` blocks: which address counts, and what it maps to.

import HTTP

extension Exchange {
  /// The value of a `geo` block for this request.
  func value(of geo: GeoTable) -> Bytes {
    var address: IPAddress?
    if let source = geo.source {
      address = IPAddress(evaluate(source))
    } else {
      address = clientAddress.ip
    }
    if !geo.proxies.isEmpty, let known = address, geo.proxies.contains(known) {
      address =
        forwardedAddress(trusting: geo.proxies, isRecursive: geo.isRecursive)?.address ?? known
    }
    return geo.find(address)
  }
}
