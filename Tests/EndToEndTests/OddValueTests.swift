// Values that clients choose, wherever a directive takes a variable: empty, short, cut off, too
// long. Each request is answered, and the worker lives.

import Foundation
import Testing

@Suite struct OddValueTests {
  /// Directives of locations that pass requests on.
  private static let proxied = [
    "proxy_set_header Host $arg_x;", "proxy_set_header Range $arg_x;", "proxy_method $arg_x;",
    "proxy_set_body $arg_x;", "proxy_bind $arg_x;", "proxy_limit_rate $arg_x;",
    "proxy_redirect ~^(.*)$ $arg_x$1;", "proxy_redirect /b $arg_x;",
    "proxy_cookie_domain $arg_x z;", "proxy_cookie_domain a $arg_x;",
    "proxy_cookie_path / $arg_x;", "proxy_cookie_flags $arg_x secure;",
    "proxy_cache z; proxy_cache_key $arg_x;", "proxy_cache $arg_x;", "proxy_no_cache $arg_x;",
    "proxy_store %%DIR%%/stored/$arg_x;", "add_header X $arg_x;", "add_trailer X $arg_x;",
    "expires $arg_x;", "charset $arg_x;", "limit_rate $arg_x;", "sub_filter a $arg_x;",
    "sub_filter $arg_x z;", "userid on; userid_domain $arg_x;", "access_log %%DIR%%/$arg_x.log;",
    "auth_basic $arg_x; auth_basic_user_file none;", "auth_basic a; auth_basic_user_file $arg_x;",
    "auth_request /b; auth_request_set $y $arg_x;", "disable_symlinks on from=$arg_x;",
    "rewrite ^/(.*)$ $arg_x$1 break;", "rewrite ^ $arg_x break;",
    "if ($arg_x = $uri) { return 200 y; }", "if (-e %%DIR%%/$arg_x) { return 200 y; }",
  ]
  /// Whole locations.
  private static let whole = [
    "proxy_pass $arg_x;", "proxy_pass http://$arg_x;", "proxy_pass https://$arg_x;",
    "proxy_pass http://app$arg_x;", "grpc_pass $arg_x;", "grpc_pass grpcs://$arg_x;",
    "return 302 $arg_x;", "return 200 $arg_x$v$w$s;", "root $arg_x;", "alias $arg_x;",
    "try_files $arg_x /none;", "try_files $arg_x =404;", "error_page 404 $arg_x;",
    "error_page 404 = $arg_x;", "index $arg_x;", "secure_link $arg_x; secure_link_md5 $arg_x;",
    "secure_link $arg_x,$arg_x; secure_link_md5 a; return 200 $secure_link;",
    "rewrite ^ $arg_x;", "rewrite ^ $arg_x? redirect;", "rewrite ^/(.*)$ $arg_x$1 permanent;",
  ]

  private static let values =
    [
      "", "a", "/", "//", ".", "/..", "?", "%23", "%", "%0d%0a", "%00", "a%00b", "%20a%20", "%ff",
      "@n", "@", "http:", "http://", "https:/", "https://a", "unix:", "unix:/none", "unix:/none:",
      "[", "[]", "[::1", "[::1]:", "[::1]:1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:99999", ":",
      "a:b:c", "-1", "0", "1k", "9223372036854775807", "99999999999999999999", "@25h", "1d",
      "epoch", "max", "off", "on", "%22", "'", "%5c", "$x", "${", "~", "~*", "*", "=404", ",", ";",
      "a=b", "utf-8", "GET", "get%20post", "app", "app:80", "app/", "grpc://", "bytes=0-",
    ] + [300, 4000].map { String(repeating: "x", count: $0) }

  @Test func eachIsAnswered() async throws {
    let upstream = try TestUpstream { _ in
      .answer(
        "302 Found",
        fields: [
          "Location": "/b/c", "Set-Cookie": "a=b; Domain=a; Path=/", "Content-Type": "text/html",
        ],
        body: "abc")
    }
    let locations =
      Self.proxied.map { "\($0) proxy_pass http://app;" } + Self.whole
    let door = try await Portico.start(
      config: """
        http {
          resolver 127.0.0.1:1; resolver_timeout 50ms;
          proxy_connect_timeout 500ms; grpc_connect_timeout 500ms; grpc_read_timeout 500ms;
          proxy_cache_path %%DIR%%/cache keys_zone=z:1m;
          map $arg_x $v { hostnames; default d; *.a.b 1; .c.d 2; ~^(?<q>.)(.*)$ "$q$2"; }
          geo $arg_x $w { default d; 10.0.0.0/8 a; ::/1 b; }
          split_clients $arg_x $s { 50% a; * b; }
          upstream app { server %%UPSTREAM_0%%; }
          server {
            listen 127.0.0.1:%%PORT_0%%;
            root %%DIR%%;
            location = /b { return 200 y; }
            location @n { return 200 n; }
            \(locations.enumerated().map { "location /\($0)/ { \($1) }" }.joined(separator: "\n"))
          }
        }
        """, upstreams: [upstream])
    for index in locations.indices {
      for value in Self.values {
        let client = try door.client()
        try client.send(
          """
          GET /\(index)/?x=\(value) HTTP/1.1\r
          Host: a\r
          Referer: \(value.prefix(200))\r
          Cookie: a=\(value.prefix(100)); \(value.prefix(20))\r
          Range: \(value.prefix(40))\r
          Authorization: Basic \(value.prefix(80))\r
          If-None-Match: \(value.prefix(20))\r
          Connection: close\r\n\r\n
          """)
        let answer = String(decoding: try client.readToEnd().prefix(9), as: UTF8.self)
        #expect(answer == "HTTP/1.1 ", "\(locations[index]) with \"\(value.prefix(40))\"")
      }
    }
    #expect(!door.errorLog.contains("exited on signal"))
    try door.stop()
  }
}
