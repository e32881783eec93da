// Variables that are computed from other variables (`map`, `geo`, `split_clients`, what `root`
// says, signatures of links) may lead back to themselves: `map $a $b` beside `map $b $a`, `root
// $request_filename`. Which do depends on the request: it shows only while one is computed.
//
// All of them go through `compute`, which counts how deep they stand in one another. When that is
// more than a configuration can mean, everything that is being computed is empty, up to the
// outermost: going on with the rest of each would take time without bound where values aren't kept.

import HTTP

/// How deep the variable that is being computed stands in others.
struct Nesting {
  // Bound: nginx's, far above what is written on purpose, far below what a thread's stack holds.
  static let limit = 100

  var depth = 0
  /// The bound was reached; until the outermost variable is done nothing is computed.
  var isCycle = false
}

extension Exchange {
  /// The value of a variable that others may be part of; nil, with a line in the log, if it is part
  /// of itself.
  ///
  /// - Parameter name: what the log calls it.
  @inline(__always)
  func compute(_ name: @autoclosure () -> String, _ value: () -> Bytes?) -> Bytes? {
    if nesting.depth >= Nesting.limit && !nesting.isCycle {
      nesting.isCycle = true
      log(.error, "cycle while evaluating variable \"\(name())\"")
    }
    if nesting.isCycle { return nil }
    nesting.depth += 1
    let value = value()
    nesting.depth -= 1
    if !nesting.isCycle { return value }
    if nesting.depth == 0 { nesting.isCycle = false }
    return nil
  }

  /// The name of the variable that has `slot`.
  func variableName(_ slot: Int) -> String {
    plan.slots.first { $0.value == slot }?.key ?? ""
  }
}
