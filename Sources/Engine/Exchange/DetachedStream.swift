// The client side of an exchange that has no client: a copy that `mirror` makes, one that fetches
// what another was given stale, and one whose client left while its response was on its way into a
// cache.
//
//   exchange ─► … ─► sendHead ─► endBody, abort ─► flush ─► finish
//
// Nobody owns such an exchange. It may outlive the request and the connection that it comes from,
// holds neither up (nginx has the connection's next request wait for mirrors), and ends itself when
// its work is done. So it has a copy of all that it looks at: see `Exchange.enter(copying:)`.

import HTTP

/// A client that takes everything and is nobody.
final class DetachedStream: ClientStream {
  /// What an exchange without a client is for.
  enum Purpose {
    case mirror, cache
  }

  // Bound: how long a body is read that nobody stores. A response that was read whole leaves a
  // connection that can be used again; one whose end is far off isn't worth waiting for.
  private static let mostUnusedBytes = 64 << 10

  // Safety: a worker's core outlives its exchanges.
  private unowned(unsafe) let core: WorkerCore
  private let purpose: Purpose
  private var exchange: Exchange?
  /// The exchange is in the middle of being begun; whoever begins it flushes.
  private var isStarting = false
  private var isEnded = false
  /// What the client got before it left.
  private let count: Int

  /// Stands for the client whose connection is known by `facts`.
  init(
    _ core: WorkerCore, for purpose: Purpose, _ facts: ConnectionFacts, sentByteCount: Int = 0
  ) {
    unsafe self.core = core
    self.purpose = purpose
    count = sentByteCount
    super.init(facts.copy())
  }

  /// Begins an exchange of its own under `plan`; `begin` says what it asks for.
  func start(_ plan: Plan, _ begin: (Exchange) -> Void) {
    let exchange = unsafe core.takeExchange(self, plan)
    hold(exchange)
    isStarting = true
    begin(exchange)
    isStarting = false
    flush()
  }

  /// Takes the place of the client of `exchange`, who left.
  func takeOver(_ exchange: Exchange) {
    hold(exchange)
    exchange.attach(self)
  }

  private func hold(_ exchange: Exchange) {
    self.exchange = exchange
    unsafe core.countDetached(purpose, 1)
  }

  override var sentByteCount: Int { count }
  override var isBodyRead: Bool { true }
  override var dropsResponseBody: Bool { true }

  override func sendHead(_ exchange: Exchange) {}
  override func sendBody(_ buffer: Buffer) { unsafe core.loop.pool.giveBack(buffer) }
  override func sendBody(_ bytes: Bytes) {}
  override func sendBody(_ file: OpenFile, offset: Int64, count: Int) {}
  override func endBody() { isEnded = true }
  override func abort() { isEnded = true }

  override func flush() {
    guard !isStarting, let exchange, isEnded || !isWorthReading(exchange) else { return }
    self.exchange = nil
    unsafe core.countDetached(purpose, -1)
    exchange.finish(isAnswered: isEnded)
    // The slab keeps the exchange, and that this stream, until somebody else takes it.
    connection.tls = nil
  }

  /// Whether anything comes of what is left of the response: a file, or a connection to use again.
  private func isWorthReading(_ exchange: Exchange) -> Bool {
    !exchange.didSendHead || exchange.cache?.draft != nil || exchange.stored != nil
      || (exchange.response.contentLength ?? .max) <= Self.mostUnusedBytes
  }
}

extension ConnectionFacts {
  /// What holds for a request that may outlive the connection.
  func copy() -> ConnectionFacts {
    let facts = ConnectionFacts()
    facts.peerAddress = peerAddress
    facts.listen = listen
    facts.plan = plan
    (facts.serial, facts.requestCount, facts.openedAt) = (serial, requestCount, openedAt)
    facts.tls = tls
    facts.proxy = proxy
    facts.keptLocalAddress = KeptAddress(localAddress)
    return facts
  }
}

extension WorkerCore {
  /// How many exchanges without a client there may be for each purpose. Bound: a quarter of
  /// `worker_connections`, or a server that answers slowly would take the connections that clients
  /// need.
  var mostDetached: Int { max(1, plan.main.workerConnections / 4) }

  /// Counts an exchange without a client in (1) or out (-1).
  func countDetached(_ purpose: DetachedStream.Purpose, _ change: Int) {
    detachedCount += change
    if purpose == .mirror { mirrorCount += change }
  }
}
