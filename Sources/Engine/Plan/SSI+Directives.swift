// Directives of ngx_http_ssi_module (https://nginx.org/en/docs/http/ngx_http_ssi_module.html), and
// `subrequest_output_buffer_size`.

import Configuration
import HTTP

/// The `ssi` directives.
struct SSISettings {
  var isOn = false
  var types = MediaTypeSet()
  var isSilent = false
  var keepsLastModified = false
  /// The longest value of a parameter of a command, in bytes.
  var valueLength = 256
  /// The most that an include with `set` holds in memory, in bytes.
  var heldBytes = 64 << 10
}

extension Row {
  static let ssiRows: [Row] = [
    .flag(
      "ssi", .anyHTTP, \.location.filters.ssi.isOn, "off",
      """
      Whether commands `<!--# … -->` in bodies are obeyed. Only for content that is trusted: it \
      may include any location, internal ones too.
      """
    ),
    Row(
      "ssi_types", .httpServerLocation, 1...1000,
      "Media types whose commands are obeyed besides text/html; `*`: all.", standard: "text/html"
    ) { scope, directive throws(Refusal) in
      if scope.isFirst(directive) { scope.location.filters.ssi.types = MediaTypeSet() }
      addTypes(scope, directive, \.location.filters.ssi.types)
    }.repeatable(),
    .flag(
      "ssi_silent_errors", .httpServerLocation, \.location.filters.ssi.isSilent, "off",
      "Whether a command that fails leaves nothing in its place."),
    .flag(
      "ssi_last_modified", .httpServerLocation, \.location.filters.ssi.keepsLastModified, "off",
      "Whether responses keep Last-Modified, and their ETag as a weak one."),
    .size(
      "ssi_value_length", .httpServerLocation, \.location.filters.ssi.valueLength, "256",
      "The longest value of a parameter of a command."),
    Row(
      "ssi_min_file_chunk", .httpServerLocation, 1...1,
      "Accepted for nginx's sake: files are read into memory where commands are looked for.",
      standard: "1k"
    ) { _, directive throws(Refusal) in _ = try directive.size(0) },
    .size(
      "subrequest_output_buffer_size", .httpServerLocation, \.location.filters.ssi.heldBytes, "64k",
      "The longest response that `include` with `set` takes; others are passed on as they come."),
  ]
}
