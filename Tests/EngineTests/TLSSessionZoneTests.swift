// Zones of TLS sessions: what is kept, what makes room, and that nothing is mixed up.

import HTTP
import TestSupport
import Testing

@testable import Engine

@Suite struct TLSSessionZoneTests {
  private static let settings = TLSSessionZoneSettings(
    name: "all", byteCount: TLSSessionZoneSettings.smallestByteCount)

  /// Calls `body` with the bytes of an id.
  private func withID<Result>(_ id: String, _ body: (Bytes) -> Result) -> Result {
    unsafe Array(id.utf8).withUnsafeBufferPointer { id in
      guard let base = id.baseAddress else { return body(Bytes()) }
      return body(unsafe Bytes(base: base, count: id.count))
    }
  }

  private func found(_ zone: TLSSessionZone, _ id: String, now: Int64) -> [UInt8]? {
    var room = [UInt8](repeating: 0, count: TLSSessionRing.longestSession)
    let count = unsafe room.withUnsafeMutableBytes { room in
      withID(id) { unsafe zone.copy($0, into: room, now: now) }
    }
    return count == 0 ? nil : Array(room[..<count])
  }

  private func keep(
    _ zone: TLSSessionZone, _ id: String, _ session: [UInt8], timeout: Int = 300, now: Int64
  ) -> Bool {
    unsafe session.withUnsafeBufferPointer { session in
      guard let base = session.baseAddress else { return false }
      let content = unsafe Bytes(base: base, count: session.count)
      return withID(id) { zone.keep($0, content, timeout: timeout, now: now) }
    }
  }

  private func withZone(_ body: (TLSSessionZone, Int64) throws -> Void) throws {
    let zone = try #require(TLSSessionZone(byteCount: Self.settings.byteCount))
    defer { zone.free() }
    try body(zone, Int64(Clock.monotonic / 1000) + 10)
  }

  @Test func givesWhatItKeepsUntilItsTimeIsUp() throws {
    try withZone { zone, now in
      #expect(found(zone, "a", now: now) == nil)
      #expect(keep(zone, "a", [1, 2, 3], timeout: 300, now: now))
      #expect(keep(zone, "b", [4], timeout: 300, now: now))
      #expect(found(zone, "a", now: now + 299) == [1, 2, 3])
      #expect(found(zone, "a", now: now + 300) == nil)
      #expect(keep(zone, "a", [5], timeout: 600, now: now))
      #expect(found(zone, "a", now: now + 599) == [5])
      #expect(found(zone, "b", now: now) == [4])
      #expect(zone.count == 2)
    }
  }

  @Test func forgetsWhatMustNotBeResumed() throws {
    try withZone { zone, now in
      for id in ["a", "b", "c"] { #expect(keep(zone, id, Array(id.utf8), now: now)) }
      zone.forget(Bytes("b"))
      zone.forget(Bytes("b"))
      zone.forget(Bytes("unknown"))
      #expect(found(zone, "a", now: now) == [97])
      #expect(found(zone, "b", now: now) == nil)
      #expect(found(zone, "c", now: now) == [99])
    }
  }

  @Test func clearsAwayWhatHasEnded() throws {
    try withZone { zone, now in
      for index in 0..<20 { #expect(keep(zone, "\(index)", [1], timeout: 10, now: now)) }
      for index in 20..<30 { #expect(keep(zone, "\(index)", [1], timeout: 10, now: now + 11)) }
      #expect(zone.count == 10)
    }
  }

  @Test func refusesSessionsThatAreTooLong() throws {
    try withZone { zone, now in
      let longest = [UInt8](repeating: 7, count: TLSSessionRing.longestSession)
      #expect(!keep(zone, "a", longest + [7], now: now))
      #expect(keep(zone, "a", longest, now: now))
      #expect(found(zone, "a", now: now) == longest)
      #expect(TLSSessionZone(byteCount: 8 << 10) == nil)
    }
  }

  /// Thousands of sessions of all lengths go around the ring. The newest are there, and what is
  /// there is what was kept.
  @Test func keepsTheNewestAndMixesNothingUp() throws {
    try withZone { zone, now in
      var generator = Dice(seed: 7)
      var kept: [String: [UInt8]] = [:]
      for round in 0..<20_000 {
        let id = "\(Int.random(in: 0..<200, using: &generator))"
        if Int.random(in: 0..<5, using: &generator) == 0 {
          withID(id) { zone.forget($0) }
          kept[id] = nil
          continue
        }
        let isLong = Int.random(in: 0..<50, using: &generator) == 0
        let count = Int.random(in: 1...(isLong ? 8192 : 300), using: &generator)
        let session = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ round) }
        #expect(keep(zone, id, session, now: now))
        kept[id] = session
        #expect(found(zone, id, now: now) == session)
        let other = "\(Int.random(in: 0..<200, using: &generator))"
        if let found = found(zone, other, now: now) { #expect(found == kept[other]) }
      }
      #expect(kept.keys.filter { found(zone, $0, now: now) != nil }.count == zone.count)
      #expect(zone.count > 20)
    }
  }

  @Test func isTheSameZoneForTheSameNameAndSize() throws {
    let zones = ZoneRegistry<TLSSessionZone>()
    let one = try #require(zones.lease(Self.settings))
    var other = zones.lease(Self.settings)
    #expect(one.zone == other?.zone)
    var larger = Self.settings
    larger.byteCount *= 2
    #expect(zones.lease(larger)?.zone != one.zone)
    #expect(zones.count == 1)
    other = nil
    #expect(keep(one.zone, "a", [1], now: Int64(Clock.monotonic / 1000)))
  }
}
