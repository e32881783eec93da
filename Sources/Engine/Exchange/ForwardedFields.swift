// Fields that say where a request came from, and whether a client's field only looks different from
// one that the configuration sets.

import HTTP

/// `proxy_forwarded on`: where a request came from, in the forms that applications read.
struct ForwardedFields {
  private let client: Bytes
  private let scheme: Bytes
  private let host: Bytes
  private let forwarded: Bytes

  init(_ exchange: Exchange) {
    client = exchange.value(of: ClientVariable.remote_addr) ?? Bytes()
    scheme = exchange.connection.tls == nil ? Bytes("http") : Bytes("https")
    host = exchange.host
    let isSix = client.firstIndex(of: UInt8(ascii: ":")) != nil
    let node =
      isSix ? exchange.concatenate(Bytes("\"["), client, Bytes("]\"")) : client
    let first = exchange.concatenate(Bytes("for="), node, Bytes(";proto="))
    let second = exchange.concatenate(scheme, Bytes(";host=\""), host)
    forwarded = exchange.concatenate(first, second, Bytes("\""))
  }

  var byteCount: Int { 160 + client.count * 2 + scheme.count + host.count + forwarded.count }

  func write(_ head: inout RequestHeadWriter) {
    head.field(Bytes("X-Forwarded-For"), client)
    head.field(Bytes("X-Forwarded-Proto"), scheme)
    if !host.isEmpty { head.field(Bytes("X-Forwarded-Host"), host) }
    head.field(Bytes("X-Real-IP"), client)
    head.field(Bytes("Forwarded"), forwarded)
  }

  /// Whether a client's field of that name would pretend to be one of these.
  static func isOwn(_ name: Bytes) -> Bool {
    FieldAlias.isSame(name, Bytes("X-Forwarded-For"))
      || FieldAlias.isSame(name, Bytes("X-Forwarded-Proto"))
      || FieldAlias.isSame(name, Bytes("X-Forwarded-Host"))
      || FieldAlias.isSame(name, Bytes("X-Real-IP")) || FieldAlias.isSame(name, Bytes("Forwarded"))
  }
}

/// Names of fields that an application can't tell apart: CGI and its heirs map `-` to `_`.
enum FieldAlias {
  static func isSame(_ a: Bytes, _ b: Bytes) -> Bool {
    guard a.count == b.count else { return false }
    for index in 0..<a.count where fold(a[index]) != fold(b[index]) { return false }
    return true
  }

  private static func fold(_ byte: UInt8) -> UInt8 {
    switch byte {
    case UInt8(ascii: "_"), UInt8(ascii: "."): UInt8(ascii: "-")
    default: ASCII.lowercased(byte)
    }
  }
}
