// A body with the responses of other locations before and behind it
// (https://nginx.org/en/docs/http/ngx_http_addition_module.html).
//
//   before ─► body ─► after          one at a time, each passed on as it comes

import HTTP

/// Puts other responses around a body.
final class AdditionStage: BodyStage {
  // Safety: an exchange owns its pipeline and its stages, and exchanges live as long as their
  // worker.
  private unowned(unsafe) let exchange: Exchange
  private var before: Bytes?
  private var after: Bytes?
  private var pump: IncludePump?

  init(_ exchange: Exchange, before: Bytes?, after: Bytes?) {
    unsafe self.exchange = exchange
    self.before = before
    self.after = after
  }

  override var holdsOutput: Bool { before != nil || pump != nil }
  override var failure: String { "what is added to a response was broken off" }

  override func run(_ input: inout Bytes, into output: Buffer, _ goal: Goal) -> Outcome {
    while true {
      if let path = before {
        before = nil
        pump = ask(path)
      }
      if let pump {
        switch pump.run(into: output) {
        case .done: finish(pump)
        case let outcome: return outcome
        }
        continue
      }
      let count = min(input.count, output.room)
      output.append(input.prefix(count))
      input = input.dropping(count)
      if !input.isEmpty { return .needsRoom }
      guard goal == .end, let path = after else { return .done }
      after = nil
      pump = ask(path)
    }
  }

  override func release(_ core: WorkerCore) {
    pump?.close()
    pump = nil
    (before, after) = (nil, nil)
  }

  private func ask(_ path: Bytes) -> IncludePump {
    let exchange = unsafe exchange
    let stream = IncludeStream(exchange, replacesErrors: false)
    exchange.include = stream
    stream.ask(path, Bytes())
    return IncludePump(stream, stub: nil, variable: nil, exchange.loop.pool)
  }

  private func finish(_ pump: IncludePump) {
    self.pump = nil
    let exchange = unsafe exchange
    if case .failed(let text) = pump.outcome(exchange) { exchange.log(.error, "\(text)") }
    pump.close()
    exchange.include = nil
  }
}

extension Exchange {
  /// Adds the stage that puts responses around this one, if there are to be any.
  func chooseAdditions(_ settings: AdditionSettings, _ head: UnfilteredHead) {
    guard response.status == 200, !isInner, settings.types.contains(head.type) else { return }
    guard response.first(.contentEncoding) == nil else {
      return log(.info, "nothing is added to a compressed response")
    }
    if response.hasBody {
      addStage(AdditionStage(self, before: settings.before, after: settings.after))
    }
    becomeTransformed()
  }
}
