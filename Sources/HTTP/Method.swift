// Request methods: those that nginx has a name for; any other is `.other` and kept as bytes.

/// A request method (RFC 9110 §9, RFC 4918, RFC 5789).
public enum Method: UInt8, BitwiseCopyable, CaseIterable, Sendable {
  case other = 0
  case get, head, post, put, delete, options, patch, trace, connect
  case mkcol, copy, move, propfind, proppatch, lock, unlock

  /// The method that is spelled so; methods are case-sensitive.
  public static func lookup(_ name: Bytes) -> Method {
    switch name.count {
    case 3: return name == get.name ? .get : name == put.name ? .put : .other
    case 4: return name.first(.post, .head, .copy) ?? name.first(.move, .lock, .lock) ?? .other
    case 5: return name.first(.patch, .trace, .mkcol) ?? .other
    case 6: return name.first(.delete, .unlock, .unlock) ?? .other
    case 7: return name.first(.options, .connect, .connect) ?? .other
    case 8: return name == propfind.name ? .propfind : .other
    case 9: return name == proppatch.name ? .proppatch : .other
    default: return .other
    }
  }

  /// The method as sent, empty for `.other`. A literal, valid for ever.
  public var name: Bytes {
    switch self {
    case .other: return Bytes()
    case .get: return Bytes("GET")
    case .head: return Bytes("HEAD")
    case .post: return Bytes("POST")
    case .put: return Bytes("PUT")
    case .delete: return Bytes("DELETE")
    case .options: return Bytes("OPTIONS")
    case .patch: return Bytes("PATCH")
    case .trace: return Bytes("TRACE")
    case .connect: return Bytes("CONNECT")
    case .mkcol: return Bytes("MKCOL")
    case .copy: return Bytes("COPY")
    case .move: return Bytes("MOVE")
    case .propfind: return Bytes("PROPFIND")
    case .proppatch: return Bytes("PROPPATCH")
    case .lock: return Bytes("LOCK")
    case .unlock: return Bytes("UNLOCK")
    }
  }

  /// Whether the method only reads (RFC 9110 §9.2.1).
  public var isSafe: Bool {
    switch self {
    case .get, .head, .options, .trace, .propfind: return true
    default: return false
    }
  }

  /// Whether the request may be sent to a second server after it was sent to a first, as nginx's
  /// `non_idempotent` sees it: all but POST, LOCK and PATCH, and of what nobody knows we don't
  /// know.
  public var isIdempotent: Bool {
    switch self {
    case .post, .lock, .patch, .other: return false
    default: return true
    }
  }
}

extension Bytes {
  /// Whichever of three methods these bytes spell.
  @inline(__always)
  fileprivate func first(_ first: Method, _ second: Method, _ third: Method) -> Method? {
    if self == first.name { return first }
    if self == second.name { return second }
    return self == third.name ? third : nil
  }
}
