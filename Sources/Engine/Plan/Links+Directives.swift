// Directives of ngx_http_referer_module and ngx_http_secure_link_module
// (https://nginx.org/en/docs/http/ngx_http_referer_module.html,
// https://nginx.org/en/docs/http/ngx_http_secure_link_module.html).

import Configuration
import HTTP

extension Row {
  static let linkRows: [Row] = [
    Row(
      "valid_referers", [.server, .location], 1...1000,
      """
      Where links to here may stand; `$invalid_referer` is 1 for others: `none`, `blocked`, \
      `server_names`, hosts with wildcards and paths, `~` and a regular expression.
      """
    ) { scope, directive throws(Refusal) in
      let rules =
        scope.isFirst(directive)
        ? RefererRules() : scope.location.admission.referers ?? RefererRules()
      for index in directive.arguments.indices { try add(directive, index, to: rules, scope) }
      scope.location.admission.referers = rules
    }.repeatable(),
    .noEffect(
      "referer_hash_max_size", [.server, .location], .number,
      "Accepted for nginx's sake: tables grow as needed."),
    .noEffect(
      "referer_hash_bucket_size", [.server, .location], .number,
      "Accepted for nginx's sake: tables grow as needed."),
    Row(
      "secure_link", .httpServerLocation, 1...1,
      """
      Where a link's signature stands, and behind a comma until when it holds; `$secure_link` says \
      what became of it.
      """
    ) { scope, directive throws(Refusal) in
      try refuseMixing(scope)
      scope.location.admission.secureLink.link = try scope.template(directive, 0)
    },
    Row("secure_link_md5", .httpServerLocation, 1...1, "What a link's signature signs.") {
      scope, directive throws(Refusal) in
      try refuseMixing(scope)
      scope.location.admission.secureLink.signed = try scope.template(directive, 0)
    },
    Row(
      "secure_link_secret", .location, 1...1,
      "The secret of links that have their signature in the path: `/p/SIGNATURE/link`."
    ) { scope, directive throws(Refusal) in
      try refuseMixing(scope)
      scope.location.admission.secureLink = SecureLinkSettings(
        secret: scope.bytes(directive.text(0)))
    },
  ]

  private static func add(
    _ directive: Directive, _ index: Int, to rules: RefererRules, _ scope: Scope
  ) throws(Refusal) {
    let word = directive.text(index)
    switch word {
    case "none": rules.allowsNone = true
    case "blocked": rules.allowsBlocked = true
    case "server_names":
      for (name, _) in scope.site?.names ?? [] where !name.isEmpty {
        if name.hasPrefix("~") {
          let pattern = String(name.dropFirst())
          rules.hostExpressions.append(
            try scope.builder.regex(pattern, caseless: true, index).regex)
        } else {
          // A name that stands twice, or in front of a path, is no mistake.
          _ = rules.hosts.insert(name.lowercased(), Bytes())
        }
      }
    case _ where word.hasPrefix("~"):
      let bound = try scope.builder.regex(String(word.dropFirst()), caseless: true, index)
      rules.expressions.append(bound.regex)
    default:
      if word.contains("://") {
        throw Refusal(
          "\"valid_referers\" takes hosts without \"http://\", not \"\(word)\"", argument: index)
      }
      let slash = word.firstIndex(of: "/") ?? word.endIndex
      let host = word[..<slash].lowercased()
      guard !host.isEmpty, rules.hosts.isValid(host) else {
        throw Refusal("invalid host or wildcard \"\(host)\"", argument: index)
      }
      if !rules.hosts.insert(host, scope.bytes(String(word[slash...]))) {
        throw Refusal("\"\(host)\" is there already", argument: index)
      }
    }
  }

  /// The two kinds of signed links exclude each other in one block.
  private static func refuseMixing(_ scope: Scope) throws(Refusal) {
    let isOld = scope.seen.first("secure_link_secret") != nil
    let isNew =
      scope.seen.first("secure_link") != nil || scope.seen.first("secure_link_md5") != nil
    if isOld && isNew {
      throw Refusal(
        "\"secure_link_secret\" cannot be mixed with \"secure_link\" and \"secure_link_md5\"")
    }
    if isNew { scope.location.admission.secureLink.secret = nil }
  }
}
