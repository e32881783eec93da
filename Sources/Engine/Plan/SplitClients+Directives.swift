// The directive of ngx_http_split_clients_module
// (https://nginx.org/en/docs/http/ngx_http_split_clients_module.html).

import Configuration
import HTTP

extension Row {
  static let splitRows: [Row] = [
    Row("split_clients", .http, 2...2, "A variable that gives each share of clients another value.")
    { scope, directive throws(Refusal) in
      let source = try scope.template(directive, 0)
      let name = try variableName(directive, 1)
      if Builtin(named: name) != nil {
        throw Refusal("the duplicate \"\(name)\" variable", argument: 1)
      }
      let slot = scope.builder.define(name)
      scope.builder.maps[slot] = MapVariable(
        .split(source: source, splitTable(scope, directive)), isVolatile: false)
    }.block().at(.definition)
  ]

  private static func splitTable(_ scope: Scope, _ directive: Directive) -> SplitTable {
    var table = SplitTable()
    scope.builder.readLines(of: directive) { entry throws(Refusal) in
      let share = entry.name.text
      guard entry.arguments.count == 1, entry.block == nil else {
        throw Refusal(
          """
          a line of "split_clients" is a share and a value: "\(share)" has \
          \(entry.arguments.count) values
          """
        )
      }
      let value = try scope.template(entry, 0)
      if share == "*" {
        table.insertRest(value)
        return
      }
      guard let hundredths = hundredths(share) else {
        throw Refusal("\"\(share)\" must be a share such as \"12.5%\", or \"*\" for the rest")
      }
      guard table.insert(hundredths, value) else {
        throw Refusal("the shares of \"split_clients\" are more than 100% with \"\(share)\"")
      }
    }
    return table
  }

  /// "12.34%" as 1234; nil if it is no share above 0.
  private static func hundredths(_ text: String) -> Int? {
    guard text.hasSuffix("%") else { return nil }
    let parts = text.dropLast().split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count <= 2, let whole = parts.first.flatMap({ number($0) }) else { return nil }
    var fraction = 0
    if parts.count == 2 {
      guard parts[1].utf8.count <= 2, let digits = number(parts[1]) else { return nil }
      fraction = parts[1].utf8.count == 1 ? digits * 10 : digits
    }
    let result = whole * 100 + fraction
    return result > 0 ? result : nil
  }

  private static func number(_ digits: Substring) -> Int? {
    guard !digits.isEmpty, digits.utf8.count <= 3,
      digits.utf8.allSatisfy({ ASCII.isDigit($0) })
    else { return nil }
    return Int(digits)
  }
}
