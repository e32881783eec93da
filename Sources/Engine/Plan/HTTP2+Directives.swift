// Directives of ngx_http_v2_module (https://nginx.org/en/docs/http/ngx_http_v2_module.html).

import Configuration

/// The `http2_` directives of a server.
struct HTTP2Settings {
  var isOn = false
  var maxConcurrentStreams = 128
  /// The window of a stream: what a client may send of a body before somebody reads it.
  var bodyPrereadBytes = 64 << 10
}

extension Row {
  static let http2Rows: [Row] =
    [
      Row("http2", .httpServer, 1...1, "Whether clients may speak HTTP/2.", standard: "off") {
        scope, directive throws(Refusal) in
        scope.server.http2.isOn = try directive.flag(0)
        scope.server.tls.offersHTTP2 = scope.server.http2.isOn
      },
      .number(
        "http2_max_concurrent_streams", .httpServer, 1...65_535,
        \.server.http2.maxConcurrentStreams, "128", "Requests that a connection may have open."),
      .size(
        "http2_body_preread_size", .httpServer, \.server.http2.bodyPrereadBytes, "64k",
        "How much of each request body a client may send before it is read."),
      .size(
        "http2_chunk_size", .httpServerLocation, \.location.core.http2ChunkBytes, "16k",
        """
        The largest piece that a response body is cut into, if the client takes such frames; at \
        most 256k.
        """
      ),
      .noEffect(
        "http2_recv_buffer_size", .http, .size,
        """
        Accepted for nginx's sake: the buffer comes from the worker's pool while bytes are there.
        """),
    ] + obsoleteRows

  /// What nginx knows and ignores since 1.19.7 and 1.25.1, with what takes its place.
  private static let obsoleteRows: [Row] = [
    ("http2_idle_timeout", "keepalive_timeout"), ("http2_recv_timeout", "client_header_timeout"),
    ("http2_max_requests", "keepalive_requests"),
    ("http2_max_field_size", "large_client_header_buffers"),
    ("http2_max_header_size", "large_client_header_buffers"),
    ("http2_max_concurrent_pushes", nil), ("http2_push", nil), ("http2_push_preload", nil),
  ].map { obsolete($0, substitute: $1) }

  private static func obsolete(_ name: String, substitute: String?) -> Row {
    let isOfLocations = ["http2_push", "http2_push_preload"].contains(name)
    let advice = substitute.map { "`\($0)` takes its place" } ?? "browsers have given pushes up"
    return Row(
      name, isOfLocations ? .httpServerLocation : .httpServer, 1...1,
      "Obsolete, ignored with a warning: \(advice)."
    ) { scope, directive in
      let hint = substitute.map { "; use \"\($0)\"" } ?? ""
      scope.warn("\"\(name)\" is obsolete and ignored\(hint)", directive.name)
    }.repeatable()
  }
}
