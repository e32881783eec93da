// The session zones of the process, by name and size. Whoever compiles a plan asks here, so that
// the sessions of a zone that is in the old and in the new configuration go on being resumed. Never
// used on the data path.

import Synchronization

/// All session zones that plans have.
final class TLSSessionZones: Sendable {
  private struct Entry {
    let zone: TLSSessionZone
    var leaseCount: Int
  }

  private let entries = Mutex<[TLSSessionZoneSettings: Entry]>([:])

  /// The zone of these settings, an old one or a new one; nil if there is no memory for it.
  func lease(_ settings: TLSSessionZoneSettings) -> TLSSessionZoneLease? {
    let zone: TLSSessionZone? = entries.withLock { entries in
      if let entry = entries[settings] {
        entries[settings]?.leaseCount += 1
        return entry.zone
      }
      guard let zone = TLSSessionZone(byteCount: settings.byteCount) else { return nil }
      entries[settings] = Entry(zone: zone, leaseCount: 1)
      return zone
    }
    return zone.map { TLSSessionZoneLease(zone: $0, settings: settings, registry: self) }
  }

  /// The number of zones.
  var count: Int { entries.withLock { $0.count } }

  fileprivate func release(_ settings: TLSSessionZoneSettings) {
    entries.withLock { entries in
      entries[settings]?.leaseCount -= 1
      if let entry = entries[settings], entry.leaseCount == 0 {
        entries[settings] = nil
        entry.zone.free()
      }
    }
  }
}

/// A plan's share in a zone: the zone is there for as long as one lease is. Contexts hold it too,
/// since connections outlive their plan's place.
final class TLSSessionZoneLease {
  let zone: TLSSessionZone
  let settings: TLSSessionZoneSettings
  private let registry: TLSSessionZones

  fileprivate init(
    zone: TLSSessionZone, settings: TLSSessionZoneSettings, registry: TLSSessionZones
  ) {
    self.zone = zone
    self.settings = settings
    self.registry = registry
  }

  deinit { registry.release(settings) }
}
