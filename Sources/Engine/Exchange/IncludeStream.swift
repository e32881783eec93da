// The client side of a request that a page makes (`include` of server-side includes): an exchange
// whose body goes where the command stood.
//
//   inner exchange ─► queue ─► PageStage of the owner ─► … ─► the owner's client
//                      └ full: the inner exchange is held back like by any slow client
//
// Like `InnerStream`, it never outlives its owner: `Exchange.finish` closes it first.

import HTTP

/// A client that is another exchange.
final class IncludeStream: ClientStream {
  // Safety: an exchange owns its include, and exchanges live as long as their worker.
  private unowned(unsafe) let owner: Exchange
  private var exchange: Exchange?
  private var queue = OutputQueue()
  /// Whether an answer that is an error is dropped: something else stands for it.
  private let replacesErrors: Bool
  private var isDropping = false
  /// Whether the owner is looking at the outcome, and needs no waking.
  private var isWatched = false
  private(set) var isEnded = false
  /// The response was broken off.
  private(set) var hasFailed = false
  /// Body bytes that came and weren't dropped.
  private(set) var byteCount = 0
  /// Whether the answer has what was asked for.
  private(set) var isSuccess = false
  /// `subrequest_output_buffer_size` of the location that answers.
  private(set) var heldLimit = 0

  init(_ owner: Exchange, replacesErrors: Bool) {
    unsafe self.owner = owner
    self.replacesErrors = replacesErrors
    super.init(owner.connection)
  }

  /// Asks for `uri`, whose bytes live as long as the owner.
  func ask(_ uri: Bytes, _ arguments: Bytes) {
    let owner = unsafe owner
    let inner = owner.core.takeExchange(self, owner.plan)
    exchange = inner
    isWatched = true
    inner.enter(innerOf: owner)
    inner.redirectInternally(to: uri, arguments: arguments)
    isWatched = false
  }

  /// The next piece of the body, at most `limit` bytes; nil: nothing waits. The taker gives a
  /// buffer back and releases a file.
  func take(_ limit: Int) -> OutputQueue.Segment? {
    let owner = unsafe owner
    if queue.isEmpty && !isEnded {
      isWatched = true
      exchange?.onClientWritable()
      isWatched = false
    }
    return queue.takeFirst(limit, owner.loop.pool)
  }

  /// Ends the exchange, whatever it is doing.
  func close() {
    queue.removeAll(unsafe owner.loop.pool)
    guard let inner = exchange else { return }
    exchange = nil
    inner.finish(isAnswered: isEnded)
  }

  override var isBodyRead: Bool { true }
  override var queuedByteCount: Int { queue.memoryCount }
  override var unsentByteCount: Int { queue.byteCount }
  override var sentByteCount: Int { byteCount - queue.byteCount }

  override func sendHead(_ exchange: Exchange) {
    heldLimit = exchange.location.settings.filters.value.ssi.heldBytes
    isSuccess = (200..<300).contains(exchange.response.status)
    isDropping = replacesErrors && exchange.response.status >= 400
  }

  override func sendBody(_ buffer: consuming Buffer) {
    if isDropping { return unsafe owner.loop.pool.giveBack(buffer) }
    byteCount += buffer.count
    queue.append(buffer)
  }

  override func sendBody(_ bytes: Bytes) {
    if isDropping { return }
    byteCount += bytes.count
    queue.append(bytes)
  }

  override func sendBody(_ file: OpenFile, offset: Int64, count: Int) {
    if isDropping { return }
    byteCount += count
    queue.append(file, offset: offset, count: count)
  }

  override func endBody() { isEnded = true }

  override func abort() {
    hasFailed = true
    isEnded = true
  }

  override func flush() { if !isWatched { unsafe owner.onIncludeProgress() } }
}
