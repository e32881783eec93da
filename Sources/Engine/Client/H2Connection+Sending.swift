// Output of an HTTP/2 connection on its way to the kernel: what follows when all of it is gone, or
// when the client takes no more at the moment.

extension H2Connection {
  /// Everything queued was handed to the kernel.
  func onFlushed() {
    endWaitForRoom()
    if state == .lingering { return startLingering() }
    if !isPumping { client.yield() }
  }

  /// The socket takes no more at the moment, or others have their turn.
  func onBlocked() {
    if client.transport.isWritable {
      endWaitForRoom()
      return client.yield()
    }
    // The deadline begins anew with each byte that is taken, and with nothing else: neither with
    // frames that the client sends, nor with what streams add.
    guard sentAtBlock != client.output.sentCount else { return }
    sentAtBlock = client.output.sentCount
    let settings = client.address.defaultSite.root.settings.core.value
    loop.setTimer(client.timer, after: settings.sendTimeout, for: client.handle)
  }

  private func endWaitForRoom() {
    guard sentAtBlock >= 0 else { return }
    sentAtBlock = -1
    loop.clearTimer(client.timer)
    awaitTrim()
  }
}
