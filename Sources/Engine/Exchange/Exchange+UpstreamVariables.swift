// Variables that speak of upstreams: where the request goes, and how each try went.

import HTTP

extension Exchange {
  /// The value of a variable about where the request goes.
  func value(of name: ProxyVariable) -> Bytes? {
    switch name {
    case .proxy_host: proxyHost
    case .proxy_port: proxyPort
    case .proxy_add_x_forwarded_for: forwardedFor
    case .proxy_internal_body_length: arena.decimal(body.bufferedCount)
    case .upstream_cache_status: cacheStatus.text
    case .upstream_cache_etag: storedTag
    case .upstream_cache_last_modified: storedModification
    }
  }

  private var forwardedFor: Bytes {
    let address = text(of: clientAddress)
    guard let given = value(of: .requestField, Bytes("x_forwarded_for")) else { return address }
    return concatenate(given, Bytes(", "), address)
  }

  /// The value of a variable about tries: one a try, joined as nginx does, ", " between servers and
  /// " : " between groups.
  func value(of name: TryVariable) -> Bytes? {
    var result: Bytes?
    for index in 0..<upstreamLog.count {
      let entry = upstreamLog[index]
      let value = text(of: name, entry)
      let separator = entry.beginsGroup ? Bytes(" : ") : Bytes(", ")
      result = result.map { concatenate($0, separator, value) } ?? value
    }
    return result
  }

  /// What a variable says of one try.
  private func text(of name: TryVariable, _ entry: UpstreamLog.Entry) -> Bytes {
    func time(_ value: Milliseconds) -> Bytes { value < 0 ? Bytes("-") : seconds(value) }
    return switch name {
    case .upstream_addr: entry.peer.map { arena.copy($0.name) } ?? entry.groupName
    case .upstream_status: entry.status == 0 ? Bytes("-") : arena.decimal(entry.status)
    case .upstream_connect_time: time(entry.connectTime)
    case .upstream_header_time: time(entry.headerTime)
    case .upstream_response_time: time(entry.responseTime)
    case .upstream_response_length: arena.decimal(entry.responseLength)
    case .upstream_bytes_received: arena.decimal(entry.bytesReceived)
    case .upstream_bytes_sent: arena.decimal(entry.bytesSent)
    }
  }
}
