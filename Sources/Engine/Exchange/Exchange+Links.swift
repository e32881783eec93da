// $invalid_referer, $secure_link and $secure_link_expires: see `LinkSettings`.

import HTTP

extension Exchange {
  /// `$invalid_referer`: empty if the link may stand where it does, or nothing is said of that.
  var invalidReferer: Bytes {
    guard let rules = location.settings.admission.value.referers else { return Bytes() }
    let saved = captures
    defer { captures = saved }
    return rules.allows(field(.referer), captures: &captures) ? Bytes() : Bytes("1")
  }

  /// `$secure_link`: "1" for a link with a good signature, "0" if its time is over, nil without
  /// one; with `secure_link_secret` the link itself.
  var secureLink: Bytes? {
    let settings = location.settings.admission.value.secureLink
    if let secret = settings.secret { return signedPath(secret) }
    guard let link = settings.link, let signed = settings.signed else { return nil }
    let (signature, expires) = split(evaluate(link))
    var moment: UInt64?
    if let expires {
      guard let number = expires.decimal, number > 0 else { return nil }
      moment = UInt64(number)
    }
    // Bound: 16 bytes as base 64, padding included.
    guard signature.count <= 24, let given = decodeURL(signature), given.count == 16 else {
      return nil
    }
    let made = arena.copy(MessageDigest.hash([evaluate(signed)], .md5))
    guard PasswordHash.isSame(made, given) else { return nil }
    if let moment, moment < UInt64(loop.wallTime / 1000) { return Bytes("0") }
    return Bytes("1")
  }

  /// `$secure_link_expires`.
  var secureLinkExpires: Bytes? {
    guard let link = location.settings.admission.value.secureLink.link else { return nil }
    return split(evaluate(link)).expires
  }

  private func split(_ value: Bytes) -> (signature: Bytes, expires: Bytes?) {
    guard let comma = value.firstIndex(of: UInt8(ascii: ",")) else { return (value, nil) }
    return (value.prefix(comma), value.dropping(comma + 1))
  }

  /// Base 64 with `-` and `_` (RFC 4648 §5).
  private func decodeURL(_ text: Bytes) -> Bytes? {
    let standard = arena.allocate(text.count)
    for index in 0..<text.count {
      switch text[index] {
      case UInt8(ascii: "-"): standard[index] = UInt8(ascii: "+")
      case UInt8(ascii: "_"): standard[index] = UInt8(ascii: "/")
      case UInt8(ascii: "+"), UInt8(ascii: "/"): return nil
      default: standard[index] = text[index]
      }
    }
    let room = arena.allocate(text.count)
    return Base64.decode(standard.readOnly, into: room).map { room.readOnly.prefix($0) }
  }

  /// The link behind `/p/SIGNATURE/`, if that is the MD5 of the link and the secret; all as it was
  /// sent, with arguments.
  private func signedPath(_ secret: Bytes) -> Bytes? {
    let target = requestTarget
    guard let start = slash(behind: 1, of: target), let end = slash(behind: start, of: target)
    else { return nil }
    let (signature, link) = (target.slice(start, end - 1), target.dropping(end))
    guard signature.count == 32, !link.isEmpty else { return nil }
    let hash = MessageDigest.hash([link, secret], .md5)
    guard hash.count == 16 else { return nil }
    let given = arena.allocate(16)
    for index in 0..<16 {
      guard let high = ASCII.hexValue(signature[index * 2]),
        let low = ASCII.hexValue(signature[index * 2 + 1])
      else { return nil }
      given[index] = UInt8(high) << 4 | UInt8(low)
    }
    return PasswordHash.isSame(arena.copy(hash), given.readOnly) ? link : nil
  }

  /// The position behind the next slash.
  private func slash(behind start: Int, of target: Bytes) -> Int? {
    guard start <= target.count else { return nil }
    return target.dropping(start).firstIndex(of: UInt8(ascii: "/")).map { start + $0 + 1 }
  }
}
