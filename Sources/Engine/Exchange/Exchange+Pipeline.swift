// The way of a body through its stages: what is taken, how much is made of it before the client has
// to take some, when a pause of the source is passed on, and how it ends.

import HTTP

extension Exchange {
  // Bound: how long what came from a buffered upstream may wait in a compressor. A flush costs a
  // few bytes and ends a block early: responses that come in bursts shouldn't be cut at each of
  // them.
  private static let flushDelay: Milliseconds = 20

  /// Has the response's body go through `stage`, behind those that were added before.
  func addStage(_ stage: BodyStage) {
    let pipeline = self.pipeline ?? BodyPipeline(loop)
    self.pipeline = pipeline
    pipeline.append(stage)
    isFiltered = true
  }

  /// Forgets stages, and what was not sent of the body.
  func stopFiltering() {
    isFiltered = false
    pipeline?.clear(core)
  }

  /// Nothing follows, but the body isn't complete: what came of it goes out without an end.
  func abandonBody() {
    if let pipeline, !pipeline.hasFailed {
      pipeline.flush()
      pipeline.hasYielded = false
      runPipeline()
    }
    stopFiltering()
  }

  /// Takes a piece of the body over, which goes to the client in its time.
  func filter(_ piece: OutputQueue.Segment) {
    guard let pipeline else { return }
    if pipeline.hasFailed {
      if case .buffer(let buffer) = piece { loop.pool.giveBack(buffer) }
      return
    }
    pipeline.take(piece)
    runPipeline()
  }

  /// Nothing follows; the end goes out behind what is made of the last bytes.
  func endFiltered() {
    if response.isBrokenOff { return endFilteredEarly() }
    pipeline?.end()
    runPipeline()
  }

  /// Nothing follows, although the body isn't complete: what came of it is made use of, but stages
  /// don't write an end.
  private func endFilteredEarly() {
    guard let pipeline else { return }
    pipeline.endEarly()
    if pipeline.hasEndedEarly { return finishFilteredEarly(pipeline) }
    runPipeline()
  }

  private func finishFilteredEarly(_ pipeline: BodyPipeline) {
    isFiltered = false
    pipeline.finish(core)
    finishBody()
  }

  /// The upstream has nothing more at the moment: what stages hold back is the client's.
  func passPauseOn() {
    guard isFiltered, attempt.phase == .receivingBody, let pipeline, pipeline.holdsBytes else {
      return
    }
    if pipeline.flushesAtOnce {
      pipeline.flush()
      runPipeline()
    } else if !pipeline.awaitsFlush {
      pipeline.awaitsFlush = true
      loop.setTimer(pipeline.timer, after: Self.flushDelay, for: handle.of(.pipeline))
    }
  }

  /// The moment that a pause may last has passed.
  func onFlushTimeout() {
    guard isFiltered, let pipeline else { return }
    pipeline.awaitsFlush = false
    pipeline.flush()
    runPipeline()
    if state != .idle { stream.flush() }
  }

  /// Others had a turn.
  func onPipelineResume() {
    guard isFiltered, let pipeline else { return }
    pipeline.hasYielded = false
    pipeline.startTurn()
    if pipeline.hasFailed { return breakOffPipeline(pipeline) }
    onClientWritable()
    if state != .idle { stream.flush() }
  }

  /// Makes as much of the body as the client has room for.
  func runPipeline() {
    guard let pipeline, !pipeline.hasYielded else { return }
    pipeline.startTurn(at: loop.now)
    while byteCountBeforeClient < pipeline.roomByteCount {
      let output = pipeline.pending ?? loop.pool.take(.medium)
      pipeline.pending = nil
      switch pipeline.produce(into: output) {
      case .full: handOver(output)
      case .flushed:
        handOver(output)
        if pipeline.hasEndedEarly { return finishFilteredEarly(pipeline) }
      case .dry:
        keep(output, pipeline)
        return
      case .tired:
        keep(output, pipeline)
        return yieldPipeline(pipeline)
      case .ended:
        handOver(output)
        isFiltered = false
        pipeline.finish(core)
        return finishBody()
      case .failed:
        loop.pool.giveBack(output)
        // Whoever sends this body isn't prepared for the end of the exchange.
        return yieldPipeline(pipeline)
      }
    }
  }

  /// Body bytes that wait for the client behind the stages.
  private var byteCountBeforeClient: Int {
    guard isPaced, let pacer else { return stream.unsentByteCount }
    return stream.unsentByteCount + pacer.queue.byteCount
  }

  private func keep(_ output: Buffer, _ pipeline: BodyPipeline) {
    if output.isEmpty {
      loop.pool.giveBack(output)
    } else {
      pipeline.pending = output
    }
  }

  /// An include has something for the stage that waits for it. Not at once: the include is in the
  /// middle of its own work.
  func onIncludeProgress() {
    guard isFiltered, let pipeline, !pipeline.hasYielded else { return }
    yieldPipeline(pipeline)
  }

  private func yieldPipeline(_ pipeline: BodyPipeline) {
    pipeline.hasYielded = true
    loop.yield(handle.of(.pipeline))
  }

  /// A body that can't be transformed ends in the middle, as one does whose upstream breaks off.
  private func breakOffPipeline(_ pipeline: BodyPipeline) {
    log(.error, "\(pipeline.failure)")
    stopFiltering()
    cancelUpstream()
    if didSendHead { endEarly() } else { fail(502) }
    if state != .idle { stream.flush() }
  }
}
