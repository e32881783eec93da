// A door that speaks HTTP/2 on a plain port and on one with TLS, for the tests of that protocol.

import Foundation

/// What tests of HTTP/2 to clients begin with.
enum HTTP2Door {
  /// A plain port (0) and a TLS port (1), in front of `upstream` or of an application that says
  /// what it was asked.
  static func start(
    _ upstream: TestUpstream? = nil, http: String = "", server: String = ""
  ) async throws -> RunningPortico {
    let app = try upstream ?? echo()
    let site = try Site(
      config: """
        http {
          http2 on;
          log_format short "$status $server_protocol $http2 $request";
          access_log %%DIR%%/access.log short;
          \(http)
          server {
            listen 127.0.0.1:%%PORT_0%%;
            listen 127.0.0.1:%%PORT_1%% ssl;
            ssl_certificate localhost.crt; ssl_certificate_key localhost.key;
            root %%DIR%%/files;
            \(server)
            location /fixed { return 200 "$http_cookie|$host|$request_uri"; }
            location /app/ { proxy_pass http://%%UPSTREAM_0%%; }
            location /stream/ {
              proxy_pass http://%%UPSTREAM_0%%;
              proxy_request_buffering off; proxy_buffering off;
            }
          }
        }
        """,
      files: [
        "files/small.txt": "small", "files/large": String(repeating: "0123456789", count: 30_000),
      ],
      upstreams: [app])
    try site.makeCertificate("localhost")
    return try await Portico.start(site)
  }

  private static func echo() throws -> TestUpstream {
    try TestUpstream { request in
      .answer(body: "\(request.method) \(request.path) \(request.version) \(request.body.count)")
    }
  }

  /// What curl prints for a path, the last of `options`.
  static func curl(_ door: RunningPortico, _ options: [String], tls: Bool = true) throws -> String {
    let url = tls ? "https://127.0.0.1:\(door.port(1))" : "http://127.0.0.1:\(door.port(0))"
    let mode = tls ? "--http2" : "--http2-prior-knowledge"
    let words =
      ["curl", "-sk", mode, "-m", "35"] + options.dropLast() + [url + (options.last ?? "/")]
    return try Command.run(words, folder: door.site.folder).standardOutput
  }
}
