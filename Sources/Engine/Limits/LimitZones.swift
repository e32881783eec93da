// The zones of the process, by what makes them the same: kind, name, key and size. Whoever compiles
// a plan asks here, so that a zone that is in the old and in the new configuration goes on
// counting. Never used on the data path.

import Synchronization

/// All zones that plans have.
final class LimitZones: Sendable {
  /// What two configurations must agree on to share a zone.
  struct Key: Hashable {
    enum Kind { case requests, connections, sessions }
    let kind: Kind
    let name: String
    /// The words that make the key of a request; of sessions, whose they are.
    let keyText: String
    let byteCount: Int
  }

  private struct Entry {
    let zone: LimitZone
    var leaseCount: Int
  }

  private let entries = Mutex<[Key: Entry]>([:])

  /// The zone for `key`, an old one or a new one; nil if there is no memory for it.
  func lease(_ key: Key) -> ZoneLease? {
    let zone: LimitZone? = entries.withLock { entries in
      if let entry = entries[key] {
        entries[key]?.leaseCount += 1
        return entry.zone
      }
      guard let zone = LimitZone(byteCount: key.byteCount) else { return nil }
      entries[key] = Entry(zone: zone, leaseCount: 1)
      return zone
    }
    return zone.map { ZoneLease(zone: $0, key: key, registry: self) }
  }

  /// The number of zones.
  var count: Int { entries.withLock { $0.count } }

  fileprivate func release(_ key: Key) {
    entries.withLock { entries in
      entries[key]?.leaseCount -= 1
      if let entry = entries[key], entry.leaseCount == 0 {
        entries[key] = nil
        entry.zone.free()
      }
    }
  }
}

/// A plan's share in a zone: the zone is there for as long as one lease is.
final class ZoneLease {
  let zone: LimitZone
  private let key: LimitZones.Key
  private let registry: LimitZones

  fileprivate init(zone: LimitZone, key: LimitZones.Key, registry: LimitZones) {
    self.zone = zone
    self.key = key
    self.registry = registry
  }

  deinit { registry.release(key) }
}
