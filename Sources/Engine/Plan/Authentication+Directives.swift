// Directives of ngx_http_auth_basic_module and ngx_http_auth_request_module, and `auth_delay`
// (https://nginx.org/en/docs/http/ngx_http_auth_basic_module.html,
// https://nginx.org/en/docs/http/ngx_http_auth_request_module.html).

import CLinux
import Configuration
import HTTP

extension Row {
  static let authRows: [Row] = [
    Row(
      "auth_basic", .admission, 1...1,
      "What clients are asked a name and a password for (Basic authentication).", standard: "off"
    ) { scope, directive throws(Refusal) in
      let isOff = directive.text(0) == "off"
      scope.location.admission.realm = isOff ? nil : try scope.template(directive, 0)
    },
    Row(
      "auth_basic_user_file", .admission, 1...1,
      """
      The file of names and passwords: `{PLAIN}`, `{SHA}`, `{SSHA}`, `$apr1$` or crypt(3); read \
      again when it changed.
      """,
      standard: "—"
    ) { scope, directive throws(Refusal) in
      let file = try scope.template(directive, 0)
      scope.location.admission.userFile = file
      if file.isConstant { scope.builder.warnIfMissing(directive.arguments[0]) }
    },
    .time(
      "auth_delay", .httpServerLocation, \.location.admission.authDelay, "0s",
      "How long whoever is refused with 401 waits for it."),
    Row(
      "auth_request", .httpServerLocation, 1...1,
      "The location that says whether a request may go on: by 2xx, or 401 and 403.",
      standard: "off"
    ) { scope, directive throws(Refusal) in
      scope.location.admission.authorization = try authorization(scope, directive)
    },
    Row(
      "auth_request_set", .httpServerLocation, 2...2,
      "Assigns a variable by what the request of `auth_request` knows."
    ) { scope, directive throws(Refusal) in
      if scope.isFirst(directive) { scope.location.admission.authorizationVariables = [] }
      let name = try variableName(directive, 0)
      let variable = try scope.builder.assignable(name)
      let value = try scope.template(directive, 1)
      scope.location.admission.authorizationVariables.append((variable, value))
    }.repeatable(),
  ]

  private static func authorization(
    _ scope: Scope, _ directive: Directive
  ) throws(Refusal) -> AuthorizationRequest? {
    let word = directive.text(0)
    if word == "off" { return nil }
    guard word.hasPrefix("/"), !word.contains("$") else {
      throw Refusal(
        "\"auth_request\" needs a path of this server, such as \"/auth\", or \"off\"", argument: 0)
    }
    let parts = word.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
    return AuthorizationRequest(
      uri: scope.bytes(String(parts[0])),
      arguments: scope.bytes(parts.count > 1 ? String(parts[1]) : ""))
  }
}

extension PlanBuilder {
  /// Warns if a file that is only opened when a request needs it isn't there yet. Worker processes,
  /// which get what the supervisor has looked at, say nothing.
  fileprivate func warnIfMissing(_ word: Word) {
    guard surroundings.certificateChecks != .none else { return }
    let path = surroundings.paths.confFile(word.text)
    guard case .failure(let error) = unsafe FileStatus.of(path: path), error.code == ENOENT else {
      return
    }
    diagnostics.warn(
      "\"\(path)\" is not there: until it is, requests that need it are answered 403", at: word)
  }
}
