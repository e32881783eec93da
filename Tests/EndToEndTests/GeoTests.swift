// geo: variables by address, from networks and from ranges.

import Foundation
import Testing

@Suite struct GeoTests {
  private func start() async throws -> RunningPortico {
    try await Portico.start(
      config: """
        http {
          geo $arg_ip $net {
            default none; 10.0.0.0/8 ten; 10.1.0.0/16 ten-one; 10.1.2.3 host; 2001:db8::/32 six;
            include nets.conf; 172.16.0.0/12 gone; delete 172.16.0.0/12; 255.255.255.255 nobody;
          }
          geo $arg_ip $range {
            ranges; default none;
            10.0.0.0-10.0.0.255 a; 10.0.0.16-10.0.0.31 b; 10.0.0.0-10.0.0.0 c;
            192.0.2.0-192.0.2.9 d; delete 192.0.2.0-192.0.2.9;
            192.0.2.100-192.0.2.200 e; 192.0.2.150-192.0.2.250 f; 0.0.0.5-0.0.0.5 low;
            255.255.255.255-255.255.255.255 high;
          }
          geo $client { default other; 127.0.0.1 loopback; 198.51.100.0/24 test; "198.51.100.1" "$5 {}"; }
          geo $behind { proxy 127.0.0.0/8; proxy 10.0.0.0/8; default other; 198.51.100.1 far; 127.0.0.1 near; }
          geo $behind_all {
            proxy_recursive; proxy 127.0.0.0/8; proxy 10.0.0.0/8; default other; 198.51.100.1 far;
          }
          geo $empty { }
          geo $arg_ip $sixes { default other; ::/0 six; }
          geo $arg_ip $kept { 10.0.0.1 one; 10.0.0.2 two; }
          geo $arg_ip $computed { volatile; 10.0.0.1 one; 10.0.0.2 two; }
          map $client $mapped { loopback yes; default no; }
          server {
            listen 127.0.0.1:%%PORT_0%%;
            location /net { return 200 $net; }
            location /range { return 200 $range; }
            location /sixes { return 200 $sixes; }
            location /client { set_real_ip_from 127.0.0.1; return 200 "$client $mapped [$empty]"; }
            location /real { set_real_ip_from 127.0.0.1; alias %%DIR%%/a; add_header X-Client $client; }
            location /behind { return 200 "$behind $behind_all"; }
            location /changed {
              set $before "$kept $computed"; set $args ip=10.0.0.2; return 200 "$before, $kept $computed";
            }
          }
          server { listen unix:%%DIR%%/s; return 200 "$client $behind"; }
        }
        """, files: ["nets.conf": "192.0.2.0/24 included;", "a": ""])
  }

  @Test func theSmallestNetworkNamesTheValue() async throws {
    let door = try await start()
    for (address, value) in [
      ("10.9.9.9", "ten"), ("10.1.9.9", "ten-one"), ("10.1.2.3", "host"), ("11.0.0.1", "none"),
      ("2001:db8::1", "six"), ("2001:db9::1", "none"), ("192.0.2.1", "included"),
      ("172.16.0.1", "none"), ("::ffff:10.1.2.3", "host"), ("word", "nobody"), ("", "nobody"),
    ] { #expect(try door.get("/net?ip=\(address)").text == value, "\(address)") }
    // An IPv4 client is none of IPv6, also of a socket that takes both.
    for (address, value) in [("10.9.9.9", "other"), ("::ffff:10.9.9.9", "other"), ("::1", "six")] {
      #expect(try door.get("/sixes?ip=\(address)").text == value, "\(address)")
    }
  }

  @Test func aLaterRangeTakesItsPartOutOfAnEarlierOne() async throws {
    let door = try await start()
    for (address, value) in [
      ("10.0.0.0", "c"), ("10.0.0.1", "a"), ("10.0.0.15", "a"), ("10.0.0.16", "b"),
      ("10.0.0.31", "b"), ("10.0.0.32", "a"), ("10.0.0.255", "a"), ("10.0.1.0", "none"),
      ("192.0.2.5", "none"), ("192.0.2.149", "e"), ("192.0.2.150", "f"), ("192.0.2.250", "f"),
      ("192.0.2.251", "none"), ("0.0.0.5", "low"), ("0.0.0.4", "none"), ("word", "high"),
      ("2001:db8::1", "high"),
    ] { #expect(try door.get("/range?ip=\(address)").text == value, "\(address)") }
  }

  @Test func theClientsAddressCounts() async throws {
    let door = try await start()
    #expect(try door.get("/client").text == "loopback yes []")
    for (address, value) in [("198.51.100.9", "test"), ("198.51.100.1", "$5 {}")] {
      #expect(try door.get("/real", headers: ["X-Real-IP": address])["X-Client"] == value)
    }
    let client = try RawClient(path: "\(door.site.folder)s")
    try client.send("GET / HTTP/1.0\r\n\r\n")
    #expect(try client.response().text == "other other")
  }

  @Test func theWordOfProxiesIsBelieved() async throws {
    let door = try await start()
    for (list, value) in [
      ("198.51.100.1", "far far"), ("198.51.100.1, 10.0.0.1", "other far"),
      ("198.51.100.1, 192.0.2.1", "other other"), ("word", "near other"),
    ] {
      #expect(try door.get("/behind", headers: ["X-Forwarded-For": list]).text == value, "\(list)")
    }
    #expect(try door.get("/behind").text == "near other")
  }

  @Test func aVolatileValueIsComputedEachTime() async throws {
    let door = try await start()
    #expect(try door.get("/changed?ip=10.0.0.1").text == "one one, one two")
  }

  @Test func saysWhatIsWrongWithALine() throws {
    for (block, message) in [
      ("10.0.0.0/33 x;", "\"10.0.0.0/33\" is no network"),
      ("10.0.0.0-10.0.0.1 x;", "or put \"ranges;\" first"),
      ("10.0.0.0/8 x; ranges;", "\"ranges\" must be the first line"),
      ("ranges; 10.0.0.0/8 x;", "\"10.0.0.0/8\" is no range"),
      ("ranges; 10.0.0.9-10.0.0.1 x;", "\"10.0.0.9-10.0.0.1\" is no range"),
      ("ranges; ::1-::2 x;", "is no range"), ("10.0.0.0/8;", "\"10.0.0.0/8\" has no value"),
      ("10.0.0.0/8 x y;", "\"10.0.0.0/8\" has 2 values"), ("proxy host;", "\"host\" is no network"),
    ] {
      let site = try Site(
        config: "http { geo $g { \(block) } server { listen 127.0.0.1:%%PORT_0%%; } }")
      let result = try Portico.run(site, ["-t"])
      #expect(result.code == 1 && result.standardError.contains(message), "\(result.standardError)")
    }
    for (block, message) in [
      ("10.0.0.0/8 x; 10.0.0.0/8 y;", "\"y\" takes the place of \"x\""),
      ("10.0.0.1/8 x;", "bits of \"10.0.0.1/8\" behind its prefix mean nothing"),
      ("delete 10.0.0.0/8;", "nothing is there to delete"),
      ("ranges; 10.0.0.0-10.0.0.9 x; 10.0.0.5-10.0.0.20 y;", "overlaps others"),
    ] {
      let site = try Site(
        config: "http { geo $g { \(block) } server { listen 127.0.0.1:%%PORT_0%%; } }")
      let result = try Portico.run(site, ["-t"])
      #expect(result.code == 0 && result.standardError.contains(message), "\(result.standardError)")
    }
  }
}
