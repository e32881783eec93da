// Smooth weighted round robin. At each choice every server gains its weight, the one that is
// furthest ahead is chosen and falls back by the sum of all weights: with weights 5, 1, 1 the order
// is a a b a c a a. A server that failed weighs less for a while; `effectiveWeight` recovers by one
// a choice. O(servers).

extension UpstreamGroup.Tier {
  /// The index of the eligible server whose turn it is; moves the turns on.
  mutating func pickByTurns(_ tried: borrowing TriedSet, now: Milliseconds) -> Int? {
    var best = -1
    var total = 0
    for index in seats.indices where seats[index].isEligible(tried, now: now) {
      total += gainWeight(index)
      if best < 0 || seats[index].currentWeight > seats[best].currentWeight { best = index }
    }
    if best < 0 { return nil }
    seats[best].currentWeight -= total
    return best
  }

  /// Moves the server at `index` ahead by its effective weight, which is returned.
  @inline(__always)
  mutating func gainWeight(_ index: Int) -> Int {
    let gain = seats[index].effectiveWeight
    seats[index].currentWeight += gain
    if gain < seats[index].weight { seats[index].effectiveWeight = gain + 1 }
    return gain
  }
}
