// What moves the body of an include to where its command stood, or into a variable.

import HTTP

/// One include under way.
final class IncludePump {
  enum Ending {
    case isComplete
    /// A block stands for it.
    case stub(String)
    case failed(String)
  }

  private let stream: IncludeStream
  private let pool: BufferPool
  private let stub: String?
  private let variable: String?
  /// Where a body goes that a variable gets.
  private var held: Buffer?
  private var isTooLong = false
  private var piece = Bytes()
  /// The memory of `piece`, if it goes back to the pool.
  private var buffer: Buffer?

  init(_ stream: IncludeStream, stub: String?, variable: String?, _ pool: BufferPool) {
    self.stream = stream
    self.stub = stub
    self.variable = variable
    self.pool = pool
  }

  /// Moves what there is.
  func run(into output: Buffer) -> BodyStage.Outcome {
    while true {
      let output = held ?? output
      let room = held.map { stream.heldLimit - $0.count } ?? output.room
      let count = min(piece.count, room)
      output.append(piece.prefix(count))
      piece = piece.dropping(count)
      if !piece.isEmpty {
        guard held != nil else { return .needsRoom }
        isTooLong = true
        return .done
      }
      giveBackPiece()
      guard let segment = stream.take(16 << 10) else { break }
      if variable != nil && held == nil { held = pool.take(atLeast: stream.heldLimit) }
      guard load(segment) else { return .failed }
    }
    if !stream.isEnded { return .waits }
    return stream.hasFailed && stream.byteCount > 0 && variable == nil ? .failed : .done
  }

  /// How it ended; keeps the variable.
  func outcome(_ exchange: Exchange) -> Ending {
    if let variable {
      if stream.hasFailed && stub == nil { return .failed("an include was broken off") }
      if isTooLong { return .failed("too big a response to be included in a variable") }
      let value = stream.isSuccess ? held?.unread ?? Bytes() : Bytes()
      guard exchange.page.charge(value.count) else { return .failed("too much in variables") }
      exchange.page.variables[variable] = exchange.root.arena.copy(value)
      if stub == nil { return .isComplete }
    }
    if let stub, stream.hasFailed || stream.byteCount == 0 { return .stub(stub) }
    return stream.hasFailed ? .failed("an include was broken off") : .isComplete
  }

  /// Ends the include, whatever it is doing.
  func close() {
    giveBackPiece()
    if let held { pool.giveBack(held) }
    held = nil
    stream.close()
  }

  private func giveBackPiece() {
    piece = Bytes()
    if let buffer { pool.giveBack(buffer) }
    buffer = nil
  }

  private func load(_ segment: OutputQueue.Segment) -> Bool {
    switch segment {
    case .bytes(let bytes): piece = bytes
    case .buffer(let taken):
      buffer = taken
      piece = taken.unread
    case .file(let file, let offset, let count):
      defer { file.release() }
      let taken = pool.take(atLeast: count)
      buffer = taken
      guard
        case .bytes(let got) = Socket.read(file.fd, into: taken.free.slice(0, count), at: offset),
        got == count
      else { return false }
      taken.produced(got)
      piece = taken.unread
    }
    return true
  }
}
