// nginx's complex values: words with variables in them, compiled once, evaluated per exchange.

import HTTP

/// A compiled word: literal bytes, variables and captures in order.
struct Template {
  enum Part {
    case literal(Bytes)
    case variable(Variable)
    /// `$1` … `$9` of the regular expression matched last.
    case capture(Int)
  }

  let parts: [Part]

  /// The bytes of a template without variables, or nil.
  let literal: Bytes?

  init(parts: [Part]) {
    self.parts = parts
    switch parts.count {
    case 0: literal = Bytes()
    case 1: if case .literal(let bytes) = parts[0] { literal = bytes } else { literal = nil }
    default: literal = nil
    }
  }

  init(literal: Bytes) { self.init(parts: [.literal(literal)]) }

  var isConstant: Bool { literal != nil }

  var hasCaptures: Bool {
    parts.contains { if case .capture = $0 { true } else { false } }
  }

  /// Whether it is one variable or capture, and nothing beside it.
  var isOneValue: Bool { parts.count == 1 && literal == nil }
}

/// A variable, resolved to what computes it when the configuration was compiled.
enum Variable: BitwiseCopyable {
  /// One that the proxy computes.
  case builtin(Builtin)
  /// One that `set` or a named capture assigns: an index into the exchange's values.
  case slot(Int)
  /// One that a `map` block computes: an index into the plan's maps.
  case map(Int)
  /// One of a family, such as `$http_NAME`.
  case member(Family, Bytes)
  /// A field of the PROXY protocol header: `$proxy_protocol_tlv_NAME`.
  case proxyField(ProxyField)

  /// Families of variables: the name follows the prefix.
  enum Family: UInt8, CaseIterable {
    case argument, cookie, requestField, sentField, upstreamField, upstreamCookie, sentTrailer
    case upstreamTrailer
  }
}
