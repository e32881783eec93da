// Shares of clients: the same client always gets the same value.

import Foundation
import Testing

@Suite struct SplitClientsTests {
  @Test func aShareOfClientsGoesElsewhere() async throws {
    let door = try await Portico.start(
      config: """
        http {
          split_clients "$arg_client" $group { 20% new-$arg_client; 30.5% middle; * old; }
          server { listen 127.0.0.1:%%PORT_0%%; return 200 $group; }
        }
        """)
    let client = try door.client()
    func group(_ name: String) throws -> String {
      try client.send("GET /?client=\(name) HTTP/1.1\r\nHost: a\r\n\r\n")
      return try client.response().text
    }
    var counts: [String: Int] = [:]
    for number in 0..<400 {
      let value = try group("c\(number)")
      #expect(try number % 40 != 0 || group("c\(number)") == value)
      counts[value.hasPrefix("new-c") ? "new" : value, default: 0] += 1
    }
    #expect((50...110).contains(counts["new", default: 0]), "\(counts)")
    #expect((90...155).contains(counts["middle", default: 0]), "\(counts)")
    #expect(counts.count == 3 && counts["old", default: 0] > 150)
    try door.stop()
  }

  @Test(arguments: [
    ("50% a; 50.01% b;", "more than 100%"), ("0% a;", "must be a share such as"),
    ("1.234% a;", "must be a share such as"), ("ten a;", "must be a share such as"),
    ("10% a b;", "is a share and a value"),
  ])
  func refuses(shares: String, message: String) throws {
    let site = try Site(
      config: """
        http {
          split_clients $remote_addr $group { \(shares) }
          server { listen 127.0.0.1:%%PORT_0%%; return 200 $group; }
        }
        """)
    let result = try Portico.run(site, ["-t"])
    #expect(result.code == 1)
    #expect(result.standardError.contains(message), "\(result.standardError)")
  }
}
