// Directives of ngx_http_charset_module
// (https://nginx.org/en/docs/http/ngx_http_charset_module.html).

import Configuration
import HTTP

extension Row {
  static let charsetRows: [Row] = [
    Row(
      "charset", .anyHTTP, 1...1,
      """
      The charset that Content-Type names, and that bodies are turned into if `source_charset` is \
      another.
      """,
      standard: "off"
    ) { scope, directive throws(Refusal) in
      scope.location.filters.charset.destination =
        directive.text(0) == "off" ? .none : try charset(scope, directive)
    },
    Row(
      "source_charset", .anyHTTP, 1...1, "The charset that bodies come in."
    ) { scope, directive throws(Refusal) in
      scope.location.filters.charset.source = try charset(scope, directive)
    },
    .flag(
      "override_charset", .anyHTTP, \.location.filters.charset.overrides, "off",
      "Whether responses of upstreams that name a charset are turned into another."),
    Row(
      "charset_types", .httpServerLocation, 1...1000,
      "Media types that get a charset besides text/html; `*`: all.",
      standard:
        "text/html text/xml text/plain text/vnd.wap.wml application/javascript application/rss+xml"
    ) { scope, directive throws(Refusal) in
      if scope.isFirst(directive) { scope.location.filters.charset.types = MediaTypeSet() }
      addTypes(scope, directive, \.location.filters.charset.types)
    }.repeatable(),
    Row(
      "charset_map", .http, 2...2,
      "A table between two charsets: lines of two codes in hexadecimal; UTF-8 comes second."
    ) { scope, directive throws(Refusal) in
      try addCharsetMap(scope, directive)
    }.block().at(.definition),
  ]

  private static func charset(
    _ scope: Scope, _ directive: Directive
  ) throws(Refusal) -> CharsetSettings.Choice {
    let template = try scope.template(directive, 0)
    guard template.isConstant else { return .computed(template) }
    let name = directive.text(0)
    guard !name.isEmpty, name.withBytes({ $0.isToken }) else {
      throw Refusal("\"\(name)\" can't be the name of a charset", argument: 0)
    }
    return .named(scope.builder.charsets.number(of: name))
  }

  private static func addCharsetMap(_ scope: Scope, _ directive: Directive) throws(Refusal) {
    let charsets = scope.builder.charsets
    let source = charsets.number(of: directive.text(0))
    let destination = charsets.number(of: directive.text(1))
    guard source != destination else {
      throw Refusal(
        "\"charset_map\" between the same charsets \"\(directive.text(0))\"", argument: 1)
    }
    var map = CharsetMap(isUTF8: directive.text(1).lowercased() == "utf-8")
    for entry in directive.block ?? [] {
      guard entry.arguments.count == 1, map.add(entry.name.text, entry.text(0)) else {
        throw Refusal(
          """
          a line of "charset_map" is two codes in hexadecimal, not "\(entry.name.text) \
          \(entry.arguments.map(\.text).joined(separator: " "))"
          """
        )
      }
    }
    guard charsets.insert(map, source, destination) else {
      throw Refusal(
        "duplicate \"charset_map\" between \"\(directive.text(0))\" and \"\(directive.text(1))\"",
        argument: 1)
    }
  }
}
