// Clients that stay with their server: whom a request is bound to, the cookie that says so, and
// what is learnt from a response. Called only where the upstream has `sticky` (see Sticky).

import HTTP

extension Exchange {
  /// The server that this request is bound to; `.none` if it is free.
  func boundRoute(_ sticky: StickySettings) -> Route {
    guard let name = firstValue(sticky.lookups) else { return .none }
    guard case .learn(let learn) = sticky.manner else { return Route(name) }
    let hash = learn.zone.binding(of: name, timeout: learn.timeout, now: loop.now)
    return hash.map { Route(hash: $0) } ?? .none
  }

  private func firstValue(_ templates: [Template]) -> Bytes? {
    for index in templates.indices {
      let value = evaluate(templates[index])
      if !value.isEmpty { return value }
    }
    return nil
  }

  // --- the head of a response --------------------------------------------------------------------

  /// The server's answer is the client's: the client is told who it was, or it is learnt.
  func bindClient() {
    guard let sticky = attempt.group?.sticky, let peer = attempt.peer else { return }
    attempt.teachesSession = false
    switch sticky.manner {
    case .cookie(let cookie):
      response.add(Bytes("Set-Cookie"), cookieLine(cookie, peer.route), .setCookie)
    case .route: break
    case .learn(let learn):
      // What switches protocols may never end.
      if learn.learnsFromHead || attempt.framing.isUpgrade {
        learnSession(sticky, learn, peer)
      } else {
        attempt.teachesSession = true
      }
    }
  }

  /// The response ended: its session is learnt, unless its head was enough.
  func learnSession(from peer: Peer) {
    attempt.teachesSession = false
    guard let sticky = attempt.group?.sticky, case .learn(let learn) = sticky.manner else { return }
    learnSession(sticky, learn, peer)
  }

  /// The session that the response creates is bound to its server; without such, the one that the
  /// request named, if it is known.
  private func learnSession(_ sticky: StickySettings, _ learn: StickyLearnSettings, _ peer: Peer) {
    let created = firstValue(learn.creations)
    guard let session = created ?? firstValue(sticky.lookups) else { return }
    learn.zone.bind(
      session, to: Route(peer.route).hash, creates: created != nil, timeout: learn.timeout,
      now: loop.now)
  }

  // --- the cookie --------------------------------------------------------------------------------

  private func cookieLine(_ cookie: StickyCookieSettings, _ route: Bytes) -> Bytes {
    var line = concatenate(cookie.name, Bytes("="), route)
    switch cookie.expires {
    case .session: break
    case .max:
      line = concatenate(line, Bytes("; expires=Thu, 31-Dec-37 23:55:55 GMT; max-age=315360000"))
    case .after(let seconds):
      let moment = loop.wallTime / 1000 + seconds
      line = concatenate(line, Bytes("; expires="), cookieDate(moment))
      line = concatenate(line, Bytes("; max-age="), arena.decimal(seconds))
    }
    if let domain = cookie.domain.map({ evaluate($0) }), isAttributeValue(domain) {
      line = concatenate(line, Bytes("; domain="), domain)
    }
    if cookie.isHTTPOnly { line = concatenate(line, Bytes("; httponly")) }
    if cookie.isSecure { line = concatenate(line, Bytes("; secure")) }
    if let value = cookie.sameSite.map({ evaluate($0) }), !value.isEmpty {
      line = concatenate(line, Bytes("; samesite="), SameSite.named(value) ?? Bytes("strict"))
    }
    if let path = cookie.path { line = concatenate(line, Bytes("; path="), path) }
    return line
  }

  /// Whether a computed value can stand in the cookie: clients may have a say in it, and must not
  /// add attributes or fields (RFC 6265 §4.1.1). What can't is left out.
  private func isAttributeValue(_ value: Bytes) -> Bool {
    for index in 0..<value.count
    where value[index] <= 0x20 || value[index] >= 0x7f || value[index] == UInt8(ascii: ";") {
      return false
    }
    return !value.isEmpty
  }

  /// A moment as Netscape's cookies write it, which is nginx's form: `Thu, 31-Dec-37 23:55:55 GMT`,
  /// the year in four digits from 2038 on.
  func cookieDate(_ unixSeconds: Int) -> Bytes {
    let room = arena.allocate(HTTPDate.length)
    HTTPDate.write(unixSeconds, into: room)
    room[7] = UInt8(ascii: "-")
    room[11] = UInt8(ascii: "-")
    let date = room.readOnly
    let isShort = CivilTime(unixSeconds).year < 2038
    return concatenate(date.prefix(12), date.slice(isShort ? 14 : 12, date.count))
  }
}
