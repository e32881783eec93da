// The client side of a request that another request makes: `auth_request` asks a location of the
// same site, and only the status and the fields of its answer matter.
//
//   owner waits ─► inner exchange: route ─► … ─► sendHead, endBody ─► flush ─► owner goes on
//
// The inner exchange looks at the head of its owner where that lies, so it never outlives it:
// `Exchange.finish` of the owner finishes it first.

import HTTP

/// A client that nobody sends anything to.
final class InnerStream: ClientStream {
  // Safety: an exchange owns its inner stream, and exchanges live as long as their worker.
  unowned(unsafe) let owner: Exchange
  /// The exchange whose client this is; nil: none is under way.
  var exchange: Exchange?
  private(set) var status = 0
  private(set) var isEnded = false
  /// The owner looks at the outcome itself when the answer comes at once.
  private var isStarting = false

  init(_ owner: Exchange) {
    unsafe self.owner = owner
    super.init(owner.connection)
  }

  /// Asks for `uri`; whether the answer is there already.
  func ask(_ uri: Bytes, _ arguments: Bytes) -> Bool {
    let owner = unsafe owner
    connection = owner.connection
    let inner = owner.core.takeExchange(self, owner.plan)
    exchange = inner
    (status, isEnded, isStarting) = (0, false, true)
    inner.enter(innerOf: owner)
    inner.redirectInternally(to: uri, arguments: arguments)
    isStarting = false
    return isEnded
  }

  /// Ends the exchange, whatever it is doing.
  func close() {
    guard let inner = exchange else { return }
    exchange = nil
    inner.finish(isAnswered: isEnded)
  }

  override var isBodyRead: Bool { true }
  override var dropsResponseBody: Bool { true }

  override func sendHead(_ exchange: Exchange) { status = exchange.response.status }
  override func sendBody(_ buffer: consuming Buffer) { unsafe owner.loop.pool.giveBack(buffer) }
  override func sendBody(_ bytes: Bytes) {}
  override func sendBody(_ file: OpenFile, offset: Int64, count: Int) {}
  override func endBody() { isEnded = true }

  override func abort() {
    // What was broken off says nothing, whatever its head said.
    status = 0
    isEnded = true
  }

  override func flush() {
    if isEnded && !isStarting && exchange != nil { unsafe owner.onInnerAnswer() }
  }
}
