// userid: cookies that tell clients apart, and the variables that show them
// (https://nginx.org/en/docs/http/ngx_http_userid_module.html).

import HTTP

extension Exchange {
  /// Gives the client an identifier, if it has none or has to have another.
  func addUserID(_ settings: UserIDSettings) {
    guard !isInner, let identifier = givenUserID(settings) else { return }
    let value = arena.allocate(24)
    identifier.writeCookie(mark: settings.mark, into: value)
    var line = concatenate(settings.name, Bytes("="), value.readOnly)
    switch settings.expiry {
    case .session: break
    case .max: line = concatenate(line, Bytes("; expires=Thu, 31-Dec-37 23:55:55 GMT"))
    case .after(let seconds):
      line = concatenate(line, Bytes("; expires="), cookieDate(loop.wallTime / 1000 + seconds))
    }
    if let domain = settings.domain { line = concatenate(line, Bytes("; domain="), domain) }
    line = concatenate(line, Bytes("; path="), settings.path)
    line = concatenate(line, settings.flags)
    response.add(Bytes("Set-Cookie"), line, .setCookie)
    if let policy = settings.policy { response.add(Bytes("P3P"), policy) }
  }

  /// `$uid_got`: the identifier that the client sent, under the cookie's name.
  var receivedUserIDText: Bytes? {
    let settings = location.settings.headers.value.userID
    guard settings.mode != .off, let identifier = receivedUserID(settings) else { return nil }
    return text(of: identifier, settings)
  }

  /// `$uid_set`: the identifier that the client gets.
  var givenUserIDText: Bytes? {
    let settings = location.settings.headers.value.userID
    guard settings.mode.gives, let identifier = root.givenUserID(settings) else { return nil }
    return text(of: identifier, settings)
  }

  private func text(of identifier: UserID, _ settings: UserIDSettings) -> Bytes {
    let digits = arena.allocate(32)
    identifier.writeHex(into: digits)
    return concatenate(settings.name, Bytes("="), digits.readOnly)
  }

  private func receivedUserID(_ settings: UserIDSettings) -> UserID? {
    cookie(settings.name).flatMap { UserID(cookie: $0, &arena) }
  }

  /// Decided once: variables show what the cookie will hold.
  private func givenUserID(_ settings: UserIDSettings) -> UserID? {
    if let userID { return userID }
    guard let received = receivedUserID(settings) else { return makeUserID(settings) }
    let reset = value(of: .slot(settings.resetSlot)) ?? Bytes()
    if reset.isEmpty || reset == Bytes("0") {
      if isMarked(settings) { return nil }
      userID = received
      return received
    }
    if reset == Bytes("log") {
      log(.notice, "userid cookie \"\(text(of: received, settings).string)\" was reset")
    }
    return makeUserID(settings)
  }

  private func isMarked(_ settings: UserIDSettings) -> Bool {
    guard let mark = settings.mark else { return true }
    guard let cookie = cookie(settings.name), cookie.count > 23 else { return false }
    return cookie[22] == mark && cookie[23] == UInt8(ascii: "=")
  }

  private func makeUserID(_ settings: UserIDSettings) -> UserID {
    let made = core.userIDs.make(
      settings, address: connection.localAddress, unixSeconds: loop.wallTime / 1000)
    userID = made
    return made
  }
}
