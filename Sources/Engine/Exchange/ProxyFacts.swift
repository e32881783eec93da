// What a PROXY protocol header said of a connection, kept with it, and the variables that show it
// (https://nginx.org/en/docs/http/ngx_http_core_module.html#var_proxy_protocol_addr).

import HTTP

/// The addresses and fields of a PROXY protocol header.
final class ProxyFacts {
  var source: IPEndpoint?
  var destination: IPEndpoint?
  /// The fields of version 2 as they came.
  fileprivate var fields: [UInt8] = []

  fileprivate func clear() {
    source = nil
    destination = nil
    fields.removeAll(keepingCapacity: true)
  }

  /// Calls `body` with the fields.
  fileprivate func withFields<R>(_ body: (Bytes) -> R) -> R {
    unsafe fields.withUnsafeBufferPointer { buffer in
      guard let base = buffer.baseAddress else { return body(Bytes()) }
      return unsafe body(Bytes(base: base, count: buffer.count))
    }
  }
}

extension ConnectionFacts {
  /// Remembers what `header`, the beginning of `bytes`, says.
  func takeProxyHeader(_ header: ProxyHeader, _ bytes: Bytes) {
    let facts = proxy ?? ProxyFacts()
    proxy = facts
    facts.source = header.source
    facts.destination = header.destination
    let fields = header.fields.of(bytes)
    for index in 0..<fields.count { facts.fields.append(fields[index]) }
  }

  /// Forgets what the slot's former connection was told.
  func forgetProxyHeader() { proxy?.clear() }
}

extension Exchange {
  /// `$proxy_protocol_tlv_NAME`.
  func value(of field: ProxyField) -> Bytes? {
    guard let facts = connection.proxy else { return nil }
    return facts.withFields { fields in
      if field.isVerifyResult {
        return ProxyField.verifyResult(in: fields).map { arena.decimal(Int($0)) }
      }
      return field.value(in: fields).map { arena.copy($0) }
    }
  }
}
