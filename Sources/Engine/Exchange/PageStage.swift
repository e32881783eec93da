// Server-side includes: a body whose commands are obeyed where they stand
// (https://nginx.org/en/docs/http/ngx_http_ssi_module.html).
//
//   text ─► "<!--#" ─► command ─► "-->" ─► obey ─► pending text, an include, or a block to scan
//
// One thing at a time: behind an include nothing is looked at until it ended, so that memory is
// what a command takes, and includes are passed on as they come, held back by the client. A stub is
// a block that is scanned in the place of an include that failed. What commands do is in
// `Exchange+Page.swift`.

import HTTP

/// Obeys the commands of a body.
final class PageStage: BodyStage {
  /// An `if` that has no `endif` yet.
  private struct Condition {
    var isShown: Bool
    /// A branch was taken, or none is to be.
    var isTaken: Bool
  }

  // Bound: ifs inside of ifs.
  private static let mostConditions = 64
  // Bound: parameters of a command, beside the length of each.
  private static let mostParameters = 8

  // Safety: an exchange owns its pipeline and its stages, and exchanges live as long as their
  // worker.
  private unowned(unsafe) let exchange: Exchange
  private let settings: SSISettings
  private var matchedCount = 0
  private var command: [UInt8]?
  private var quote: UInt8 = 0
  private var isSkipping = false
  private var conditions: [Condition] = []
  private var block: (name: String, text: [UInt8])?
  /// Text that waits for room.
  private var pending: [UInt8] = []
  private var pendingStart = 0
  /// Blocks that are scanned before the input goes on, the innermost last.
  private var layers: [Bytes] = []
  private var pump: IncludePump?
  private var failureText = ""

  init(_ exchange: Exchange, _ settings: SSISettings) {
    unsafe self.exchange = exchange
    self.settings = settings
  }

  override var holdsOutput: Bool { !pending.isEmpty || pump != nil || !layers.isEmpty }
  override var failure: String { failureText }

  override func run(_ input: inout Bytes, into output: Buffer, _ goal: Goal) -> Outcome {
    while true {
      guard writePending(output) else { return .needsRoom }
      if let pump {
        switch pump.run(into: output) {
        case .done: finish(pump)
        case .failed:
          failureText = "an include was broken off"
          return .failed
        case let outcome: return outcome
        }
        continue
      }
      if output.room == 0 { return .needsRoom }
      if let layer = layers.last {
        var rest = layer
        scan(&rest, output)
        layers[layers.count - 1] = rest
        if rest.isEmpty { layers.removeLast() }
        continue
      }
      if input.isEmpty {
        guard goal == .end, matchedCount > 0 else { return .done }
        showPartial()
        continue
      }
      scan(&input, output)
    }
  }

  override func release(_ core: WorkerCore) {
    pump?.close()
    pump = nil
    pending = []
    layers = []
    command = nil
    block = nil
  }

  // --- scanning ----------------------------------------------------------------------------------

  private static let opening: StaticString = "<!--#"

  private func scan(_ source: inout Bytes, _ output: Buffer) {
    let opening = Bytes(Self.opening)
    while !source.isEmpty && pending.isEmpty && pump == nil {
      if command != nil {
        takeCommandByte(source[0])
        source = source.dropping(1)
        continue
      }
      if matchedCount == 0 {
        let end = source.firstIndex(of: UInt8(ascii: "<")) ?? source.count
        if end > 0 {
          let count = show(source.prefix(end), output)
          if count == 0 { return }
          source = source.dropping(count)
          continue
        }
      }
      guard source[0] == opening[matchedCount] else {
        showPartial()
        continue
      }
      matchedCount += 1
      source = source.dropping(1)
      if matchedCount == opening.count {
        matchedCount = 0
        (command, quote, isSkipping) = ([], 0, false)
      }
    }
  }

  private var isShown: Bool { conditions.last?.isShown ?? true }

  /// Text of the page, as much of it as there is room for; how many bytes were used.
  private func show(_ text: Bytes, _ output: Buffer) -> Int {
    guard isShown else { return text.count }
    if block != nil {
      keep(text)
      return text.count
    }
    let count = min(text.count, output.room)
    output.append(text.prefix(count))
    return count
  }

  /// What looked like the beginning of a command is text.
  private func showPartial() {
    let text = Bytes(Self.opening).prefix(matchedCount)
    matchedCount = 0
    guard isShown else { return }
    if block != nil { keep(text) } else { for i in 0..<text.count { pending.append(text[i]) } }
  }

  private func keep(_ text: Bytes) {
    guard unsafe exchange.page.charge(text.count) else { return }
    for index in 0..<text.count { block?.text.append(text[index]) }
  }

  private func writePending(_ output: Buffer) -> Bool {
    if pending.isEmpty { return true }
    let count = min(pending.count - pendingStart, output.room)
    for index in 0..<count { output.append(pending[pendingStart + index]) }
    pendingStart += count
    guard pendingStart == pending.count else { return false }
    pending.removeAll(keepingCapacity: true)
    pendingStart = 0
    return true
  }

  private func takeCommandByte(_ byte: UInt8) {
    guard var text = command.take() else { return }
    text.append(byte)
    if quote != 0 && !isSkipping {
      if byte == quote && text.dropLast().last != UInt8(ascii: "\\") { quote = 0 }
    } else if byte == UInt8(ascii: ">"), text.suffix(3) == [0x2D, 0x2D, 0x3E] {
      if !isSkipping { obey(Array(text.dropLast(3))) }
      return
    } else if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "'") {
      quote = byte
    }
    if isSkipping {
      text.removeFirst(max(0, text.count - 3))
    } else if text.count > Self.mostParameters * (settings.valueLength + 32) {
      isSkipping = true
      fail("too long a command")
    }
    command = text
  }

  // --- obeying -----------------------------------------------------------------------------------

  private func fail(_ text: String) {
    guard isShown else { return }
    let exchange = unsafe exchange
    exchange.log(.error, "SSI: \(text)")
    if !settings.isSilent {
      let message = exchange.page.errorText
      for index in 0..<message.count { pending.append(message[index]) }
    }
  }

  private func obey(_ text: [UInt8]) {
    let name = PageCommand.name(of: text)
    if block != nil && name != "endblock" {
      let (opening, closing) = (Array("<!--#".utf8), Array("-->".utf8))
      let count = opening.count + text.count + closing.count
      if unsafe exchange.page.charge(count) { block?.text += opening + text + closing }
      return
    }
    let isConditional = ["if", "elif", "else", "endif"].contains(name)
    guard isShown || isConditional else { return }
    do throws(PageCommand.Mistake) {
      guard unsafe exchange.page.charge(text.count) else {
        throw PageCommand.Mistake(text: "too many commands")
      }
      let command = try PageCommand(text, valueLength: settings.valueLength)
      if isConditional { try branch(command) } else { try obey(command) }
    } catch {
      fail(error.text)
    }
  }

  private func obey(_ command: PageCommand) throws(PageCommand.Mistake) {
    let exchange = unsafe exchange
    switch command.name {
    case "echo": pending += try exchange.echo(command)
    case "set": try exchange.setPageVariable(command)
    case "config": try exchange.configurePage(command)
    case "include": pump = try exchange.includePart(command)
    case "block":
      guard let name = command["name"], command.unknown(["name"]) == nil else {
        throw PageCommand.Mistake(text: "\"block\" needs a name")
      }
      block = (String(decoding: name, as: UTF8.self), [])
    case "endblock":
      guard let block else { throw PageCommand.Mistake(text: "\"endblock\" without \"block\"") }
      self.block = nil
      exchange.page.blocks[block.name] = exchange.root.arena.copy(block.text)
    default: throw PageCommand.Mistake(text: "unknown command \"\(command.name)\"")
    }
  }

  private func branch(_ command: PageCommand) throws(PageCommand.Mistake) {
    let exchange = unsafe exchange
    if command.name == "if" {
      guard conditions.count < Self.mostConditions else {
        throw PageCommand.Mistake(text: "too many ifs inside of each other")
      }
      var condition = Condition(isShown: false, isTaken: true)
      let wasShown = isShown
      // What can't be understood is answered before it hides what is inside.
      if wasShown {
        do throws(PageCommand.Mistake) {
          let holds = try exchange.pageCondition(command)
          condition = Condition(isShown: holds, isTaken: holds)
        } catch {
          fail(error.text)
        }
      }
      conditions.append(condition)
      return
    }
    guard var condition = conditions.popLast() else {
      throw PageCommand.Mistake(text: "\"\(command.name)\" without \"if\"")
    }
    if command.name == "endif" { return }
    // Back in place whatever the expression is.
    defer { conditions.append(condition) }
    condition.isShown = false
    if condition.isTaken { return }
    var holds = true
    if command.name == "elif" { holds = try exchange.pageCondition(command) }
    (condition.isShown, condition.isTaken) = (holds, holds)
  }

  private func finish(_ pump: IncludePump) {
    self.pump = nil
    let exchange = unsafe exchange
    let outcome = pump.outcome(exchange)
    pump.close()
    exchange.include = nil
    switch outcome {
    case .isComplete: break
    case .stub(let name):
      guard let text = exchange.page.blocks[name], exchange.page.charge(text.count) else { return }
      if !text.isEmpty { layers.append(text) }
    case .failed(let text): fail(text)
    }
  }
}
