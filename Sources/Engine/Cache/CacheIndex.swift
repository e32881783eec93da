// What a cache knows of its keys: whether there is a file, who is fetching it, when it was used
// last. Part of `CacheZone`, behind its lock; nothing here touches a file.
//
//   absent ──claim──► being fetched ──store──► stored ──claim──► stored, being updated ──store──► …
//      ▲                   │ release             │ inactive, oldest, file gone
//      └───────────────────┴─────────────────────┘
//
// A ticket is the right to fetch: at most one is valid for a key. Whoever comes without one may
// fetch all the same, unless the location has them wait (`proxy_cache_lock`); of two files the
// later one stays.
//
// When a ticket comes back, all who wait are told if there is something for them. If there isn't,
// one of them is, who fetches next: had all of them to ask for the one ticket again each time, a
// thousand clients of what can't be stored would ask half a million times.

/// The keys of one cache. Operations take constant time, but for those that say otherwise.
struct CacheIndex: ~Copyable {
  /// What is known of a key.
  struct Entry {
    let key: CacheKey
    fileprivate(set) var older = none
    fileprivate(set) var newer = none
    fileprivate(set) var usedAt: Milliseconds
    fileprivate(set) var uses = 0
    /// The size of the file; it counts only if `isStored`.
    fileprivate(set) var byteCount = 0
    fileprivate(set) var isStored = false
    /// Tells this file from those before and after it.
    fileprivate(set) var version: UInt64 = 0
    /// 0: nobody fetches.
    fileprivate(set) var ticket: UInt64 = 0
    /// When another one may fetch, too, although the ticket was not given back.
    fileprivate(set) var ticketEnd: Milliseconds = 0
    /// The first of those who wait for the ticket.
    fileprivate(set) var line = CacheQueue.none
    /// The error that stands for a response; 0: none.
    fileprivate(set) var errorStatus = 0
    /// Seconds since 1970.
    fileprivate(set) var errorUntil = 0

    /// There is something that stands for a response.
    fileprivate var hasAnswer: Bool { isStored || errorStatus != 0 }
    /// Somebody fetches it, or waits for it.
    fileprivate var isBusy: Bool { ticket != 0 || line != CacheQueue.none }
  }

  fileprivate static let none = -1
  // Bound: files are counted in blocks, as the disk does.
  private static let blockByteCount = 4 << 10

  var capacity: Int
  /// From how many keys on the oldest are given up; set when there was no room for another one.
  private(set) var watermark = Int.max
  /// What the files take.
  private(set) var byteCount = 0
  /// Keys whose files are to be removed.
  private var doomed: [CacheKey] = []
  private var slots = CacheSlots()
  private var entries = CacheEntries()
  private var free: [Int] = []
  private var oldest = none
  private var newest = none
  private var lastTicket: UInt64 = 0
  private var lastVersion: UInt64 = 0
  private var queue = CacheQueue()

  init(capacity: Int) { self.capacity = capacity }

  /// The number of keys.
  var count: Int { slots.count }

  /// How many wait for others.
  var waiterCount: Int { queue.count }

  /// The entry of `key`.
  func entry(_ key: CacheKey) -> Entry? { slots[key].map { entries[$0] } }

  // --- use ---------------------------------------------------------------------------------------

  /// Counts a use of `key`, which gets an entry if it has none; that counts in any case: who used
  /// the key before was forgotten with it.
  mutating func use(_ key: CacheKey, counts: Bool, now: Milliseconds) -> Entry {
    let known = slots[key]
    let slot = known ?? insert(key, now)
    if counts || known == nil { entries[slot].uses += 1 }
    touch(slot, now)
    return entries[slot]
  }

  /// Forgets an error whose time is up.
  mutating func clearError(_ key: CacheKey) {
    if let slot = slots[key] { entries[slot].errorStatus = 0 }
  }

  /// The right to fetch `key` until `end`, when another one may, too; nil if somebody has it.
  mutating func claim(_ key: CacheKey, until end: Milliseconds, now: Milliseconds) -> UInt64? {
    let slot = slots[key] ?? insert(key, now)
    if entries[slot].ticket != 0 && now < entries[slot].ticketEnd { return nil }
    lastTicket += 1
    entries[slot].ticket = lastTicket
    entries[slot].ticketEnd = end
    return lastTicket
  }

  /// Has `waiter` hear when the ticket of `key` is given back; whoever does so calls `leave` once,
  /// whether it heard or not.
  mutating func wait(
    _ waiter: CacheWaiter, for key: CacheKey, now: Milliseconds
  ) -> CacheQueue.Place {
    let slot = slots[key] ?? insert(key, now)
    return queue.join(&entries[slot].line, waiter, for: key)
  }

  /// Gives a place up; gives who is to be told instead, since the one who left it had been told and
  /// has not claimed the ticket.
  mutating func leave(_ place: CacheQueue.Place) -> CacheWaiter? {
    guard let slot = slots[queue.key(place)] else {
      // An entry with a line stays: this one was called.
      var nowhere = CacheQueue.none
      _ = queue.leave(place, &nowhere)
      return nil
    }
    let wasCalled = queue.leave(place, &entries[slot].line)
    return wasCalled && entries[slot].ticket == 0 ? queue.call(&entries[slot].line) : nil
  }

  /// Takes a ticket back, or one that ran out and brought an answer all the same; gives those who
  /// are to be told. An entry that nothing came of is forgotten unless its uses are counted.
  /// O(those who are told).
  mutating func release(_ key: CacheKey, _ ticket: UInt64, keepsUses: Bool) -> [CacheWaiter] {
    guard let slot = slots[key] else { return [] }
    var told: [CacheWaiter] = []
    let isInForce = ticket != 0 && entries[slot].ticket == ticket
    if isInForce { entries[slot].ticket = 0 }
    if isInForce || ticket != 0 && entries[slot].hasAnswer {
      while let waiter = queue.call(&entries[slot].line) {
        told.append(waiter)
        if !entries[slot].hasAnswer { break }
      }
    }
    if !entries[slot].hasAnswer && !entries[slot].isBusy && !keepsUses { remove(slot) }
    return told
  }

  /// An error stands for the response of `key` until `end`, in seconds since 1970.
  mutating func fail(_ key: CacheKey, _ status: Int, until end: Int, now: Milliseconds) {
    let slot = slots[key] ?? insert(key, now)
    entries[slot].errorStatus = status
    entries[slot].errorUntil = end
  }

  /// There is a file for `key` now, of `byteCount` bytes.
  mutating func store(_ key: CacheKey, byteCount count: Int, now: Milliseconds) {
    let slot = slots[key] ?? insert(key, now)
    forgetFile(slot)
    entries[slot].isStored = true
    lastVersion += 1
    entries[slot].version = lastVersion
    entries[slot].byteCount = (count + Self.blockByteCount - 1) & -Self.blockByteCount
    entries[slot].errorStatus = 0
    byteCount += entries[slot].byteCount
    touch(slot, now)
  }

  /// The file of `key` says something else than before.
  mutating func renew(_ key: CacheKey) {
    guard let slot = slots[key] else { return }
    lastVersion += 1
    entries[slot].version = lastVersion
  }

  /// A file was found that was stored in another life. Its uses are none.
  mutating func adopt(_ key: CacheKey, byteCount: Int, now: Milliseconds) {
    if let slot = slots[key], entries[slot].isStored { return }
    // What is there already is worth more than what nobody has asked for yet.
    if slots[key] == nil && slots.count >= capacity { return doom(key) }
    store(key, byteCount: byteCount, now: now)
  }

  /// The file of `key` is gone, or was no good.
  mutating func lose(_ key: CacheKey) {
    if let slot = slots[key] { forgetFile(slot) }
  }

  private mutating func forgetFile(_ slot: Int) {
    guard entries[slot].isStored else { return }
    byteCount -= entries[slot].byteCount
    entries[slot].isStored = false
  }

  // --- removal -----------------------------------------------------------------------------------

  /// Gives up the entry that was used longest ago, if nobody used it after `limit`. Nil: there is
  /// none; entries that are being fetched are passed over, at most twenty.
  mutating func removeOldest(usedBefore limit: Milliseconds) -> Bool {
    var slot = oldest
    for _ in 0..<20 {
      guard slot != Self.none, entries[slot].usedAt < limit else { return false }
      if !entries[slot].isBusy {
        if entries[slot].isStored { doom(entries[slot].key) }
        remove(slot)
        return true
      }
      slot = entries[slot].newer
    }
    return false
  }

  /// When the entry that was used longest ago was used; nil: there is none.
  var oldestUse: Milliseconds? { oldest == Self.none ? nil : entries[oldest].usedAt }

  /// Keys whose files are to be removed, unless they were stored anew meanwhile. O(keys).
  mutating func takeDoomed() -> [CacheKey] {
    let taken = doomed.filter { key in slots[key].map { !entries[$0].isStored } ?? true }
    doomed = []
    return taken
  }

  // Bound: files that wait to be removed. What is beyond is removed when a start finds it.
  private static let doomedLimit = 1 << 16

  private mutating func doom(_ key: CacheKey) {
    if doomed.count < Self.doomedLimit { doomed.append(key) }
  }

  private mutating func insert(_ key: CacheKey, _ now: Milliseconds) -> Int {
    if slots.count >= capacity {
      watermark = capacity - capacity / 8
      while slots.count >= capacity, removeOldest(usedBefore: .max) {}
    }
    let entry = Entry(key: key, usedAt: now)
    let slot: Int
    if let reused = free.popLast() {
      entries[reused] = entry
      slot = reused
    } else {
      slot = entries.count
      entries.append(entry)
    }
    slots[key] = slot
    append(slot)
    return slot
  }

  private mutating func remove(_ slot: Int) {
    forgetFile(slot)
    unlink(slot)
    slots[entries[slot].key] = nil
    free.append(slot)
  }

  // --- the queue of use --------------------------------------------------------------------------

  private mutating func touch(_ slot: Int, _ now: Milliseconds) {
    entries[slot].usedAt = now
    if slot == newest { return }
    unlink(slot)
    append(slot)
  }

  private mutating func append(_ slot: Int) {
    entries[slot].older = newest
    entries[slot].newer = Self.none
    if newest != Self.none { entries[newest].newer = slot } else { oldest = slot }
    newest = slot
  }

  private mutating func unlink(_ slot: Int) {
    let (older, newer) = (entries[slot].older, entries[slot].newer)
    if older != Self.none { entries[older].newer = newer } else { oldest = newer }
    if newer != Self.none { entries[newer].older = older } else { newest = older }
  }
}
