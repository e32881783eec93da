// `listen … proxy_protocol`: headers of both versions in front of HTTP and TLS, in pieces, broken, late.

import Foundation
import Testing

private let signature: [UInt8] = Array("\r\n\r\n\0\r\nQUIT\n".utf8)
private let request = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

private func field(_ type: UInt8, _ value: [UInt8]) -> [UInt8] {
  [type, UInt8(value.count >> 8), UInt8(value.count & 255)] + value
}

private func binary(_ fields: [UInt8] = [], command: UInt8 = 0x21) -> [UInt8] {
  let body: [UInt8] = [192, 0, 2, 1, 192, 0, 2, 2, 0, 123, 0x16, 0x2e] + fields
  return signature + [command, 0x11, UInt8(body.count >> 8), UInt8(body.count & 255)] + body
}

private func start(_ more: String = "") async throws -> RunningPortico {
  try await Portico.start(
    config: """
      http { server {
        listen 127.0.0.1:%%PORT_0%% proxy_protocol; \(more)
        return 200 "$proxy_protocol_addr!$proxy_protocol_port!$proxy_protocol_server_addr!$proxy_protocol_server_port!$remote_addr";
      } }
      """)
}

private func answer(_ door: RunningPortico, _ header: [UInt8]) throws -> String {
  let client = try door.client()
  try client.send(header + Array(request.utf8))
  return try client.response().text
}

/// Whether the connection ends without a byte; unread input behind the end makes it a reset.
private func isClosed(_ client: RawClient) -> Bool {
  do {
    return try client.readToEnd().isEmpty
  } catch RawClient.Failure.reset {
    return true
  } catch {
    return false
  }
}

@Suite struct ProxyProtocolTests {
  @Test func showsTheAddressesOfTheHeader() async throws {
    let door = try await start()
    let line = Array("PROXY TCP6 2001:DB8::1 2001:db8::2 1 65535\r\n".utf8)
    #expect(try answer(door, line) == "2001:db8::1!1!2001:db8::2!65535!127.0.0.1")
    #expect(try answer(door, binary()) == "192.0.2.1!123!192.0.2.2!5678!127.0.0.1")
    #expect(try answer(door, binary(command: 0x20)) == "!!!!127.0.0.1")
    #expect(try answer(door, Array("PROXY UNKNOWN\r\n".utf8)) == "!!!!127.0.0.1")
  }

  @Test func takesAHeaderHoweverItArrives() async throws {
    let door = try await start()
    for header in [binary(field(5, [1, 2])), Array("PROXY TCP4 192.0.2.1 192.0.2.2 123 5678\r\n".utf8)] {
      for cut in 1...header.count {
        let client = try door.client()
        try client.send(Array(header.prefix(cut)))
        // The kernel has it before the rest leaves: both ends are on this machine.
        try client.send(Array(header.dropFirst(cut)) + Array(request.utf8))
        #expect(try client.response().text == "192.0.2.1!123!192.0.2.2!5678!127.0.0.1")
      }
      let client = try door.client()
      for byte in header + Array(request.utf8) {
        try client.send([byte])
      }
      #expect(try client.response().text == "192.0.2.1!123!192.0.2.2!5678!127.0.0.1")
    }
  }

  @Test func forgetsTheHeaderWithTheConnection() async throws {
    let door = try await start()
    #expect(try answer(door, binary(field(1, [65]))).hasPrefix("192.0.2.1"))
    for _ in 0..<3 { #expect(try answer(door, Array("PROXY UNKNOWN\r\n".utf8)) == "!!!!127.0.0.1") }
  }

  @Test func closesWithoutAHeader() async throws {
    let door = try await start()
    for bytes in [Array(request.utf8), binary([1]), Array("PROXY TCP4 a b 1 2\r\n".utf8)] {
      let client = try door.client()
      try client.send(bytes)
      #expect(isClosed(client))
    }
    try door.waitForLog("broken header (missing) while reading PROXY protocol, client: 127.0.0.1")
    try door.waitForLog("broken header (malformedFields) while reading PROXY protocol")
    let client = try door.client()
    try client.send("PROXY ")
    client.finishSending()
    #expect(isClosed(client))
    try door.waitForLog("client closed the connection while reading PROXY protocol")
  }

  @Test func waitsNoLongerThanForARequestHead() async throws {
    let door = try await start("client_header_timeout 300ms;")
    let client = try door.client()
    try client.send("PROXY TCP4")
    #expect(isClosed(client))
    try door.waitForLog("client timed out while reading PROXY protocol")
  }

  @Test func showsFieldsOfVersion2() async throws {
    let door = try await Portico.start(
      config: """
        http { server {
          listen 127.0.0.1:%%PORT_0%% proxy_protocol;
          return 200 "$proxy_protocol_tlv_alpn $proxy_protocol_tlv_0x2 $proxy_protocol_tlv_unique_id $proxy_protocol_tlv_netns $proxy_protocol_tlv_ssl_verify $proxy_protocol_tlv_ssl_version $proxy_protocol_tlv_ssl_0x22 $proxy_protocol_tlv_ssl_cipher $proxy_protocol_tlv_0xEA";
        } }
        """)
    let ssl = [1, 0, 0, 1, 0] + field(0x21, Array("TLSv1.3".utf8)) + field(0x22, Array("a.test".utf8))
    let fields =
      field(1, Array("h2".utf8)) + field(2, Array("name".utf8)) + field(5, Array("id".utf8))
      + field(0x20, ssl) + field(0x30, Array("ns".utf8)) + field(0xea, Array("x".utf8))
    #expect(try answer(door, binary(fields)) == "h2 name id ns 256 TLSv1.3 a.test  x")
    #expect(try answer(door, binary()) == "        ")
  }

  @Test func refusesFieldsThatDoNotExist() throws {
    let site = try Site(config: "http { server { listen 127.0.0.1:%%PORT_0%%; return 200 $proxy_protocol_tlv_alpm; } }")
    let result = try Portico.run(site, ["-t"])
    #expect(result.code == 1)
    #expect(result.standardError.contains("\"alpm\" is no field of the PROXY protocol; did you mean \"alpn\"?"))
  }

  @Test func standsBeforeTLS() async throws {
    let site = try Site(
      config: """
        http { server {
          listen 127.0.0.1:%%PORT_0%% ssl proxy_protocol;
          ssl_certificate one.test.crt; ssl_certificate_key one.test.key;
          return 200 "$proxy_protocol_addr $ssl_protocol";
        } }
        """)
    try site.makeCertificate("one.test")
    let door = try await Portico.start(site)
    let result = try Command.run(
      ["curl", "-sk", "-m", "35", "--haproxy-protocol", "https://127.0.0.1:\(door.port())/"],
      folder: site.folder)
    #expect(result.standardOutput == "127.0.0.1 TLSv1.3")
  }
}
