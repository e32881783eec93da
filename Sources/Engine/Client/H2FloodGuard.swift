// What a client of HTTP/2 may do without getting anything done. Frames that cost us work and bring
// nothing (RST_STREAM, SETTINGS, PING, PRIORITY, empty DATA, WINDOW_UPDATE …) are paid from budgets
// that refill with time and with useful work; a client that overdraws one is sent away with
// ENHANCE_YOUR_CALM (RFC 9113 §7, the classes of CVE-2019-9511…9518, CVE-2023-44487 and
// CVE-2025-8671).

import CNGHTTP2

/// The budgets of one connection.
struct H2FloodGuard {
  /// A budget: a bucket that holds `capacity` tokens and gains `perSecond` of them.
  private struct Bucket {
    let capacity: Int
    let perSecond: Int
    var tokens: Int
    /// Up to when `tokens` counts what was gained.
    private var filledAt: Milliseconds = 0

    init(capacity: Int, perSecond: Int) {
      self.capacity = capacity
      self.perSecond = perSecond
      tokens = capacity
    }

    /// Takes `cost` tokens; false if there aren't enough.
    mutating func spend(_ cost: Int, now: Milliseconds) -> Bool {
      let gained = (now - filledAt) * perSecond / 1000
      if gained > 0 {
        earn(gained)
        // A part of a token isn't lost to whoever spends often.
        filledAt += gained * 1000 / perSecond
      }
      tokens -= cost
      return tokens >= 0
    }

    mutating func earn(_ count: Int) { tokens = min(capacity, tokens + count) }
  }

  // Bound: streams that a client broke off, or made us break off: 300 at once, 20 a second, and one
  // for each four that came to their end; twenty times as many if they had a part of their answer.
  // A browser that closes a tab resets all that is open at once, and then opens others; a proxy in
  // front passes on what many clients break off.
  private var resets = Bucket(capacity: 300 * resetCost, perSecond: 20 * resetCost)
  private static let resetCost = 100
  private static let answeredResetCost = 5
  // Bound: frames that carry nothing. A busy gRPC client sends a PING per round trip, which is what
  // each DATA frame that we send pays for.
  private var frames = Bucket(capacity: 2000, perSecond: 200)
  private var owed = H2OwedWindow()

  /// Starts afresh with the connection at `now`.
  init(now: Milliseconds = 0) {
    _ = resets.spend(0, now: now)
    _ = frames.spend(0, now: now)
  }

  /// A stream that began at `start` ended by RST_STREAM before its response did. False: too many.
  /// One that waited for a second costs nothing: deadlines of clients pass, and so many streams a
  /// second are as many as might have been answered.
  ///
  /// - Parameter isAnswered: its client had a part of the body, and wanted no more. Whoever waits
  ///   for that asks for no more at a time than requests that are read to their end, and pays for
  ///   the bytes by its windows: many calls of gRPC end so.
  mutating func noteReset(since start: Milliseconds, isAnswered: Bool = false, now: Milliseconds)
    -> Bool
  {
    if now - start >= Self.patientTime { return true }
    return resets.spend(isAnswered ? Self.answeredResetCost : Self.resetCost, now: now)
  }

  private static let patientTime: Milliseconds = 1000

  /// A response came to its end.
  mutating func noteCompletion() { resets.earn(Self.resetCost / 4) }

  /// A frame began. False: too many of its kind.
  mutating func noteFrame(_ header: H2FrameHeader, now: Milliseconds) -> Bool {
    if header.kind == NGHTTP2_WINDOW_UPDATE, let increment = header.first,
      owed.takeBack(Int(increment))
    {
      return true
    }
    return frames.spend(cost(of: header), now: now)
  }

  /// A frame came for a stream that we had reset. False: too many; a window's worth may be on its
  /// way.
  mutating func noteLate(now: Milliseconds) -> Bool { frames.spend(1, now: now) }

  /// So many bytes of bodies were sent.
  mutating func noteSent(_ count: Int) {
    noteProgress()
    owed.use(count)
  }

  /// Work was done for the client: a request was begun, DATA was sent.
  mutating func noteProgress() { frames.earn(4) }

  private func cost(of header: H2FrameHeader) -> Int {
    switch header.kind {
    case NGHTTP2_DATA:
      // An empty piece of a body says nothing, unless it is the end.
      return header.length == 0 && !header.endsStream ? 10 : 0
    case NGHTTP2_HEADERS: return 0
    case NGHTTP2_SETTINGS: return 20
    case NGHTTP2_CONTINUATION: return 5
    default: return 1
    }
  }
}
