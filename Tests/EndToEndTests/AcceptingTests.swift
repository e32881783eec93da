// How many connections a worker takes at a time (`multi_accept`).

import Foundation
import Testing

@Suite struct AcceptingTests {
  /// A crowd comes while the worker is held, then somebody who is in already asks: with
  /// `multi_accept` all of the crowd is let in at the one event before that.
  @Test(arguments: ["on", "off"])
  func aCrowdIsLetInAtOnce(word: String) async throws {
    let door = try await Portico.start(
      config: """
        worker_processes 1;
        events { multi_accept \(word); }
        http { server { listen 127.0.0.1:%%PORT_0%%; return 200 $connections_active; } }
        """)
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    let first = try door.client()
    try first.send(request)
    #expect(try first.response().text == "1")
    var crowd: [RawClient] = []
    try door.withWorkerHeld {
      crowd = try (0..<30).map { _ in try door.client() }
      try first.send(request)
    }
    let seen = try #require(Int(try first.response().text))
    #expect((seen == 31) == (word == "on"), "\(seen)")
    for client in crowd { try client.send(request) }
    // Those who come one at a time may be answered before the last is in.
    for client in crowd {
      let text = try client.response().text
      #expect(text == "31" || word == "off" && Int(text) != nil, "\(text)")
    }
    try door.stop()
  }
}
