// Directives of ngx_http_access_module, `satisfy` and `limit_except`
// (https://nginx.org/en/docs/http/ngx_http_access_module.html).

import Configuration
import HTTP

extension Row {
  static let accessRows: [Row] = [
    Row(
      "allow", .admission, 1...1,
      "Whom to let in: an address, a network, `unix:` or `all`; the first rule that fits decides."
    ) { scope, directive throws(Refusal) in
      try addRule(scope, directive, isDenied: false)
    }.repeatable(),
    Row(
      "deny", .admission, 1...1,
      "Whom to refuse: an address, a network, `unix:` or `all`; the first rule that fits decides."
    ) { scope, directive throws(Refusal) in
      try addRule(scope, directive, isDenied: true)
    }.repeatable(),
    .choice(
      "satisfy", .httpServerLocation, \.location.admission.satisfaction, "all",
      "Whether a request must pass all of addresses and credentials, or any one of them."),
    Row(
      "limit_except", .location, 1...1000,
      "Settings for requests with other methods than those named; GET stands for HEAD too."
    ) { scope, directive throws(Refusal) in
      try addException(scope, directive)
    }.block().at(.block),
  ]

  private static func addRule(
    _ scope: Scope, _ directive: Directive, isDenied: Bool
  ) throws(Refusal) {
    // Both names make one list.
    if scope.seen.count("allow") + scope.seen.count("deny") == 1 {
      scope.location.admission.addressRules = []
    }
    let subject: AddressRule.Subject
    switch directive.text(0) {
    case "all": subject = .everybody
    case "unix:": subject = .unix
    default:
      guard let network = IPNetwork(scope.bytes(directive.text(0))) else {
        throw Refusal(
          "\"\(directive.text(0))\" is no address; write one as \"10.0.0.1\", \"10.0.0.0/8\", "
            + "\"2001:db8::/32\", \"unix:\" or \"all\"", argument: 0)
      }
      subject = .network(network)
    }
    scope.location.admission.addressRules.append(AddressRule(subject: subject, isDenied: isDenied))
  }

  private static func addException(_ scope: Scope, _ directive: Directive) throws(Refusal) {
    guard let place = scope.place else { return }
    if place.exception != nil { throw Refusal("\"limit_except\" directive is duplicate") }
    var methods: Set<Method> = []
    for index in directive.arguments.indices {
      let method = scope.bytes(directive.text(index).uppercased())
      switch Method.lookup(method) {
      case .other, .trace, .connect:
        throw Refusal("\"\(directive.text(index))\" is no method", argument: index)
      case .get: methods.formUnion([.get, .head])
      case let method: methods.insert(method)
      }
    }
    let inner = Scope(.limitExcept, scope.builder, parent: scope)
    let other = Location(settings: inner.location, prefix: place.prefix)
    other.isRegex = place.isRegex
    other.isNamed = place.isNamed
    other.binding = place.binding
    // As in nginx, rewrite directives of the location are not those of the block.
    inner.place = other
    scope.builder.process(directive.block ?? [], inner)
    other.settings = inner.location.inForce
    place.exception = MethodException(methods, other)
  }
}
