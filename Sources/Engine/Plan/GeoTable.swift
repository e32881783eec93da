// `geo`: a variable by the client's address
// (https://nginx.org/en/docs/http/ngx_http_geo_module.html). Compiled to intervals, so that a
// look-up among 100,000 networks takes 17 comparisons.

import HTTP

/// The values of one `geo` block.
final class GeoTable {
  /// What is looked up: networks of both kinds, or ranges of IPv4 addresses.
  enum Table {
    case networks(NetworkTable)
    case ranges(IntervalTable<UInt32>)
  }

  private let table: Table
  private let values: [Bytes]
  private let standard: Bytes
  /// Where the address comes from; nil: the client's.
  let source: Template?
  /// Whose X-Forwarded-For is believed.
  let proxies: TrustedSenders
  /// Whether to go on to the address before a trusted one.
  let isRecursive: Bool

  init(_ draft: GeoDraft, source: Template?, _ store: ByteStore) {
    values = draft.values.map { store.append($0) }
    standard = store.append(draft.standard)
    proxies = draft.proxies
    isRecursive = draft.isRecursive
    self.source = source
    table =
      draft.hasRanges
      ? .ranges(IntervalTable(disjoint: draft.ranges.intervals))
      : .networks(NetworkTable(draft.networks.values.map { $0 }, .longestPrefix))
  }

  /// The value for `address`. What isn't an address (a Unix socket, a word), and an IPv6 one where
  /// there are ranges, counts as 255.255.255.255, as in nginx.
  func find(_ address: IPAddress?) -> Bytes {
    // A client has one address, whichever socket it came by.
    let plain = (address ?? IPAddress(v4: .max)).unmapped
    let index: Int32
    switch table {
    case .networks(let networks): index = networks.find(plain)
    case .ranges(let ranges): index = ranges.find(plain.isV6 ? .max : plain.numberOfFour)
    }
    return index < 0 ? standard : values[Int(index)]
  }
}

/// A `geo` block while it is read.
struct GeoDraft {
  /// A network without the bits behind its prefix: what equal networks have in common.
  struct Key: Hashable {
    let address: IPAddress
    let length: Int
  }

  var hasRanges = false
  var isVolatile = false
  var isRecursive = false
  var standard = ""
  var proxies = TrustedSenders()
  var networks: [Key: (network: IPNetwork, value: Int32)] = [:]
  var ranges = RangeList()
  /// Each value once.
  private(set) var values: [String] = []
  private var indices: [String: Int32] = [:]

  /// The number of `value`.
  mutating func index(of value: String) -> Int32 {
    if let known = indices[value] { return known }
    let index = Int32(values.count)
    indices[value] = index
    values.append(value)
    return index
  }

  static func key(_ network: IPNetwork) -> Key {
    var address = network.address
    let mask = network.prefixLength == 0 ? 0 : UInt128.max << UInt128(128 - network.prefixLength)
    if address.isV6 {
      let number = address.number & mask
      address = IPAddress(
        high: UInt64(truncatingIfNeeded: number >> 64), low: UInt64(truncatingIfNeeded: number))
    } else {
      address = IPAddress(
        v4: address.numberOfFour & UInt32(truncatingIfNeeded: mask >> 96))
    }
    return Key(address: address, length: network.prefixLength)
  }
}

/// Ranges of IPv4 addresses, sorted and apart. A later range takes its part out of an earlier one.
struct RangeList {
  typealias Interval = IntervalTable<UInt32>.Interval

  /// What was there before an insertion.
  enum Former { case nothing, same, around, overlapping }

  private(set) var intervals: [Interval] = []

  /// Adds a range. O(log n) for those that come in order, O(n) for others.
  mutating func insert(_ range: Interval) -> Former {
    guard let last = intervals.last, range.first <= last.last else {
      intervals.append(range)
      return .nothing
    }
    let touched = touched(range)
    var pieces = [range]
    var former = Former.nothing
    if !touched.isEmpty {
      let head = intervals[touched.lowerBound]
      let tail = intervals[touched.upperBound - 1]
      if head.first < range.first {
        pieces.insert(Interval(first: head.first, last: range.first - 1, value: head.value), at: 0)
      }
      if tail.last > range.last {
        pieces.append(Interval(first: range.last + 1, last: tail.last, value: tail.value))
      }
      let isAround = touched.count == 1 && head.first <= range.first && tail.last >= range.last
      former =
        !isAround
        ? .overlapping : head.first == range.first && tail.last == range.last ? .same : .around
    }
    intervals.replaceSubrange(touched, with: pieces)
    return former
  }

  /// Removes what is exactly from the first to the last address of `range`; false, and no change,
  /// if that isn't there.
  mutating func remove(_ range: Interval) -> Bool {
    let touched = touched(range)
    guard !touched.isEmpty, intervals[touched.lowerBound].first == range.first,
      intervals[touched.upperBound - 1].last == range.last
    else { return false }
    for index in touched.dropFirst() where intervals[index - 1].last + 1 != intervals[index].first {
      return false
    }
    intervals.removeSubrange(touched)
    return true
  }

  /// The positions of ranges that have addresses of `range`.
  private func touched(_ range: Interval) -> Range<Int> {
    let start = position { $0.last >= range.first }
    let end = position { $0.first > range.last }
    return start..<max(start, end)
  }

  /// The first position whose range is as `condition` wants it; all behind it are too.
  private func position(_ condition: (Interval) -> Bool) -> Int {
    var (low, high) = (0, intervals.count)
    while low < high {
      let middle = (low + high) >> 1
      if condition(intervals[middle]) { high = middle } else { low = middle + 1 }
    }
    return low
  }
}
