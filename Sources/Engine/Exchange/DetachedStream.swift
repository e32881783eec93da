// The client side of an exchange that has no client: one that fetches what another was given stale,
// and one whose client left while its response was on its way into a cache.
//
//   exchange ─► … ─► endBody, abort ─► flush ─► finish
//
// Nobody owns such an exchange: it ends itself when its work is done.

import HTTP

/// A client that takes everything and is nobody.
final class DetachedStream: ClientStream {
  // Safety: exchanges live as long as their worker, and this one finishes with its stream.
  private unowned(unsafe) let exchange: Exchange
  private let pool: BufferPool
  private var isEnded = false
  /// The exchange is in the middle of being begun; whoever begins it flushes.
  var isHeld = false

  /// Stands for the client whose connection is known by `facts`.
  init(_ exchange: Exchange, _ facts: ConnectionFacts) {
    unsafe self.exchange = exchange
    pool = exchange.loop.pool
    super.init(facts.copy())
    exchange.core.detachedCount += 1
  }

  override var isBodyRead: Bool { true }
  override func sendHead(_ exchange: Exchange) {}
  override func sendBody(_ buffer: Buffer) { pool.giveBack(buffer) }
  override func sendBody(_ bytes: Bytes) {}
  override func sendBody(_ file: OpenFile, offset: Int64, count: Int) {}
  override func endBody() { isEnded = true }
  override func abort() { isEnded = true }

  override func flush() {
    guard isEnded, !isHeld else { return }
    isEnded = false
    unsafe exchange.core.detachedCount -= 1
    unsafe exchange.finish()
    // The slab keeps the exchange, and that this stream, until somebody else takes it.
    connection.tls = nil
  }
}
