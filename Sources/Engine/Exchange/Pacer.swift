// `limit_rate`: a response is handed to its client's stream no faster than so many bytes a second
// (https://nginx.org/r/limit_rate).
//
//   sendBody ─► queue ─► allowance left ─► stream.sendBody
//                 └───── none: the exchange's timer ─► releasePaced
//
// As in nginx the first second's worth goes at once, behind what `limit_rate_after` lets pass. What
// waits here counts as unsent, so that an upstream is read as slowly as its client is served. An
// exchange without a limit has no pacer and pays one test of a flag.

import Configuration
import HTTP

/// The bytes of one response that have to wait, and how many may go.
final class Pacer {
  let timer: TimerWheel.ID
  var queue = OutputQueue()
  /// `completeResponse` was called: the end follows the last byte.
  var endsBody = false
  private var bytesPerSecond = 0
  private var freeBytes = 0
  private var startedAt: Milliseconds = 0
  private var handedOver = 0

  init(timer: TimerWheel.ID) { self.timer = timer }

  /// Begins to count for a response.
  func start(_ bytesPerSecond: Int, after freeBytes: Int, now: Milliseconds) {
    self.bytesPerSecond = bytesPerSecond
    self.freeBytes = freeBytes
    startedAt = now
    handedOver = 0
    endsBody = false
  }

  /// How many bytes may go now; 0: none before `delay`.
  func allowance(now: Milliseconds) -> Int {
    let elapsed = now - startedAt + 1000
    let (product, isHuge) = bytesPerSecond.multipliedReportingOverflow(by: elapsed)
    let (budget, isMore) = (product / 1000).addingReportingOverflow(freeBytes)
    if isHuge || isMore { return .max }
    // A few larger pieces cost less than many small ones.
    let least = min(queue.byteCount, max(1, bytesPerSecond / 8))
    return budget - handedOver < least ? 0 : budget - handedOver
  }

  /// Until the next piece may go.
  func delay(now: Milliseconds) -> Milliseconds {
    let least = min(queue.byteCount, max(1, bytesPerSecond / 8))
    let missing = handedOver + least - freeBytes
    // Only a finite budget runs out, so that this can't overflow but for absurd rates.
    let (product, isHuge) = missing.multipliedReportingOverflow(by: 1000)
    if isHuge { return 1000 }
    return max(1, product / bytesPerSecond + 1 - (now - startedAt + 1000))
  }

  func countHandedOver(_ count: Int) { handedOver += count }
}

extension Exchange {
  /// Bytes of the response that the client has not taken, those that wait here and before stages
  /// included.
  var waitingByteCount: Int {
    var count = stream.unsentByteCount
    if isPaced, let pacer { count += pacer.queue.byteCount }
    if isFiltered, let pipeline { count += pipeline.source.byteCount }
    return count
  }

  /// Whether the end has to wait for bytes before it.
  var holdsPacedBytes: Bool {
    guard let pacer, !pacer.queue.isEmpty else { return false }
    pacer.endsBody = true
    return true
  }

  /// Limits the response whose head was sent, if anything asks for it.
  func startPacing() {
    let settings = location.settings.core.value
    if !isLimitRateSet {
      if settings.limitRate.constant == 0 && settings.limitRate.template == nil { return }
      limitRate = bytes(settings.limitRate)
    }
    guard limitRate > 0, response.hasBody, !response.isUpgrade, !stream.dropsResponseBody
    else { return }
    let pacer = self.pacer ?? Pacer(timer: loop.makeTimer())
    self.pacer = pacer
    isPaced = true
    pacer.start(limitRate, after: bytes(settings.limitRateAfter), now: loop.now)
  }

  /// The number that a setting gives; what is no size counts as 0, as in nginx.
  private func bytes(_ rate: ByteRate) -> Int {
    guard let template = rate.template else { return rate.constant }
    return (try? Value.size(evaluate(template).string, of: "limit_rate")) ?? 0
  }

  /// `set $limit_rate`.
  func assignLimitRate(_ value: Bytes) {
    guard let rate = try? Value.size(value.string, of: "limit_rate") else {
      return log(.error, "invalid $limit_rate \"\(value.string)\"")
    }
    setLimitRate(rate)
  }

  /// Takes precedence over what the location says.
  func setLimitRate(_ rate: Int) {
    limitRate = rate
    isLimitRateSet = true
  }

  /// Takes a piece of the body over, which goes to the stream in its time.
  func pace(_ piece: OutputQueue.Segment) {
    guard let pacer else { return }
    switch piece {
    case .buffer(let buffer): pacer.queue.append(buffer)
    case .bytes(let bytes): pacer.queue.append(bytes)
    case .file(let file, let offset, let count):
      pacer.queue.append(file, offset: offset, count: count)
    }
    releasePaced()
  }

  /// Hands over what may go now; a timer or the client's readiness brings the rest.
  func releasePaced() {
    guard let pacer else { return }
    while !pacer.queue.isEmpty {
      // Bound: nothing piles up before a client that takes less than it may.
      if stream.unsentByteCount >= 64 << 10 { return }
      let allowance = pacer.allowance(now: loop.now)
      if allowance == 0 {
        return loop.setTimer(pacer.timer, after: pacer.delay(now: loop.now), for: handle.of(.pacer))
      }
      guard let piece = pacer.queue.takeFirst(allowance, loop.pool) else { break }
      handOver(piece, pacer)
    }
    if pacer.endsBody {
      pacer.endsBody = false
      endStream()
    }
  }

  private func handOver(_ piece: OutputQueue.Segment, _ pacer: Pacer) {
    switch piece {
    case .buffer(let buffer):
      pacer.countHandedOver(buffer.count)
      stream.sendBody(buffer)
    case .bytes(let bytes):
      pacer.countHandedOver(bytes.count)
      stream.sendBody(bytes)
    case .file(let file, let offset, let count):
      pacer.countHandedOver(count)
      stream.sendBody(file, offset: offset, count: count)
      file.release()
    }
  }

  /// More may go.
  func onPaceTimeout() {
    onClientWritable()
    if state != .idle { stream.flush() }
  }

  /// Forgets what was not sent; the exchange ends.
  func stopPacing() {
    isPaced = false
    guard let pacer else { return }
    pacer.queue.removeAll(loop.pool)
    pacer.endsBody = false
    loop.clearTimer(pacer.timer)
  }
}
