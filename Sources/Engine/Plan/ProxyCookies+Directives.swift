// `proxy_cookie_domain`, `proxy_cookie_path`, `proxy_cookie_flags`: what they say, and their rows
// (https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_cookie_domain). ProxyCookies
// applies them.

import Configuration
import HTTP

/// What the `proxy_cookie_` directives of a block say.
struct ProxyCookieSettings {
  var domains: [Rule] = []
  var paths: [Rule] = []
  var flags: [FlagRule] = []

  var isEmpty: Bool { domains.isEmpty && paths.isEmpty && flags.isEmpty }

  /// What a cookie's attribute, or a cookie's name, is compared with.
  enum Pattern {
    case text(Template)
    case regex(BoundRegex)
  }

  /// What is replaced by what; the first rule that matches counts.
  struct Rule {
    var pattern: Pattern
    var replacement: Template
  }

  /// Which flags cookies of some name get.
  struct FlagRule {
    var name: Pattern
    var flags: [Template]
  }
}

extension Row {
  static let proxyCookieRows: [Row] = [
    Row(
      "proxy_cookie_domain", .httpServerLocation, 1...2,
      "The domain of upstreams' cookies: what is replaced by what.", standard: "off"
    ) { scope, directive throws(Refusal) in
      if scope.isFirst(directive) { scope.location.proxy.cookies.domains = [] }
      guard let rule = try cookieRule(scope, directive, dropsDot: true) else { return }
      scope.location.proxy.cookies.domains.append(rule)
    }.repeatable(),
    Row(
      "proxy_cookie_path", .httpServerLocation, 1...2,
      "The path of upstreams' cookies: what is replaced by what.", standard: "off"
    ) { scope, directive throws(Refusal) in
      if scope.isFirst(directive) { scope.location.proxy.cookies.paths = [] }
      guard let rule = try cookieRule(scope, directive, dropsDot: false) else { return }
      scope.location.proxy.cookies.paths.append(rule)
    }.repeatable(),
    Row(
      "proxy_cookie_flags", .httpServerLocation, 1...4,
      """
      Flags that upstreams' cookies get or lose: `secure`, `httponly`, `samesite=…`, or these with \
      `no`.
      """,
      standard: "off"
    ) { scope, directive throws(Refusal) in
      if scope.isFirst(directive) { scope.location.proxy.cookies.flags = [] }
      if directive.arguments.count == 1 {
        guard directive.text(0) == "off" else {
          throw Refusal(
            "\"proxy_cookie_flags\" takes \"off\", or a cookie and its flags", argument: 0)
        }
        return
      }
      var rule = ProxyCookieSettings.FlagRule(name: try cookiePattern(scope, directive), flags: [])
      for index in directive.arguments.indices.dropFirst() {
        let text = directive.text(index)
        if !text.contains("$"), CookieFlags(text) == nil {
          throw directive.unknownParameter(index, CookieFlags.words)
        }
        rule.flags.append(try scope.template(directive, index))
      }
      scope.location.proxy.cookies.flags.append(rule)
    }.repeatable(),
  ]

  /// nil for `off`. A dot before a domain is for everybody's convenience: it doesn't count.
  private static func cookieRule(
    _ scope: Scope, _ directive: Directive, dropsDot: Bool
  ) throws(Refusal) -> ProxyCookieSettings.Rule? {
    if directive.arguments.count == 1 {
      guard directive.text(0) == "off" else {
        throw Refusal(
          "\"\(directive.name.text)\" takes \"off\", or what to replace and by what", argument: 0)
      }
      return nil
    }
    let text = directive.text(0)
    let replacement = directive.text(1)
    if text.hasPrefix("~") {
      return ProxyCookieSettings.Rule(
        pattern: try cookiePattern(scope, directive), replacement: try scope.template(directive, 1))
    }
    func undotted(_ text: String) -> String {
      dropsDot && text.hasPrefix(".") ? String(text.dropFirst()) : text
    }
    return ProxyCookieSettings.Rule(
      pattern: .text(try scope.template(undotted(text), 0)),
      replacement: try scope.template(undotted(replacement), 1))
  }

  private static func cookiePattern(_ scope: Scope, _ directive: Directive) throws(Refusal)
    -> ProxyCookieSettings.Pattern
  {
    let text = directive.text(0)
    guard text.hasPrefix("~") else { return .text(try scope.template(directive, 0)) }
    // Domains and names of cookies are compared without case; paths only if the pattern says so.
    let isMarked = text.hasPrefix("~*")
    let pattern = String(text.dropFirst(isMarked ? 2 : 1))
    let caseless = isMarked || directive.name.text != "proxy_cookie_path"
    return .regex(try scope.builder.regex(pattern, caseless: caseless, 0))
  }
}

/// The flags that `proxy_cookie_flags` sets and removes.
struct CookieFlags: OptionSet {
  let rawValue: Int
  static let secure = CookieFlags(rawValue: 1)
  static let notSecure = CookieFlags(rawValue: 2)
  static let httpOnly = CookieFlags(rawValue: 4)
  static let notHTTPOnly = CookieFlags(rawValue: 8)
  static let strict = CookieFlags(rawValue: 16)
  static let lax = CookieFlags(rawValue: 32)
  static let none = CookieFlags(rawValue: 64)
  static let noSameSite = CookieFlags(rawValue: 128)

  init(rawValue: Int) { self.rawValue = rawValue }

  static let words = [
    "secure", "nosecure", "httponly", "nohttponly", "samesite=strict", "samesite=lax",
    "samesite=none",
    "nosamesite",
  ]

  /// nil if `word` is none of `words`.
  init?(_ word: String) {
    guard let index = Self.words.firstIndex(of: word.lowercased()) else { return nil }
    self.init(rawValue: 1 << index)
  }
}
