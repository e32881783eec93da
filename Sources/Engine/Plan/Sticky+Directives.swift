// The `sticky` directive (https://nginx.org/en/docs/http/ngx_http_upstream_module.html#sticky).
// Settings and their meaning are in Sticky.

import Configuration
import HTTP

extension Row {
  static let stickyRows: [Row] = [
    Row(
      "sticky", .upstream, 2...1000,
      """
      Clients stay with their server: `cookie NAME` (`expires=`, `domain=`, `httponly`, \
      `samesite=`, `secure`, `path=`) tells them who it was, `route $VARIABLE …` reads it from \
      requests, `learn create=$VARIABLE lookup=$VARIABLE zone=NAME:SIZE` (`timeout=`, `header`) \
      remembers the server of each session; sessions are shared by all threads and survive reloads \
      that leave upstream, name and size of the zone alone.
      """
    ) { scope, directive throws(Refusal) in
      guard let draft = scope.upstream else { return }
      scope.builder.stickies[draft.settings.name] =
        switch directive.text(0) {
        case "cookie": try stickyCookie(scope, directive)
        case "route": try stickyRoute(scope, directive)
        case "learn": try stickyLearn(scope, directive, draft.settings.name)
        default:
          throw Refusal(
            "\"sticky\" is \"cookie\", \"route\" or \"learn\", not \"\(directive.text(0))\"",
            argument: 0)
        }
      draft.settings.isSticky = true
    }
  ]

  private static func stickyCookie(
    _ scope: Scope, _ directive: Directive
  ) throws(Refusal) -> StickySettings {
    let name = directive.text(1)
    guard isCookieText(name), !name.contains("=") else {
      throw Refusal("\"\(name)\" can't be the name of a cookie", argument: 1)
    }
    var cookie = StickyCookieSettings(name: scope.bytes(name))
    var seen: Set<String> = []
    for index in directive.arguments.indices.dropFirst(2) {
      let key = String(directive.text(index).prefix { $0 != "=" })
      guard seen.insert(key).inserted else {
        throw Refusal("\"\(key)\" is there twice", argument: index)
      }
      if let value = directive.parameter("expires", index) {
        let isMax = value == "max"
        cookie.expires = isMax ? .max : .after(seconds: try directive.seconds(value, index))
      } else if let value = directive.parameter("domain", index) {
        cookie.domain = try attribute(scope, value, index)
      } else if let value = directive.parameter("path", index) {
        guard isAttributeText(value) else {
          throw Refusal("\"\(value)\" can't be the path of a cookie", argument: index)
        }
        cookie.path = scope.bytes(value)
      } else if let value = directive.parameter("samesite", index) {
        let template = try scope.template(value, index)
        if let literal = template.literal, SameSite.named(literal) == nil {
          throw Refusal(
            "\"samesite\" must be \"strict\", \"lax\", \"none\" or a variable, not \"\(value)\"",
            argument: index)
        }
        cookie.sameSite = template
      } else if directive.text(index) == "httponly" {
        cookie.isHTTPOnly = true
      } else if directive.text(index) == "secure" {
        cookie.isSecure = true
      } else {
        throw directive.unknownParameter(
          index, ["expires=", "domain=", "httponly", "samesite=", "secure", "path="])
      }
    }
    let lookup = Template(parts: [.variable(.member(.cookie, cookie.name))])
    return StickySettings(.cookie(cookie), lookups: [lookup])
  }

  private static func attribute(
    _ scope: Scope, _ value: String, _ index: Int
  ) throws(Refusal) -> Template {
    let template = try scope.template(value, index)
    if template.isConstant && !isAttributeText(value) {
      throw Refusal("\"\(value)\" can't be the domain of a cookie", argument: index)
    }
    return template
  }

  private static func stickyRoute(
    _ scope: Scope, _ directive: Directive
  ) throws(Refusal) -> StickySettings {
    var lookups: [Template] = []
    for index in directive.arguments.indices.dropFirst() {
      lookups.append(try variable(scope, directive.text(index), index))
    }
    return StickySettings(.route, lookups: lookups)
  }

  private static func stickyLearn(
    _ scope: Scope, _ directive: Directive, _ upstream: String
  ) throws(Refusal) -> StickySettings {
    var lookups: [Template] = []
    var creations: [Template] = []
    var zone: ZoneWords?
    var timeout: Milliseconds?
    var learnsFromHead = false
    for index in directive.arguments.indices.dropFirst() {
      if let value = directive.parameter("create", index) {
        creations.append(try variable(scope, value, index))
      } else if let value = directive.parameter("lookup", index) {
        lookups.append(try variable(scope, value, index))
      } else if let value = directive.parameter("zone", index) {
        guard zone == nil else { throw Refusal("\"zone\" is there twice", argument: index) }
        zone = try zoneWords(directive, value, index)
      } else if let value = directive.parameter("timeout", index) {
        guard timeout == nil else { throw Refusal("\"timeout\" is there twice", argument: index) }
        timeout = try directive.time(value, index)
      } else if directive.text(index) == "header" {
        learnsFromHead = true
      } else if directive.text(index) == "sync" {
        throw Refusal(
          "\"sync\" is not supported: sessions are shared by the threads of one machine only",
          argument: index)
      } else {
        throw directive.unknownParameter(
          index, ["create=", "lookup=", "zone=", "timeout=", "header"])
      }
    }
    guard let zone else { throw Refusal("\"sticky learn\" needs \"zone=NAME:SIZE\"") }
    guard !creations.isEmpty else { throw Refusal("\"sticky learn\" needs \"create=$VARIABLE\"") }
    guard !lookups.isEmpty else { throw Refusal("\"sticky learn\" needs \"lookup=$VARIABLE\"") }
    let learn = StickyLearnSettings(
      zone: try sessionZone(scope, zone, upstream), creations: creations,
      timeout: timeout ?? 600_000, learnsFromHead: learnsFromHead)
    return StickySettings(.learn(learn), lookups: lookups)
  }

  private static func sessionZone(
    _ scope: Scope, _ words: ZoneWords, _ upstream: String
  ) throws(Refusal) -> LimitZone {
    guard scope.builder.zoneNames.insert(words.name).inserted else {
      throw Refusal("zone \"\(words.name)\" is there already", argument: words.argument)
    }
    return try lease(
      scope, words,
      LimitZone.Key(
        kind: .sessions, name: words.name, keyText: upstream, byteCount: words.byteCount))
  }

  /// One variable, as `sticky` wants them.
  private static func variable(
    _ scope: Scope, _ text: String, _ index: Int
  ) throws(Refusal) -> Template {
    let template = try scope.template(text, index)
    guard template.parts.count == 1, case .variable = template.parts[0] else {
      throw Refusal("\"\(text)\" is not a variable", argument: index)
    }
    return template
  }

  /// The `route=` of a `server`.
  static func serverRoute(_ text: String, _ index: Int) throws(Refusal) -> String {
    guard text.utf8.count <= Route.longest, isCookieText(text) else {
      throw Refusal(
        """
        a route has 1 to \(Route.longest) bytes, such as can stand in a cookie, unlike "\(text)"
        """,
        argument: index)
    }
    return text
  }

  /// RFC 6265 §4.1.1: what the value of a cookie may consist of; not empty.
  private static func isCookieText(_ text: String) -> Bool {
    !text.isEmpty
      && text.utf8.allSatisfy {
        $0 > 0x20 && $0 < 0x7f && ![0x22, 0x2c, 0x3b, 0x5c].contains($0)
      }
  }

  /// RFC 6265 §4.1.1: what an attribute of a cookie may consist of; not empty.
  private static func isAttributeText(_ text: String) -> Bool {
    !text.isEmpty && text.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7f && $0 != 0x3b }
  }
}
