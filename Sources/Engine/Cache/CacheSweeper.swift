// The thread that works for all caches of a process, so that no worker waits for a disk: it finds
// what is there at a start (`CacheLoader`), and removes what nobody asked for in `inactive`, what
// was used longest ago when a cache is too large or its file system too full, and the files of keys
// that were given up.
//
// nginx has a "cache loader" and a "cache manager" for this; their pauses are obeyed here.

import CLinux

/// The thread of all caches; started by the first of them. May be called from any thread.
final class CacheSweeper: Sendable {
  private let thread: ServiceThread<[CacheZone]>

  init() throws(SystemError) {
    thread = try ServiceThread("caches") { inbox in
      var works: [CacheWork] = []
      while true {
        let next = works.map(\.nextAt).min()
        let delay = next.map { max(0, $0 - Clock.monotonic) } ?? -1
        if let zones = inbox.wait(delay).last {
          works = zones.map { zone in works.first { $0.zone === zone } ?? CacheWork(zone) }
        }
        for work in works { work.perform() }
      }
    }
  }

  /// Works for `zones` from here on, and for no others; false if there is no thread for it.
  func configure(_ zones: [CacheZone]) -> Bool {
    zones.isEmpty && !thread.isRunning || thread.post(zones)
  }
}

/// What there is to do for one cache, and when.
private final class CacheWork {
  let zone: CacheZone
  private var loader: CacheLoader?
  private var loadAt: Milliseconds
  private var sweepAt: Milliseconds
  private var doomedAt: Milliseconds

  /// How long nothing is looked for when nothing was found, as in nginx.
  private static let longestPause: Milliseconds = 10_000
  // Bound: files that are given up are removed within this time.
  private static let doomedPause: Milliseconds = 1_000

  init(_ zone: CacheZone) {
    self.zone = zone
    loader = zone.isCold ? CacheLoader(zone) : nil
    loadAt = Clock.monotonic
    sweepAt = loadAt
    doomedAt = loadAt
  }

  /// When `perform` has something to do.
  var nextAt: Milliseconds {
    min(loader == nil ? Int.max : loadAt, min(sweepAt, doomedAt))
  }

  /// Does what is due.
  func perform() {
    let settings = zone.settings
    if let loader, Clock.monotonic >= loadAt {
      if loader.step(settings.loader) { self.loader = nil }
      loadAt = Clock.monotonic + settings.loader.sleep
    }
    if Clock.monotonic >= sweepAt { sweepAt = Clock.monotonic + sweep(settings) }
    if Clock.monotonic >= doomedAt {
      removeDoomed()
      doomedAt = Clock.monotonic + Self.doomedPause
    }
  }

  private func removeDoomed() {
    for key in zone.takeDoomed() { ProcessFiles.remove(zone.folder.file(of: key)) }
  }

  /// One turn of removing; gives the pause until the next.
  private func sweep(_ settings: CacheZoneSettings) -> Milliseconds {
    let start = Clock.monotonic
    var count = 0
    defer { removeDoomed() }
    func isDone() -> Bool {
      count += 1
      return count >= settings.manager.files
        || Clock.monotonic - start >= settings.manager.threshold
    }
    while zone.removeOldest(usedBefore: start - settings.inactive) {
      if isDone() { return settings.manager.sleep }
    }
    while isTooLarge(settings), zone.removeOldest(usedBefore: .max) {
      // The room is there once the file is gone.
      if settings.minFreeByteCount > 0 { removeDoomed() }
      if isDone() { return settings.manager.sleep }
    }
    guard let oldest = zone.oldestUse else { return Self.longestPause }
    return min(Self.longestPause, max(1_000, oldest + settings.inactive + 1 - Clock.monotonic))
  }

  private func isTooLarge(_ settings: CacheZoneSettings) -> Bool {
    let extent = zone.extent
    if extent.count == 0 { return false }
    if let most = settings.maxByteCount, extent.byteCount >= most { return true }
    if zone.isOverWatermark { return true }
    guard settings.minFreeByteCount > 0 else { return false }
    let free = unsafe linux_free_byte_count(zone.folder.path)
    return free >= 0 && free < Int64(settings.minFreeByteCount)
  }
}
