// `hash`, `hash … consistent`, `ip_hash` and `random`: the server follows from a key, or from
// chance. Nothing is remembered of a choice: with the servers already tried left out, the same walk
// from the same key finds the next one. Where it finds nobody in time, it is round robin's turn.

import HTTP

/// A place of a server on the ring of consistent hashing.
struct RingPoint: BitwiseCopyable {
  let hash: UInt32
  let index: Int
}

extension UpstreamGroup.Tier {
  /// Bound: steps of a walk, as many as nginx makes.
  private static let stepLimit = 20

  /// By the CRC of the key, each step with another number before it.
  mutating func pickByHash(_ key: Bytes, _ tried: borrowing TriedSet, now: Milliseconds) -> Int? {
    if key.isEmpty { return pickByTurns(tried, now: now) }
    var hash = 0
    for step in 0...Self.stepLimit {
      var crc = CRC32()
      if step > 0 { for digit in String(step).utf8 { crc.add(digit) } }
      crc.add(key)
      hash += Int(crc.value >> 16 & 0x7fff)
      let index = seat(at: hash)
      if seats[index].isEligible(tried, now: now) { return index }
    }
    return pickByTurns(tried, now: now)
  }

  /// By the client's address: of IPv4 the first three octets. Clients on Unix sockets have none,
  /// and count as one client, as in nginx.
  mutating func pickByAddress(_ key: Bytes, _ tried: borrowing TriedSet, now: Milliseconds) -> Int?
  {
    let key = key.isEmpty ? Bytes("\0\0\0") : key
    let count = key.count == 4 ? 3 : key.count
    var hash = 89
    for _ in 0...Self.stepLimit {
      for position in 0..<count { hash = (hash * 113 + Int(key[position])) % 6271 }
      let index = seat(at: hash)
      if seats[index].isEligible(tried, now: now) { return index }
    }
    return pickByTurns(tried, now: now)
  }

  /// The server behind the key's place on the ring, or the next one there.
  mutating func pickOnRing(_ key: Bytes, _ tried: borrowing TriedSet, now: Milliseconds) -> Int? {
    if key.isEmpty || ring.isEmpty { return pickByTurns(tried, now: now) }
    var crc = CRC32()
    crc.add(key)
    var low = 0
    var high = ring.count
    while low < high {
      let middle = (low + high) / 2
      if ring[middle].hash < crc.value { low = middle + 1 } else { high = middle }
    }
    for step in 0..<ring.count {
      let index = ring[(low + step) % ring.count].index
      if seats[index].isEligible(tried, now: now) { return index }
    }
    return nil
  }

  /// By chance and weight; of two, the one with fewer requests for its weight.
  mutating func pickByChance(two: Bool, _ tried: borrowing TriedSet, now: Milliseconds) -> Int? {
    var first: Int?
    for _ in 0...Self.stepLimit {
      let index = seat(at: Int.random(in: 0..<max(1, totalWeight)))
      guard seats[index].isEligible(tried, now: now), index != first else { continue }
      guard two, let other = first else {
        first = index
        if two { continue }
        return index
      }
      let isBusier =
        seats[index].state.active * seats[other].weight > seats[other].state.active
        * seats[index].weight
      return isBusier ? other : index
    }
    return first ?? pickByTurns(tried, now: now)
  }

  /// The server whose share of all weights `number` falls into.
  private func seat(at number: Int) -> Int {
    var rest = number % max(1, totalWeight)
    for index in seats.indices {
      rest -= seats[index].weight
      if rest < 0 { return index }
    }
    return 0
  }

  private var totalWeight: Int { seats.reduce(0) { $0 + $1.weight } }

  /// Lays the ring out as Ketama does: 160 points for each unit of weight, each from the one
  /// before.
  mutating func layRing() {
    ring = []
    for index in seats.indices {
      let name = peers[index].name
      let colon =
        name.hasPrefix(Bytes("unix:"))
        ? name.count : name.lastIndex(of: UInt8(ascii: ":")) ?? name.count
      var base = CRC32()
      base.add(name.prefix(colon).dropping(name.hasPrefix(Bytes("unix:")) ? 5 : 0))
      base.add(0)
      if colon < name.count { base.add(name.dropping(colon + 1)) }
      var former: UInt32 = 0
      // Bound: 160,000 points a server; more weight than that makes no finer difference.
      for _ in 0..<min(seats[index].weight, 1000) * 160 {
        var crc = base
        for shift in [UInt32(0), 8, 16, 24] { crc.add(UInt8(truncatingIfNeeded: former >> shift)) }
        former = crc.value
        ring.append(RingPoint(hash: former, index: index))
      }
    }
    ring.sort { $0.hash < $1.hash }
  }
}

/// The CRC of zlib and Ethernet (ISO 3309).
struct CRC32 {
  private var state: UInt32 = 0xffff_ffff

  /// Of all bytes added so far.
  var value: UInt32 { ~state }

  mutating func add(_ byte: UInt8) {
    state = Self.table[Int(UInt8(truncatingIfNeeded: state) ^ byte)] ^ (state >> 8)
  }

  mutating func add(_ bytes: Bytes) {
    for index in 0..<bytes.count { add(bytes[index]) }
  }

  private static let table: [UInt32] = (0..<256).map { start in
    (0..<8).reduce(UInt32(start)) { value, _ in
      value & 1 == 0 ? value >> 1 : value >> 1 ^ 0xedb8_8320
    }
  }
}
