// Directives of ngx_http_headers_module
// (https://nginx.org/en/docs/http/ngx_http_headers_module.html).

import Configuration
import HTTP

extension Row {
  static let headerRows: [Row] = [
    Row("add_header", .anyHTTP, 2...3, "Adds a field to responses; `always`: to errors too.") {
      scope, directive throws(Refusal) in
      if scope.isFirst(directive) { scope.location.headers.added = [] }
      var always = false
      if directive.arguments.count > 2 {
        guard directive.text(2) == "always" else { throw directive.unknownParameter(2, ["always"]) }
        always = true
      }
      scope.location.headers.added.append(
        AddedHeader(
          name: try fieldName(scope, directive, 0), value: try fieldValue(scope, directive, 1),
          always: always))
    }.repeatable(),
    Row(
      "add_trailer", .anyHTTP, 2...3,
      "Adds a field behind the body of responses; `always`: of errors too."
    ) { scope, directive throws(Refusal) in
      if scope.isFirst(directive) { scope.location.headers.trailers = [] }
      if directive.arguments.count > 2, directive.text(2) != "always" {
        throw directive.unknownParameter(2, ["always"])
      }
      scope.location.headers.trailers.append(
        AddedHeader(
          name: try fieldName(scope, directive, 0), value: try fieldValue(scope, directive, 1),
          always: directive.arguments.count > 2))
    }.repeatable(),
    .choice(
      "add_header_inherit", .anyHTTP, \.location.headers.addedInheritance, "on",
      """
      What becomes of the `add_header` lines of the block around: `on`: they hold unless this \
      block has some; `merge`: they hold too; `off`: they don't.
      """
    ),
    .choice(
      "add_trailer_inherit", .anyHTTP, \.location.headers.trailerInheritance, "on",
      "The same for `add_trailer`."),
    Row("expires", .anyHTTP, 1...2, "Sets Expires and Cache-Control.", standard: "off") {
      scope, directive throws(Refusal) in
      let text = directive.arguments.map(\.text).joined(separator: " ")
      if text.utf8.contains(UInt8(ascii: "$")) {
        let isModified = directive.arguments.count > 1 && directive.text(0) == "modified"
        scope.location.headers.expires = .variable(
          try scope.template(directive, directive.arguments.count - 1), modified: isModified)
      } else if let value = ExpiresValue.parse(text) {
        scope.location.headers.expires = value
      } else {
        throw Refusal(
          """
          "expires" must be a time, "@" and a time of day, "epoch", "max" or "off", not "\(text)"
          """,
          argument: 0)
      }
    },
  ]

  /// Joins what a block adds with what is added around it; called when all its lines are read.
  static func settleHeaders(_ scope: Scope) {
    guard let outer = scope.parent?.location.headers else { return }
    let rules = (scope.location.headers.addedInheritance, scope.location.headers.trailerInheritance)
    if rules == (.on, .on), outer.isSame(as: scope.location.headers) { return }
    let (rule, own) = (rules.0, scope.seen.first("add_header"))
    if rule == .on, let own { scope.warn(own, hides: outer.added) }
    if own == nil, rule == .off { scope.location.headers.added = [] }
    if own != nil, rule == .merge { scope.location.headers.added += outer.added }
    let ownTrailer = scope.seen.first("add_trailer")
    switch rules.1 {
    case .on: break
    case .off: if ownTrailer == nil { scope.location.headers.trailers = [] }
    case .merge: if ownTrailer != nil { scope.location.headers.trailers += outer.trailers }
    }
  }

  static func fieldName(_ scope: Scope, _ directive: Directive, _ index: Int) throws(Refusal)
    -> Bytes
  {
    let text = directive.text(index)
    let allowed = text.utf8.allSatisfy {
      $0 > 0x20 && $0 < 0x7f && !#"()<>@,;:\"/[]?={}"#.utf8.contains($0)
    }
    guard allowed, !text.isEmpty else {
      throw Refusal("\"\(text)\" can't be the name of a field", argument: index)
    }
    return scope.bytes(text)
  }

  /// The value of a field. A line break in it, and the blanks around that, is one blank, at its
  /// ends nothing: a list over several lines is one field, a secret from the environment may end
  /// in a line feed.
  static func fieldValue(_ scope: Scope, _ directive: Directive, _ index: Int) throws(Refusal)
    -> Template
  {
    let template = try scope.template(directive, index)
    let isControl = { (byte: UInt8) in byte < 0x20 && byte != 9 || byte == 0x7f }
    let controls = directive.text(index).utf8.filter(isControl)
    if controls.isEmpty { return template }
    guard controls.allSatisfy({ $0 == 10 || $0 == 13 }) else {
      throw Refusal("a control character can't be part of a field", argument: index)
    }
    var parts: [Template.Part] = []
    for (number, part) in template.parts.enumerated() {
      guard case .literal(let bytes) = part else {
        parts.append(part)
        continue
      }
      let text = unfolded(bytes.array, number == 0, number == template.parts.count - 1)
      if text.isEmpty { continue }
      parts.append(.literal(scope.bytes(String(decoding: text, as: UTF8.self))))
    }
    return Template(parts: parts)
  }

  private static func unfolded(_ bytes: [UInt8], _ isFirst: Bool, _ isLast: Bool) -> [UInt8] {
    let isBlank = { (byte: UInt8) in byte == 32 || byte == 9 }
    var result: [UInt8] = []
    var isBroken = false
    for byte in bytes {
      if byte == 10 || byte == 13 {
        while let last = result.last, isBlank(last) { result.removeLast() }
        isBroken = true
      } else if !isBroken || !isBlank(byte) {
        if isBroken && !(isFirst && result.isEmpty) { result.append(32) }
        isBroken = false
        result.append(byte)
      }
    }
    if isBroken && !isLast && !(isFirst && result.isEmpty) { result.append(32) }
    return result
  }
}
