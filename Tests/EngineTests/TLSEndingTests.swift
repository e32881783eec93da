// How TLS connections end: close_notify once, with the last bytes, whatever the socket takes.

import CLinux
import HTTP
import Testing

@testable import Engine

@Suite struct TLSEndingTests {
  let library = TLSLibrary()

  func pair(sendBufferBytes: Int32? = nil) throws -> TLSPair {
    let policy = TLSServerPolicy(certificates: [TestPKI.one.source()])
    let context = try TLSServerContext(
      policy: policy, library: library, ticketKeys: TLSTicketKeys())
    let client = try TLSClientContext(library: library, options: TLSClientOptions())
    let pair = TLSPair(context, client, sendBufferBytes: sendBufferBytes)
    pair.connect()
    return pair
  }

  /// A transport that reads and writes as the server of `pair`.
  private func transport(of pair: TLSPair) -> Transport {
    var transport = Transport()
    transport.open(pair.sockets.server, readable: true, writable: true)
    transport.start(pair.server)
    return transport
  }

  private func byteCount(waitingAt fd: Int32) -> Int {
    var room = [UInt8](repeating: 0, count: 1 << 16)
    return max(0, unsafe recv(fd, &room, room.count, Int32(MSG_PEEK)))
  }

  @Test func theLastBytesWaitForCloseNotify() throws {
    let pair = try pair()
    pair.server.holdLast()
    pair.server.send("the end")
    #expect(byteCount(waitingAt: pair.sockets.client) == 0)
    #expect(pair.server.holdsLast)
    #expect(pair.server.sendLast().isDone)
    #expect(!pair.server.holdsLast)
    #expect(pair.client.receive() == .text("the end"))
    #expect(pair.client.readText() == .closed)
    #expect(!pair.client.wasTruncated)
  }

  @Test func theLastBytesLeaveWhenTheSocketTakesThemAgain() throws {
    let pair = try pair(sendBufferBytes: 8192)
    let filler = [UInt8](repeating: 0x2E, count: 1 << 20)
    var filled = 0
    while case .bytes(let count) = unsafe filler[filled...].withUnsafeBytes({
      unsafe pair.server.write($0)
    }) { filled += count }
    // A write that found no room is repeated.
    let rest = Array(filler[filled..<(filled + 16 << 10)])
    var received = 0
    func drain() {
      while case .text(let text) = pair.client.receive() { received += text.utf8.count }
    }
    drain()
    pair.server.holdLast()
    guard case .bytes(let more) = unsafe rest.withUnsafeBytes({ unsafe pair.server.write($0) })
    else {
      Issue.record("not held")
      return
    }
    // Holding takes anything; the socket doesn't.
    for _ in 0..<8 { pair.server.send(String(repeating: "-", count: 16 << 10)) }
    #expect(pair.server.sendLast().isWaiting)
    #expect(pair.server.holdsLast)
    for _ in 0..<100 where pair.server.holdsLast {
      drain()
      _ = pair.server.sendLast()
    }
    #expect(!pair.server.holdsLast)
    drain()
    #expect(received == filled + more + 8 * 16 << 10)
    #expect(pair.client.readText() == .closed)
    #expect(!pair.client.wasTruncated)
  }

  @Test func nothingIsHeldThatWasNotAskedFor() throws {
    let pair = try pair()
    pair.server.send("more")
    #expect(pair.server.sendLast().isDone)
    #expect(pair.client.receive() == .text("more"))
    #expect(pair.client.readText() == .waiting)
  }

  @Test func closeNotifyIsSentOnceEvenIfThePeerClosedWithoutOne() throws {
    let pair = try pair()
    pair.server.shutdownWrite()
    #expect(pair.client.receive() == .closed)
    shutdown(pair.sockets.client, Int32(SHUT_WR))
    #expect(pair.server.receive() == .closed)
    pair.server.shutdownWrite()
    #expect(byteCount(waitingAt: pair.sockets.client) == 0)
  }

  @Test func aReadThatEmptiedTheSocketSaysSo() throws {
    let pair = try pair()
    var transport = self.transport(of: pair)
    pair.client.send("request")
    transport.note(.readable)
    let room = BufferPool().take(.medium)
    guard case .bytes(7) = transport.receive(into: room.free) else {
      Issue.record("nothing was read")
      return
    }
    #expect(!transport.isReadable)
  }

  @Test func aReadThatLeftSomethingSaysSo() throws {
    let pair = try pair()
    var transport = self.transport(of: pair)
    pair.client.send("a request")
    shutdown(pair.sockets.client, Int32(SHUT_WR))
    transport.note([.readable, .peerClosed])
    let room = BufferPool().take(.medium)
    guard case .bytes(2) = transport.receive(into: room.free.slice(0, 2)) else {
      Issue.record("nothing was read")
      return
    }
    #expect(transport.isReadable)
    guard case .bytes(7) = transport.receive(into: room.free) else {
      Issue.record("the rest was not read")
      return
    }
    // The peer has closed: the end stands behind what was read.
    #expect(transport.isReadable)
    guard case .end = transport.receive(into: room.free) else {
      Issue.record("no end")
      return
    }
  }

  @Test func closeNotifyThatCameWithTheLastBytesIsSeenWithoutAnotherEvent() throws {
    let pair = try pair()
    var transport = self.transport(of: pair)
    pair.client.send("bye")
    pair.client.shutdownWrite()
    transport.note(.readable)
    let room = BufferPool().take(.medium)
    guard case .bytes(3) = transport.receive(into: room.free) else {
      Issue.record("nothing was read")
      return
    }
    guard case .end = transport.receive(into: room.free) else {
      Issue.record("no end")
      return
    }
  }
}
