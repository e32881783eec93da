// "Did you mean": the known name nearest to a misspelt one.

/// The candidate with the smallest number of typing mistakes (a letter more, less, other, or two
/// swapped: Damerau-Levenshtein), if that is few enough for its length: one up to five letters, two
/// up to eleven, three above. Of equals, one that
/// is longer than the word wins (letters are left out more often than doubled), then the first.
public func nearestName(to name: String, among candidates: some Sequence<String>) -> String? {
  let wanted = Array(name.utf8)
  // Bound: names of directives have at most 40 letters; comparing is quadratic.
  guard !wanted.isEmpty, wanted.count <= 64 else { return nil }
  var best: String?
  var limit = wanted.count <= 5 ? 1 : wanted.count <= 11 ? 2 : 3
  for candidate in candidates {
    let other = Array(candidate.utf8)
    guard abs(other.count - wanted.count) <= limit, other != wanted else { continue }
    let found = distance(wanted, other)
    let isLonger = other.count > wanted.count && (best?.utf8.count ?? 0) <= wanted.count
    if found <= limit, best == nil || found < limit || isLonger {
      best = candidate
      limit = found
    }
  }
  return best
}

/// `; did you mean "x"?`, to be put behind a message; empty when nothing is near.
public func suggestion(for name: String, among candidates: some Sequence<String>) -> String {
  guard let near = nearestName(to: name, among: candidates) else { return "" }
  return "; did you mean \(quoted(near))?"
}

/// The same for a name of which words were left out (`proxy_header`), by up to three names that
/// have all of its words.
public func suggestion(
  for name: String, withItsWordsAmong candidates: some Sequence<String>
) -> String {
  let words = Set(name.split(separator: "_"))
  guard words.count > 1 else { return "" }
  let near = candidates.filter { words.isSubset(of: $0.split(separator: "_")) }
    .sorted { ($0.utf8.count, $0) < ($1.utf8.count, $1) }.prefix(3).map { quoted($0) }
  if near.isEmpty { return "" }
  return "; did you mean \(near.joined(separator: " or "))?"
}

/// The number of edits between two words; swapped neighbours count one, differing case none.
func distance(_ left: [UInt8], _ right: [UInt8]) -> Int {
  var beforeLast: [Int] = []
  var last = Array(0...right.count)
  for row in 0..<left.count {
    var current = [row + 1]
    current.reserveCapacity(right.count + 1)
    for column in 0..<right.count {
      let cost = isSame(left[row], right[column]) ? 0 : 1
      var best = min(last[column + 1] + 1, current[column] + 1, last[column] + cost)
      if row > 0, column > 0, isSame(left[row], right[column - 1]),
        isSame(left[row - 1], right[column])
      {
        best = min(best, beforeLast[column - 1] + 1)
      }
      current.append(best)
    }
    beforeLast = last
    last = current
  }
  return last[right.count]
}

private func isSame(_ left: UInt8, _ right: UInt8) -> Bool {
  left == right || (ASCII.isLetter(left) && ASCII.isLetter(right) && left | 0x20 == right | 0x20)
}
