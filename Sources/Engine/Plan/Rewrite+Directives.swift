// Directives of ngx_http_rewrite_module and ngx_http_map_module
// (https://nginx.org/en/docs/http/ngx_http_rewrite_module.html).

import Configuration
import HTTP

extension Row {
  static let rewriteRows: [Row] = [
    Row("set", .rewrite, 2...2, "Assigns a variable.") { scope, directive throws(Refusal) in
      let name = try variableName(directive, 0)
      let value = try scope.template(directive, 1)
      scope.program.steps.append(.set(try scope.builder.assignable(name), value))
    }.repeatable().at(.program),
    Row("break", .rewrite, 0...0, "Ends the rewrite directives.") {
      scope, directive throws(Refusal) in
      scope.program.steps.append(.break)
    }.repeatable().at(.program),
    Row("return", .rewrite, 1...2, "Answers at once: a status with a text or URL, or a URL.") {
      scope, directive throws(Refusal) in
      scope.program.steps.append(try returnStep(scope, directive))
    }.repeatable().at(.program),
    Row("rewrite", .rewrite, 2...3, "Replaces the path if it matches.") {
      scope, directive throws(Refusal) in
      scope.program.steps.append(.rewrite(try rewriteRule(scope, directive)))
    }.repeatable().at(.program),
    Row("if", [.server, .location], 1...1000, "Directives for requests that meet a condition.") {
      scope, directive throws(Refusal) in
      try addIf(scope, directive)
    }.block().at(.program),
    .noEffect("rewrite_log", .anyHTTP.union(.serverIf), .flag, "Accepted for nginx's sake."),
    .noEffect(
      "uninitialized_variable_warn", .anyHTTP.union(.serverIf), .flag,
      "Accepted for nginx's sake."),
    Row("map", .http, 2...2, "A variable that depends on others.") {
      scope, directive throws(Refusal) in
      try addMap(scope, directive)
    }.block().at(.definition),
    .noEffect(
      "map_hash_max_size", .http, .number, "Accepted for nginx's sake: tables grow as needed."),
    .noEffect(
      "map_hash_bucket_size", .http, .number, "Accepted for nginx's sake: tables grow as needed."),
    .noEffect(
      "variables_hash_max_size", .http, .number, "Accepted for nginx's sake: tables grow as needed."
    ),
    .noEffect(
      "variables_hash_bucket_size", .http, .number,
      "Accepted for nginx's sake: tables grow as needed."),
    .noEffect(
      "server_names_hash_max_size", .http, .number,
      "Accepted for nginx's sake: tables grow as needed."),
    .noEffect(
      "server_names_hash_bucket_size", .http, .number,
      "Accepted for nginx's sake: tables grow as needed."),
    .noEffect(
      "types_hash_max_size", .httpServerLocation, .number,
      "Accepted for nginx's sake: tables grow as needed."),
    .noEffect(
      "types_hash_bucket_size", .httpServerLocation, .number,
      "Accepted for nginx's sake: tables grow as needed."),
  ]

  /// Argument `index` as `$name`, without the dollar sign.
  static func variableName(_ directive: Directive, _ index: Int) throws(Refusal) -> String {
    let word = directive.text(index)
    guard word.hasPrefix("$"), word.count > 1 else {
      throw Refusal("invalid variable name \"\(word)\"; it begins with \"$\"", argument: index)
    }
    return word.dropFirst().lowercased()
  }

  private static func returnStep(_ scope: Scope, _ directive: Directive) throws(Refusal)
    -> RewriteProgram.Step
  {
    let first = directive.text(0)
    if let status = Int(first), directive.arguments.count <= 2 {
      guard (0...999).contains(status) else {
        throw Refusal("invalid return code \"\(first)\"", argument: 0)
      }
      let text = directive.arguments.count > 1 ? try scope.template(directive, 1) : nil
      return .return(status: status, text: text)
    }
    guard directive.arguments.count == 1,
      first.hasPrefix("http://") || first.hasPrefix("https://") || first.hasPrefix("$scheme")
    else { throw Refusal("invalid return code \"\(first)\"", argument: 0) }
    return .return(status: 302, text: try scope.template(directive, 0))
  }

  private static func rewriteRule(_ scope: Scope, _ directive: Directive) throws(Refusal)
    -> RewriteRule
  {
    let regex = try scope.builder.regex(directive.text(0), caseless: false, 0)
    var replacement = directive.text(1)
    var flag = RewriteRule.Flag.none
    if directive.arguments.count > 2 {
      guard let known = RewriteRule.Flag(rawValue: directive.text(2)), known != .none else {
        throw Refusal(
          """
          "rewrite" knows the flags "last", "break", "redirect", "permanent", not \
          "\(directive.text(2))"
          """,
          argument: 2)
      }
      flag = known
    }
    var keepsArguments = true
    if replacement.hasSuffix("?") {
      replacement.removeLast()
      keepsArguments = false
    }
    if replacement.hasPrefix("http://") || replacement.hasPrefix("https://")
      || replacement.hasPrefix("$scheme")
    {
      if flag != .permanent { flag = .redirect }
    }
    // Only a question mark of the rule itself divides: one from a variable is part of the path.
    let parts = replacement.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
    return RewriteRule(
      regex: regex, path: try scope.template(String(parts[0]), 1),
      arguments: parts.count > 1 ? try scope.template(String(parts[1]), 1) : nil, flag: flag,
      keepsArguments: keepsArguments)
  }

  // --- if ----------------------------------------------------------------------------------------

  private static func addIf(_ scope: Scope, _ directive: Directive) throws(Refusal) {
    let condition = try condition(scope, directive)
    let isInLocation = scope.context == .location
    let inner = Scope(isInLocation ? .locationIf : .serverIf, scope.builder, parent: scope)
    let place = Location(settings: scope.location, prefix: scope.place?.prefix ?? Bytes("/"))
    place.isRegex = scope.place?.isRegex ?? false
    place.isNamed = scope.place?.isNamed ?? false
    inner.place = place
    inner.program = scope.program
    let jump = scope.program.steps.count
    scope.program.steps.append(.break)
    if isInLocation { scope.program.steps.append(.enter(place)) }
    scope.builder.process(directive.block ?? [], inner)
    place.settings = inner.location.inForce
    scope.program.steps[jump] = .unless(condition, target: scope.program.steps.count)
  }

  /// `if ($x)`, `if ($x = y)`, `if ($x ~ regex)`, `if (-f path)` and their negations.
  private static func condition(_ scope: Scope, _ directive: Directive) throws(Refusal)
    -> RewriteProgram.Condition
  {
    var words = directive.arguments.map(\.text)
    guard words[0].hasPrefix("("), words[words.count - 1].hasSuffix(")") else {
      throw Refusal("\"if\" needs a condition in parentheses", argument: 0)
    }
    words[0].removeFirst()
    words[words.count - 1].removeLast()
    if words[0].isEmpty { words.removeFirst() }
    if words.last?.isEmpty == true { words.removeLast() }
    guard let first = words.first else {
      throw Refusal("\"if\" has an empty condition", argument: 0)
    }
    if first.hasPrefix("-") || first.hasPrefix("!-") {
      let negated = first.hasPrefix("!")
      guard words.count == 2, let letter = first.last, first.count == (negated ? 3 : 2),
        let test = RewriteProgram.FileTest(rawValue: letter)
      else { throw Refusal("invalid condition \"\(words.joined(separator: " "))\"", argument: 0) }
      return .file(test, try scope.template(words[1], 1), negated: negated)
    }
    guard first.hasPrefix("$") else {
      throw Refusal(
        "invalid condition \"\(first)\"; it begins with a variable or a file test", argument: 0)
    }
    let text = words.joined(separator: " ")
    let subject = try scope.template(first, 0)
    // What else stands in its word would make it true whatever the variable holds.
    guard subject.isOneValue, words.count == 1 || words.count == 3 else {
      throw Refusal(
        """
        invalid condition "\(text)"; it is a variable, or a variable, an operator and a value with \
        blanks between them
        """, argument: 0)
    }
    if words.count == 1 { return .isTrue(subject) }
    switch words[1] {
    case "=": return .equals(subject, try scope.template(words[2], 2), negated: false)
    case "!=": return .equals(subject, try scope.template(words[2], 2), negated: true)
    case "~", "~*", "!~", "!~*":
      let regex = try scope.builder.regex(words[2], caseless: words[1].hasSuffix("*"), 2)
      return .matches(subject, regex, negated: words[1].hasPrefix("!"))
    default:
      throw Refusal(
        "unexpected \"\(words[1])\" in condition; it may be =, !=, ~, ~*, !~, !~*", argument: 1)
    }
  }

  // --- map ---------------------------------------------------------------------------------------

  private static func addMap(_ scope: Scope, _ directive: Directive) throws(Refusal) {
    let source = try scope.template(directive, 0)
    let name = try variableName(directive, 1)
    if Builtin(named: name) != nil && scope.builder.shared(name) == nil {
      throw Refusal("the duplicate \"\(name)\" variable", argument: 1)
    }
    let entries = directive.block ?? []
    let isVolatile = entries.contains {
      $0.name.text == "volatile" && $0.arguments.isEmpty && !$0.name.isQuoted
    }
    let usesHostnames = entries.contains {
      $0.name.text == "hostnames" && $0.arguments.isEmpty && !$0.name.isQuoted
    }
    var table = MapTable<ValueMap.Result>(hostnames: usesHostnames)
    var standard: Template?
    scope.builder.readLines(of: directive) { entry throws(Refusal) in
      let key = entry.name.text
      if entry.arguments.isEmpty && (key == "volatile" || key == "hostnames") { return }
      guard entry.arguments.count == 1, entry.block == nil else {
        throw Refusal(
          """
          a line of "map" is a value and a result: "\(key)" has \(entry.arguments.count) results
          """
        )
      }
      let value = try scope.template(entry, 0)
      if key == "default" {
        guard standard == nil else { throw Refusal("duplicate \"default\" in \"map\"") }
        standard = value
      } else if key.hasPrefix("~") {
        let caseless = key.hasPrefix("~*")
        let bound = try scope.builder.regex(
          String(key.dropFirst(caseless ? 2 : 1)), caseless: caseless, nil)
        table.insert(bound.regex, ValueMap.Result(value: value, bound: bound))
      } else {
        let plain = key.hasPrefix("\\") ? String(key.dropFirst()) : key
        if !table.insert(plain, ValueMap.Result(value: value)) {
          throw Refusal("conflicting parameter \"\(key)\" in \"map\"")
        }
      }
    }
    let slot = scope.builder.define(name)
    let fallback = standard ?? Template(literal: Bytes())
    scope.builder.maps[slot] = MapVariable(
      .map(ValueMap(source: source, table: table, defaultValue: fallback)), isVolatile: isVolatile)
  }
}
