// Directives of ngx_http_addition_module
// (https://nginx.org/en/docs/http/ngx_http_addition_module.html).

import Configuration
import HTTP

/// The `add_…_body` directives.
struct AdditionSettings {
  /// The path whose response stands before the body; nil: none does.
  var before: Bytes?
  /// The path whose response stands behind it.
  var after: Bytes?
  var types = MediaTypeSet()

  var isOn: Bool { before != nil || after != nil }
}

extension Row {
  static let additionRows: [Row] = [
    addition(
      "add_before_body", \.location.filters.addition.before,
      "A path of this server whose response is put before the body of each 200; `\"\"`: none."),
    addition(
      "add_after_body", \.location.filters.addition.after,
      "A path of this server whose response is put behind the body of each 200; `\"\"`: none."),
    Row(
      "addition_types", .httpServerLocation, 1...1000,
      "Media types that are added to besides text/html; `*`: all.", standard: "text/html"
    ) { scope, directive throws(Refusal) in
      if scope.isFirst(directive) { scope.location.filters.addition.types = MediaTypeSet() }
      addTypes(scope, directive, \.location.filters.addition.types)
    }.repeatable(),
  ]

  private static func addition(
    _ name: String, _ path: ReferenceWritableKeyPath<Scope, Bytes?>, _ summary: String
  ) -> Row {
    Row(name, .httpServerLocation, 1...1, summary) { scope, directive throws(Refusal) in
      let word = directive.text(0)
      guard word.isEmpty || word.hasPrefix("/") && !word.contains("$") else {
        throw Refusal(
          "\"\(name)\" needs a path of this server, such as \"/part\", or \"\"", argument: 0)
      }
      scope[keyPath: path] = word.isEmpty ? nil : scope.bytes(word)
    }
  }
}
