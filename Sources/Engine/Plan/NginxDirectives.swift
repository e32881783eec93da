// What to say about directives of nginx that are not implemented: users should learn at once whether
// a word is misspelt or missing here.

/// Directives of nginx that configurations often have and that are refused with a reason.
enum NginxDirectives {
  private static let notes: [String: String] = [
    "http3": "HTTP/3 is not supported",
    "brotli": "Brotli is not supported; \"gzip\" is",
    "load_module": "modules cannot be loaded: everything is built in",
    "fastcgi_pass": "FastCGI is not supported; proxy HTTP instead",
    "uwsgi_pass": "uwsgi is not supported; proxy HTTP instead",
    "scgi_pass": "SCGI is not supported; proxy HTTP instead",
    "stream": "stream proxying is not supported by this version",
    "mail": "mail proxying is not supported",
    "proxy_cache_purge": "purging is not supported; remove files by \"inactive=\" or \"max_size=\" of \"proxy_cache_path\"",
  ]

  /// A message about `name`, or nil if nothing is to be said.
  static func note(_ name: String) -> String? { notes[name].map { "\"\(name)\": \($0)" } }
}
