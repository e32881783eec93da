// The pipeline by itself: whatever the sizes of pieces and outputs, the same bytes come out, pauses
// and the end included.

import HTTP
import Testing

@testable import Engine

/// Doubles each byte, and holds the last one back until it is asked to flush.
private final class DoublingStage: BodyStage {
  private var held: UInt8?

  override func run(_ input: inout Bytes, into output: Buffer, _ goal: Goal) -> Outcome {
    while output.room >= 4 {
      guard let next = input.isEmpty ? nil : input[0] else { break }
      input = input.dropping(1)
      write(output)
      held = next
    }
    if !input.isEmpty { return .needsRoom }
    if goal != .more {
      guard output.room >= 2 else { return .needsRoom }
      write(output)
      held = nil
    }
    return .done
  }

  private func write(_ output: Buffer) {
    guard let held else { return }
    output.append(held)
    output.append(held)
  }
}

private final class FailingStage: BodyStage {
  override func run(_ input: inout Bytes, into output: Buffer, _ goal: Goal) -> Outcome { .failed }
  override var failure: String { "as it should" }
}

/// Makes a thousand bytes of each.
private final class ExpandingStage: BodyStage {
  private var owed = 0

  override func run(_ input: inout Bytes, into output: Buffer, _ goal: Goal) -> Outcome {
    while owed > 0 || !input.isEmpty {
      if owed == 0 {
        input = input.dropping(1)
        owed = 1000
      }
      if output.room == 0 { return .needsRoom }
      output.append(UInt8(ascii: "a"))
      owed -= 1
    }
    return .done
  }
}

/// Uses everything up, and counts it.
private final class SwallowingStage: BodyStage {
  private(set) var count = 0

  override func run(_ input: inout Bytes, into output: Buffer, _ goal: Goal) -> Outcome {
    count += input.count
    input = Bytes()
    return .done
  }
}

@Suite struct BodyPipelineTests {
  private func makeLoop() throws -> Loop { try Loop() }

  /// Takes everything that the pipeline makes until it is dry.
  private func drain(
    _ pipeline: BodyPipeline, capacity: Int, into output: inout [UInt8]
  ) -> BodyPipeline.Outcome {
    pipeline.startTurn()
    while true {
      let buffer = Buffer(capacity: capacity)
      let outcome = pipeline.produce(into: buffer)
      for index in 0..<buffer.count { output.append(buffer.unread[index]) }
      switch outcome {
      case .full, .flushed: continue
      case .tired: pipeline.startTurn()
      case .dry, .ended, .failed: return outcome
      }
    }
  }

  private func piece(_ bytes: ArraySlice<UInt8>) -> OutputQueue.Segment {
    let buffer = Buffer(capacity: max(1, bytes.count))
    for byte in bytes { buffer.append(byte) }
    return .buffer(buffer)
  }

  private let content = (0..<5000).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 5) }

  @Test(arguments: [1, 2, 7, 100, 4999, 5000], [64, 65, 1000, 100_000])
  func bytesPassAChainOfStages(pieceSize: Int, capacity: Int) throws {
    let pipeline = BodyPipeline(try makeLoop())
    pipeline.append(DoublingStage())
    pipeline.append(DoublingStage())
    var output: [UInt8] = []
    for start in stride(from: 0, to: content.count, by: pieceSize) {
      pipeline.take(piece(content[start..<min(content.count, start + pieceSize)]))
      #expect(drain(pipeline, capacity: capacity, into: &output) == .dry)
    }
    pipeline.end()
    #expect(drain(pipeline, capacity: capacity, into: &output) == .ended)
    #expect(output == content.flatMap { [$0, $0, $0, $0] })
  }

  @Test func aFlushPassesEveryStage() throws {
    let pipeline = BodyPipeline(try makeLoop())
    for _ in 0..<3 { pipeline.append(DoublingStage()) }
    var output: [UInt8] = []
    for byte in content.prefix(10) {
      pipeline.take(piece([byte]))
      #expect(drain(pipeline, capacity: 1000, into: &output) == .dry)
      #expect(pipeline.holdsBytes)
      pipeline.flush()
      #expect(drain(pipeline, capacity: 1000, into: &output) == .dry)
      #expect(!pipeline.holdsBytes)
      #expect(output == [UInt8](repeating: byte, count: 8))
      output = []
    }
  }

  @Test(arguments: [Deflater.Size.small, .full])
  func compressingAndDecompressingGivesTheSame(size: Deflater.Size) throws {
    let pools = (DeflaterPool(), InflaterPool())
    for round in 0..<3 {
      for count in [0, 1, 100, 5000] {
        let pipeline = BodyPipeline(try makeLoop())
        let deflater = try #require(pools.0.take(level: 1 + round * 4, size: size))
        let inflater = try #require(pools.1.take())
        pipeline.append(GzipStage(deflater))
        pipeline.append(GunzipStage(inflater))
        var output: [UInt8] = []
        for start in stride(from: 0, to: count, by: 1234) {
          pipeline.take(piece(content[start..<min(count, start + 1234)]))
          pipeline.flush()
          _ = drain(pipeline, capacity: 64, into: &output)
          // What was flushed arrives before the end.
          #expect(output.count == min(count, start + 1234))
        }
        pipeline.end()
        #expect(drain(pipeline, capacity: 64, into: &output) == .ended)
        #expect(output == Array(content.prefix(count)))
        pools.0.giveBack(deflater)
        pools.1.giveBack(inflater)
      }
    }
  }

  /// A few bytes that become many tire the turn as many do.
  @Test func whatStagesGiveEachOtherCountsAsWork() throws {
    let pipeline = BodyPipeline(try makeLoop())
    let swallowing = SwallowingStage()
    pipeline.append(ExpandingStage())
    pipeline.append(swallowing)
    pipeline.take(piece(content[...]))
    pipeline.end()
    let output = Buffer(capacity: 1000)
    var turns = 0
    var outcome = BodyPipeline.Outcome.tired
    while outcome == .tired {
      let before = swallowing.count
      pipeline.startTurn()
      outcome = pipeline.produce(into: output)
      turns += 1
      #expect(swallowing.count - before <= 160 << 10)
    }
    #expect(outcome == .ended && turns > 30)
    #expect(swallowing.count == content.count * 1000)
  }

  @Test func aFailureIsKept() throws {
    let pipeline = BodyPipeline(try makeLoop())
    pipeline.append(FailingStage())
    pipeline.append(DoublingStage())
    var output: [UInt8] = []
    pipeline.take(piece([1]))
    #expect(drain(pipeline, capacity: 64, into: &output) == .failed)
    #expect(pipeline.hasFailed && pipeline.failure == "as it should" && output.isEmpty)
  }

  @Test(arguments: [
    RecodeTable.fromUTF8([0x61: 0x62, 0x20AC: 0x80]), .toUTF8((0..<256).map { _ in 0xA994D1 }),
  ])
  func recodingGivesTheSameInPieces(table: RecodeTable) throws {
    let text = Array("a\u{20AC}b\u{1F600}".utf8) + [0xE2, 0x82, 0x61, 0xFF, 0xE2]
    var results: [[UInt8]] = []
    for size in 1...text.count {
      let pipeline = BodyPipeline(try makeLoop())
      pipeline.append(RecodeStage(table))
      var output: [UInt8] = []
      for start in stride(from: 0, to: text.count, by: size) {
        pipeline.take(piece(text[start..<min(text.count, start + size)]))
        _ = drain(pipeline, capacity: 64, into: &output)
      }
      pipeline.end()
      #expect(drain(pipeline, capacity: 64, into: &output) == .ended)
      results.append(output)
    }
    #expect(results.allSatisfy { $0 == results[0] })
  }
}
