// The zones of the process of one kind, by what makes them the same. Whoever compiles a plan asks
// here, so that a zone that is in the old and in the new configuration goes on with what it knows.
// Never used on the data path.

import Synchronization

/// What two configurations must agree on to share a zone.
protocol ZoneKey: Hashable, Sendable {
  var byteCount: Int { get }
}

/// Raw memory that all threads share and that outlives a reload.
protocol SharedZone: BitwiseCopyable, Sendable {
  associatedtype Key: ZoneKey

  /// A new zone; nil if there is no memory for it.
  init?(byteCount: Int)
  /// Gives the memory back; for `ZoneRegistry`, when no plan has the zone.
  func free()
}

/// All zones of one kind that plans have.
final class ZoneRegistry<Zone: SharedZone>: Sendable {
  private struct Entry {
    let zone: Zone
    var leaseCount: Int
  }

  private let entries = Mutex<[Zone.Key: Entry]>([:])

  /// The zone for `key`, an old one or a new one; nil if there is no memory for it.
  func lease(_ key: Zone.Key) -> ZoneLease<Zone>? {
    let zone: Zone? = entries.withLock { entries in
      if let entry = entries[key] {
        entries[key]?.leaseCount += 1
        return entry.zone
      }
      guard let zone = Zone(byteCount: key.byteCount) else { return nil }
      entries[key] = Entry(zone: zone, leaseCount: 1)
      return zone
    }
    return zone.map { ZoneLease(zone: $0, key: key, registry: self) }
  }

  /// The number of zones.
  var count: Int { entries.withLock { $0.count } }

  fileprivate func release(_ key: Zone.Key) {
    entries.withLock { entries in
      entries[key]?.leaseCount -= 1
      if let entry = entries[key], entry.leaseCount == 0 {
        entries[key] = nil
        entry.zone.free()
      }
    }
  }
}

/// A share in a zone, of a plan or of what may outlive it: the zone is there for as long as one
/// lease is.
final class ZoneLease<Zone: SharedZone> {
  let zone: Zone
  let key: Zone.Key
  private let registry: ZoneRegistry<Zone>

  fileprivate init(zone: Zone, key: Zone.Key, registry: ZoneRegistry<Zone>) {
    self.zone = zone
    self.key = key
    self.registry = registry
  }

  deinit { registry.release(key) }
}
