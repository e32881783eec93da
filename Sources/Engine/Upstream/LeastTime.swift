// The server that answers soonest: the average time of its responses, times the requests that wait
// there, by its weight (https://nginx.org/r/least_time). O(servers).
//
// A server that was slow once isn't asked any more, and so can't show that it has recovered. Here a
// time counts half after ten seconds without a response, a quarter after twenty and so on, until
// the server is asked again.

/// What `least_time` measures.
struct LeastTime: Sendable, Equatable {
  /// To the last byte of responses, rather than to their heads.
  var isToLastByte = false
  /// Whether requests that have no response yet count by their age.
  var countsPending = false

  // Times are measured in milliseconds: servers that differ by less are equals.
  private static let resolution = 1_000.0
  private static let halfLife: Milliseconds = 10_000

  /// What asking the server in `seat` costs.
  func cost(of seat: Seat, now: Milliseconds) -> Double {
    let state = seat.state
    let measured = isToLastByte ? state.bodyLatencyMicroseconds : state.latencyMicroseconds
    let halvings = min(max(0, now - state.latencyAt) / Self.halfLife, 62)
    var time = measured >> halvings
    if countsPending { time = max(time, min(state.pendingAge(now: now), 3_600_000) * 1_000) }
    let wait = (Double(time) + Self.resolution) * Double(max(0, state.active) + 1)
    return wait / Double(seat.weight)
  }
}

extension UpstreamSettings.Method {
  /// What has to be measured of requests; nil: nothing but the time to the head.
  var leastTime: LeastTime? {
    switch self {
    case .leastTime(let time): time
    case .random(_, let time): time
    default: nil
    }
  }
}

extension UpstreamGroup.Tier {
  /// The index of the eligible server that answers soonest; equals take turns.
  mutating func pickFastest(
    _ time: LeastTime, _ tried: borrowing TriedSet, now: Milliseconds
  ) -> Int? {
    var first = -1
    // Other threads move the numbers meanwhile: what the first server cost is remembered.
    var least = 0.0
    var hasEquals = false
    for index in seats.indices where seats[index].isEligible(tried, now: now) {
      let cost = time.cost(of: seats[index], now: now)
      if first < 0 || cost < least {
        (first, least, hasEquals) = (index, cost, false)
      } else if cost == least {
        hasEquals = true
      }
    }
    if first < 0 || !hasEquals { return first < 0 ? nil : first }

    var best = first
    var total = 0
    for index in first..<seats.count where seats[index].isEligible(tried, now: now) {
      if index != first && time.cost(of: seats[index], now: now) != least { continue }
      total += gainWeight(index)
      if seats[index].currentWeight > seats[best].currentWeight { best = index }
    }
    seats[best].currentWeight -= total
    return best
  }
}
