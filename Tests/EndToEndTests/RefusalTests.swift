// What `-t` refuses or warns of because it can't be what its author meant, and where it points.

import Foundation
import Testing

@Suite struct RefusalTests {
  private func check(_ config: String, files: [String: String] = [:]) throws -> Finished {
    try Portico.run(Site(config: config, files: files), ["-t"])
  }

  /// Checks that `config` is refused with `message`, at `line`:`column` if they are given.
  private func expect(
    _ config: String, isRefusedWith message: String, at place: String = ""
  ) throws {
    let result = try check(config)
    #expect(result.code == 1)
    let wanted = place.isEmpty ? message : ":\(place): error: \(message)"
    #expect(result.standardError.contains(wanted), "\(result.standardError)")
  }

  @Test(arguments: [
    "upstream u { server 127.0.0.1:1; health_check uri=/a; health_check uri=/b; }",
    "upstream u { server 127.0.0.1:1; health_check uri=/a; }",
  ])
  func refusesASecondHealthCheck(_ upstream: String) throws {
    let location = "proxy_pass http://u; health_check uri=/b;"
    try expect(
      "http { \(upstream) server { location / { \(location) } } }",
      isRefusedWith: "an upstream has one \"health_check\"")
    // Two sites before one upstream may both name it.
    let same = try check(
      """
      http { upstream u { server 127.0.0.1:1; } server { location / { \(location) }
        location /b { \(location) } } }
      """)
    #expect(same.code == 0, "\(same.standardError)")
  }

  // --- locations ---------------------------------------------------------------------------------

  @Test(arguments: [
    ("location /a { location /b { } }", "location \"/b\" is outside location \"/a\""),
    ("location /a/ { location = /a { } }", "location \"/a\" is outside location \"/a/\""),
    ("location ^~ /a { location /A/b { } }", "location \"/A/b\" is outside location \"/a\""),
    ("location = /a { location /a/b { } }", "cannot be inside the exact location \"/a\""),
    ("location @a { location /b { } }", "cannot be inside the named location \"@a\""),
    ("location @a { location ~ b { } }", "cannot be inside the named location \"@a\""),
    ("location /a { location @b { } }", "can be on the server level only"),
  ])
  func refusesLocationsThatNothingReaches(_ locations: String, _ message: String) throws {
    try expect("http { server { \(locations) } }", isRefusedWith: message)
  }

  @Test func takesLocationsThatSomethingReaches() throws {
    let result = try check(
      """
      http { server { location /a {
        location /a { } location ~ b { location /c { } } location = /ab { }
        location ^~ /a/b { location /a/b/c { } } } } }
      """)
    #expect(result.code == 0, "\(result.standardError)")
  }

  @Test(arguments: [
    ("root /a; alias /b/;", "\"alias\" directive is duplicate, \"root\" directive was specified"),
    ("alias /b/; root /a;", "\"root\" directive is duplicate, \"alias\" directive was specified"),
  ])
  func refusesRootBesideAlias(_ lines: String, _ message: String) throws {
    let config = "http { server { root /c; location /x/ { \(lines) } } }"
    let result = try check(config)
    #expect(result.code == 1)
    #expect(result.standardError.contains(message), "\(result.standardError)")
    #expect(result.standardError.components(separatedBy: " error: ").count == 2)
  }

  @Test func refusesAliasInANamedLocation() throws {
    try expect(
      "http { server { location @x { alias /b/; } } }",
      isRefusedWith: "\"alias\" directive cannot be used inside the named location")
  }

  // --- upstreams ---------------------------------------------------------------------------------

  @Test(arguments: [
    ("proxy_pass http://", 34), ("proxy_pass https://", 34), ("grpc_pass grpc://", 33),
    ("grpc_pass ", 33),
  ])
  func refusesAnUpstreamWithAPort(_ pass: String, _ column: Int) throws {
    try expect(
      """
      http { upstream beee { server 127.0.0.1:81; }
      server { location / { \(pass)beee:8080; } } }
      """, isRefusedWith: "upstream \"beee\" may not have port 8080",
      at: "2:\(column)")
  }

  /// The largest number that there is, where numbers are multiplied or memory is taken.
  @Test(arguments: [
    ("client_header_buffer_size V;", "takes 16m at most"),
    ("large_client_header_buffers 4 V;", "takes 16m at most"),
    ("proxy_buffer_size V;", "takes 1024m at most"), ("proxy_buffers 8 V;", nil),
    ("proxy_busy_buffers_size V;", nil),
  ])
  func survivesHugeSizes(_ directive: String, _ refusal: String?) throws {
    let text = directive.replacingOccurrences(of: "V", with: "\(Int.max)")
    let result = try check("http { server { listen 127.0.0.1:%%PORT_0%%; \(text) } }")
    #expect(result.code == (refusal == nil ? 0 : 1), "\(result.standardError)")
    if let refusal { #expect(result.standardError.contains(refusal)) }
  }

  @Test func warnsOfAMisspeltUpstream() throws {
    let result = try check(
      """
      http { upstream backend { server 127.0.0.1:81; } upstream locahost { server 127.0.0.1:82; }
      server { location / { proxy_pass http://bakend; }
        location /a { proxy_pass http://backend/; } location /b { proxy_pass http://localhost; }
        location /c { proxy_pass http://backend.d; } location /d { proxy_pass http://backends:81; }
        location /e { proxy_pass http://other; } location /f { proxy_pass http://othr; } } }
      """)
    #expect(result.code == 0, "\(result.standardError)")
    #expect(
      result.standardError.contains(
        ":2:34: warning: \"bakend\" is no upstream, DNS is asked for it; did you mean \"backend\"?")
    )
    #expect(
      result.standardError.components(separatedBy: "is no upstream").count == 2,
      "\(result.standardError)")
  }

  // --- words -------------------------------------------------------------------------------------

  @Test(arguments: [
    ("proxy_limit_rate foo;", "\"proxy_limit_rate\" must be a size such as \"8k\""),
    ("proxy_bind banana;", "must be \"off\", an address such as"),
    ("proxy_bind [::1];", "must be \"off\", an address such as"),
    ("grpc_bind 10.0.0.256:80;", "\"grpc_bind\" must be \"off\", an address such as"),
    ("proxy_bind 10.0.0.1 transparent;", "takes one argument: \"transparent\" is not supported"),
    ("proxy_bind 10.0.0.1 opaque;", "\"proxy_bind\" takes one argument"),
    ("client_body_temp_path /x 1 9 banana;", "must be between 1 and 10, not \"banana\""),
    ("proxy_temp_path /x 0;", "\"proxy_temp_path\" must be between 1 and 10, not \"0\""),
    ("aio maybe;", "\"aio\" has no parameter \"maybe\""),
    ("aio_write maybe;", "\"aio_write\" must be \"on\" or \"off\", not \"maybe\""),
    ("directio 4mm;", "\"directio\" must be a size such as"),
    ("sendfile_max_chunk banana;", "\"sendfile_max_chunk\" must be a size such as"),
    ("output_buffers 2 x;", "\"output_buffers\" must be a size such as"),
    ("output_buffers 0 4k;", "\"output_buffers\" must be a whole number from 1"),
    ("types_hash_max_size 2k;", "\"types_hash_max_size\" must be a whole number"),
  ])
  func refusesWordsThatNginxRefuses(_ line: String, _ message: String) throws {
    try expect("http { server { \(line) } }", isRefusedWith: message)
  }

  @Test(arguments: [
    ("pcre_jit banana;", "\"pcre_jit\" must be \"on\" or \"off\""),
    ("timer_resolution banana;", "\"timer_resolution\" must be a time"),
    ("debug_points banana;", "\"debug_points\" has no parameter \"banana\""),
    ("events { worker_aio_requests x; }", "\"worker_aio_requests\" must be a whole number"),
  ])
  func refusesWordsOutsideOfServers(_ line: String, _ message: String) throws {
    try expect("\(line) http { }", isRefusedWith: message)
  }

  @Test func refusesAWordBehindKeepalive() throws {
    try expect(
      "http { upstream a { server 127.0.0.1; keepalive 32 foo; } }",
      isRefusedWith: "\"keepalive\" has no parameter \"foo\"")
  }

  @Test func takesWordsThatNginxTakes() throws {
    let result = try check(
      """
      pcre_jit on; timer_resolution 100ms; debug_points stop; thread_pool a threads=3 max_queue=9;
      http { upstream a { server 127.0.0.1; keepalive 32 local; }
      server { aio threads=a; directio off; proxy_limit_rate 10k; proxy_bind 127.0.0.1;
        client_body_temp_path t 1 2 3;
        location /a { proxy_limit_rate $arg_x; proxy_bind 127.0.0.1:80; aio off; directio 4m; }
        location /b { proxy_bind [::1]:80; } location /c { proxy_bind ::1; }
        location /d { proxy_bind $remote_addr; } location /e { proxy_bind off; } } }
      """)
    #expect(result.code == 0, "\(result.standardError)")
  }

  // --- lines of map and split_clients ------------------------------------------------------------

  @Test(arguments: [
    ("map $arg_a $b", "x 1", "y", "a line of \"map\" is a value and a result: \"x\" has 3 results"),
    ("map $arg_a $b", "~(x 1;", "y", "missing closing parenthesis in \"(x\" at offset 2"),
    ("map $arg_a $b", "y 1;", "y", "conflicting parameter \"y\" in \"map\""),
    (
      "split_clients $arg_a $b", "10% 1", "20%",
      "a line of \"split_clients\" is a share and a value"
    ),
    ("split_clients $arg_a $b", "x% 1;", "20%", "\"x%\" must be a share such as"),
  ])
  func pointsAtTheLineOfABlock(
    _ block: String, _ line: String, _ next: String, _ message: String
  ) throws {
    let result = try check(
      """
      http { \(block) {
        \(block.hasPrefix("map") ? "z" : "5%") 1;
        \(line)
        \(next) 2;
        \(block.hasPrefix("map") ? "w" : "*") 3;
      }
      server { return 200 $b; } }
      """)
    #expect(result.code == 1)
    let place = message.hasPrefix("conflicting") ? ":4:3" : ":3:3"
    #expect(
      result.standardError.contains("\(place): error: \(message)"), "\(result.standardError)")
    #expect(result.standardError.components(separatedBy: " error: ").count == 2)
    let isUnended = !line.hasSuffix(";")
    #expect(result.standardError.contains("\"\(next)\" begins a line; is a \";\"") == isUnended)
  }

  @Test(arguments: [("map", "x"), ("split_clients", "10%")])
  func pointsAtAVariableThatIsUnknown(_ block: String, _ key: String) throws {
    try expect(
      "http { \(block) $arg_a $b {\n \(key) 1$nothing_such;\n } server { return 200 $b; } }",
      isRefusedWith: "unknown \"nothing_such\" variable", at: "2:\(key.utf8.count + 3)")
  }

  // --- TLS ---------------------------------------------------------------------------------------

  @Test func pointsAtTheListenWhoseCertificateIsMissing() throws {
    try expect(
      """
      http { server {
        listen 127.0.0.1:%%PORT_0%%;
        listen 127.0.0.1:%%PORT_1%% ssl; } }
      """, isRefusedWith: "no \"ssl_certificate\" is defined", at: "3:10")
  }

  @Test(arguments: [
    ("ssl_ciphers NONE_SUCH", "\"ssl_ciphers\": no cipher matches \"NONE_SUCH\"", 13),
    ("ssl_ecdh_curve P-1", "\"ssl_ecdh_curve\": \"P-1\" is not a list of key exchange groups", 16),
    ("ssl_conf_command Nope 1", "\"ssl_conf_command\": OpenSSL refuses the command \"Nope 1\"", 18),
    ("ssl_dhparam portico.conf", "cannot load the parameters of \"ssl_dhparam\"", 13),
    ("ssl_crl portico.conf", "cannot load revocation list \"ssl_crl\"", 9),
    (
      "ssl_client_certificate portico.conf", "cannot load certificate \"ssl_client_certificate\"",
      24
    ),
    ("ssl_verify_client on", "\"ssl_verify_client\" needs \"ssl_client_certificate\"", 19),
  ])
  func pointsAtTheDirectiveOfTLSThatIsWrong(
    _ line: String, _ message: String, _ column: Int
  ) throws {
    let server =
      "server { listen 127.0.0.1:%%PORT_0%% ssl; ssl_reject_handshake on;\nssl_session_tickets on;"
    try expect("http { \(server)\n\(line); } }", isRefusedWith: message, at: "3:\(column)")
    try expect("http { \n\n\(line); \(server) } }", isRefusedWith: message, at: "3:\(column)")
  }
}
