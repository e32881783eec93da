// The client side of a mirrored request: nobody. The response is dropped.
//
//   Exchange.sendMirrors ─► inner exchange: route ─► … ─► sendHead ─► endBody ─► flush ─► gone
//
// Unlike other inner exchanges a mirrored one may outlive who made it, even the client's connection, and
// holds neither up (nginx has the connection's next request wait for it). So it has a copy of all that it
// looks at: head, variables, what is known of the client. Of the body there is one copy (`SharedBody`).

import HTTP

/// A client that left before it asked.
final class MirrorStream: ClientStream {
  // Bound: how long a body is read whose end didn't come with its head. A response that was read
  // whole leaves a connection that can be used again; whose end is far off isn't worth waiting for.
  private static let mostBodyBytes = 64 << 10

  // Safety: a worker's core outlives its exchanges.
  private unowned(unsafe) let core: WorkerCore
  private var exchange: Exchange?
  private var isStarting = false
  private var isEnded = false
  private var isWorthReading = true

  init(_ core: WorkerCore, _ facts: ConnectionFacts) {
    unsafe self.core = core
    super.init(facts)
  }

  /// Makes a copy of the request of `owner` to `path`.
  func start(_ path: Bytes, _ owner: Exchange) {
    let core = unsafe core
    let inner = core.takeExchange(self, owner.plan)
    exchange = inner
    core.mirrorCount += 1
    inner.enter(mirroring: owner)
    isStarting = true
    inner.redirectInternally(to: path, arguments: inner.arguments)
    isStarting = false
    flush()
  }

  override var isBodyRead: Bool { true }

  override func sendHead(_ exchange: Exchange) {
    guard exchange.response.hasBody else { return }
    isWorthReading = (exchange.response.contentLength ?? .max) <= Self.mostBodyBytes
  }

  override func sendBody(_ buffer: Buffer) { unsafe core.loop.pool.giveBack(buffer) }
  override func sendBody(_ bytes: Bytes) {}
  override func sendBody(_ file: OpenFile, offset: Int64, count: Int) {}
  override func endBody() { isEnded = true }
  override func abort() { isEnded = true }

  override func flush() {
    guard !isStarting, let exchange, isEnded || (exchange.didSendHead && !isWorthReading) else {
      return
    }
    self.exchange = nil
    unsafe core.mirrorCount -= 1
    exchange.finish()
    // The slab keeps the exchange, and that this stream, until somebody else takes it.
    connection.tls = nil
  }
}
