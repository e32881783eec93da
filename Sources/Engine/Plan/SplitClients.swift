// `split_clients`: a value that depends on a hash, so that a known share of clients gets each
// (https://nginx.org/en/docs/http/ngx_http_split_clients_module.html).

import HTTP

/// The shares of one `split_clients` block.
struct SplitTable {
  /// Hashes below `bound` get `value`; each part begins where the one before it ends.
  private var parts: [(bound: UInt32, value: Template)] = []
  private var rest: Template?
  /// Hundredths of a percent given out so far.
  private(set) var total = 0

  /// Gives `share` hundredths of a percent to `value`; false if more than all would be given out.
  mutating func insert(_ share: Int, _ value: Template) -> Bool {
    guard total + share <= 10_000 else { return false }
    total += share
    let width = UInt64(UInt32.max) * UInt64(share) / 10_000
    parts.append((UInt32(UInt64(parts.last?.bound ?? 0) + width), value))
    return true
  }

  /// Gives what is left to `value`.
  mutating func insertRest(_ value: Template) {
    if rest == nil { rest = value }
  }

  /// The value for a source; nil: no share was given to its hash.
  func find(_ source: Bytes) -> Template? {
    let hash = Self.murmur2(source)
    for part in parts where hash < part.bound { return part.value }
    return rest
  }

  /// MurmurHash2 of 32 bits, the hash that nginx splits by: a client stays in its share when a site
  /// moves here.
  static func murmur2(_ bytes: Bytes) -> UInt32 {
    let m: UInt32 = 0x5bd1_e995
    var hash = UInt32(truncatingIfNeeded: bytes.count)
    var index = 0
    while index + 4 <= bytes.count {
      var word =
        UInt32(bytes[index]) | UInt32(bytes[index + 1]) << 8 | UInt32(bytes[index + 2]) << 16
        | UInt32(bytes[index + 3]) << 24
      word = word &* m
      word = (word ^ word >> 24) &* m
      hash = hash &* m ^ word
      index += 4
    }
    if index < bytes.count {
      for offset in 0..<(bytes.count - index) {
        hash ^= UInt32(bytes[index + offset]) << UInt32(8 * offset)
      }
      hash = hash &* m
    }
    hash = (hash ^ hash >> 13) &* m
    return hash ^ hash >> 15
  }
}
