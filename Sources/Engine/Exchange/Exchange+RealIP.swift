// The client's address as somebody trusted in front of us says it
// (https://nginx.org/en/docs/http/ngx_http_realip_module.html).
//
// It belongs to the exchange: requests of one connection may come from different clients. Asked
// twice, as in nginx: with the server's settings before anything else is done, and with the
// location's before its access rules; the first answer holds.

import HTTP

extension Exchange {
  /// The client's address: what everything but the socket itself goes by.
  var clientAddress: SocketAddress { realAddress ?? connection.peerAddress }

  /// Takes the address that the settings of the current location believe in.
  func findRealAddress() {
    let settings = location.settings.realIP.value
    guard !settings.trusted.isEmpty, realAddress == nil else { return }
    let peer = connection.peerAddress
    guard settings.trusted.contains(peer) else { return }
    if let endpoint = endpoint(by: settings) { realAddress = SocketAddress(endpoint) }
  }

  private func endpoint(by settings: Borrowed<RealIPSettings>) -> IPEndpoint? {
    switch settings.source {
    case .proxyHeader: return connection.proxy?.source
    case .field(let name, let token):
      for entry in request.fields where entry.token == token {
        guard token != .other || entry.name.of(headBytes).equalsIgnoringCase(name) else { continue }
        var found: IPEndpoint?
        _ = walk(
          entry.value.of(headBytes), settings.trusted,
          isRecursive: settings.isRecursive, &found)
        return found
      }
      return nil
    case .forwardedFor:
      return forwardedAddress(
        trusting: settings.trusted, isRecursive: settings.isRecursive)
    }
  }

  /// The last address of X-Forwarded-For, or with `isRecursive` the last one that isn't trusted.
  func forwardedAddress(trusting trusted: TrustedSenders, isRecursive: Bool) -> IPEndpoint? {
    var found: IPEndpoint?
    var index = request.fields.count
    while index > 0 {
      index -= 1
      let entry = request.fields[index]
      guard entry.token == .xForwardedFor else { continue }
      if !walk(entry.value.of(headBytes), trusted, isRecursive: isRecursive, &found) { break }
    }
    return found
  }

  /// Goes through a list of addresses from its end. True: all of them are trusted, and the field
  /// before this one is to be looked at.
  private func walk(
    _ list: Bytes, _ trusted: TrustedSenders, isRecursive: Bool, _ found: inout IPEndpoint?
  ) -> Bool {
    var end = list.count
    while true {
      while end > 0 && isSeparator(list[end - 1]) { end -= 1 }
      var start = end
      while start > 0 && !isSeparator(list[start - 1]) { start -= 1 }
      // What isn't an address ends the search: nobody who is trusted wrote it.
      guard let endpoint = IPEndpoint(list.slice(start, end)) else { return false }
      found = endpoint
      guard isRecursive, trusted.contains(endpoint.address) else { return false }
      end = start
      while end > 0 && isSeparator(list[end - 1]) { end -= 1 }
      if end == 0 { return true }
    }
  }

  private func isSeparator(_ byte: UInt8) -> Bool {
    byte == UInt8(ascii: ",") || byte == UInt8(ascii: " ") || byte == 9
  }

  /// The address without its port.
  func text(of address: SocketAddress) -> Bytes {
    let room = arena.allocate(64)
    return room.readOnly.prefix(address.writeHost(into: room))
  }

  /// The port; empty where none is known.
  func port(of address: SocketAddress) -> Bytes {
    address.port == 0 ? Bytes() : arena.decimal(Int(address.port))
  }
}
