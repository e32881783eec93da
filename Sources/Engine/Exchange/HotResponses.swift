// Small responses that a worker has just read from a cache, kept in its memory for a second: what
// is asked for often costs no system call but those of the client's connection. The zone has the
// last word each time: it says by a version if a file is the one that was read.
//
// A second, since people purge a cache by removing files, and nobody tells.

import HTTP

/// A response in memory.
struct HotResponse {
  let response: StoredResponse
  /// The version of the file, as the zone counts them.
  let version: UInt64
  /// The number of the zone.
  fileprivate let zone: Int
  fileprivate let readAt: Milliseconds
}

/// Those of one worker.
struct HotResponses {
  // Bound: the largest response that is kept, its head included. Of larger ones the system calls
  // are a small part of the cost.
  static let sizeLimit = 16 << 10
  // Bound: what one worker keeps.
  private static let budget = 8 << 20
  private static let validity: Milliseconds = 1_000

  private var responses: [UInt64: HotResponse] = [:]
  private var byteCount = 0
  private let seed = UInt64.random(in: 0...UInt64.max)

  /// What is kept of `text` in `zone`.
  func find(_ zone: CacheZone, _ text: Bytes, now: Milliseconds) -> HotResponse? {
    guard let hot = responses[text.hash64(seed: seed)], hot.zone == zone.number,
      now - hot.readAt < Self.validity, hot.response.header.key == text
    else { return nil }
    return hot
  }

  /// Keeps a response that was just read, if it is small and there is room.
  mutating func keep(
    _ response: StoredResponse, _ zone: CacheZone, version: UInt64, now: Milliseconds
  ) {
    guard response.header.vary.isEmpty, let copy = response.copied(atMost: Self.sizeLimit) else {
      return
    }
    if byteCount + copy.memoryCount > Self.budget { removeOutdated(now) }
    guard byteCount + copy.memoryCount <= Self.budget else { return }
    let hash = copy.header.key.hash64(seed: seed)
    byteCount += copy.memoryCount - (responses[hash]?.response.memoryCount ?? 0)
    responses[hash] = HotResponse(
      response: copy, version: version, zone: zone.number, readAt: now)
  }

  private mutating func removeOutdated(_ now: Milliseconds) {
    responses = responses.filter { now - $0.value.readAt < Self.validity }
    byteCount = responses.values.reduce(0) { $0 + $1.response.memoryCount }
  }
}
