// valid_referers and secure_link: links by where they stand, and links with a signature.

import Foundation
import Testing

@Suite struct LinkTests {
  private func start() async throws -> RunningPortico {
    try await Portico.start(
      config: """
        http {
          server {
            listen 127.0.0.1:%%PORT_0%%; server_name here.example ~^r[0-9]+$;
            location /any { return 200 "[$invalid_referer]"; }
            location /hosts {
              valid_referers none blocked server_names *.example.org example.net/gallery/ www.a.*;
              return 200 "[$invalid_referer]";
            }
            location /strict { valid_referers example.org; return 200 "[$invalid_referer]"; }
            location /regex { valid_referers ~\\.org/a; return 200 "[$invalid_referer]"; }
            location /refused { valid_referers example.org; if ($invalid_referer) { return 403; } }
            location /link { secure_link $arg_s; secure_link_md5 secret$uri;
              return 200 "[$secure_link]"; }
            location /until { secure_link $arg_s,$arg_e; secure_link_md5 secret$uri$arg_e;
              return 200 "[$secure_link] $secure_link_expires"; }
            location /p/ { secure_link_secret word; return 200 "[$secure_link]";
              location /p/off { secure_link $arg_s; return 200 "[$secure_link]"; } }
          }
        }
        """)
  }

  @Test func aLinkIsKnownByWhereItStands() async throws {
    let door = try await start()
    for (path, referer, isValid) in [
      ("/any", "http://other.example/", true), ("/hosts", nil, true), ("/hosts", "gone", true),
      ("/hosts", "http://here.example/x", true), ("/hosts", "https://HERE.example:8443", true),
      ("/hosts", "http://r12/", true), ("/hosts", "http://r12x/", false),
      ("/hosts", "http://a.example.org/", true), ("/hosts", "http://example.org/", false),
      ("/hosts", "http://example.net/gallery/1", true), ("/hosts", "http://example.net/", false),
      ("/hosts", "http://example.net:80/gallery/", true), ("/hosts", "http://www.a.b.c/", true),
      ("/strict", nil, false), ("/strict", "gone", false), ("/strict", "", false),
      ("/strict", "ftp://example.org/", false), ("/strict", "http://example.org", true),
      ("/strict", "http://example.org@other/", false), ("/strict", "http://xexample.org/", false),
      ("/strict", "http://" + String(repeating: "a", count: 3_000), false),
      ("/regex", "http://x.org/a", true), ("/regex", "http://x.org/b", false),
    ] as [(String, String?, Bool)] {
      let answer = try door.get(path, headers: referer.map { ["Referer": $0] } ?? [:])
      #expect(answer.text == (isValid ? "[]" : "[1]"), "\(path) \(referer ?? "-")")
    }
    #expect(try door.get("/refused").status == 403)
  }

  @Test func aLinkIsKnownByItsSignature() async throws {
    let door = try await start()
    let (good, late) = ("mEHGl8xodq67urk4K-SH7g", "itJwQSInDjOZW8FP5-AfNg")
    // What is signed is the link as it is sent.
    for (path, text) in [
      ("/p/beb022f937bf7db4688ac639341f5bc9/a%20b", "[a%20b]"),
      ("/p/fdbef4c35cd44df62d1dbcd91f5b91b7/link?x=1", "[link?x=1]"),
      ("/p/29245bdc2d04a9e0e729927ed0f84e26/link", "[link]"),
      ("/p/29245bdc2d04a9e0e729927ed0f84e26/link?x=1", "[]"),
      ("/p/29245bdc2d04a9e0e729927ed0f84e26/l%69nk", "[]"),
    ] {
      #expect(try door.get(path).text == text, "\(path)")
    }
    for (path, text) in [
      ("/link?s=UMDbPg3nPplVlEhYgNSmRA", "[1]"), ("/link?s=UMDbPg3nPplVlEhYgNSmRA==", "[1]"),
      ("/link?s=", "[]"), ("/link", "[]"),
      ("/link?s=xUMDbPg3nPplVlEhYgNSmRA", "[]"), ("/link?s=VNEbQg3nQplWlFhZgOTmSB", "[]"),
      ("/link?s=!!!", "[]"), ("/link2?s=UMDbPg3nPplVlEhYgNSmRA", "[]"),
      ("/until?s=\(good)&e=4102444800", "[1] 4102444800"),
      ("/until?s=\(good)&e=4102444801", "[] 4102444801"), ("/until?s=\(late)&e=1", "[0] 1"),
      ("/until?s=\(late)&e=0", "[] 0"), ("/until?s=\(late)&e=", "[] "),
      ("/until?s=\(late)&e=99999999999999999999", "[] 99999999999999999999"),
      ("/p/73e4a9897e80d4699cfe9089f1c3280b/a/b.html", "[a/b.html]"),
      ("/p/73e4a9897e80d4699cfe9089f1c3280b/a/c.html", "[]"),
      ("/p/73e4a9897e80d4699cfe9089f1c3280b", "[]"), ("/p/73e4a9897e80d4699cfe9089f1c3280b/", "[]"),
      ("/p/", "[]"), ("/p/off", "[]"),
      ("/p/zze4a9897e80d4699cfe9089f1c3280b/a/b.html", "[]"),
    ] { #expect(try door.get(path).text == text, "\(path)") }
  }

  @Test(arguments: [
    ("valid_referers http://a.example;", "takes hosts without \"http://\""),
    ("valid_referers a.*.b;", "invalid host or wildcard \"a.*.b\""),
    ("valid_referers /x;", "invalid host or wildcard \"\""),
    ("valid_referers a b a;", "\"a\" is there already"),
    ("valid_referers ~(;", "missing closing parenthesis"),
    ("secure_link_secret a; secure_link b;", "cannot be mixed"),
    ("secure_link_md5 a; secure_link_secret b;", "cannot be mixed"),
  ])
  func saysWhatIsWrongWithALine(line: String, message: String) throws {
    let site = try Site(
      config: "http { server { listen 127.0.0.1:%%PORT_0%%; location / { \(line) } } }")
    let result = try Portico.run(site, ["-t"])
    #expect(result.code == 1 && result.standardError.contains(message), "\(result.standardError)")
  }
}
