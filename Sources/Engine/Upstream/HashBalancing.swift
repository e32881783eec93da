// `hash`, `hash … consistent`, `ip_hash` and `random`: the server follows from a key, or from
// chance. Nothing is remembered of a choice: with the servers already tried left out, the same walk
// from the same key finds the next one. Where it finds nobody in time, it is round robin's turn.

import HTTP

/// A place of a `server` line on the ring of consistent hashing.
struct RingPoint: BitwiseCopyable {
  let hash: UInt32
  /// The first seat of the line; `nextOfLine` leads to its others.
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

  /// The server behind the key's place on the ring, or the next one there. Servers of one line take
  /// turns.
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
      let first = ring[(low + step) % ring.count].index
      if let index = pickInLine(first, tried, now: now) { return index }
    }
    return nil
  }

  /// By turns among the servers of the line whose first seat is at `first`.
  @inline(__always)
  private mutating func pickInLine(
    _ first: Int, _ tried: borrowing TriedSet, now: Milliseconds
  ) -> Int? {
    if nextOfLine[first] < 0 { return seats[first].isEligible(tried, now: now) ? first : nil }
    var best = -1
    var total = 0
    var index = first
    while index >= 0 {
      if seats[index].isEligible(tried, now: now) {
        total += gainWeight(index)
        if best < 0 || seats[index].currentWeight > seats[best].currentWeight { best = index }
      }
      index = nextOfLine[index]
    }
    if best < 0 { return nil }
    seats[best].currentWeight -= total
    return best
  }

  /// By chance and weight; of two, the one with fewer requests for its weight.
  mutating func pickByChance(
    two: Bool, _ time: LeastTime?, _ tried: borrowing TriedSet, now: Milliseconds
  ) -> Int? {
    var first: Int?
    for _ in 0...Self.stepLimit {
      let index = seat(at: Int.random(in: 0..<max(1, totalWeight)))
      guard seats[index].isEligible(tried, now: now), index != first else { continue }
      guard two, let other = first else {
        first = index
        if two { continue }
        return index
      }
      return isWorse(index, than: other, time, now: now) ? other : index
    }
    return first ?? pickByTurns(tried, now: now)
  }

  /// Whether the server at `index` has more to do for its weight, or takes more time for it.
  private func isWorse(
    _ index: Int, than other: Int, _ time: LeastTime?, now: Milliseconds
  ) -> Bool {
    let (one, two) = (seats[index], seats[other])
    guard let time else { return one.state.active * two.weight > two.state.active * one.weight }
    return time.cost(of: one, now: now) > time.cost(of: two, now: now)
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

  /// Lays the ring out as nginx and Cache::Memcached::Fast do: 160 points for each unit of weight,
  /// each from the one before. What stands in the `server` line places them, so that they stay
  /// where they are when its name gets other addresses.
  mutating func layRing() {
    ring = []
    nextOfLine = Array(repeating: -1, count: seats.count)
    var lines: [String: (first: Int, last: Int)] = [:]
    for index in seats.indices {
      let text = peers[index].placeOnRing
      if let line = lines[text] {
        nextOfLine[line.last] = index
        lines[text] = (line.first, index)
      } else {
        lines[text] = (index, index)
      }
    }
    for (text, line) in lines {
      // Of equal lines the heaviest one's points include those of the others.
      var weight = 0
      var index = line.first
      while index >= 0 {
        weight = max(weight, seats[index].weight)
        index = nextOfLine[index]
      }
      layPoints(of: text, weight, line.first)
    }
    ring.sort { ($0.hash, $0.index) < ($1.hash, $1.index) }
  }

  private mutating func layPoints(of text: String, _ weight: Int, _ index: Int) {
    let (host, port) = Self.placeParts(text)
    var base = CRC32()
    for byte in host { base.add(byte) }
    base.add(0)
    for byte in port { base.add(byte) }
    var former: UInt32 = 0
    // Bound: 160,000 points a line; more weight than that makes no finer difference.
    for _ in 0..<min(weight, 1000) * 160 {
      var crc = base
      for shift in [UInt32(0), 8, 16, 24] { crc.add(UInt8(truncatingIfNeeded: former >> shift)) }
      former = crc.value
      ring.append(RingPoint(hash: former, index: index))
    }
  }

  /// The host and the port of a line as they are written: digits behind the last colon. A Unix
  /// socket has no port, nor has a line without one.
  private static func placeParts(_ text: String) -> (Substring.UTF8View, Substring.UTF8View) {
    let bytes = text[...].utf8
    if text.lowercased().hasPrefix("unix:") { return (bytes.dropFirst(5), bytes.suffix(0)) }
    guard let colon = bytes.lastIndex(where: { !ASCII.isDigit($0) }),
      bytes[colon] == UInt8(ascii: ":")
    else { return (bytes, bytes.suffix(0)) }
    return (bytes[..<colon], bytes[bytes.index(after: colon)...])
  }
}

extension Peer {
  /// What the server's points on a ring are made of. Servers of a service are placed by address,
  /// as one line names them all.
  fileprivate var placeOnRing: String {
    if case .service = server.host { return address.description }
    return server.written ?? server.description
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
