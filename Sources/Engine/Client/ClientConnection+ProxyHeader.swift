// The PROXY protocol in front of a client's bytes, where `listen … proxy_protocol` wants it.
//
// The header is looked at while it stays in the socket, and taken out only when it is whole: what
// follows belongs to TLS or HTTP, which read the socket themselves. Whoever doesn't send one is
// closed, as nothing that is said of the client could be believed.

import CLinux
import HTTP

extension ClientConnection {
  /// Waits for the header, from an accepted socket on.
  func awaitProxyHeader() {
    loop.setTimer(timer, after: address.defaultSite.settings.headerTimeout, for: handle)
    readProxyHeader()
  }

  /// Looks at what has come; once the header is whole, the client's own bytes are next.
  func readProxyHeader() {
    guard transport.isReadable else { return }
    let buffer = loop.pool.take(.small)
    defer { loop.pool.giveBack(buffer) }
    let room = buffer.free.slice(0, min(buffer.room, ProxyHeader.maxLength))
    switch unsafe IOResult(linux_peek(transport.fd, room.unsafeBase, room.count), zeroIsEnd: true) {
    case .bytes(let count): judge(room.readOnly.prefix(count), room)
    case .wouldBlock: transport.noteEmpty()
    case .end: refuseProxyHeader("client closed the connection")
    case .failed: close()
    }
  }

  private func judge(_ bytes: Bytes, _ room: MutableBytes) {
    switch ProxyHeader.parse(bytes) {
    case .incomplete:
      if transport.sawPeerClose { return refuseProxyHeader("client closed the connection") }
      // What came so far stays; epoll reports each further arrival.
      transport.noteEmpty()
    case .failed(let error): refuseProxyHeader("broken header (\(error))")
    case .complete(let header):
      facts.takeProxyHeader(header, bytes)
      guard consume(header.length, room) else { return close() }
      begin()
    }
  }

  /// Takes `count` bytes, which are known to be there, out of the socket.
  private func consume(_ count: Int, _ room: MutableBytes) -> Bool {
    var left = count
    while left > 0 {
      guard case .bytes(let taken) = Socket.receive(transport.fd, into: room.slice(0, left)) else {
        return false
      }
      left -= taken
    }
    return true
  }

  private func refuseProxyHeader(_ reason: String) {
    core.errorLog.write(
      .error,
      "\(reason) while reading PROXY protocol, client: \(facts.peerAddress.host), "
        + "server: \(address.address.description)", connection: facts.serial)
    close()
  }
}
