// Responses of upstreams with bytes changed, left out, doubled or cut off, past everything that
// looks at a response: each client gets an answer or an end, and the worker lives. The changes are
// the same in every run.

import Foundation
import TestSupport
import Testing

@Suite struct MangledResponseTests {
  /// Everything that tells of an upstream or of what is sent.
  private static let values = [
    "status", "bytes_sent", "upstream_addr", "upstream_status", "upstream_header_time",
    "upstream_response_length", "upstream_bytes_received", "upstream_cache_status",
    "upstream_http_x_a", "upstream_http_location", "upstream_http_set_cookie",
    "upstream_http_content_type", "upstream_cookie_a", "upstream_trailer_x_t",
    "sent_http_content_type", "sent_http_content_length", "sent_http_location", "sent_http_etag",
    "sent_http_set_cookie", "sent_trailer_x_t",
  ].map { "$" + $0 }.joined(separator: " ")

  private static let locations = [
    "/plain": "", "/streamed": "proxy_buffering off; early_hints 1;",
    "/cached":
      "proxy_cache z; proxy_cache_valid any 1m; proxy_cache_key $uri; proxy_cache_use_stale error;",
    "/changed": "ssi on; sub_filter hello bye; gunzip on; gzip on; gzip_min_length 1;",
    "/rewritten":
      "proxy_cookie_path / /x; proxy_redirect ~^(?<all>.*)$ /y$all; proxy_cookie_flags ~ secure;",
    "/intercepted": "proxy_intercept_errors on; error_page 302 401 500 502 = @again;",
    "/asked": "auth_request /plain/auth; auth_request_set $v $upstream_http_x_a;",
    "/stored": "proxy_store %%DIR%%/stored$uri; proxy_pass_trailers on; limit_rate 1m;",
  ]

  private static let config = """
    http {
      proxy_cache_path %%DIR%%/cache keys_zone=z:1m;
      log_format all '\(values)'; access_log %%DIR%%/all.log all;
      server {
        listen 127.0.0.1:%%PORT_0%%; proxy_read_timeout 2s; limit_rate_after 100k;
        add_header X-All "\(values)" always; add_trailer X-End "\(values)";
        \(locations.sorted { $0.key < $1.key }.map {
          "location \($0)/ { \($1) proxy_pass http://%%UPSTREAM_0%%; }"
        }.joined(separator: "\n"))
        location @again { proxy_pass http://%%UPSTREAM_0%%; }
      }
    }
    """

  private static let fields =
    "X-A: v\r\nSet-Cookie: a=b; Path=/\r\nETag: \"t\"\r\nCache-Control: max-age=60\r\n"
    + "Vary: Accept\r\nContent-Type: text/html; charset=utf-8\r\n"
  private static let page =
    "<p>hello <!--# echo var=\"uri\" --> and <!--# include virtual=\"/x\" -->"
  private static let responses = [
    "HTTP/1.1 200 OK\r\n\(fields)Content-Length: \(page.utf8.count)\r\n\r\n\(page)",
    "HTTP/1.1 200 OK\r\n\(fields)Transfer-Encoding: chunked\r\n\r\n5;e=1\r\nhello\r\n0\r\nX-T: t\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nX-A: w\r\n\r\nHTTP/1.1 200 OK\r\n\(fields)\r\n\(page)",
    "HTTP/1.1 206 Partial Content\r\nX-A: v\r\nContent-Range: bytes 0-4/9\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.1 304 Not Modified\r\nETag: \"t\"\r\nContent-Length: 5\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX-Accel-Redirect: /plain/x?a=b\r\nX-Accel-Expires: 9\r\nSet-Cookie: a=b\r\n"
      + "X-Accel-Limit-Rate: 1000000\r\nX-Accel-Charset: koi8-r\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 302 Found\r\nLocation: http://a/b\r\nRefresh: 5; url=/c\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.0 500 No\r\nX-A: v\r\nWWW-Authenticate: Basic realm=\"x\"\r\n\r\nno",
  ].map { Array($0.utf8) }

  @Test func harmNobody() async throws {
    let upstream = try TestUpstream { request in
      let number = request.path.split { !$0.isNumber }.first.flatMap { UInt64($0) } ?? 0
      var dice = Dice(seed: number &* 1_000 &+ UInt64(request.path.utf8.count))
      let bytes = dice.mangled(dice.pick(Self.responses))
      let cut = dice.roll(bytes.count + 1)
      return .steps([.bytes(Array(bytes[..<cut])), .bytes(Array(bytes[cut...])), .close])
    }
    let door = try await Portico.start(config: Self.config, upstreams: [upstream])
    for number in 0..<100 {
      for place in Self.locations.keys.sorted() {
        let client = try door.client()
        try client.send(
          "GET \(place)/\(number) HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nAccept-Encoding: gzip\r\n"
            + "Range: bytes=0-3\r\nIf-Match: \"t\"\r\nConnection: close\r\n\r\n")
        let received = try client.readToEndOrReset()
        #expect(received.starts(with: Array("HTTP/1.1 ".utf8)), "\(place)/\(number)")
      }
    }
    #expect(!door.errorLog.contains("exited on signal"))
    try door.stop()
  }
}
