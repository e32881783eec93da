// Directives of ngx_http_auth_basic_module, and `auth_delay`
// (https://nginx.org/en/docs/http/ngx_http_auth_basic_module.html).

import Configuration

extension Row {
  static let authRows: [Row] = [
    Row(
      "auth_basic", .admission, 1...1,
      "What clients are asked a name and a password for (Basic authentication).", standard: "off"
    ) { scope, directive throws(Refusal) in
      let isOff = directive.text(0) == "off"
      scope.location.admission.realm = isOff ? nil : try scope.template(directive, 0)
    },
    .template(
      "auth_basic_user_file", .admission, \.location.admission.userFile,
      "The file of names and passwords: `{PLAIN}`, `{SHA}`, `{SSHA}`, `$apr1$` or crypt(3); read again when it changed."
    ),
    .time(
      "auth_delay", .httpServerLocation, \.location.admission.authDelay, "0s",
      "How long whoever is refused with 401 waits for it."),
  ]
}
