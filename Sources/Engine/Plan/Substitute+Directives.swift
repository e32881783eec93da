// Directives of ngx_http_sub_module (https://nginx.org/en/docs/http/ngx_http_sub_module.html).

import Configuration
import HTTP

/// The `sub_filter` directives.
struct SubstituteSettings {
  /// Strings to look for, and what comes in their place.
  var pairs: [(pattern: Template, replacement: Template)] = []
  var isOnce = true
  var keepsLastModified = false
  var types = MediaTypeSet()
}

extension Row {
  static let substituteRows: [Row] = [
    Row(
      "sub_filter", .httpServerLocation, 2...2,
      """
      Replaces a string in bodies, ignoring case. What is compressed already is left alone: ask \
      the upstream for plain text (`proxy_set_header Accept-Encoding ""`).
      """
    ) { scope, directive throws(Refusal) in
      if scope.isFirst(directive) { scope.location.filters.substitute.pairs = [] }
      if directive.text(0).isEmpty { throw Refusal("empty search pattern", argument: 0) }
      scope.location.filters.substitute.pairs.append(
        (pattern: try scope.template(directive, 0), replacement: try scope.template(directive, 1)))
    }.repeatable(),
    .flag(
      "sub_filter_once", .httpServerLocation, \.location.filters.substitute.isOnce, "on",
      "Whether each string is replaced the first time only."),
    .flag(
      "sub_filter_last_modified", .httpServerLocation,
      \.location.filters.substitute.keepsLastModified, "off",
      "Whether changed responses keep Last-Modified, and their ETag as a weak one."),
    Row(
      "sub_filter_types", .httpServerLocation, 1...1000,
      "Media types to replace strings in besides text/html; `*`: all.", standard: "text/html"
    ) { scope, directive throws(Refusal) in
      if scope.isFirst(directive) { scope.location.filters.substitute.types = MediaTypeSet() }
      addTypes(scope, directive, \.location.filters.substitute.types)
    }.repeatable(),
  ]
}
