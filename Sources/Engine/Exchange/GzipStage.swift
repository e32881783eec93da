// Compressing a body (https://nginx.org/en/docs/http/ngx_http_gzip_module.html, RFC 1952), and
// decompressing one for a client that can't
// (https://nginx.org/en/docs/http/ngx_http_gunzip_module.html).

import HTTP

/// Compresses.
final class GzipStage: BodyStage {
  private var deflater: Deflater?
  /// Bytes that came, and what became of them: `$gzip_ratio`.
  private(set) var originalCount = 0
  private(set) var compressedCount = 0

  /// Works with `deflater` until it is released.
  init(_ deflater: Deflater) { self.deflater = deflater }

  override func run(_ input: inout Bytes, into output: Buffer, _ goal: Goal) -> Outcome {
    guard let deflater else { return .failed }
    let order: Deflater.Goal =
      switch goal {
      case .more: .more
      case .flush: .flush
      case .end: .end
      }
    let step = deflater.run(input, into: output.free, order)
    input = input.dropping(step.consumed)
    output.produced(step.produced)
    originalCount += step.consumed
    compressedCount += step.produced
    return step.isDone ? .done : .needsRoom
  }

  override func release(_ core: WorkerCore) {
    guard let deflater else { return }
    self.deflater = nil
    core.deflaters.giveBack(deflater)
  }
}

/// Decompresses; members that follow each other are one body.
final class GunzipStage: BodyStage {
  private var inflater: Inflater?
  private var isTruncated = false
  private var isBroken = false

  init(_ inflater: Inflater) { self.inflater = inflater }

  override func run(_ input: inout Bytes, into output: Buffer, _ goal: Goal) -> Outcome {
    guard let inflater, !isBroken else { return .failed }
    while true {
      let step = inflater.run(input, into: output.free)
      input = input.dropping(step.consumed)
      output.produced(step.produced)
      if step.hasFailed { return breakOff(output) }
      // A full output may leave bytes in the decompressor.
      if output.room == 0 { return .needsRoom }
      if input.isEmpty { break }
    }
    if goal == .end && !inflater.isAtBoundary {
      isTruncated = true
      return breakOff(output)
    }
    return .done
  }

  /// What could be decompressed goes out before the failure is known.
  private func breakOff(_ output: Buffer) -> Outcome {
    isBroken = true
    return output.isEmpty ? .failed : .needsRoom
  }

  override var failure: String {
    isTruncated
      ? "a compressed response ended too early while decompressing"
      : "a compressed response is broken while decompressing"
  }

  override func release(_ core: WorkerCore) {
    guard let inflater else { return }
    self.inflater = nil
    core.inflaters.giveBack(inflater)
  }
}
