// What `-t` says of the mistakes that people make: the message has to name the mistake, not its
// consequence.

import Foundation
import Testing

@Suite struct ConfigurationHintTests {
  private func check(_ config: String, files: [String: String] = [:]) throws -> Finished {
    try Portico.run(Site(config: config, files: files), ["-t"])
  }

  /// Checks that `config` is refused with `message`.
  private func expect(_ config: String, isRefusedWith message: String) throws -> Finished {
    let result = try check(config)
    #expect(result.code == 1)
    #expect(result.standardError.contains(message))
    return result
  }

  @Test(arguments: [
    ("listen ${PORT};", "\"${env:PORT}\" is that of the environment"),
    ("location / { proxy_pass http://${BACKEND}:80; }", "\"${env:BACKEND}\" is that of the"),
    ("init_by_lua_block { x }", "scripts are not supported"),
    ("location / { echo hi; }", "the echo module is not supported"),
    ("subs_filter a b;", "\"sub_filter\" is, without regular expressions"),
    ("\u{A0}root /srv;", "U+A0, which looks like a blank"),
  ])
  func namesWhatOtherToolsLeaveBehind(_ line: String, _ message: String) throws {
    _ = try expect("http { server { \(line) } }", isRefusedWith: message)
  }

  private static let missingSemicolon = "is a \";\" missing at the end of the previous line?"

  @Test(arguments: [
    ("listen 127.0.0.1:80\n server_name x;", "\"server_name\" begins a line"),
    (
      "listen 127.0.0.1:80; proxy_set_header Host $host\n proxy_pass http://127.0.0.1;",
      "\"proxy_pass\" begins a line"
    ),
    ("listen 127.0.0.1:80; root /srv\n index index.html;", "\"index\" begins a line"),
    ("listen 127.0.0.1:80; autoindex on\n location / { }", "\"location\" begins a line"),
    ("listen 127.0.0.1:80; root\n location { }", "\"location\" begins a line"),
  ])
  func asksForAForgottenSemicolon(_ server: String, _ word: String) throws {
    _ = try expect(
      "http { server { \(server) } }", isRefusedWith: "\(word); \(Self.missingSemicolon)")
  }

  @Test(arguments: ["server_name a.example", "index index.html", "gzip_types text/css"])
  func warnsOfAForgottenSemicolonWhereAnyNumberIsTaken(_ line: String) throws {
    let result = try check("http { server {\n\(line)\nroot /srv; location / { } } }")
    #expect(result.code == 0)
    #expect(
      result.standardError.contains(
        ":2:\(line.utf8.count): warning: \"root\" begins a line; \(Self.missingSemicolon)"),
      "\(result.standardError)")
  }

  @Test func takesWordsThatAreDirectivesElsewhere() throws {
    let result = try check(
      "http { server { server_name root\n\"index\"\na.example; index index root; } }")
    #expect(result.code == 0)
    #expect(!result.standardError.contains("warning"), "\(result.standardError)")
  }

  @Test(arguments: [
    ("events { } events { } http { }", "\"events\" directive is duplicate"),
    ("events { } http { } http { }", "\"http\" directive is duplicate"),
    ("http { server listen 80; }", "\"server\" needs a block"),
    ("", "no \"http\" section in configuration"),
    ("worker_processes 2; events { }", "no \"http\" section in configuration"),
  ])
  func refusesBlocksThatNginxRefuses(_ config: String, _ message: String) throws {
    _ = try expect(config, isRefusedWith: message)
  }

  @Test(arguments: [
    ("http { server { proxy_pas http://a; } }", "did you mean \"proxy_pass\", in location, if"),
    ("http { server { if($a) { } } }", "a space is missing behind \"if\""),
    ("http { server { location/a { } } }", "a space is missing behind \"location\""),
    ("http { map$a $b { } }", "a space is missing behind \"map\""),
    ("http { server { proxy_header Host x; } }", "mean \"proxy_set_header\" or \""),
    (
      "http { server { location / { proxy_pass http://127.0.0.1:99999; } } }",
      "invalid port \"99999\" in \"http://127.0.0.1:99999\""
    ),
    ("http { servr { } }", "\"servr\" is not a directive here; did you mean \"server\"?"),
    ("worker_processes many; http { }", "must be \"auto\" or between 1 and 1024, not \"many\""),
    ("worker_processes 0; http { }", "must be \"auto\" or between 1 and 1024, not \"0\""),
  ])
  func namesWhatWasMeant(_ config: String, _ message: String) throws {
    _ = try expect(config, isRefusedWith: message)
  }

  @Test(arguments: [
    ("http2_idle_timeout 3m;", "; use \"keepalive_timeout\""),
    ("http2_recv_timeout 3m;", "; use \"client_header_timeout\""),
    ("http2_max_requests 5;", "; use \"keepalive_requests\""),
    ("http2_max_field_size 4k;", "; use \"large_client_header_buffers\""),
    ("http2_max_header_size 4k;", "; use \"large_client_header_buffers\""),
    ("http2_max_concurrent_pushes 5;", ""), ("http2_push /a;", ""), ("http2_push_preload on;", ""),
  ])
  func warnsOfWhatNginxIgnoresToo(_ server: String, _ hint: String) throws {
    let result = try check("http { server { \(server) } }")
    let name = server.prefix { $0 != " " }
    #expect(result.code == 0)
    #expect(result.standardError.contains("\"\(name)\" is obsolete and ignored\(hint)\n"))
  }

  @Test(arguments: [
    ("http3 on;", "\"http3\": HTTP/3 is not supported"),
    ("listen 127.0.0.1:80 quic;", "HTTP/3 is not supported"),
    ("fastcgi_param A b;", "FastCGI is not supported"),
    ("fastcgi_cache_path /x;", "FastCGI is not supported"),
    ("uwsgi_param A b;", "uwsgi is not supported"),
    ("memcached_pass 127.0.0.1:11211;", "memcached is not supported"),
    ("js_content a.b;", "scripts are not supported"),
    ("dav_methods PUT;", "WebDAV is not supported"),
    ("image_filter size;", "changing images"),
    ("acme_certificate a;", "ACME is not supported"),
    ("brotli_types text/css;", "\"gzip\" is"),
    ("ssl on;", "\"ssl\": it belongs to the address: write \"listen 443 ssl\""),
    ("vhost_traffic_status_display;", "\"stub_status\" counts connections and requests"),
    (
      "} upstream a { server 10.0.0.1; queue 10;", "\"queue\": this directive of nginx's commercial"
    ),
    (
      "} upstream a { server 10.0.0.1; state /s;", "\"state\": this directive of nginx's commercial"
    ),
    ("} upstream a { server 10.0.0.1; ntlm;", "\"ntlm\": this directive of nginx's commercial"),
    ("} upstream a { server 10.0.0.1; bind_conns;", "\"bind_conns\": this directive of nginx's"),
    ("} upstream a { server 10.0.0.1; check interval=3;", "\"health_check\" is"),
    ("} upstream a { server 10.0.0.1; check_http_send x;", "\"health_check\" is"),
    ("} upstream a { server 10.0.0.1 slow_start=3s;", "is not supported: it is of nginx's"),
    ("} match a { require $arg_x;", "\"require\" is not supported"),
  ])
  func saysWhatIsMissingHere(_ server: String, _ message: String) throws {
    let result = try expect("http { server { \(server) } }", isRefusedWith: message)
    #expect(!result.standardError.contains("did you mean"))
  }

  @Test(arguments: [
    ("server 10.0.0.1 weight=x;", "\"weight\" must be between 1 and 65535, not \"x\""),
    ("server 10.0.0.1 fail_timeout=abc;", "\"fail_timeout\" must be a time"),
    ("server 10.0.0.1; zone a 12q;", "\"zone\" must be"),
    ("server 10.0.0.1; health_check interval=x;", "\"interval\" must be a time"),
  ])
  func namesTheParameterThatIsWrong(_ lines: String, _ message: String) throws {
    let result = try expect("http { upstream a { \(lines) } }", isRefusedWith: message)
    #expect(!result.standardError.contains("no servers are inside"))
  }

  @Test func namesTheParameterWhoseSecondsAreWrong() throws {
    _ = try expect(
      "http { proxy_cache_path /x keys_zone=a:1m inactive=1ms; }",
      isRefusedWith: "\"inactive\" must be a time of whole seconds")
  }

  @Test(arguments: [
    ("return 200 $geoip_country_code;", "$geoip_country_code", "GeoIP databases are not"),
    ("return 200 $fastcgi_script_name;", "$fastcgi_script_name", "FastCGI is not supported"),
    ("set $a a$slice_range;", "a$slice_range", "caching parts of responses"),
    ("return 200 $nothing_like_it;", "$nothing_like_it", ""),
  ])
  func saysWhyThereIsNoSuchVariable(_ line: String, _ word: String, _ reason: String) throws {
    let result = try expect(
      "http { server { listen 127.0.0.1:%%PORT_0%%;\n\(line) } }",
      isRefusedWith: "\" variable\(reason.isEmpty ? "" : ": ")\(reason)")
    let column = line.utf8.count - word.utf8.count
    #expect(result.standardError.contains(":2:\(column): "), "\(result.standardError)")
  }

  @Test func saysOnceABlockThatAModuleIsMissing() throws {
    let result = try expect(
      """
      http { server { listen 127.0.0.1:%%PORT_0%%; location / {
        fastcgi_pass 127.0.0.1:9000; fastcgi_param A 1; fastcgi_param B 2; uwsgi_param C 3; } } }
      """,
      isRefusedWith: "proxy HTTP instead (and 2 more \"fastcgi_…\" directives)")
    #expect(result.standardError.components(separatedBy: "FastCGI is not").count == 2)
    #expect(result.standardError.contains("uwsgi is not supported; proxy HTTP instead\n"))
  }

  @Test(arguments: [
    (
      "limit_req_zone $uri zone=one:1k rate=1r/s; server { limit_req zone=one; }",
      "zone \"one\" is too small", "there is no"
    ),
    (
      "limit_conn_zone $uri zone=one:1k; server { limit_conn one 1; }",
      "zone \"one\" is too small", "there is no"
    ),
    (
      """
      server { listen 127.0.0.1:81 default_server; }
      server { listen 127.0.0.1:81 default_server; }
      """, ":2:30: error: a duplicate default server for 127.0.0.1:81", "conflicting"
    ),
    (
      "server { content_by_lua_block { ngx.say(a) } }", "scripts are not supported", "ended by"
    ),
  ])
  func saysNothingOfWhatOnlyFollows(_ text: String, _ message: String, _ other: String) throws {
    let result = try expect("http { \(text) }", isRefusedWith: message)
    #expect(!result.standardError.contains(other), "\(result.standardError)")
  }

  @Test(arguments: ["add_header", "proxy_set_header", "grpc_set_header"])
  func warnsOfFieldsThatAreHidden(_ name: String) throws {
    let result = try check(
      "http { server { \(name) X-One 1; \(name) X-Two 2; location / { \(name) X-Three 3; } } }")
    #expect(result.code == 0)
    #expect(
      result.standardError.contains(
        "this \"\(name)\" hides those inherited from outside: X-One, X-Two"))
  }

  @Test func meansTheVersionOfTLSThatWasMeant() throws {
    let result = try check("http { server { ssl_protocols TLSv1.2 TLSv13; } }")
    #expect(result.standardError.contains("did you mean \"TLSv1.3\"?"))
  }

  @Test func saysWhatIsWrongWithAKeyWhateverIsWrongWithItsCertificate() throws {
    let result = try check(
      "http { server { listen 127.0.0.1:%%PORT_0%% ssl; ssl_certificate no.pem; ssl_certificate_key no.key; } }"
    )
    #expect(result.code == 1)
    #expect(result.standardError.contains("no.pem\": (2: No such file"))
    #expect(result.standardError.contains("no.key\": (2: No such file"))
  }

  /// What is wrong with TLS is said where it stands, and in the words that stand there.
  @Test(arguments: [
    (
      "ssl_certificate missing.pem.crt;\nssl_certificate_key missing.pem;",
      [
        "3:17: error: cannot read \"DIR/missing.pem.crt\"",
        "4:21: error: cannot read \"DIR/missing.pem\"",
      ]
    ),
    (
      "\nssl_conf_command Options -SessionTicket;\nssl_conf_command Nope 1;",
      ["5:18: error: \"ssl_conf_command\": OpenSSL refuses the command \"Nope 1\""]
    ),
    (
      "\nssl_ecdh_curve P-1;\nssl_ciphers NONSENSE;",
      ["5:13: error: \"ssl_ciphers\": no cipher matches"]
    ),
    (
      "\nssl_trusted_certificate bad.pem;",
      ["4:25: error: cannot load certificate \"ssl_trusted_certificate\""]
    ),
    (
      "location / {\nproxy_pass https://127.0.0.1;\nproxy_ssl_ciphers NONSENSE; }",
      ["5:19: error: \"proxy_ssl_ciphers\": no cipher matches"]
    ),
    (
      "location / {\ngrpc_pass grpcs://127.0.0.1;\ngrpc_ssl_ciphers NONSENSE; }",
      ["5:18: error: \"grpc_ssl_ciphers\": no cipher matches"]
    ),
    (
      "location / {\ngrpc_pass grpcs://127.0.0.1;\ngrpc_ssl_crl bad.pem; }",
      ["5:14: error: cannot load revocation list \"grpc_ssl_crl\""]
    ),
    (
      "location / {\ngrpc_pass grpcs://127.0.0.1;\ngrpc_ssl_conf_command Nope 1; }",
      ["5:23: error: \"grpc_ssl_conf_command\": OpenSSL refuses"]
    ),
    (
      "location / {\ngrpc_pass grpcs://127.0.0.1;\ngrpc_ssl_verify on; }",
      ["4:1: error: \"grpc_ssl_verify\" needs \"grpc_ssl_trusted_certificate\""]
    ),
    (
      "location / {\nproxy_pass https://127.0.0.1;\nproxy_ssl_certificate bad.pem;\n"
        + "proxy_ssl_certificate_key no.pem; }",
      ["6:27: error: cannot read \"DIR/no.pem\""]
    ),
  ])
  func pointsAtWhatIsWrongWithTLS(server: String, problems: [String]) throws {
    let site = try Site(
      config:
        "http {\nserver { listen 127.0.0.1:%%PORT_0%% ssl; ssl_reject_handshake on;\n\(server)\n} }",
      files: ["bad.pem": "nothing"])
    let result = try Portico.run(site, ["-t"])
    #expect(result.code == 1)
    let text = result.standardError.replacing(site.folder, with: "DIR/")
    for problem in problems { #expect(text.contains(":\(problem)"), "\(text)") }
    #expect(text.components(separatedBy: ": error: ").count == problems.count + 1, "\(text)")
  }

  @Test func warnsOfAFileOfPasswordsThatIsNotThere() throws {
    let result = try check(
      """
      http { server { listen 127.0.0.1:%%PORT_0%%; auth_basic x;
        auth_basic_user_file there; location /a { auth_basic_user_file missing; }
        location /b { auth_basic_user_file $arg_x; } } }
      """, files: ["there": ""])
    #expect(result.code == 0)
    #expect(result.standardError.contains("missing\" is not there"))
    #expect(result.standardError.components(separatedBy: "is not there").count == 2)
  }

  @Test func warnsOfACertificateThatNothingCanBeStapledFor() throws {
    let site = try Site(
      config: """
        http { server { listen 127.0.0.1:%%PORT_0%% ssl; ssl_stapling on;
          ssl_certificate a.pem; ssl_certificate_key a.key; } }
        """)
    _ = try Command.run(
      [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-subj", "/CN=a", "-keyout", site.folder + "a.key", "-out", site.folder + "a.pem",
      ], folder: site.folder)
    let result = try Portico.run(site, ["-t"])
    #expect(result.code == 0)
    #expect(result.standardError.contains("\"ssl_stapling\" ignored for certificate \"a.pem\""))
  }
}
