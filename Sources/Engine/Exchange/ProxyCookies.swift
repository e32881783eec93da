// Set-Cookie of upstreams on its way to clients: domain, path and flags as `proxy_cookie_domain`,
// `proxy_cookie_path` and `proxy_cookie_flags` say. Called for each such field when one of these is
// configured.

import HTTP

extension Exchange {
  /// One part of a Set-Cookie field: the cookie itself comes first.
  private struct CookiePart {
    var key: Bytes
    var value: Bytes?
  }

  /// The value of Set-Cookie as the client gets it.
  func rewriteCookie(_ line: Bytes, _ settings: ProxyCookieSettings) -> Bytes {
    var parts = cookieParts(line)
    guard parts[0].value != nil else { return line }
    var isChanged = false
    for index in parts.indices.dropFirst() {
      guard let value = parts[index].value else { continue }
      var rewritten: Bytes?
      if parts[index].key.equalsIgnoringCase(Bytes("domain")) {
        rewritten = rewriteDomain(value, settings.domains)
      } else if parts[index].key.equalsIgnoringCase(Bytes("path")) {
        rewritten = rewritePath(value, settings.paths)
      }
      guard let rewritten else { continue }
      parts[index].value = rewritten
      isChanged = true
    }
    let flags = cookieFlags(parts[0].key, settings.flags)
    if !flags.isEmpty {
      parts = flagged(parts, flags)
      isChanged = true
    }
    return isChanged ? join(parts) : line
  }

  private func cookieParts(_ line: Bytes) -> [CookiePart] {
    var parts: [CookiePart] = []
    var start = 0
    while start <= line.count {
      let rest = line.dropping(start)
      let end = rest.firstIndex(of: UInt8(ascii: ";")) ?? rest.count
      let part = rest.prefix(end)
      if let equals = part.firstIndex(of: UInt8(ascii: "=")) {
        parts.append(
          CookiePart(key: part.prefix(equals).trimmed, value: part.dropping(equals + 1).trimmed))
      } else {
        parts.append(CookiePart(key: part.trimmed, value: nil))
      }
      start += end + 1
    }
    return parts
  }

  /// Domains are equal without regard to case; a leading dot stays.
  private func rewriteDomain(_ value: Bytes, _ rules: [ProxyCookieSettings.Rule]) -> Bytes? {
    let dot = value.hasPrefix(Bytes(".")) ? 1 : 0
    for rule in rules {
      switch rule.pattern {
      case .regex(let regex):
        if matches(regex, value) { return evaluate(rule.replacement) }
      case .text(let text):
        if value.dropping(dot).equalsIgnoringCase(evaluate(text)) {
          return concatenate(value.prefix(dot), evaluate(rule.replacement))
        }
      }
    }
    return nil
  }

  private func rewritePath(_ value: Bytes, _ rules: [ProxyCookieSettings.Rule]) -> Bytes? {
    for rule in rules {
      switch rule.pattern {
      case .regex(let regex):
        if matches(regex, value) { return evaluate(rule.replacement) }
      case .text(let text):
        let prefix = evaluate(text)
        if value.hasPrefix(prefix) {
          return concatenate(evaluate(rule.replacement), value.dropping(prefix.count))
        }
      }
    }
    return nil
  }

  /// The flags of the first rule for cookies of that name.
  private func cookieFlags(_ name: Bytes, _ rules: [ProxyCookieSettings.FlagRule]) -> CookieFlags {
    for rule in rules {
      let isMatch =
        switch rule.name {
        case .regex(let regex): matches(regex, name)
        case .text(let text): name.equalsIgnoringCase(evaluate(text))
        }
      guard isMatch else { continue }
      var flags = CookieFlags()
      for flag in rule.flags {
        if let known = CookieFlags(evaluate(flag).string) { flags.formUnion(known) }
      }
      return flags
    }
    return []
  }

  private func flagged(_ parts: [CookiePart], _ flags: CookieFlags) -> [CookiePart] {
    let sameSite: Bytes? =
      flags.contains(.strict)
      ? Bytes("Strict")
      : flags.contains(.lax) ? Bytes("Lax") : flags.contains(.none) ? Bytes("None") : nil
    var result = [parts[0]]
    var (hasSecure, hasHTTPOnly, hasSameSite) = (false, false, false)
    for var part in parts.dropFirst() {
      if part.key.equalsIgnoringCase(Bytes("secure")) {
        if flags.contains(.notSecure) { continue }
        hasSecure = true
      } else if part.key.equalsIgnoringCase(Bytes("httponly")) {
        if flags.contains(.notHTTPOnly) { continue }
        hasHTTPOnly = true
      } else if part.key.equalsIgnoringCase(Bytes("samesite")) {
        if let sameSite {
          part = CookiePart(key: Bytes("SameSite"), value: sameSite)
        } else if flags.contains(.noSameSite) {
          continue
        }
        hasSameSite = true
      }
      result.append(part)
    }
    if flags.contains(.secure) && !hasSecure { result.append(CookiePart(key: Bytes("Secure"))) }
    if flags.contains(.httpOnly) && !hasHTTPOnly {
      result.append(CookiePart(key: Bytes("HttpOnly")))
    }
    if let sameSite, !hasSameSite {
      result.append(CookiePart(key: Bytes("SameSite"), value: sameSite))
    }
    return result
  }

  private func join(_ parts: [CookiePart]) -> Bytes {
    var line = Bytes()
    for (index, part) in parts.enumerated() {
      let item = part.value.map { concatenate(part.key, Bytes("="), $0) } ?? part.key
      line = index == 0 ? item : concatenate(line, Bytes("; "), item)
    }
    return line
  }
}
