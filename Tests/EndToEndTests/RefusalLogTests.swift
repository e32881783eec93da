// What the error log says of requests that are refused: a sentence for whoever reads it, and one
// for each of them.

import Foundation
import Testing

@Suite struct RefusalLogTests {
  @Test func saysInWordsWhyARequestIsRefused() async throws {
    let door = try await Portico.start(
      config: """
        http { server { listen 127.0.0.1:%%PORT_0%%; return 204; } }
        """)
    let refused = [
      ("GET / HTTP/1.1\r\n\r\n", "client sent HTTP/1.1 or later without \"Host\" header"),
      ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "client sent duplicate \"Host\" headers"),
      (
        "GET / HTTP/1.1\r\nHost: a\r\nX y: b\r\n\r\n",
        "client sent invalid request: white space in the name of a header"
      ),
      (
        "GET /../../etc HTTP/1.1\r\nHost: a\r\n\r\n",
        "client sent invalid request: \"..\" that leads above the root"
      ),
      (
        "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n",
        "client sent invalid request: \"%\" without two hexadecimal digits"
      ),
      (
        "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        "client sent invalid request: an invalid request target"
      ),
      (
        "\u{16}\u{3}\u{1}\u{0}\u{5}hello\r\n\r\n",
        "client sent invalid request: a TLS handshake at a port without \"ssl\""
      ),
    ]
    for (request, line) in refused {
      let client = try RawClient(port: door.port(0))
      try client.send(request)
      #expect(try client.read(until: "\r\n").hasPrefix("HTTP/1.1 400 "))
      try door.waitForLog(line)
    }
    try door.stop()
  }
}
