// One step of what happens to a response's body on its way to the client: decompressing, changing,
// compressing. A `BodyPipeline` asks its stages for bytes, from the last one to the first, so that
// no stage makes more than is wanted.

import HTTP

/// A transformation of a body. Subclasses override `run` and, if they hold anything, `release`.
class BodyStage {
  /// What is asked of a stage once its input is used up.
  enum Goal {
    /// Nothing: more input follows.
    case more
    /// To hand over what it holds back, because its source pauses.
    case flush
    /// To finish: nothing follows.
    case end
  }

  enum Outcome {
    /// All input was used, and the goal was reached.
    case done
    /// The output is as full as this stage can make it: to be called again with another.
    case needsRoom
    /// Something else than input or room is missing; the stage has its exchange go on.
    case waits
    /// The input can't be transformed.
    case failed
  }

  /// The room that an output must have for a stage to get ahead, in bytes. Bound: what the longest
  /// indivisible piece of a stage takes.
  static let leastRoom = 64

  /// Uses `input` from its beginning, leaving what was not used, and appends to `output`.
  func run(_ input: inout Bytes, into output: Buffer, _ goal: Goal) -> Outcome {
    preconditionFailure("abstract")
  }

  /// Whether `run` may have output without more input.
  var holdsOutput: Bool { false }

  /// Why the last run failed, for the error log.
  var failure: String { "a response body could not be transformed" }

  /// The response is over, one way or the other: gives back what was borrowed.
  func release(_ core: WorkerCore) {}
}
