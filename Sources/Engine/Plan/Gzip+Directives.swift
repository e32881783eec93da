// Directives of ngx_http_gzip_module, ngx_http_gunzip_module and ngx_http_gzip_static_module
// (https://nginx.org/en/docs/http/ngx_http_gzip_module.html).

import Configuration
import HTTP

extension Row {
  static let gzipRows: [Row] = [
    .flag(
      "gzip", .anyHTTP, \.location.filters.gzip.isOn, "off",
      """
      Whether responses are compressed for clients that take it. Over TLS, don't compress pages \
      that hold a secret next to what a client sent (BREACH).
      """
    ),
    Row(
      "gzip_types", .httpServerLocation, 1...1000,
      """
      Media types to compress besides text/html; `*`: all. `text/javascript` and \
      `application/javascript` are one.
      """,
      standard: "text/html"
    ) { scope, directive throws(Refusal) in
      if scope.isFirst(directive) { scope.location.filters.gzip.types = MediaTypeSet() }
      addTypes(scope, directive, \.location.filters.gzip.types)
    }.repeatable(),
    .size(
      "gzip_min_length", .httpServerLocation, \.location.filters.gzip.leastLength, "20",
      "The length from which responses are compressed, if their Content-Length says it."),
    .number(
      "gzip_comp_level", .httpServerLocation, 1...9, \.location.filters.gzip.level, "1",
      """
      From 1 (fast) to 9 (small). A response that is being compressed takes 256 KiB of memory at \
      any level, 64 KiB if it is known to be shorter than 8 KiB.
      """
    ),
    Row(
      "gzip_buffers", .httpServerLocation, 2...2,
      "Their product is how much compressed output may wait for a client.", standard: "32 4k"
    ) { scope, directive throws(Refusal) in
      scope.location.filters.gzip.bufferBytes = try bufferBytes(directive)
    },
    Row(
      "gzip_http_version", .httpServerLocation, 1...1,
      "The version of HTTP from which a client gets compressed responses.", standard: "1.1"
    ) { scope, directive throws(Refusal) in
      switch directive.text(0) {
      case "1.0": scope.location.filters.gzip.leastMinorVersion = 0
      case "1.1": scope.location.filters.gzip.leastMinorVersion = 1
      default:
        throw Refusal(
          "\"gzip_http_version\" must be \"1.0\" or \"1.1\", not \"\(directive.text(0))\"",
          argument: 0)
      }
    },
    Row(
      "gzip_proxied", .httpServerLocation, 1...1000,
      "Which responses to requests that came through a proxy (Via) are compressed.",
      standard: "off"
    ) { scope, directive throws(Refusal) in
      if scope.isFirst(directive) { scope.location.filters.gzip.proxied = [] }
      scope.location.filters.gzip.proxied.formUnion(try directive.union(GzipProxied.names))
    }.repeatable(),
    .flag(
      "gzip_vary", .httpServerLocation, \.location.filters.gzip.varies, "off",
      "Whether responses that depend on it name Accept-Encoding in Vary."),
    Row(
      "gzip_disable", .httpServerLocation, 1...1000,
      """
      Expressions for the User-Agent of clients that get nothing compressed; `msie6`: old \
      Explorers.
      """
    ) { scope, directive throws(Refusal) in
      if scope.isFirst(directive) {
        scope.location.filters.gzip.disabled = []
        scope.location.filters.gzip.disabledBrowsers = []
      }
      for index in directive.arguments.indices { try disableGzip(scope, directive, index) }
    }.repeatable(),
    .choice(
      "gzip_static", .httpServerLocation, \.location.filters.precompressed, "off",
      "Whether a file NAME.gz answers for NAME; `always`: to any client."),
    .flag(
      "gunzip", .httpServerLocation, \.location.filters.gunzips, "off",
      "Whether compressed responses are decompressed for clients that don't take them."),
    .noEffect(
      "gunzip_buffers", .httpServerLocation, .buffers,
      "Accepted for nginx's sake: memory comes from pools of buffers."),
  ]

  private static func disableGzip(
    _ scope: Scope, _ directive: Directive, _ index: Int
  ) throws(Refusal) {
    let pattern = directive.text(index)
    if pattern == "msie6" {
      scope.location.filters.gzip.disabledBrowsers = .oldExplorer
      return
    }
    do throws(RegexError) {
      let regex = try Regex(pattern: pattern, caseless: true)
      scope.location.filters.gzip.disabled.append(regex)
    } catch {
      throw Refusal(error.message, argument: index)
    }
  }

  /// "NUMBER SIZE": their product.
  private static func bufferBytes(_ directive: Directive) throws(Refusal) -> Int {
    let number = try directive.number(0, 1...65_536)
    let size = try directive.size(1)
    let (product, isHuge) = number.multipliedReportingOverflow(by: size)
    guard size > 0, !isHuge else {
      throw Refusal("\"\(directive.name.text)\" must be a number and a size above 0", argument: 1)
    }
    return product
  }

  /// Adds the types that a directive names.
  static func addTypes(
    _ scope: Scope, _ directive: Directive, _ path: ReferenceWritableKeyPath<Scope, MediaTypeSet>
  ) {
    for word in directive.arguments {
      if word.text == "*" {
        scope[keyPath: path].isAny = true
      } else if !scope[keyPath: path].insert(word.text) {
        scope.warn("duplicate MIME type \"\(word.text)\"", word)
      }
    }
  }
}
