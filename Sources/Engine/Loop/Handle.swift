// What epoll gives back with an event, and what timers and mailboxes name objects by.
//
//   63      56 55            32 31             0
//   +---------+----------------+----------------+
//   |  kind   |   generation   |      slot      |
//   +---------+----------------+----------------+
//
// An object that was recycled has another generation, so that an event or a timer that was meant
// for its former life is recognised and dropped.

/// What kind of object a handle names; the loop's dispatch switches over it.
enum HandleKind: UInt8 {
  case none, mailbox, listener, client, stream, upstream, h2Upstream, exchange, pacer, pipeline
  case admission
  case resolver, healthCheck, ocsp, control, logs
}

/// A weak reference to an object of a loop: kind, slot, generation.
struct Handle: Equatable, BitwiseCopyable {
  let raw: UInt64

  static let none = Handle(raw: 0)

  init(raw: UInt64) { self.raw = raw }

  init(_ kind: HandleKind, slot: Int, generation: UInt32 = 0) {
    raw =
      UInt64(kind.rawValue) << 56 | UInt64(generation & 0xff_ffff) << 32
      | UInt64(UInt32(truncatingIfNeeded: slot))
  }

  /// The same object, in another of its parts.
  func of(_ kind: HandleKind) -> Handle { Handle(kind, slot: slot, generation: generation) }

  var kind: HandleKind { HandleKind(rawValue: UInt8(raw >> 56)) ?? .none }
  var generation: UInt32 { UInt32(truncatingIfNeeded: raw >> 32) & 0xff_ffff }
  var slot: Int { Int(UInt32(truncatingIfNeeded: raw)) }
}
