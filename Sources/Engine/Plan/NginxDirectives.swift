// What to say about directives of nginx and its common modules that are not implemented: users
// should learn at once whether a word is misspelt or missing here. docs/directives.md lists the
// same.

/// Directives that configurations often have and that are refused with a reason. A row of the same
/// name comes first.
enum NginxDirectives {
  /// Names, or with `*` at their end beginnings of names, and what is said of them.
  static let notes: [(names: [String], message: String)] = [
    (
      ["proxy_cache_purge"],
      """
      purging is not supported; remove files by "inactive=" or "max_size=" of "proxy_cache_path"
      """
    ),
    (["slice"], "caching parts of responses is not supported by this version"),
    (["fastcgi_*"], "FastCGI is not supported; proxy HTTP instead"),
    (["uwsgi_*"], "uwsgi is not supported; proxy HTTP instead"),
    (["scgi_*"], "SCGI is not supported; proxy HTTP instead"),
    (["memcached_*"], "memcached is not supported; proxy HTTP instead"),
    (["http3*", "quic_*"], "HTTP/3 is not supported"),
    (["stream"], "proxying TCP and UDP is not supported by this version"),
    (["mail"], "proxying mail is not supported"),
    (
      ["acme_*"],
      """
      ACME is not supported; certificates that a client such as certbot renews are taken up by \
      themselves
      """
    ),
    (["brotli*", "zstd*"], "Brotli and Zstandard are not supported; \"gzip\" is"),
    (["load_module"], "modules cannot be loaded: everything is built in"),
    (
      [
        "js_*", "perl*", "lua_*", "init_by_lua*", "init_worker_by_lua*", "set_by_lua*",
        "rewrite_by_lua*", "access_by_lua*", "content_by_lua*", "header_filter_by_lua*",
        "body_filter_by_lua*", "log_by_lua*", "balancer_by_lua*", "ssl_certificate_by_lua*",
      ], "scripts are not supported"
    ),
    (["echo", "echo_*"], "the echo module is not supported; \"return\" gives a fixed answer"),
    (
      ["set_escape_uri", "set_unescape_uri", "set_md5", "set_sha1", "set_random", "set_if_empty"],
      "the set-misc module is not supported; \"set\" and \"map\" are"
    ),
    (
      ["subs_filter*"],
      "this module is not supported; \"sub_filter\" is, without regular expressions"
    ),
    (["upload_*"], "the upload module is not supported"),
    (["pagespeed*"], "PageSpeed is not supported"),
    (["auth_digest*"], "digest authentication is not supported; \"auth_basic\" is"),
    (["ssl_engine"], "engines of OpenSSL are not supported"),
    (["debug_connection"], "it has no effect here; write \"error_log … debug\""),
    (["dav_*", "create_full_put_path", "min_delete_depth"], "WebDAV is not supported"),
    (["image_filter*", "xslt_*", "xml_entities"], "changing images and XML is not supported"),
    (
      ["mp4*", "flv", "hls*", "f4f*"],
      "streaming of media is not supported; files are sent with ranges"
    ),
    (["geoip_*", "geoip2*"], "GeoIP databases are not supported; \"geo\" takes lists of networks"),
    (
      ["auth_jwt*", "auth_oidc*", "oidc_*"],
      "tokens are not checked here; \"auth_request\" can ask a service that does"
    ),
    (
      [
        "api", "status", "status_zone", "status_format", "keyval*", "upstream_conf", "session_log*",
        "queue", "state", "ntlm", "bind_conns",
      ], "this directive of nginx's commercial version is not supported"
    ),
    (["ssl"], "it belongs to the address: write \"listen 443 ssl\""),
    (
      ["vhost_traffic_status*"],
      "this module is not supported; \"stub_status\" counts connections and requests"
    ),
    (["check", "check_*"], "Tengine's checks are not supported; \"health_check\" is"),
    (["otel_*", "opentracing*"], "tracing is not supported"),
    (["modsecurity*"], "ModSecurity is not supported"),
    (
      ["more_set_headers", "more_clear_headers", "more_set_input_headers"],
      """
      the headers-more module is not supported; "add_header", "proxy_hide_header" and \
      "proxy_set_header" are
      """
    ),
    (["ancient_browser*", "modern_browser*"], "this module of nginx is not supported"),
  ]

  /// How names of variables of modules begin that are not implemented, and a directive of the same
  /// module.
  private static let variables = [
    ("ancient_browser", "ancient_browser"), ("brotli_", "brotli"), ("fastcgi_", "fastcgi_pass"),
    ("geoip_", "geoip_country"), ("geoip2_", "geoip2"), ("jwt_", "auth_jwt"),
    ("memcached_", "memcached_pass"), ("modern_browser", "modern_browser"), ("otel_", "otel_trace"),
    ("slice_range", "slice"), ("zstd_", "zstd"),
  ]

  /// Why there is no variable `name`, or nil if nothing is to be said.
  static func reason(forVariable name: String) -> String? {
    let known = variables.first { name.hasPrefix($0.0) }
    return known.flatMap { find($0.1)?.message }
  }

  /// The entry that a directive's name matches, and by what.
  static func find(_ name: String) -> (pattern: String, message: String)? {
    for note in notes {
      let pattern = note.names.first {
        $0.hasSuffix("*") ? name.hasPrefix($0.dropLast()) : name == $0
      }
      if let pattern { return (pattern, note.message) }
    }
    return nil
  }
}
