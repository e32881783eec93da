// Names of upstream servers: followed for as long as their TTL says, and kept when they can't be
// resolved any more.

import Foundation
import Testing

@Suite struct NamesTests {
  @Test func trafficFollowsTheNameAndStaysWhenItIsGone() async throws {
    let names = NameServer(timeToLive: 1)
    names.set("app.test", 1)
    let door = try await Portico.start(
      config: """
        http {
          resolver 127.0.0.1:\(names.port);
          upstream app { zone app 64k; server app.test:%%PORT_1%% resolve; }
          server { listen 127.0.0.1:%%PORT_0%%; location / { proxy_pass http://app; } }
          server { listen 127.0.0.1:%%PORT_1%%; return 200 "first"; }
          server { listen 127.0.0.2:%%PORT_1%%; return 200 "second"; }
        }
        """)
    #expect(try door.get().text == "first")
    names.set("app.test", 2)
    try waitUntil("requests to the second address") { try door.get().text == "second" }
    // Kept connections to the first are used no more.
    for _ in 0..<5 { #expect(try door.get().text == "second") }
    names.fail()
    let count = names.queryCount
    try waitUntil("more questions") { names.queryCount >= count + 2 }
    #expect(try door.get().text == "second")
    // A reload doesn't lose the good answer.
    #expect(try door.send("reload").code == 0)
    #expect(try door.get().text == "second")
    names.set("app.test", 1)
    try waitUntil("requests to the first address again") { try door.get().text == "first" }
    try door.stop()
  }
}
