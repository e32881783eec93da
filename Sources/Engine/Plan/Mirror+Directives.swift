// Directives of ngx_http_mirror_module
// (https://nginx.org/en/docs/http/ngx_http_mirror_module.html).

import Configuration
import HTTP

/// The `mirror` directives.
struct MirrorSettings {
  /// The paths that copies of a request are made to; none: it isn't mirrored.
  var targets: [Bytes] = []
  /// Whether copies have the request's body, which is read whole for that.
  var copiesBody = true
}

extension Row {
  static let mirrorRows: [Row] = [
    Row(
      "mirror", .httpServerLocation, 1...1,
      """
      A path of this server that gets a copy of each request; what it answers is dropped, and the \
      client doesn't wait for it. A quarter of `worker_connections` may be under way; others are \
      left out.
      """,
      standard: "off"
    ) { scope, directive throws(Refusal) in
      let word = directive.text(0)
      let isFirst = scope.isFirst(directive)
      if isFirst { scope.location.core.mirror.targets = [] }
      if word == "off" {
        guard isFirst else {
          throw Refusal("\"mirror off\" beside another \"mirror\"", argument: 0)
        }
        return
      }
      guard word.hasPrefix("/"), !word.contains("$") else {
        throw Refusal(
          "\"mirror\" needs a path of this server, such as \"/mirror\", or \"off\"", argument: 0)
      }
      scope.location.core.mirror.targets.append(scope.bytes(word))
    }.repeatable(),
    .flag(
      "mirror_request_body", .httpServerLocation, \.location.core.mirror.copiesBody, "on",
      """
      Whether mirrored requests have the client's body, which is then read whole before anything \
      is passed on, whatever `proxy_request_buffering` says.
      """
    ),
  ]
}
