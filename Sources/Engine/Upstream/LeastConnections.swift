// The server with the fewest requests in flight over all workers, relative to its weight. Servers
// that are equally busy take turns by smooth weighted round robin, so that an idle group spreads
// its requests instead of asking the first server each time. O(servers).

extension UpstreamGroup.Tier {
  /// The index of the eligible server with the fewest requests for its weight.
  mutating func pickLeastBusy(_ tried: borrowing TriedSet, now: Milliseconds) -> Int? {
    var first = -1
    // Other threads move the counts meanwhile: what the first server had is remembered.
    var least = 0
    var hasEquals = false
    for index in seats.indices where seats[index].isEligible(tried, now: now) {
      let active = seats[index].state.active
      if first < 0 || active * seats[first].weight < least * seats[index].weight {
        first = index
        least = active
        hasEquals = false
      } else if active * seats[first].weight == least * seats[index].weight {
        hasEquals = true
      }
    }
    if first < 0 || !hasEquals { return first < 0 ? nil : first }

    var best = first
    var total = 0
    for index in first..<seats.count where seats[index].isEligible(tried, now: now) {
      let active = index == first ? least : seats[index].state.active
      if active * seats[first].weight != least * seats[index].weight { continue }
      total += gainWeight(index)
      if seats[index].currentWeight > seats[best].currentWeight { best = index }
    }
    seats[best].currentWeight -= total
    return best
  }
}
