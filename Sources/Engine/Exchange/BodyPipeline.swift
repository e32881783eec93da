// What stands between the source of a response's body and its client when the body is changed on its
// way. Without a stage there is no pipeline, and bodies aren't looked at.
//
//   sendBody ─► source ─► stage ─► stage ─► output ─► (Pacer) ─► stream
//               (queue)        ◄─ pulled ─
//
// Bytes are pulled: as long as the client has room the last stage is asked for a buffer, and it asks
// the one before. What isn't wanted yet waits in the source as it came, files unread, and counts as
// unsent, so that the upstream is held back. Memory: the source (bounded as without stages), 16 KiB
// between two stages, 16 KiB of output, and what the stages say of themselves.

import HTTP

/// The stages of one response, and what waits for them.
final class BodyPipeline {
  enum Outcome {
    /// The output is full.
    case full
    /// The source has nothing now.
    case dry
    /// The source has nothing now, and everything of it is in the output.
    case flushed
    /// The turn's share of work is done.
    case tired
    /// The body ended; the rest of it is in the output.
    case ended
    case failed
  }

  /// A stage and what it has not used yet.
  private struct Link {
    let stage: BodyStage
    var input = Bytes()
    /// The memory of `input`, if it goes back to the pool.
    var buffer: Buffer?
    /// What is asked of the stage behind `input`.
    var goal = BodyStage.Goal.more
  }

  // Bound: what stages are given in one turn, by the source and by each other, since one of them may make
  // a thousand bytes of one: two to ten milliseconds of compressing.
  private static let turnByteCount = 128 << 10
  // Bound: a piece in memory that a stage is given; an upstream's buffers go as they are.
  private static let bufferByteCount = BufferPool.Size.large.byteCount
  // Bound: a piece of a file, read into memory for a stage.
  private static let pieceByteCount = 16 << 10

  let pool: BufferPool
  let timer: TimerWheel.ID
  /// What came and was not looked at.
  var source = OutputQueue()
  /// Output that is not full yet.
  var pending: Buffer?
  /// How many bytes may wait for the client before stages pause.
  var roomByteCount = 64 << 10
  /// The stage that compresses, if there is one; known until `clear`.
  var gzip: GzipStage?
  /// Whether pauses of the source are passed on at once; otherwise after a moment.
  var flushesAtOnce = true
  /// Something came since everything was passed on.
  private(set) var holdsBytes = false
  /// The deadline for passing a pause on runs.
  var awaitsFlush = false
  /// A stage failed; the exchange breaks the response off.
  private(set) var hasFailed = false
  /// Another turn was asked for.
  var hasYielded = false
  private(set) var failure = ""
  private var links: [Link] = []
  private var sourceGoal = BodyStage.Goal.more
  private var turnRest = 0
  private var turnStart: Milliseconds = -1

  init(_ loop: Loop) {
    pool = loop.pool
    timer = loop.makeTimer()
  }

  var isEmpty: Bool { links.isEmpty }

  /// Puts `stage` behind the others.
  func append(_ stage: BodyStage) { links.append(Link(stage: stage)) }

  /// The body is complete: stages give back what they borrowed.
  func finish(_ core: WorkerCore) {
    for link in links { link.stage.release(core) }
    core.loop.clearTimer(timer)
  }

  /// Forgets stages and bytes.
  func clear(_ core: WorkerCore) {
    source.removeAll(pool)
    if let pending { pool.giveBack(pending) }
    pending = nil
    for index in links.indices {
      if let buffer = links[index].buffer { pool.giveBack(buffer) }
      links[index].stage.release(core)
    }
    links.removeAll(keepingCapacity: true)
    core.loop.clearTimer(timer)
    (flushesAtOnce, holdsBytes, awaitsFlush) = (true, false, false)
    (hasFailed, hasYielded) = (false, false)
    failure = ""
    gzip = nil
    sourceGoal = .more
    turnStart = -1
    roomByteCount = 64 << 10
  }

  /// Takes a piece of the body over.
  func take(_ piece: OutputQueue.Segment) {
    holdsBytes = true
    switch piece {
    case .buffer(let buffer): source.append(buffer)
    case .bytes(let bytes): source.append(bytes)
    case .file(let file, let offset, let count): source.append(file, offset: offset, count: count)
    }
  }

  /// The source pauses: what stages hold back goes out once they have used what waits.
  func flush() { if sourceGoal == .more && holdsBytes { sourceGoal = .flush } }

  /// Nothing follows.
  func end() { sourceGoal = .end }

  /// Lets a turn of work begin.
  func startTurn() { turnRest = Self.turnByteCount }

  /// The same, unless one began at `now`: the clock stands while the loop handles events.
  func startTurn(at now: Milliseconds) {
    if now == turnStart { return }
    turnStart = now
    startTurn()
  }

  /// Appends to `output` what the last stage has, or says why it has nothing.
  func produce(into output: Buffer) -> Outcome {
    let outcome = run(links.count - 1, output)
    if outcome == .flushed { holdsBytes = false }
    return outcome
  }

  private func run(_ index: Int, _ output: Buffer) -> Outcome {
    while true {
      if links[index].input.isEmpty && links[index].goal == .more
        && !links[index].stage.holdsOutput
      {
        giveBackInput(index)
        let outcome = index == 0 ? fetch() : fetch(index)
        if outcome != .full { return outcome }
      }
      if output.room < BodyStage.leastRoom { return .full }
      let goal = links[index].goal
      switch links[index].stage.run(&links[index].input, into: output, goal) {
      case .needsRoom: return .full
      // What came before goes out meanwhile.
      case .waits: return output.isEmpty ? .dry : .full
      case .failed:
        hasFailed = true
        failure = links[index].stage.failure
        return .failed
      case .done:
        if goal == .end { return .ended }
        links[index].goal = .more
        if goal == .flush {
          giveBackInput(index)
          return .flushed
        }
      }
    }
  }

  private func giveBackInput(_ index: Int) {
    guard let buffer = links[index].buffer else { return }
    links[index].buffer = nil
    links[index].input = Bytes()
    pool.giveBack(buffer)
  }

  /// Gives the first stage something to do: `.full`, or why there is nothing.
  private func fetch() -> Outcome {
    if source.isEmpty {
      if sourceGoal == .more { return .dry }
      links[0].goal = sourceGoal
      if sourceGoal == .flush { sourceGoal = .more }
      return .full
    }
    if turnRest <= 0 { return .tired }
    switch source.takeFirst(Self.bufferByteCount, ofFile: Self.pieceByteCount, pool) {
    case .buffer(let buffer):
      links[0].buffer = buffer
      links[0].input = buffer.unread
    case .bytes(let bytes): links[0].input = bytes
    case .file(let file, let offset, let count):
      defer { file.release() }
      guard load(file, offset, count) else {
        hasFailed = true
        failure = "a file was truncated while it was sent"
        return .failed
      }
    case nil: return .dry
    }
    turnRest -= links[0].input.count
    return .full
  }

  /// Reads a piece of a file; false if it isn't there.
  private func load(_ file: OpenFile, _ offset: Int64, _ count: Int) -> Bool {
    let buffer = pool.take(atLeast: count)
    let result = Socket.read(file.fd, into: buffer.free.slice(0, count), at: offset)
    guard case .bytes(let got) = result, got == count else {
      pool.giveBack(buffer)
      return false
    }
    buffer.produced(got)
    links[0].buffer = buffer
    links[0].input = buffer.unread
    return true
  }

  /// Gives stage `index` what the one before it makes: `.full`, or why there is nothing.
  private func fetch(_ index: Int) -> Outcome {
    if turnRest <= 0 { return .tired }
    let buffer = pool.take(.medium)
    let outcome = run(index - 1, buffer)
    turnRest -= buffer.count
    if buffer.isEmpty {
      pool.giveBack(buffer)
    } else {
      links[index].buffer = buffer
      links[index].input = buffer.unread
    }
    switch outcome {
    case .flushed: links[index].goal = .flush
    case .ended: links[index].goal = .end
    case .full: break
    case .dry, .tired: return buffer.isEmpty ? outcome : .full
    case .failed: return .failed
    }
    return .full
  }
}
