// `sticky`: a client stays with the server that answered it first. What binds them is the server's
// route: the `route=` of its line, or by default a digest of its address. It comes with the request
// in a cookie or in variables, or a zone has learnt it for the session that the request names.
// (https://nginx.org/en/docs/http/ngx_http_upstream_module.html#sticky)
//
// A route that no server of the group has binds to nobody, so what a client sends can do no more
// than choose among the servers that it might have got anyway, and reach one that drains.
// Exchange+Sticky finds the route of a request; Sticky+Directives reads the configuration.

import HTTP

/// A server's route as balancers compare it: a keyed hash, a word in each seat instead of a string.
struct Route: BitwiseCopyable, Equatable {
  /// 0: none.
  let hash: UInt64

  /// Of a request that is bound to nobody, and of servers in groups without `sticky`.
  static let none = Route(hash: 0)
  // Bound: the longest route; the digest of an address is as long.
  static let longest = 32

  init(hash: UInt64) { self.hash = hash }

  /// The route called `name`; the empty name is none.
  init(_ name: Bytes) {
    if name.isEmpty || name.count > Self.longest {
      self = .none
      return
    }
    var hasher = Hasher()
    for index in 0..<name.count { hasher.combine(name[index]) }
    hash = UInt64(bitPattern: Int64(hasher.finalize())) | 1
  }

  /// What a server is called that has no `route=`: 32 hexadecimal digits of a digest of its
  /// address, the same as nginx's.
  static func standard(of address: SocketAddress) -> [UInt8] {
    ASCII.hexadecimal(MessageDigest.fingerprint(Array(address.description.utf8)))
  }
}

/// The `sticky` of one upstream.
final class StickySettings {
  /// How clients come to know their server.
  enum Manner {
    /// We tell them, in a cookie.
    case cookie(StickyCookieSettings)
    /// The server does, in what variables find.
    case route
    /// They don't: their session is remembered.
    case learn(StickyLearnSettings)
  }

  let manner: Manner
  /// Where a request says what it is bound by; the first that isn't empty counts.
  let lookups: [Template]

  init(_ manner: Manner, lookups: [Template]) {
    self.manner = manner
    self.lookups = lookups
  }
}

/// The cookie of `sticky cookie`.
struct StickyCookieSettings {
  enum Expiry: Equatable {
    /// With the browser's session.
    case session
    case after(seconds: Int)
    case max
  }

  let name: Bytes
  var expires = Expiry.session
  var domain: Template?
  var isHTTPOnly = false
  var isSecure = false
  var sameSite: Template?
  var path: Bytes?
}

/// The values of a cookie's `samesite`.
enum SameSite {
  /// The value that `word` means, whatever its case; nil if it is none.
  static func named(_ word: Bytes) -> Bytes? {
    for known in [Bytes("strict"), Bytes("lax"), Bytes("none")]
    where word.equalsIgnoringCase(known) {
      return known
    }
    return nil
  }
}

/// The sessions of `sticky learn`.
struct StickyLearnSettings {
  let zone: LimitZone
  /// Where a response says which session it creates.
  let creations: [Template]
  /// For how long a session is remembered after its last response.
  let timeout: Milliseconds
  /// Whether the head of a response is enough to learn from, instead of its end.
  let learnsFromHead: Bool
}

extension Seat {
  /// Whether `route` leads here.
  @inline(__always)
  func isBound(by route: Route) -> Bool { route != .none && self.route == route }
}

extension UpstreamGroup.Tier {
  /// The index of the server that `route` leads to, if it may be asked. Of several with that route,
  /// such as the addresses of one name, the one with the fewest requests for its weight; chance
  /// decides between equals. Turns of round robin stay as they are. O(servers).
  func pickBound(by route: Route, _ tried: borrowing TriedSet, now: Milliseconds) -> Int? {
    var best = -1
    var least = 0
    var equals = 1
    for index in seats.indices
    where seats[index].route == route && seats[index].isUsable(tried, now: now) {
      let active = seats[index].state.active
      if best < 0 || active * seats[best].weight < least * seats[index].weight {
        (best, least, equals) = (index, active, 1)
      } else if active * seats[best].weight == least * seats[index].weight {
        equals += 1
        if Int.random(in: 0..<equals) == 0 { (best, least) = (index, active) }
      }
    }
    return best < 0 ? nil : best
  }
}
