// Deadlines of transfers: each runs while somebody doesn't take or send what he should, begins anew
// with each bit of progress and with nothing else, and is nobody's while the other side is the slow
// one.

import Foundation
import Testing

@Suite struct TransferDeadlineTests {
  /// What a client sends, or has its streams add, is no progress of what it doesn't take.
  @Test func anHTTP2ClientThatTakesNothingIsNotKeptByPings() async throws {
    let door = try await Portico.start(
      config: """
        http { server { listen 127.0.0.1:%%PORT_0%% sndbuf=64k; http2 on; send_timeout 500ms;
          root %%DIR%%; } }
        """)
    try makeFile(door, "big", byteCount: 8 << 20)
    let raw = try RawClient(port: door.port(), receiveRoom: 16 << 10)
    let client = try H2Client(raw, settings: [(4, 0x7fff_ffff)])
    try client.send(.windowUpdate, payload: H2Frame.number(0x7fff_0000))
    try client.request(1, "/big")
    try waitUntil("the end of its time") {
      // The door may have closed already.
      try? client.send(.ping, payload: [UInt8](repeating: 0, count: 8))
      return door.errorLog.contains("client timed out while sending a response")
    }
    try door.stop()
  }

  /// A body that only the connection's end completes doesn't end well by being given up.
  @Test(arguments: [true, false])
  func halfABodyIsNotTakenForAWholeOne(endsByClose: Bool) async throws {
    let app = try TestUpstream { _ in
      .steps([
        .bytes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n800000\r\n"),
        .bytes([UInt8](repeating: 65, count: 8 << 20)), .silence,
      ])
    }
    let door = try await Portico.start(
      config: """
        http { server { listen 127.0.0.1:%%PORT_0%% sndbuf=64k; send_timeout 300ms;
          location / { proxy_pass http://%%UPSTREAM_0%%; } } }
        """, upstreams: [app])
    let client = try RawClient(port: door.port(), receiveRoom: 16 << 10)
    try client.send("GET / HTTP/1.\(endsByClose ? 0 : 1)\r\nHost: a\r\n\r\n")
    try door.waitForLog("client timed out while sending a response")
    if endsByClose {
      #expect(throws: RawClient.Failure.reset(ECONNRESET)) { try client.readToEnd() }
    } else {
      #expect(try client.readToEnd().count < 8 << 20)
    }
    try door.stop()
  }

  /// Whoever takes all that he is sent has all the time that takes, over TLS as well: the socket is
  /// full now and then, and never for long.
  @Test func aClientThatTakesAllIsNotCutOff() async throws {
    let site = try Site(
      config: """
        http { server { listen 127.0.0.1:%%PORT_0%% ssl; send_timeout 1s; root %%DIR%%;
          ssl_certificate a.test.crt; ssl_certificate_key a.test.key; } }
        """)
    try site.makeCertificate("a.test")
    let door = try await Portico.start(site)
    let size = 2 << 30
    try makeFile(door, "big", byteCount: size)
    // Starts late, so that the socket is full at first, and never stops again.
    let reader = """
      import os, socket, ssl
      context = ssl._create_unverified_context()
      client = context.wrap_socket(socket.create_connection(("127.0.0.1", \(door.port()))))
      client.sendall(b"GET /big HTTP/1.0\\r\\n\\r\\n")
      raw = socket.socket(fileno=os.dup(client.fileno()))
      raw.recv(1 << 15, socket.MSG_PEEK | socket.MSG_WAITALL)
      count, room = 0, bytearray(1 << 18)
      while taken := client.recv_into(room): count += taken
      print(count)
      """
    let python = try Command(["python3", "-c", reader], folder: site.folder)
    let output = try python.wait(within: 120).standardOutput
    #expect((Int(output.dropLast()) ?? 0) > size)
    try door.stop()
  }

  /// A response waits for its client, not for its upstream, whatever else becomes of the request.
  @Test func anUpstreamHasNoDeadlineWhileTheClientReadsNothing() async throws {
    let upstream = RawServer()
    let silent = try TestUpstream { _ in .steps([.silence]) }
    let door = try await Portico.start(
      config: """
        http { server { listen 127.0.0.1:%%PORT_0%% sndbuf=64k; location / {
          proxy_request_buffering off; proxy_buffering off; proxy_read_timeout 1s;
          proxy_pass http://\(upstream.address);
          location /witness { proxy_pass http://%%UPSTREAM_0%%; }
        } } }
        """, upstreams: [silent])
    let client = try RawClient(port: door.port(), receiveRoom: 16 << 10)
    let part = String(repeating: "x", count: 1_000)
    try client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n\(part)")
    let server = try upstream.accept()
    _ = try server.read(count: 1_000)
    let size = 12 << 20
    let sender = Thread {
      try? server.send("HTTP/1.1 200 OK\r\nContent-Length: \(size)\r\n\r\n")
      try? server.send([UInt8](repeating: 65, count: size))
    }
    sender.start()
    _ = try client.peek(count: 1)
    try waitUntilFull(server)
    try client.send("y")
    // Another upstream's time is up meanwhile.
    #expect(try door.get("/witness").status == 504)
    #expect(try client.response().body.count == size)
    #expect(door.errorLog.components(separatedBy: "timed out (").count == 2)
    try door.stop()
  }

  @Test func aTunnelWaitsForWhoeverIsSlow() async throws {
    let (door, client, server, upstream) = try await tunnel("proxy_read_timeout 1s;")
    let size = 12 << 20
    let sender = Thread { try? server.send([UInt8](repeating: 65, count: size)) }
    sender.start()
    try waitUntilFull(server)
    // The time of a tunnel in which nobody says anything is up meanwhile.
    let witness = try RawClient(port: door.port())
    let other = try Self.upgrade(witness, upstream)
    #expect(witness.isClosed() && other.isClosed())
    #expect(try client.read(count: size).count == size)
    // Nobody says anything now.
    #expect(client.isClosed())
    try door.waitForLog("upstream timed out (110: Connection timed out) while proxying upgraded")
    try door.stop()
  }

  @Test func anUpstreamThatTakesNothingOfATunnelHasItsSendTimeout() async throws {
    let (door, client, server, _) = try await tunnel(
      "proxy_read_timeout 10m; proxy_send_timeout 1s;")
    let sender = Thread { try? client.send([UInt8](repeating: 65, count: 60 << 20)) }
    sender.start()
    try door.waitForLog("while proxying upgraded connection")
    server.reset()
    try door.stop()
  }

  /// Both ends of a tunnel through a door, and what it leads to.
  private func tunnel(
    _ timeouts: String
  ) async throws -> (
    door: RunningPortico, client: RawClient, server: RawClient, upstream: RawServer
  ) {
    let upstream = RawServer()
    let door = try await Portico.start(
      config: """
        http { server { listen 127.0.0.1:%%PORT_0%% sndbuf=64k; location / {
          \(timeouts) proxy_pass http://\(upstream.address);
        } } }
        """)
    let client = try RawClient(port: door.port(), receiveRoom: 16 << 10)
    return (door, client, try Self.upgrade(client, upstream), upstream)
  }

  /// Makes a tunnel of the client's connection; gives its other end.
  private static func upgrade(_ client: RawClient, _ upstream: RawServer) throws -> RawClient {
    let fields = "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    try client.send("GET / HTTP/1.1\r\nHost: a\r\n\(fields)")
    let server = try upstream.accept()
    _ = try server.read(until: "\r\n\r\n")
    try server.send("HTTP/1.1 101 Switching\r\n\(fields)")
    _ = try client.read(until: "\r\n\r\n")
    return server
  }

  /// Each bit that an HTTP/2 upstream takes is progress.
  @Test func anHTTP2UpstreamThatTakesLittleAtATimeIsWaitedFor() async throws {
    let upstream = try H2TestUpstream(settings: [(4, 4_000)], answersEarly: true) { request in
      let answer = TestUpstream.Step.bytes(H2Frame.answer(request.stream, "all"))
      // The window is known from the second request on.
      if request.index == 0 { return [answer] }
      let update = H2Frame(.windowUpdate, stream: request.stream, H2Frame.number(4_000)).bytes
      return (0..<7).flatMap { _ in [.pause(seconds: 0.5), .bytes(update)] } + [answer]
    }
    let door = try await Portico.start(
      config: """
        http { upstream app { server \(upstream.address); } server {
          listen 127.0.0.1:%%PORT_0%%; location / {
            proxy_http_version 2; proxy_send_timeout 1500ms; proxy_pass http://app;
        } } }
        """)
    #expect(try door.get().text == "all")
    let client = try door.client()
    try client.send(
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30000\r\n\r\n"
        + String(repeating: "x", count: 30_000))
    #expect(try client.response().text == "all")
    try door.stop()
  }

  private func makeFile(_ door: RunningPortico, _ name: String, byteCount: Int) throws {
    FileManager.default.createFile(atPath: door.site.folder + name, contents: nil)
    #expect(truncate(door.site.folder + name, byteCount) == 0)
  }

  /// Waits until all buffers between a server and its client are full, and stay so.
  private func waitUntilFull(_ server: RawClient) throws {
    var count = 0
    try waitUntil("full buffers") {
      count = server.hasRoom ? 0 : count + 1
      return count == 20
    }
  }
}
