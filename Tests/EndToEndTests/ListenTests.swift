// `listen`: ranges of ports, host names, parameters, and what is refused.

import Foundation
import TestSupport
import Testing

@Suite struct ListenTests {
  /// Every port of a range answers, and knows itself; those beside it don't.
  @Test func aRangeOfPortsIsManyListens() async throws {
    let row = try HeldPort.row(5)
    let (first, last) = (row[1].number, row[3].number)
    let door = try await Portico.start(
      config: """
        http {
          server { listen 127.0.0.1:\(first)-\(last); return 200 "$server_port\n"; }
          server { listen \(last)-\(last); return 200 "any\n"; }
        }
        """)
    for port in row[1...3] {
      let client = try RawClient(port: port.number)
      try client.send("GET / HTTP/1.0\r\n\r\n")
      #expect(try client.response().text == "\(port.number)\n")
    }
    for port in [row[0], row[4]] {
      #expect(throws: (any Error).self) { try RawClient(port: port.number) }
    }
    try door.stop()
  }

  /// A range that grows and shrinks by a reload: what stays keeps its connections.
  @Test func aReloadChangesARange() async throws {
    let row = try HeldPort.row(3)
    func config(_ first: Int, _ last: Int) -> String {
      let (first, last) = (row[first].number, row[last].number)
      return "http { server { listen 127.0.0.1:\(first)-\(last); return 200 \(first); } }"
    }
    let door = try await Portico.start(config: config(0, 1))
    let kept = try RawClient(port: row[1].number)
    func ask() throws -> String {
      try kept.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      return try kept.response().text
    }
    #expect(try ask() == "\(row[0].number)")
    #expect(try door.reload(config: config(1, 2)).code == 0)
    #expect(try ask() == "\(row[1].number)")
    let added = try RawClient(port: row[2].number)
    try added.send("GET / HTTP/1.0\r\n\r\n")
    #expect(try added.response().text == "\(row[1].number)")
    try waitUntil("the first port is given up") { (try? RawClient(port: row[0].number)) == nil }
    try door.stop()
  }

  /// A name listens on the addresses that the system knows for it.
  @Test func aHostNameIsItsAddresses() async throws {
    let door = try await Portico.start(
      config: "http { server { listen localhost:%%PORT_0%%; return 200 $server_addr; } }")
    #expect(try door.get().text == "127.0.0.1")
    try door.stop()
  }

  /// Connections inherit what `so_keepalive` sets: the kernel's timer of each shows it.
  @Test func keepAliveProbesAreTheKernels() async throws {
    let door = try await Portico.start(
      config: """
        http {
          server { listen 127.0.0.1:%%PORT_0%% so_keepalive=20m:5:2; return 200 a; }
          server { listen 127.0.0.1:%%PORT_1%% so_keepalive=off; return 200 b; }
          server { listen 127.0.0.1:%%PORT_2%% so_keepalive=::7; return 200 c; }
        }
        """)
    var clients: [RawClient] = []
    for index in 0..<3 {
      let client = try door.client(port: index)
      try client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      #expect(try client.response().status == 200)
      clients.append(client)
    }
    // The file has no size and comes a page at a time: String(contentsOfFile:) reads the first.
    let file = try #require(FileHandle(forReadingAtPath: "/proc/net/tcp"))
    let table = String(decoding: try file.readToEnd() ?? Data(), as: UTF8.self)
    func timer(_ index: Int) throws -> (kind: Int, seconds: Int) {
      let local = String(format: "0100007F:%04X", Int(door.port(index)))
      let isTheConnection = { (columns: [Substring]) -> Bool in
        columns.count > 5 && columns[1] == local && columns[3] == "01"
      }
      let lines = table.split(separator: "\n").map { $0.split(separator: " ") }
      let columns = try #require(lines.first(where: isTheConnection))
      let numbers = columns[5].split(separator: ":").map { Int($0, radix: 16) ?? -1 }
      return (numbers[0], numbers[1] / 100)
    }
    // 2: the keep-alive timer runs (proc(5)); what is left of it, in hundredths of a second.
    let first = try timer(0)
    #expect(first.kind == 2 && (1100...1200).contains(first.seconds), "\(first)")
    #expect(try timer(1).kind == 0)
    #expect(try timer(2).kind == 2)
    try door.stop()
  }

  @Test(arguments: [
    ("127.0.0.1:90-80", "end before they begin: write 80-90"),
    ("90-80", "end before they begin: write 80-90"),
    ("70000", "invalid port in \"listen 70000\""), ("0", "invalid port in"),
    ("80-70000", "invalid port in"), ("80-", "invalid port in"), ("1-2-3", "invalid port in"),
    ("127.0.0.1:80-", "invalid host or port in \"listen 127.0.0.1:80-\""),
    ("127.0.0.1:80-90-100", "invalid host or port"),
    ("127.0.0.1:0-10", "invalid host or port"),
    ("127.0.0.1:80-70000", "invalid host or port"),
    ("127.0.0.1:80-0", "invalid host or port"),
    ("::1:80", "invalid host or port"),
    ("[::1", "invalid host or port"),
    ("[::1]80", "invalid host or port"),
    ("[localhost]:80", "invalid host or port"),
    (":80", "invalid host or port"),
    ("no-such-host.invalid:80", "host not found in \"listen no-such-host.invalid:80\""),
    ("127.0.0.1:80 ipv6only=maybe", "\"ipv6only\" must be \"on\" or \"off\", not \"maybe\""),
    ("127.0.0.1:80 so_keepalive=maybe", "\"so_keepalive\" must be \"on\" or \"off\""),
    ("127.0.0.1:80 so_keepalive=::", "\"idle:interval:count\""),
    ("127.0.0.1:80 so_keepalive=1:2", "\"idle:interval:count\""),
    ("127.0.0.1:80 so_keepalive=0:2:3", "times of 1 to 32767 seconds, not \"0\""),
    ("127.0.0.1:80 so_keepalive=1d::", "times of 1 to 32767 seconds, not \"1d\""),
    ("127.0.0.1:80 so_keepalive=::128", "must be between 1 and 127, not \"128\""),
    ("127.0.0.1:80-82; listen 127.0.0.1:81", "a duplicate listen 127.0.0.1:81"),
  ])
  func refuses(_ listen: String, _ message: String) throws {
    let site = try Site(config: "http { server { listen \(listen); } }")
    let result = try Portico.run(site, ["-t"])
    #expect(result.code == 1)
    #expect(result.standardError.contains(message), "\(result.standardError)")
  }
}
