// Directives of ngx_http_core_module about what clients send and how their connections last
// (https://nginx.org/en/docs/http/ngx_http_core_module.html).

import Configuration
import HTTP

extension Row {
  // Bound: one buffer for a request head.
  private static let headBufferLimit = 16 << 20

  static let clientRows: [Row] = [
    // --- requests --------------------------------------------------------------------------------
    .size(
      "client_header_buffer_size", .httpServer, \.server.headerBufferBytes, "1k",
      "The buffer that a request head begins in.", limit: headBufferLimit),
    Row(
      "large_client_header_buffers", .httpServer, 2...2,
      """
      Number and size of buffers for large request heads: the longest line, and with the number \
      the largest head.
      """,
      standard: "4 8k"
    ) { scope, directive throws(Refusal) in
      scope.server.largeHeaderBufferCount = try directive.number(0, 1...1024)
      scope.server.largeHeaderBufferBytes = try directive.size(1, limit: headBufferLimit)
    },
    .time(
      "client_header_timeout", .httpServer, \.server.headerTimeout, "60s",
      "How long a client may take for a request head."),
    .flag(
      "merge_slashes", .httpServer, \.server.mergeSlashes, "on",
      "Whether adjacent slashes of a path become one."),
    .flag(
      "ignore_invalid_headers", .httpServer, \.server.ignoresInvalidFields, "on",
      "Whether fields with invalid names are dropped."),
    .flag(
      "underscores_in_headers", .httpServer, \.server.allowsUnderscores, "off",
      "Whether field names may have underscores."),
    .number(
      "max_headers", .httpServer, 1...100_000, \.server.maxFields, "1000",
      "The number of fields that a request may have."),
    .size(
      "client_max_body_size", .httpServerLocation, \.location.core.maxBodyBytes, "1m",
      "The largest request body; 0: any."),
    .size(
      "client_body_buffer_size", .httpServerLocation, \.location.core.bodyBufferBytes, "16k",
      "How much of a request body stays in memory."),
    Row(
      "client_body_temp_path", .httpServerLocation, 1...4,
      """
      The folder for request bodies that don't stay in memory. Levels of subfolders are accepted, \
      and not made.
      """, standard: "client_body_temp"
    ) { scope, directive throws(Refusal) in
      scope.location.core.bodyTemporaryPath = try temporaryPath(scope, directive)
    },
    .choice(
      "client_body_in_file_only", .httpServerLocation, \.location.core.bodyInFileOnly, "off",
      """
      Whether request bodies are always written to a file with a name: `on` keeps the files, \
      `clean` removes them.
      """
    ),
    .noEffect(
      "client_body_in_single_buffer", .httpServerLocation, .flag,
      "Accepted for nginx's sake: what stays in memory always is one buffer."),
    .time(
      "client_body_timeout", .httpServerLocation, \.location.core.bodyTimeout, "60s",
      "How long a client may send nothing of a request body."),
    .time(
      "send_timeout", .httpServerLocation, \.location.core.sendTimeout, "60s",
      "How long a client may take nothing of a response."),
    // --- connections -----------------------------------------------------------------------------
    Row(
      "keepalive_timeout", .httpServerLocation, 1...2,
      "How long an idle client connection is kept; the second value is told to the client.",
      standard: "75s"
    ) { scope, directive throws(Refusal) in
      scope.location.core.keepaliveTimeout = try directive.time(0)
      if directive.arguments.count > 1 {
        scope.location.core.keepaliveHeaderSeconds = try directive.seconds(directive.text(1), 1)
      }
    },
    .time(
      "keepalive_min_timeout", .httpServerLocation, \.location.core.keepaliveLeast, "0",
      "How long at least an idle client connection is kept, even by a worker that stops."),
    .number(
      "keepalive_requests", .httpServerLocation, 0...Int.max, \.location.core.keepaliveRequests,
      "1000", "Requests that one connection may make; 0: none is kept."),
    .time(
      "keepalive_time", .httpServerLocation, \.location.core.keepaliveTime, "1h",
      "How long a connection may make requests."),
    Row(
      "keepalive_disable", .httpServerLocation, 1...1000,
      """
      Browsers whose connections aren't kept: `msie6` (old Explorers, after a POST), `safari` (on \
      Apple's systems), or `none`.
      """,
      standard: "msie6"
    ) { scope, directive throws(Refusal) in
      if scope.isFirst(directive) { scope.location.core.keepaliveDisabled = [] }
      scope.location.core.keepaliveDisabled.formUnion(
        try directive.union([("msie6", .oldExplorer), ("safari", .safari), ("none", [])]))
    }.repeatable(),
    .choice(
      "lingering_close", .httpServerLocation, \.location.core.lingeringClose, "on",
      "Whether to wait for a client that still sends before closing."),
    .time(
      "lingering_time", .httpServerLocation, \.location.core.lingeringTime, "30s",
      "How long to read what nobody wants before closing."),
    .time(
      "lingering_timeout", .httpServerLocation, \.location.core.lingeringTimeout, "5s",
      "How long to wait for more of it."),
    .flag(
      "tcp_nopush", .httpServerLocation, \.location.core.usesNoPush, "off",
      "Whether heads and files fill whole packets; always so here, by MSG_MORE."),
    .flag(
      "tcp_nodelay", .httpServerLocation, \.location.core.usesNoDelay, "on",
      "Whether small packets leave at once; always so here."),
    .flag(
      "reset_timedout_connection", .httpServerLocation, \.location.core.resetsTimedOut, "off",
      "Whether a connection that timed out is reset."),
  ]

  /// The folder that a `…_temp_path` names. Its levels of subfolders are checked and not needed:
  /// files lie there without a name, or for a moment.
  static func temporaryPath(_ scope: Scope, _ directive: Directive) throws(Refusal) -> String {
    for index in directive.arguments.indices.dropFirst() {
      _ = try directive.number(index, 1...10)
    }
    scope.builder.temporaryPaths.insert(directive.text(0))
    return directive.text(0)
  }
}
